/** One HTTP server: two pages for people and old scripts, and the way to the WebSocket front ends. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  ServerResponse,
} from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'

export type Upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => void
/** Answers one path; false = not mine. */
export type Route = (request: IncomingMessage, response: ServerResponse) => boolean

export interface HttpServerOptions {
  readonly host: string
  readonly port: number
  readonly routes: readonly Route[]
  /** Path → what takes an upgraded socket there. */
  readonly upgrades: ReadonlyMap<string, Upgrade>
  /** Whether one more WebSocket is refused (503). */
  readonly isFull: () => boolean
}

/** A request line and headers take a client well under this, ms; sockets that dribble are closed. */
const HEADERS_TIMEOUT_MS = 10_000

const PAGE = `<!doctype html><meta charset="utf-8"><title>MumiChat Gateway</title>
<p>MumiChat Gateway is running. This address is for WebSocket clients: connect with <code>ws://</code> or <code>wss://</code>.</p>
`

export class HttpServer {
  readonly #server: Server

  constructor(private readonly options: HttpServerOptions) {
    this.#server = createServer(
      { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: HEADERS_TIMEOUT_MS },
      this.#answer,
    )
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    this.#server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')
    })
  }

  /** @throws the system's error, EADDRINUSE for one */
  async listen(): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(this.options.port, this.options.host, resolve)
    })
    return this.#server.address() as AddressInfo
  }

  /** Stops listening and closes plain HTTP connections; upgraded sockets belong to their front ends. */
  async close(): Promise<void> {
    await new Promise<void>(resolve => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  readonly #answer: RequestListener = (request, response) => {
    // A body is never wanted here: read it away so that the connection can be used again.
    request.resume()
    for (const route of this.options.routes) if (route(request, response)) return
    // The pages at `/` are for where a WebSocket is: the ops address has none.
    if (pathOf(request) !== '/' || !this.options.upgrades.has('/'))
      return send(response, 404, 'text/plain', 'not found\n')
    if (!isRead(request)) {
      // The two belong together (RFC 9110 7.8).
      response.setHeader('Upgrade', 'websocket').setHeader('Connection', 'Upgrade')
      return send(response, 426, 'text/plain', 'this address speaks WebSocket\n')
    }
    send(response, 200, 'text/html', PAGE)
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Until a front end has it the socket is ours, and an error without a listener would end the process.
    socket.on('error', () => socket.destroy())
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') {
      this.#answerInstead(request, socket as Socket)
      return
    }
    const take = this.options.upgrades.get(pathOf(request))
    if (take === undefined) refuseUpgrade(socket, '404 Not Found')
    else if (this.options.isFull()) refuseUpgrade(socket, '503 Service Unavailable')
    else take(request, socket, head)
  }

  /** Some HTTP clients offer h2c with every request. An offer may be passed over (RFC 9110 7.8). */
  #answerInstead(request: IncomingMessage, socket: Socket): void {
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    response.on('finish', () => socket.end())
    this.#answer(request, response)
  }
}

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

function refuseUpgrade(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}
