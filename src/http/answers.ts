/** Answers, and what decides which. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** Answers one path; false = not mine. */
export type Route = (request: IncomingMessage, response: ServerResponse) => boolean

/** The old server's liveness page, byte for byte. */
export const testRoute: Route = (request, response) => {
  if (pathOf(request) !== '/test' || !isRead(request)) return false
  send(response, 200, 'application/json', '{"message":"test"}')
  return true
}

/** Node sends no body where HEAD asks for none. */
export const isRead = ({ method }: IncomingMessage): boolean => method === 'GET' || method === 'HEAD'

/** The path without its query; a request target that is no path (CONNECT, absolute form) matches nothing. */
export const pathOf = (request: IncomingMessage): string => (request.url ?? '').split('?', 1)[0] ?? ''

export function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'Content-Type': `${type}; charset=utf-8`,
    'Content-Length': Buffer.byteLength(body),
    'X-Content-Type-Options': 'nosniff',
  })
  response.end(body)
}

export function refuseUpgrade(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}
