/**
 * The inner parts of Aedes 1.2 that the gateway relies on or changes, each with its reason. Aedes is pinned; an upgrade
 * begins by running their tests, in test/wire: mqtt-cures, and by topic mqtt-rights (refused filters, $share, granted
 * QoS), mqtt-topics (overlapping filters), mqtt-takeover (client ids, session present) and mqtt-connect (versions).
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

/** What Aedes' Client has beyond its published type. */
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

/** Aedes' keep-alive timer also runs while we do not read the client: SocketInput.watchSilence takes its place. */
const withoutKeepAlive: PreConnectHandler = (_client, packet, done) => {
  packet.keepalive = 0
  done(null, true)
}

/** Options that are set here and nowhere else. */
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
    // drainTimeout: the transport finds stalled clients. queueLimit: what one read may bring behind a CONNECT is
    // bounded by the transport; the default of 42 cuts off clients that rightly do not wait for CONNACK [3.1.4].
    // maxInflightInbound: see TopicStore. maxClientsIdLength: the packet gate's, for 3.1 as for 3.1.1.
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
   * What `authorizePublish` has dealt with is not published again: Aedes acknowledges QoS 1 before it stores and
   * records QoS 2 ids before it publishes, so storing and routing both happen there, before any acknowledgement.
   */
  consume(packet: object): void {
    this.#consumed.add(packet)
  }

  override publish(packet: PublishPacket, client?: Client | PublishDone, done?: PublishDone): void {
    const finish = (typeof client === 'function' ? client : done) ?? noop
    if (!this.#consumed.has(packet)) this.route(packet)
    // Always later, as Aedes' own: callers rely on it.
    setImmediate(finish)
  }

  /** Hands the packet to all live subscribers in this turn, and waits for none of them. */
  route(packet: PublishPacket): void {
    const { brokerId } = packet as Partial<AedesPublishPacket>
    const numbered = brokerId === undefined ? new Packet(packet, this) : packet
    // Aedes' messages to itself; no client may subscribe to them.
    if (packet.topic.startsWith('$SYS/')) this.mq.emit(numbered as never, noop)
    else this.router.route(numbered as AedesPublishPacket)
  }

  /** The router follows `client.subscriptions` instead, which does not call a subscriber once a filter. */
  override subscribe(_topic: string, _deliver: unknown, done: () => void): void {
    done()
  }

  override unsubscribe(_topic: string, _deliver: unknown, done?: () => void): void {
    done?.()
  }

  /** A client that closed while its CONNECT was under way is not registered: nobody would remove it. */
  _finishRegisterClient(client: AedesClient): void {
    if (client.closed) return
    this.connectedClients++
    this.clients[client.id] = client
    this.emit('client', client)
  }

  /** After a take-over the entry is the new client's, and stays when the old one ends. */
  unregisterClient(client: AedesClient): void {
    if (this.clients[client.id] === client) delete this.clients[client.id]
    this.connectedClients--
    this.emit('clientDisconnect', client)
  }
}
