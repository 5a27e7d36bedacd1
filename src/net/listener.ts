/** One TCP port: admits or refuses connections, does the TLS handshake, and hands sockets on. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls'
import { guarded, type OnFault } from '../core/faults.js'
import type { TlsFiles } from './tls.js'

export interface ListenerOptions {
  readonly host: string
  readonly port: number
  /** A listening socket that the process was given, in place of host and port. */
  readonly fd?: number | undefined
  /** If set, connections speak TLS. */
  readonly tls: TlsFiles | undefined
  /** How long a TLS handshake may take, ms. */
  readonly handshakeTimeoutMs: number
  /** Most open sockets. */
  readonly maxSockets: number
  /** Asked for each connection. Returns false to refuse it. */
  readonly admit: (address: string | undefined) => boolean
  /** A connection that was admitted has closed. @param address the same as before */
  readonly left: (address: string | undefined) => void
  /** Sent to a refused connection. Not over TLS, since the handshake is the cost to avoid. */
  readonly farewell: Buffer
  readonly onTlsError: (error: Error, address: string | undefined) => void
  readonly onFull: () => void
  /** A connection could not be accepted. The port stays open. */
  readonly onAcceptError: (error: Error) => void
  /** A handler failed; its socket is closed. */
  readonly onFault: OnFault
  readonly take: (socket: Socket) => void
}

/** How long a refused client has to read the reason, ms. */
const FAREWELL_MS = 1000

export class Listener {
  readonly #server: Server
  readonly #tls: TlsServer | undefined
  /** Open sockets, each with the address that was admitted, which a closed one does not tell any more; false: none was. */
  readonly #sockets = new Map<Socket, string | undefined | false>()
  /** Listener of 'close' that all sockets share. */
  readonly #closed: (this: Socket) => void
  /** Sockets in their TLS handshake or refused, which no front end holds. The key is remote address and port. */
  readonly #strays = new Map<string, Socket>()
  /** Resolves when it does not listen any more and all sockets are closed. */
  #stopped = Promise.resolve()

  constructor(private readonly options: ListenerOptions) {
    this.#server = createServer({ noDelay: true }, socket =>
      this.#guard('socket', socket, () => this.#accept(socket)),
    )
    const listener = this
    this.#closed = function () {
      listener.#forget(this)
    }
    this.#server.maxConnections = options.maxSockets
    this.#server.on('drop', options.onFull)
    this.#tls = options.tls && this.#makeTls(options.tls)
  }

  /** @throws the system's error, such as EADDRINUSE */
  async listen(): Promise<AddressInfo> {
    const { host, port, fd } = this.options
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(fd === undefined ? { port, host } : { fd }, resolve)
    })
    this.#server.removeAllListeners('error').on('error', this.options.onAcceptError)
    return this.#server.address() as AddressInfo
  }

  /** Stops listening. Resolves when all sockets are closed; the front ends close those that were handed on. */
  async close(): Promise<void> {
    for (const socket of this.#strays.values()) socket.destroy()
    await this.stop()
  }

  /** The same; sockets in their TLS handshake may go on. */
  stop(): Promise<void> {
    if (this.#server.listening) this.#stopped = new Promise(resolve => this.#server.close(() => resolve()))
    return this.#stopped
  }

  /** Destroys all open sockets. */
  cut(): void {
    for (const socket of this.#sockets.keys()) socket.destroy()
  }

  #guard(where: string, socket: Socket, handler: () => void): void {
    const { onFault } = this.options
    guarded(where, { onFault, end: () => socket.destroy() }, handler)()
  }

  #accept(socket: Socket): void {
    this.#sockets.set(socket, false)
    // By `on`: with `once` each takes 200 bytes more for as long as the socket is open.
    socket.on('close', this.#closed)
    // No front end listens for errors yet, and an 'error' event without a listener would end the process.
    socket.on('error', destroySocket)
    const address = socket.remoteAddress
    if (!this.options.admit(address)) {
      this.#turnAway(socket)
      return
    }
    this.#sockets.set(socket, address)
    if (this.#tls === undefined) {
      this.options.take(socket)
      return
    }
    this.#watch(socket)
    this.#tls.emit('connection', socket)
  }

  #forget(socket: Socket): void {
    const address = this.#sockets.get(socket)
    this.#sockets.delete(socket)
    if (address !== false) this.options.left(address)
  }

  /**
   * Reads and drops the input: closing a socket with unread input resets it, and the client could not read the reason.
   */
  #turnAway(socket: Socket): void {
    if (this.#tls !== undefined) {
      socket.destroy()
      return
    }
    this.#watch(socket)
    socket.resume()
    socket.end(this.options.farewell)
    const timer = setTimeout(() => socket.destroy(), FAREWELL_MS).unref()
    socket.once('close', () => clearTimeout(timer))
  }

  #watch(socket: Socket): void {
    const end = otherEnd(socket)
    this.#strays.set(end, socket)
    socket.once('close', () => this.#strays.delete(end))
  }

  #makeTls(files: TlsFiles): TlsServer {
    const { handshakeTimeoutMs, take, onTlsError } = this.options
    const server = createTlsServer({ ...files.context, handshakeTimeout: handshakeTimeoutMs })
    server.on('secureConnection', socket => {
      this.#strays.delete(otherEnd(socket))
      this.#guard('tls', socket, () => take(socket))
    })
    server.on('tlsClientError', (error, socket) => {
      this.#guard('tls', socket, () => onTlsError(error, socket.remoteAddress))
      socket.destroy()
    })
    files.follow(server)
    return server
  }
}

/** Listener of 'error' that all sockets share. */
function destroySocket(this: Duplex): void {
  this.destroy()
}

const otherEnd = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`
