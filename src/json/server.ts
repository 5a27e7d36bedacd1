/** The JSON front end: takes upgraded sockets, greets, finds dead connections. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type Server, WebSocketServer } from 'ws'
import { askedLocale, type Locale } from '../core/errors.js'
import { Faults, guarded } from '../core/faults.js'
import type { Metrics } from '../core/metrics.js'
import { TurnEnd } from '../flow/turn-end.js'
import type { Services } from '../handle/context.js'
import { InboxReader } from '../inbox/reader.js'
import { type PausableWebSocket, serverOptions } from '../net/websocket.js'
import { encodeGreeting } from '../protocol/replies.js'
import { type ConnectionHost, type ConnectionRules, JsonConnection } from './connection.js'

export interface JsonServerOptions extends Omit<ConnectionRules, 'checkEveryMs'> {
  /** The public key of the greeting, upper-case hex. */
  readonly greeting: string
  readonly maxFrameBytes: number
  readonly locale: Locale
  readonly windowMessages: number
  readonly windowChars: number
}

/** Connections are looked at so often within a ping's time-out: a dead one is found no later than it is over. */
const CHECKS_A_TIMEOUT = 4

export class JsonServer {
  readonly #wss: Server<typeof PausableWebSocket>
  readonly #connections = new Set<JsonConnection>()
  readonly #greeting: string
  readonly #host: ConnectionHost
  readonly #checker: NodeJS.Timeout
  #lastCheck = performance.now()
  #isOpen = true

  constructor(
    services: Services,
    private readonly metrics: Metrics,
    private readonly options: JsonServerOptions,
  ) {
    this.#wss = new WebSocketServer({
      ...serverOptions(options.maxFrameBytes),
      // There is none to agree on; ws would take the first that is offered.
      handleProtocols: () => false,
    })
    this.#greeting = encodeGreeting(options.greeting)
    this.#host = this.#makeHost(services)
    this.#checker = setInterval(() => this.#check(), this.#host.rules.checkEveryMs).unref()
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Completes the handshake (RFC 6455 4.2) and greets. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, address: string | undefined): void {
    this.#wss.handleUpgrade(request, socket, head, ws => {
      const locale = askedLocale(request.url) ?? this.options.locale
      const connection = new JsonConnection(this.#host, ws, request.socket, { locale, address })
      this.#connections.add(connection)
      this.metrics.connections.inc({ front: 'json' })
      connection.write(this.#greeting)
    })
  }

  /** Refuses new requests, so that what is under way can be answered; then `close`. */
  stopTaking(): void {
    this.#isOpen = false
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

  /** A process that was stopped, suspended or blocked must not take for silence what it has not read yet. */
  #check(): void {
    const now = performance.now()
    const isLate = now - this.#lastCheck > 2 * this.#host.rules.checkEveryMs
    this.#lastCheck = now
    for (const connection of this.#connections) {
      const end = () => connection.destroy()
      const look = () => (isLate ? connection.excuse(now) : connection.check(now))
      guarded('ws.check', { onFault: this.#host.onFault, end }, look)()
    }
  }

  #makeHost(services: Services): ConnectionHost {
    const server = this
    const { options, metrics } = this
    return {
      services,
      metrics,
      rules: { ...options, checkEveryMs: options.pingTimeoutMs / CHECKS_A_TIMEOUT },
      turnEnd: new TurnEnd(),
      onFault: new Faults(services.log, metrics).report,
      get isOpen() {
        return server.#isOpen
      },
      openReader: reader => new InboxReader(services.inbox, metrics, services.log, { ...options, ...reader }),
      closed(connection) {
        server.#connections.delete(connection)
        metrics.connections.dec({ front: 'json' })
      },
    }
  }
}
