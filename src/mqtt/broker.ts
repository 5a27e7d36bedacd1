/** The MQTT front end: Aedes in this process, over the gateway's services and store. */
import type { Duplex } from 'node:stream'
import type { Metrics } from '../core/metrics.js'
import type { Services } from '../handle/services.js'
import type { KeyValue } from '../store/store.js'
import { makeParts } from './compose.js'
import type { ConnectParts } from './connect.js'
import { Connections } from './connections.js'
import { hook } from './hooks.js'
import type { BrokerOptions } from './options.js'
import { logStoreFault } from './parts.js'
import { Presence } from './presence.js'
import { openConnection, type SocketOrigin } from './socket.js'
import { Wills } from './wills.js'

/** How often sessions are looked for that were not seen for `mqtt.sessionExpiry`, ms. */
const EXPIRE_EVERY_MS = 3_600_000

/** Event-loop turns in which a closing broker reads what clients had sent: sockets, then TLS or WebSocket, then packets. */
const TURNS_TO_READ = 5

export class MqttBroker {
  readonly #parts: ConnectParts
  readonly #presence: Presence
  #expiry: NodeJS.Timeout | undefined

  constructor(services: Services, kv: KeyValue, metrics: Metrics, options: BrokerOptions) {
    const connections = new Connections()
    const parts = makeParts({ services, metrics, options }, kv, connections)
    this.#parts = { ...parts, connections, wills: new Wills(parts, connections) }
    this.#presence = new Presence(services.live, parts.router, {
      windowMs: options.presenceWindowMs,
      onFailed: thrown => logStoreFault(parts, 'presence', thrown),
    })
    hook(this.#parts)
  }

  /** Resolves when `take` may be called: the stored state is read, and wills of an earlier process are published. */
  async start(): Promise<void> {
    const { aedes, wills, services, state } = this.#parts
    await aedes.listen()
    await wills.publishStored()
    this.#expiry = setInterval(() => this.#expire(), EXPIRE_EVERY_MS).unref()
    services.live.onPresence(userId => this.#presence.changed(userId))
    services.accounts.onDeleted(userId => state.sessions.forgetAccount(userId))
  }

  /** Number of open connections. */
  get connections(): number {
    return this.#parts.connections.open.size
  }

  get isRunning(): boolean {
    return !this.#parts.phase.isClosing && !this.#parts.aedes.closed
  }

  /** Takes an open byte stream that speaks MQTT. */
  take(stream: Duplex, origin: SocketOrigin = {}): void {
    openConnection(this.#parts, this.#parts.connections, stream, origin)
  }

  /** Every PUBLISH from now on is refused, while those under way are answered. Then call `close`. */
  stopTaking(): void {
    this.#parts.phase.isClosing = true
  }

  /** Ends all connections. Resolves when their wills are published and all state is written. */
  async close(): Promise<void> {
    const { aedes, connections, wills, state } = this.#parts
    clearInterval(this.#expiry)
    this.#presence.close()
    // A client that sent DISCONNECT just before leaves no will [MQTT-3.1.2-10].
    for (const transport of connections.open) transport.catchUp()
    for (let turn = 0; turn < TURNS_TO_READ; turn++) await new Promise(setImmediate)
    for (const client of Object.values(aedes.clients ?? {})) {
      const connection = connections.of(client)
      if (!connection.transport.hasDisconnected) connection.endsFor('SHUTDOWN')
    }
    await new Promise<void>(resolve => aedes.close(() => resolve()))
    await wills.settled()
    for (const transport of connections.open) transport.destroy()
    await state.destroy()
  }

  #expire(): void {
    this.#parts.state.expire(Date.now()).catch(thrown => logStoreFault(this.#parts, 'expire', thrown))
  }
}
