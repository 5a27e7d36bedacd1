/** Paths for operators and their probes: /healthz, /readyz, /metrics. */
import type { ServerResponse } from 'node:http'
import type { OnFault } from '../core/faults.js'
import { isRead, pathOf, type Route, send } from './answers.js'

interface MetricsSource {
  readonly contentType: string
  metrics(): Promise<string>
}

export interface OpsSources {
  /** Resolves with the reason why the gateway cannot serve, or undefined if it can. */
  readonly notReady: () => Promise<string | undefined>
  readonly metrics: MetricsSource | undefined
  /** How long an answer of /metrics is cached, ms. */
  readonly cacheMs: number
  readonly health: boolean
  readonly onFault: OnFault
}

export function opsRoute({ notReady, metrics, cacheMs, health, onFault }: OpsSources): Route {
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
    const gather = cached(cacheMs, () => metrics.metrics())
    answers.set('/metrics', async response => {
      const body = await gather()
      response.writeHead(200, { 'Content-Type': metrics.contentType }).end(body)
    })
  }
  return (request, response) => {
    const answer = answers.get(pathOf(request))
    if (answer === undefined || !isRead(request)) return false
    answer(response).catch(thrown => {
      onFault('http.request', thrown)
      if (response.headersSent) response.destroy()
      else send(response, 500, 'text/plain', 'failed\n')
    })
    return true
  }
}

/** Caches the result of `make` for `cacheMs`. A failure is not cached. */
function cached<T>(cacheMs: number, make: () => Promise<T>): () => Promise<T> {
  let kept: Promise<T> | undefined
  let until = Number.NEGATIVE_INFINITY
  return () => {
    const now = performance.now()
    if (kept !== undefined && now < until) return kept
    until = now + cacheMs
    kept = make().catch(thrown => {
      kept = undefined
      throw thrown
    })
    return kept
  }
}
