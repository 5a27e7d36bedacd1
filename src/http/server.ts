/** One HTTP server: two pages for people and old scripts, and the way to the WebSocket front ends. */
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
import { isRead, pathOf, type Route, refuseUpgrade, send } from './answers.js'
import { Slices } from './slices.js'

/** @param address of the client, also where a proxy is between */
export type Upgrade = (
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  address: string | undefined,
) => void

export interface HttpServerOptions {
  readonly routes: readonly Route[]
  /** Path → what takes an upgraded socket there. */
  readonly upgrades: ReadonlyMap<string, Upgrade>
  /** How long a request line and headers may take, and a connection may be without them, ms. */
  readonly handshakeTimeoutMs: number
  /** Whose a request is. */
  readonly clientOf: (peer: string | undefined, forwardedFor: string | undefined) => string | undefined
  /** Why one more WebSocket is refused, as an HTTP status; undefined lets it in. */
  readonly refusal: (
    request: IncomingMessage,
    socket: Duplex,
    address: string | undefined,
  ) => string | undefined
  /** Whether one more request may come that is no WebSocket. */
  readonly mayAsk: (address: string | undefined) => boolean
  /** The time was over without a request. */
  readonly onTimeout: () => void
  /** A handler failed; its connection is closed. */
  readonly onFault: OnFault
}

/** Requests whose response has not left, and what is to be done with the connection when all have. */
interface Pipeline {
  open: number
  all: number
  whenFree: (() => void) | undefined
  /** One was refused, and with it all that follow. */
  isOver: boolean
}

/** Requests of one connection: probes and scrapers come back for more, nobody needs thousands. */
const MAX_REQUESTS_PER_SOCKET = 1000

const NOTHING: Buffer = Buffer.alloc(0)

const BAD_REQUEST = 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'

/** Requests that wait on one connection for the answers before them (RFC 9112 9.3.2): no browser pipelines. */
const MAX_UNANSWERED = 100

/** To one that is turned away before it asked. */
export const TURNED_AWAY = Buffer.from(
  'HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n',
)

const PAGE = `<!doctype html><meta charset="utf-8"><title>MumiChat Gateway</title>
<p>MumiChat Gateway is running. This address is for WebSocket clients: connect with <code>ws://</code> or <code>wss://</code>.</p>
`

export class HttpServer {
  readonly #server: Server
  /** Plain connections: those that were not upgraded. */
  readonly #sockets = new Map<Duplex, NodeJS.Timeout>()
  readonly #pipelines = new WeakMap<Duplex, Pipeline>()
  readonly #slices = new WeakMap<Duplex, Slices>()

  constructor(private readonly options: HttpServerOptions) {
    // Without time-outs of Node's: it looks at them every half minute, and only where it listens itself.
    this.#server = createServer({ headersTimeout: 0, requestTimeout: 0 }, (request, response) =>
      this.#guard('http.request', request.socket, () => this.#answer(request, response)),
    )
    this.#server.maxRequestsPerSocket = MAX_REQUESTS_PER_SOCKET
    this.#server.on('upgrade', (request, socket, piece) => {
      const head = this.#slices.get(socket)?.handOver(piece) ?? piece
      socket.on('error', () => socket.destroy())
      const upgrade = this.#mayUpgrade(socket)
        ? () => this.#upgrade(request, socket, head)
        : () => refuseUpgrade(socket, '503 Service Unavailable')
      this.#whenFree(socket, () => this.#guard('http.upgrade', socket, upgrade))
    })
    this.#server.on('clientError', (_error, socket) => {
      this.#slices.get(socket)?.handOver(NOTHING)
      this.#whenFree(socket, () => socket.end(BAD_REQUEST))
    })
  }

  /** An open connection, TLS done. */
  take(socket: Socket): void {
    this.#await(socket, this.options.onTimeout)
    socket.once('close', () => this.#forget(socket))
    this.#server.emit('connection', socket)
    this.#slices.set(socket, new Slices(socket, () => this.#pipelines.get(socket)?.isOver === true))
  }

  /** Closes plain HTTP connections; upgraded sockets belong to their front ends. */
  close(): void {
    for (const socket of [...this.#sockets.keys()]) socket.destroy()
  }

  #await(socket: Duplex, onTimeout?: () => void): void {
    clearTimeout(this.#sockets.get(socket))
    const late = () => {
      socket.destroy()
      if (onTimeout !== undefined) this.#guard('http.timeout', socket, onTimeout)
    }
    this.#sockets.set(socket, setTimeout(late, this.options.handshakeTimeoutMs).unref())
  }

  #forget(socket: Duplex): void {
    clearTimeout(this.#sockets.get(socket))
    this.#sockets.delete(socket)
  }

  #guard(where: string, socket: Duplex, handler: () => void): void {
    const { onFault } = this.options
    guarded(where, { onFault, end: () => socket.destroy() }, handler)()
  }

  /**
   * A socket that is handed over (an upgrade, what is no HTTP) may owe responses to requests that were pipelined before
   * (RFC 9112 9.3.2): they leave first, in order, and until then the socket is theirs.
   */
  #whenFree(socket: Duplex, next: () => void): void {
    const pipeline = this.#pipelines.get(socket)
    if (pipeline !== undefined && pipeline.open > 0) pipeline.whenFree ??= next
    else if (socket.writable) next()
    else socket.destroy()
  }

  /**
   * Node reads no further while more answers wait than a socket holds, and does not begin again once it has let go of
   * the socket: a WebSocket would hear nothing on it. Behind the last request that it takes it refuses the rest by
   * itself, and those answers would get among the frames.
   */
  #mayUpgrade(socket: Duplex): boolean {
    return !socket.isPaused() && (this.#pipelines.get(socket)?.all ?? 0) < MAX_REQUESTS_PER_SOCKET
  }

  #enter(socket: Duplex, response: ServerResponse): void {
    const pipeline = this.#pipelines.get(socket) ?? { open: 0, all: 0, whenFree: undefined, isOver: false }
    this.#pipelines.set(socket, pipeline)
    pipeline.open++
    pipeline.all++
    // Behind Node's own listener, which gives the socket to the next response.
    response.once('finish', () => {
      if (--pipeline.open > 0 || pipeline.whenFree === undefined) return
      const next = pipeline.whenFree
      pipeline.whenFree = undefined
      this.#whenFree(socket, next)
    })
  }

  /** Says so to the first, and closes; what was pipelined behind it is not looked at. */
  #turnAway(socket: Socket, response: ServerResponse): void {
    const pipeline = this.#pipelines.get(socket)
    if (pipeline === undefined || pipeline.open > 1) {
      socket.destroy()
      return
    }
    pipeline.isOver = true
    response.shouldKeepAlive = false
    response.setHeader('Retry-After', 10)
    send(response, 429, 'text/plain', 'too many requests\n')
  }

  readonly #answer: RequestListener = (request, response) => {
    const { socket } = request
    if (socket.destroyed || this.#pipelines.get(socket)?.isOver === true) return
    this.#enter(socket, response)
    const open = this.#pipelines.get(socket)?.open ?? 0
    if (open > MAX_UNANSWERED || !this.options.mayAsk(this.#clientOf(request)))
      return this.#turnAway(socket, response)
    // A body is never wanted here: read it away so that the connection can be used again.
    request.resume()
    this.#goOn(request.socket)
    response.once('finish', () => this.#goOn(request.socket))
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

  /** As long again for the answer, and behind it for what follows, the rest of a body or another request. */
  #goOn(socket: Socket): void {
    if (this.#sockets.has(socket)) this.#await(socket)
  }

  #clientOf(request: IncomingMessage): string | undefined {
    // The end says who it is; 1,024 characters are two dozen proxies.
    const forwardedFor = [request.headers['x-forwarded-for']].flat().join(',').slice(-1024)
    return this.options.clientOf(request.socket.remoteAddress, forwardedFor)
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Of an older client the header is to be passed over (RFC 9110 7.8); HTTP/2 has no such request line.
    if (request.httpVersion !== '1.1' || request.headers.upgrade?.toLowerCase() !== 'websocket') {
      this.#answerInstead(request, socket as Socket)
      return
    }
    const { upgrades, refusal } = this.options
    const address = this.#clientOf(request)
    const take = upgrades.get(pathOf(request))
    const status = take === undefined ? '404 Not Found' : refusal(request, socket, address)
    if (status !== undefined || take === undefined) {
      refuseUpgrade(socket, status ?? '404 Not Found')
      return
    }
    this.#forget(socket)
    take(request, socket, head, address)
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
