/** Answers HTTP requests, and decides which answer applies. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/**
 * Answers the requests of one path. A body is dropped, unless the route listens for it in the same turn.
 * @param address the client's, also if it is behind a proxy
 * @param wait gives the client so many ms from now, for the rest of its request and until it has read the answer
 * @returns false if the request is for another route
 */
export type Route = (
  request: IncomingMessage,
  response: ServerResponse,
  address?: string | undefined,
  wait?: (ms: number) => void,
) => boolean

/** The old server's liveness page, byte for byte the same. */
export const testRoute: Route = (request, response) => {
  if (pathOf(request) !== '/test' || !isRead(request)) return false
  send(response, 200, 'application/json', '{"message":"test"}')
  return true
}

/** GET, or HEAD, for which Node omits the body. */
export const isRead = ({ method }: IncomingMessage): boolean => method === 'GET' || method === 'HEAD'

/** The path without the query. A request target that is not a path (CONNECT, absolute form) matches no route. */
export const pathOf = (request: IncomingMessage): string => (request.url ?? '').split('?', 1)[0] ?? ''

export function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'Content-Type': `${type}; charset=utf-8`,
    'Content-Length': Buffer.byteLength(body),
    'X-Content-Type-Options': 'nosniff',
  })
  response.end(body)
}

/** Refuses as problem details (RFC 9457) without a type: what HTTP's status says is all. */
export const problemText = (status: number, title: string): string =>
  `{"type":"about:blank","title":"${title}","status":${status}}`

export const sendProblem = (response: ServerResponse, status: number, title: string): void =>
  send(response, status, 'application/problem+json', problemText(status, title))

/** Why a WebSocket is refused. */
export interface UpgradeRefusal {
  /** HTTP status with its words. */
  readonly status: string
  readonly retryAfterSeconds?: number
}

export function refuseUpgrade(socket: Duplex, { status, retryAfterSeconds }: UpgradeRefusal): void {
  const retry = retryAfterSeconds === undefined ? '' : `Retry-After: ${retryAfterSeconds}\r\n`
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n${retry}Content-Length: 0\r\n\r\n`)
}
