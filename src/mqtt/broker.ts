/** The MQTT front end: a broker over the gateway's services and store. */
import { randomUUID } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { Metrics } from '../core/metrics.js'
import type { Services } from '../handle/services.js'
import type { KeyValue } from '../store/store.js'
import { makeParts } from './compose.js'
import type { ConnectParts } from './connect-parts.js'
import { Connections } from './connections.js'
import type { BrokerOptions } from './options.js'
import { logStoreFault } from './parts.js'
import { Presence } from './presence.js'
import { SessionExpiry } from './session-expiry.js'
import { openConnection, type SocketOrigin } from './socket.js'
import { Wills } from './wills.js'

/** How often sessions are looked for that were not seen for `mqtt.sessionExpiry`, ms. */
const EXPIRE_EVERY_MS = 3_600_000

export class MqttBroker {
  readonly #parts: ConnectParts
  readonly #presence: Presence
  #expiry: NodeJS.Timeout | undefined
  #isRunning = false

  constructor(services: Services, kv: KeyValue, metrics: Metrics, options: BrokerOptions) {
    const connections = new Connections()
    const parts = makeParts({ services, metrics, options }, kv, connections)
    const wills = new Wills(parts, connections)
    this.#parts = { ...parts, connections, wills, expiry: new SessionExpiry(parts, connections) }
    this.#presence = new Presence(services.live, parts.router, {
      windowMs: options.presenceWindowMs,
      onFailed: thrown => logStoreFault(parts, 'presence', thrown),
    })
  }

  /** Resolves when `take` may be called: the stored state is read, and wills of an earlier process are published. */
  async start(): Promise<void> {
    const { wills, expiry, services, state, system } = this.#parts
    await state.setup({ id: randomUUID() })
    expiry.start()
    await wills.publishStored()
    this.#expiry = setInterval(() => this.#expire(), EXPIRE_EVERY_MS).unref()
    services.live.onPresence(userId => this.#presence.changed(userId))
    services.accounts.onDeleted(userId => state.sessions.forgetAccount(userId))
    system.start()
    this.#isRunning = true
  }

  /** Number of open connections. */
  get connections(): number {
    return this.#parts.connections.open.size
  }

  get isRunning(): boolean {
    return this.#isRunning && !this.#parts.phase.isClosing
  }

  /** From now on these rights to topics outside `users/` count. */
  replaceAcl(acl: BrokerOptions['acl']): void {
    this.#parts.access.replace(acl)
  }

  /** Takes an open byte stream that speaks MQTT. */
  take(stream: Duplex, origin: SocketOrigin = {}): void {
    openConnection(this.#parts, stream, origin)
  }

  /** Sends away those that have been connected longest. @param after s until a client should be back */
  async dismiss(count: number, after: () => number): Promise<void> {
    await this.#parts.connections.dismiss(count, after, this.#parts.options.serverReference)
  }

  /** Every PUBLISH from now on is refused, while those under way are answered. Then call `close`. */
  stopTaking(): void {
    this.#parts.phase.isClosing = true
  }

  /** Ends all connections. Resolves when their wills are published and all state is written. */
  async close(): Promise<void> {
    const { connections, wills, expiry, state, system } = this.#parts
    this.#isRunning = false
    clearInterval(this.#expiry)
    this.#presence.close()
    system.close()
    await connections.caughtUp()
    connections.shutDown()
    await wills.settled()
    await connections.settled()
    wills.close()
    expiry.close()
    await state.destroy()
  }

  #expire(): void {
    const { state, wills } = this.#parts
    state.expire(Date.now()).catch(thrown => logStoreFault(this.#parts, 'expire', thrown))
    wills.publishStored().catch(thrown => logStoreFault(this.#parts, 'publishWill', thrown))
  }
}
