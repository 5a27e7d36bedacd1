/**
 * The inner parts of Aedes 1.2 that the gateway uses or changes, each with its reason. The version of Aedes is pinned.
 * Before an upgrade, run the tests of these parts, in test/wire: mqtt-cures, and by topic mqtt-rights (refused filters,
 * $share, granted QoS), mqtt-topics (overlapping filters), mqtt-takeover (client ids, session present) and mqtt-connect
 * (versions).
 */
import type { EventEmitter } from 'node:events'
import {
  Aedes,
  type AedesOptions,
  type AedesPublishPacket,
  type Client,
  type PreConnectHandler,
  type PublishPacket,
} from 'aedes'
import Packet from 'aedes-packet'
import type { Done } from '../wire/socket-output.js'
import type { Route, Router } from './router.js'

type PublishDone = (error?: Error) => void

/** The members of Aedes' Client that its published type lacks. */
export interface AedesClient extends Client {
  id: string
  subscriptions: Record<string, Route>
  readonly will: AedesPublishPacket | null
  readonly _will: AedesPublishPacket | null
  deliver0: (packet: AedesPublishPacket, done: Done) => void
  deliverQoS: (packet: AedesPublishPacket, done: Done) => void
  _nextId: number
  readonly _parser: EventEmitter
  /** Packet ids of QoS 2 packets that wait for PUBREL. */
  readonly _inboundInflight: Set<number>
}

const noop = () => undefined

/**
 * Switches off Aedes' keep-alive timer, which also runs while the client is not read. SocketInput.watchSilence replaces
 * it.
 */
const withoutKeepAlive: PreConnectHandler = (_client, packet, done) => {
  packet.keepalive = 0
  done(null, true)
}

/** Options that only this class sets. */
type Ours =
  | 'concurrency'
  | 'drainTimeout'
  | 'queueLimit'
  | 'maxInflightInbound'
  | 'maxClientsIdLength'
  | 'keepaliveLimit'
  | 'preConnect'

export class GatewayAedes extends Aedes {
  declare readonly clients: Record<string, AedesClient>
  declare connectedClients: number
  declare readonly mq: { emit(packet: object, done: () => void): void }
  readonly #consumed = new WeakSet<object>()

  constructor(
    private readonly router: Router,
    options: Omit<AedesOptions, Ours>,
  ) {
    // drainTimeout: the transport finds stalled clients. queueLimit: the transport bounds what may follow a CONNECT;
    // the default of 42 would close clients that send without waiting for CONNACK, which [3.1.4] allows.
    // maxInflightInbound: see TopicStore. maxClientsIdLength: the packet gate checks it, the same for 3.1 and 3.1.1.
    super({
      ...options,
      concurrency: 1000,
      drainTimeout: 0,
      queueLimit: 65_536,
      maxInflightInbound: 0,
      maxClientsIdLength: Number.POSITIVE_INFINITY,
      preConnect: withoutKeepAlive,
    })
  }

  /**
   * Excludes a packet that `authorizePublish` has handled from Aedes' own publish. Aedes acknowledges QoS 1 before it
   * stores, and records QoS 2 ids before it publishes. So `authorizePublish` stores and routes, before any
   * acknowledgement.
   */
  consume(packet: object): void {
    this.#consumed.add(packet)
  }

  override publish(packet: PublishPacket, client?: Client | PublishDone, done?: PublishDone): void {
    const finish = (typeof client === 'function' ? client : done) ?? noop
    if (!this.#consumed.has(packet)) this.route(packet)
    // Asynchronous, as in Aedes: callers rely on it.
    setImmediate(finish)
  }

  /** Passes the packet to all live subscribers in this event-loop turn, and waits for none of them. */
  route(packet: PublishPacket): void {
    const { brokerId } = packet as Partial<AedesPublishPacket>
    const numbered = brokerId === undefined ? new Packet(packet, this) : packet
    // Events of Aedes itself; no client may subscribe to them.
    if (packet.topic.startsWith('$SYS/')) this.mq.emit(numbered as never, noop)
    else this.router.route(numbered as AedesPublishPacket)
  }

  /** Does nothing: the router follows `client.subscriptions` instead, so a subscriber is not called once per filter. */
  override subscribe(_topic: string, _deliver: unknown, done: () => void): void {
    done()
  }

  override unsubscribe(_topic: string, _deliver: unknown, done?: () => void): void {
    done?.()
  }

  /** Registers a client, unless it closed during its CONNECT: such an entry would never be removed. */
  _finishRegisterClient(client: AedesClient): void {
    if (client.closed) return
    this.connectedClients++
    this.clients[client.id] = client
    this.emit('client', client)
  }

  /** Removes the client's entry. After a take-over the entry is the new client's and stays. */
  unregisterClient(client: AedesClient): void {
    if (this.clients[client.id] === client) delete this.clients[client.id]
    this.connectedClients--
    this.emit('clientDisconnect', client)
  }
}
