/** The server's part of a WebSocket's opening handshake (RFC 6455, 4.2). */
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

/** RFC 6455, 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** 16 bytes, base64. */
const KEY = /^[+/0-9A-Za-z]{22}==$/
/** The final one, and that of the last drafts, which differs in nothing that matters here. */
const VERSIONS = ['13', '8']

/** What has to be said to a request that cannot be accepted. */
function refusalOf({ method, headers }: IncomingMessage): string | undefined {
  if (method !== 'GET') return '405 Method Not Allowed\r\nAllow: GET'
  if (!KEY.test(headers['sec-websocket-key'] ?? '')) return '400 Bad Request'
  if (!VERSIONS.includes(String(headers['sec-websocket-version'])))
    return `400 Bad Request\r\nSec-WebSocket-Version: ${VERSIONS.join(', ')}`
  return undefined
}

/**
 * Answers a request to upgrade to a WebSocket. No subprotocol and no extension is agreed to.
 * @returns whether the socket is a WebSocket now; else it is closed
 */
export function acceptWebSocket(request: IncomingMessage, socket: Duplex): boolean {
  const refusal = refusalOf(request)
  if (refusal !== undefined) {
    socket.end(`HTTP/1.1 ${refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
    return false
  }
  // The client may have closed its side already.
  if (!socket.readable || !socket.writable) {
    socket.destroy()
    return false
  }
  const key = request.headers['sec-websocket-key'] ?? ''
  const accept = createHash('sha1').update(`${key}${GUID}`).digest('base64')
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  )
  return true
}
