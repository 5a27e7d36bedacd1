/** The JSON front end: takes upgraded sockets, greets them, and finds dead connections. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Locale } from '../core/errors.js'
import type { Metrics } from '../core/metrics.js'
import type { ServerKey } from '../encryption/server-key.js'
import { Later } from '../flow/later.js'
import { Rounds } from '../flow/rounds.js'
import type { Services } from '../handle/services.js'
import { InboxReader } from '../inbox/reader.js'
import { askedLocale } from '../net/asked-locale.js'
import { encodeGreeting } from '../protocol/replies.js'
import { JsonConnection } from './connection.js'
import type { ConnectionHost, ConnectionRules } from './host.js'
import { ClientSocket } from './socket.js'

export interface JsonServerOptions extends Omit<ConnectionRules, 'checkEveryMs'> {
  /** Its public key is in the greeting. */
  readonly key: ServerKey
  /** Longest message of a client, bytes; a longer one closes the connection (1009). */
  readonly maxMessageBytes: number
  /** Language of replies where the client does not ask for one. */
  readonly locale: Locale
  readonly onFault: ConnectionHost['onFault']
  /** Unconfirmed messages on the way to one device: so many, and so many UTF-16 units of text. The next waits in the store. */
  readonly windowMessages: number
  readonly windowChars: number
}

/** A ping that may wait for more messages is thought of again within so many ms. */
const LATER_MS = 200
/** How often each connection is checked within the ping time-out. */
const CHECKS_A_TIMEOUT = 4
/** Most parts of one check of all connections: of 10,000 that came at once all pings are due at once. */
const MAX_PARTS = 32
/** Shortest time between two parts, ms. */
const MIN_PART_MS = 20

export class JsonServer {
  readonly #connections = new Set<JsonConnection>()
  readonly #greeting: string
  readonly #host: ConnectionHost
  readonly #checker: NodeJS.Timeout
  readonly #rounds: Rounds<JsonConnection>
  /** So much time between two checks means that this process did not run. */
  readonly #lateMs: number
  #lastCheck = performance.now()
  #isOpen = true

  constructor(
    services: Services,
    private readonly metrics: Metrics,
    private readonly options: JsonServerOptions,
  ) {
    this.#greeting = encodeGreeting(options.key.public)
    this.#host = this.#makeHost(services)
    const { checkEveryMs } = this.#host.rules
    const parts = Math.max(1, Math.min(MAX_PARTS, Math.floor(checkEveryMs / MIN_PART_MS)))
    this.#rounds = new Rounds(this.#connections, parts)
    this.#lateMs = checkEveryMs + checkEveryMs / parts
    this.#checker = setInterval(() => this.#check(), checkEveryMs / parts).unref()
  }

  /** Of the greeting, 64 upper-case hex digits. */
  get key(): string {
    return this.options.key.public
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Completes the handshake (RFC 6455 4.2) and greets. */
  upgrade(request: IncomingMessage, _socket: Duplex, head: Buffer, address: string | undefined): void {
    // What completes it and the greeting leave in one write.
    request.socket.cork()
    const ws = ClientSocket.accept(request, head, this.options.maxMessageBytes)
    if (ws !== undefined) this.#greet(ws, request, address)
    request.socket.uncork()
  }

  #greet(ws: ClientSocket, request: IncomingMessage, address: string | undefined): void {
    const locale = askedLocale(request.url) ?? this.options.locale
    const connection = new JsonConnection(this.#host, ws, locale, address, this.#closed)
    this.#connections.add(connection)
    this.metrics.connections.inc({ front: 'json' })
    connection.greet(this.#greeting)
  }

  /** Refuses new requests, so that those under way can be answered before `close`. */
  stopTaking(): void {
    this.#isOpen = false
  }

  /** Sends away those that have been connected longest (1001). @param after s until a client should be back */
  dismiss(count: number, after: () => number): void {
    const some = [...this.#connections].slice(0, count)
    for (const connection of some) connection.dismiss(after())
  }

  /** Sends every client away (1001); resolves when the sockets are closed or `graceMs` is over. */
  async close(graceMs: number): Promise<void> {
    clearInterval(this.#checker)
    const open = [...this.#connections]
    const gone = open.map(connection => connection.gone)
    for (const connection of open) connection.goAway()
    const deadline = new Promise<void>(resolve => setTimeout(resolve, graceMs).unref())
    await Promise.race([Promise.all(gone), deadline])
    for (const connection of open) connection.destroy()
  }

  readonly #closed = (connection: JsonConnection): void => {
    this.#connections.delete(connection)
    this.metrics.connections.dec({ front: 'json' })
  }

  /** Where this process was stopped, suspended or blocked, clients were not silent: what they sent is not read yet. */
  #check(): void {
    const now = performance.now()
    const isLate = now - this.#lastCheck > this.#lateMs
    this.#lastCheck = now
    for (const connection of isLate ? this.#connections : this.#rounds.next()) {
      try {
        if (isLate) connection.excuse(now)
        else connection.check(now)
      } catch (thrown) {
        connection.fault('ws.check', thrown)
      }
    }
  }

  #makeHost(services: Services): ConnectionHost {
    const server = this
    const { options, metrics } = this
    const { windowMessages, windowChars } = options
    return {
      services,
      metrics,
      rules: { ...options, checkEveryMs: options.pingTimeoutMs / CHECKS_A_TIMEOUT },
      later: new Later(LATER_MS),
      onFault: options.onFault,
      key: options.key,
      get isOpen() {
        return server.#isOpen
      },
      // Named one by one: a spread would give each reader a hidden class of its own, 600 bytes.
      openReader: ({ userId, device, sink, from }) => {
        const reading = { userId, device, sink, from, windowMessages, windowChars }
        return new InboxReader(services.inbox, metrics, services.log, reading)
      },
    }
  }
}
