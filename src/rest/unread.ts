/** Answers a request before its body came: at once, and its connection ends where the rest does not come soon. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Answer } from './runner.js'

/** How long the rest of a body may take, ms. */
const LINGER_MS = 2000
/** A longer body is not worth its connection, bytes. */
const MAX_DROPPED = 262_144

/** Whether more of the body is to come. */
export const isUnread = ({ complete, headers }: IncomingMessage): boolean =>
  !complete && Number(headers['content-length'] ?? 0) > 0 && headers.upgrade === undefined

/**
 * The answer leaves whole, and for a while what comes is dropped: a client loses an answer with a connection that is closed while it
 * sends (RFC 9112, 9.6).
 */
export function answerUnread(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body = '' }: Answer,
): void {
  const isLong = Number(request.headers['content-length']) > MAX_DROPPED
  const close = isLong ? { Connection: 'close' } : {}
  response.writeHead(status, { ...headers, 'Content-Length': String(Buffer.byteLength(body)), ...close })
  response.write(body)
  const end = () => {
    clearTimeout(late)
    response.end()
  }
  const late = setTimeout(() => {
    response.once('finish', () => request.socket.destroySoon())
    end()
  }, LINGER_MS).unref()
  request.once('end', end)
  request.once('close', end)
  request.resume()
}
