/** One HTTP server: the pages, the ops paths, and the upgrade to the WebSocket front ends. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  ServerResponse,
} from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { guarded, type OnFault } from '../core/faults.js'
import {
  isRead,
  pathOf,
  problemText,
  type Route,
  refuseUpgrade,
  send,
  sendProblem,
  type UpgradeRefusal,
} from './answers.js'
import type { Entrance } from './input.js'
import { MAX_REQUESTS_PER_SOCKET, Pipeline } from './pipeline.js'

/** Takes over an upgraded socket. @param address the client's, also if it is behind a proxy */
export type Upgrade = (
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  address: string | undefined,
) => void

export interface HttpServerOptions {
  readonly routes: readonly Route[]
  /** Path → the front end that takes an upgraded socket of this path. */
  readonly upgrades: ReadonlyMap<string, Upgrade>
  /** What the page at `/` leads to. */
  readonly links: readonly { readonly to: string; readonly text: string }[]
  /** How long request line and headers may take, and how long a connection may be idle without a request, ms. */
  readonly handshakeTimeoutMs: number
  /** The client's address of a request. */
  readonly clientOf: (peer: string | undefined, forwardedFor: string | undefined) => string | undefined
  /** Why a further WebSocket is refused; undefined = admitted. */
  readonly refusal: (
    request: IncomingMessage,
    socket: Duplex,
    address: string | undefined,
  ) => UpgradeRefusal | undefined
  /** Counts a request that is not a WebSocket upgrade. @returns whether it is allowed */
  readonly mayAsk: (address: string | undefined) => boolean
  /** Whether the lower limits for unknown clients apply. */
  readonly isStranger: (address: string | undefined) => boolean
  /** Where handshakes wait if many come at once. */
  readonly entrance: Entrance
  /** A connection was closed because it sent no request in time. */
  readonly onTimeout: () => void
  /** A handler failed; its connection is closed. */
  readonly onFault: OnFault
}

const BAD_REQUEST = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'

const LONG_HEADERS = problemText(431, 'Request Header Fields Too Large')

/** RFC 6585, 5. */
const TOO_LONG_HEADERS = `HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Type: application/problem+json\r\nContent-Length: ${LONG_HEADERS.length}\r\n\r\n${LONG_HEADERS}`

/**
 * Most unanswered requests on one connection (RFC 9112, 9.3.2), which also bounds the work for one read. Browsers do
 * not pipeline, and unknown clients need no pipelining.
 */
const MAX_UNANSWERED = { known: 100, stranger: 16 }

/** The answer for a connection that is refused before it has sent a request. */
export const TURNED_AWAY = Buffer.from(
  'HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n',
)

/** The page at `/`. Its links are relative, so that a proxy may serve it below another path. */
const pageOf = (
  links: HttpServerOptions['links'],
) => `<!doctype html><meta charset="utf-8"><title>MumiChat Gateway</title>
<p>MumiChat Gateway is running. This address is for WebSocket clients: connect with <code>ws://</code> or <code>wss://</code>.</p>
${links.map(({ to, text }) => `<p><a href="${to}">${text}</a></p>\n`).join('')}`

export class HttpServer {
  readonly #server: Server
  /** Connections that were not upgraded, with their timers. */
  readonly #sockets = new Map<Duplex, NodeJS.Timeout>()
  readonly #pipelines = new WeakMap<Duplex, Pipeline>()
  /** Listener of 'close' that all sockets share. */
  readonly #closed: (this: Duplex) => void

  constructor(private readonly options: HttpServerOptions) {
    // Node's time-outs are off: it checks them every half minute, and only for a server that listens itself. Node's own
    // answers are off, too, since no limit counts them: those to requests without Host and with an unknown expectation,
    // which may be ignored (RFC 9110, 10.1.1).
    const request: RequestListener = (request, response) =>
      this.#guard('http.request', request.socket, () => this.#answer(request, response))
    this.#server = createServer({ headersTimeout: 0, requestTimeout: 0, requireHostHeader: false }, request)
    const server = this
    this.#closed = function () {
      server.#forget(this)
    }
    this.#server.on('checkExpectation', request)
    this.#server.maxRequestsPerSocket = MAX_REQUESTS_PER_SOCKET
    this.#server.on('upgrade', (request, socket, parsed) => this.#offered(request, socket, parsed))
    this.#server.on('clientError', ({ code }: NodeJS.ErrnoException, socket) => {
      const pipeline = this.#pipelines.get(socket)
      pipeline?.input.stop()
      const answer = code === 'HPE_HEADER_OVERFLOW' ? TOO_LONG_HEADERS : BAD_REQUEST
      pipeline?.whenFree(() => socket.end(answer))
    })
  }

  /** Takes an open connection after its TLS handshake. */
  take(socket: Socket): void {
    this.#await(socket, this.options.onTimeout)
    socket.on('close', this.#closed)
    this.#server.emit('connection', socket)
    this.#pipelines.set(socket, new Pipeline(socket, this.options.entrance))
  }

  /** Closes connections that were not upgraded. Upgraded sockets belong to their front ends. */
  close(): void {
    for (const socket of [...this.#sockets.keys()]) socket.destroy()
  }

  #await(socket: Duplex, onTimeout?: () => void, ms = this.options.handshakeTimeoutMs): void {
    clearTimeout(this.#sockets.get(socket))
    const late = () => {
      socket.destroy()
      if (onTimeout !== undefined) this.#guard('http.timeout', socket, onTimeout)
    }
    this.#sockets.set(socket, setTimeout(late, ms).unref())
  }

  /** The socket has closed, or a front end takes it over. */
  #forget(socket: Duplex): void {
    socket.off('close', this.#closed)
    this.#pipelines.delete(socket)
    clearTimeout(this.#sockets.get(socket))
    this.#sockets.delete(socket)
  }

  #guard(where: string, socket: Duplex, handler: () => void): void {
    const { onFault } = this.options
    guarded(where, { onFault, end: () => socket.destroy() }, handler)()
  }

  readonly #answer: RequestListener = (request, response) => {
    const pipeline = this.#pipelines.get(request.socket)
    if (pipeline !== undefined && !pipeline.input.isOver) this.#enter(pipeline, request, response)
  }

  #enter(pipeline: Pipeline, request: IncomingMessage, response: ServerResponse): void {
    if (request.socket.destroyed) return
    pipeline.enter(response)
    const address = this.#clientOf(request)
    const max = this.options.isStranger(address) ? MAX_UNANSWERED.stranger : MAX_UNANSWERED.known
    const isOver = pipeline.open > max || !this.options.mayAsk(address)
    const isBad = request.headers.host === undefined && request.httpVersion === '1.1'
    // Node processes the chunks of a body one by one, and a chunk may be a single byte (RFC 9112, 7.1).
    const hasChunks = request.headers['transfer-encoding'] !== undefined
    if (isOver || isBad || hasChunks || pipeline.isAtEnd) {
      response.shouldKeepAlive = false
      pipeline.input.stop()
    }
    if (isOver) {
      response.setHeader('Retry-After', 10)
      sendProblem(response, 429, 'Too Many Requests')
    } else if (isBad) sendProblem(response, 400, 'No Host')
    else this.#serve(request, response, address)
  }

  #serve(request: IncomingMessage, response: ServerResponse, address: string | undefined): void {
    // A body that no route listens for is read and dropped, so that the connection can be used again.
    request.resume()
    this.#goOn(request.socket)
    response.once('finish', () => this.#goOn(request.socket))
    const wait = (ms: number) => this.#goOn(request.socket, ms)
    for (const route of this.options.routes) if (route(request, response, address, wait)) return
    // The page at `/` is only for the HTTP port. The ops address has no WebSocket.
    if (pathOf(request) !== '/' || !this.options.upgrades.has('/'))
      send(response, 404, 'text/plain', 'not found\n')
    else if (isRead(request)) send(response, 200, 'text/html', pageOf(this.options.links))
    else {
      // Upgrade must be named in Connection (RFC 9110, 7.8).
      const connection = response.shouldKeepAlive ? 'Upgrade' : 'Upgrade, close'
      response.setHeader('Upgrade', 'websocket').setHeader('Connection', connection)
      send(response, 426, 'text/plain', 'this address speaks WebSocket\n')
    }
  }

  /** Restarts the timer, for the answer and then for the rest of the body or the next request. */
  #goOn(socket: Socket, ms?: number): void {
    if (this.#sockets.has(socket)) this.#await(socket, undefined, ms)
  }

  #clientOf(request: IncomingMessage): string | undefined {
    // Cut from the left, since the entries at the end count. 1,024 characters hold two dozen proxies.
    const forwardedFor = [request.headers['x-forwarded-for']].flat().join(',').slice(-1024)
    return this.options.clientOf(request.socket.remoteAddress, forwardedFor)
  }

  /** The client offered an Upgrade. Node has given up the socket. */
  #offered(request: IncomingMessage, socket: Duplex, parsed: Buffer): void {
    socket.on('error', destroySocket)
    const pipeline = this.#pipelines.get(socket)
    if (pipeline === undefined) return
    const head = Buffer.concat([parsed, pipeline.input.detach()])
    const upgrade = pipeline.mayUpgrade
      ? () => this.#upgrade(request, socket, head)
      : () => refuseUpgrade(socket, { status: '503 Service Unavailable' })
    const guard = () => {
      if (!socket.destroyed) this.#guard('http.upgrade', socket, upgrade)
    }
    pipeline.whenFree(() => (pipeline.input.hasTurn ? guard() : this.options.entrance.enter(guard)))
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // A server must ignore Upgrade in an HTTP/1.0 request (RFC 9110, 7.8). HTTP/2 has no such request line.
    if (request.httpVersion !== '1.1' || request.headers.upgrade?.toLowerCase() !== 'websocket') {
      this.#answerInstead(request, socket as Socket)
      return
    }
    const { upgrades, refusal } = this.options
    const address = this.#clientOf(request)
    const take = upgrades.get(pathOf(request))
    const refused = take === undefined ? { status: '404 Not Found' } : refusal(request, socket, address)
    if (take === undefined || refused !== undefined) {
      refuseUpgrade(socket, refused ?? { status: '404 Not Found' })
      return
    }
    this.#forget(socket)
    // The front end has its own; an open socket keeps nothing of its upgrade.
    socket.off('error', destroySocket)
    take(request, socket, head, address)
  }

  /** Answers a request whose Upgrade is ignored (RFC 9110, 7.8): some HTTP clients offer h2c with every request. */
  #answerInstead(request: IncomingMessage, socket: Socket): void {
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(socket)
    response.on('finish', () => socket.end())
    const pipeline = this.#pipelines.get(socket)
    if (pipeline !== undefined) this.#enter(pipeline, request, response)
  }
}

/** Listener of 'error' that all sockets share until a front end has its own. */
function destroySocket(this: Duplex): void {
  this.destroy()
}
