/** The way to resumable uploads (tus 1.0). Their protocol, with its package, is loaded at the first request for it. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { GatewayError, toGatewayError } from '../core/errors.js'
import { pathOf, type Route } from '../http/answers.js'
import { HEADERS, refuse, refuseUnread } from './answers.js'
import type { Exchange, Uploader } from './exchange.js'
import { Pace } from './pace.js'
import type { FilesRouteOptions } from './route.js'
import type { Tus } from './tus.js'

export interface ResumableOptions extends FilesRouteOptions {
  /**
   * Who asks, by an access token, and what a request costs.
   * @returns `check` throws if permissions of the account were revoked since
   * @throws GatewayError
   */
  readonly authorize: (
    request: IncomingMessage,
    response: ServerResponse,
    address: string | undefined,
  ) => Promise<Uploader>
}

const ROOT = '/api/v1/uploads'

export function resumableRoute(options: ResumableOptions): Route {
  let tus: Promise<Tus> | undefined
  const load = () => {
    tus ??= import('./tus.js').then(({ Tus }) => new Tus(options, ROOT))
    return tus
  }
  return (request, response, address, wait = () => undefined) => {
    const path = pathOf(request)
    if (path !== ROOT && !path.startsWith(`${ROOT}/`)) return false
    // Its bytes wait until it is known who sends them.
    request.pause()
    const pace = new Pace(wait, options.stallMs)
    const { socket } = request
    serve(options, { request, response, socket, address, pace, load }).catch(thrown => {
      const error = toGatewayError(thrown)
      if (error.kind === 'ERROR') options.onFault('http.uploads', thrown)
      if (response.destroyed) return
      if (request.complete) refuse(response, error)
      else refuseUnread({ request, response, socket }, error)
    })
    return true
  }
}

interface Asked extends Exchange {
  readonly address: string | undefined
  readonly load: () => Promise<Tus>
}

async function serve(options: ResumableOptions, asked: Asked): Promise<void> {
  const { request, response, socket, address, pace, load } = asked
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value)
  // Which pages may read it is in the answer, also in that to a preflight.
  response.setHeader('Vary', 'Origin')
  // A body without a length could not be bounded before it is read; http/server.ts does not read it.
  if (request.headers['transfer-encoding'] !== undefined)
    throw new GatewayError('BAD_FIELD', { field: 'content-length', reason: 'is missing' })
  // A preflight has no login (Fetch, 4.8).
  const uploader =
    request.method === 'OPTIONS' ? undefined : await options.authorize(request, response, address)
  response.once('finish', () => leaveUnread(request, socket))
  await (await load()).handle(request, { uploader, pace, response })
}

/** What is left of a body is not read. */
function leaveUnread(request: IncomingMessage, socket: Socket): void {
  if (!request.complete) socket.destroySoon()
}
