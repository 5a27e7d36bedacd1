/** What operators and their probes read: /healthz, /readyz, /metrics. */
import type { ServerResponse } from 'node:http'
import { isRead, pathOf, type Route, send } from './server.js'

export interface OpsSources {
  /** A reason why the gateway cannot serve now, undefined when it can. */
  readonly notReady: () => Promise<string | undefined>
  readonly metrics: { readonly contentType: string; metrics(): Promise<string> } | undefined
  readonly health: boolean
}

export function opsRoute({ notReady, metrics, health }: OpsSources): Route {
  const answers = new Map<string, (response: ServerResponse) => Promise<void>>()
  if (health) {
    answers.set('/healthz', async response => send(response, 200, 'application/json', '{"status":"alive"}'))
    answers.set('/readyz', async response => {
      const reason = await notReady()
      const status = reason === undefined ? { status: 'ready' } : { status: 'not ready', reason }
      send(response, reason === undefined ? 200 : 503, 'application/json', JSON.stringify(status))
    })
  }
  if (metrics !== undefined) {
    answers.set('/metrics', async response => {
      const body = await metrics.metrics()
      response.writeHead(200, { 'Content-Type': metrics.contentType }).end(body)
    })
  }
  return (request, response) => {
    const answer = answers.get(pathOf(request))
    if (answer === undefined || !isRead(request)) return false
    answer(response).catch(() => send(response, 500, 'text/plain', 'failed\n'))
    return true
  }
}
