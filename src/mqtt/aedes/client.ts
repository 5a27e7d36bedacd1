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
import mqttPacket from 'mqtt-packet'
import type { QoS } from '../wire/packet-kinds.js'
import type { Done } from '../wire/socket-output.js'
import type { MqttTransport } from '../wire/transport.js'
import { FilterIndex } from './filter-index.js'
import { FIRST_INBOX_ID } from './persistence/options.js'
import type { Route, Router, Subscriber } from './router.js'

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

/** Highest packet identifier that Aedes gives out; those above belong to the inbox (inbox-delivery.ts). */
const LAST_AEDES_ID = FIRST_INBOX_ID - 1

/** About what one takes in memory besides topic and payload. */
const PACKET_BYTES = 200

const noop = () => undefined

/** Its timer runs on while the client is not read, and would take it for dead: see SocketInput.watchSilence. */
const withoutKeepAlive: PreConnectHandler = (_client, packet, done) => {
  packet.keepalive = 0
  done(null, true)
}

/** Options that are not for who starts Aedes to choose. */
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

  /** To live subscribers, now and without waiting for any of them. */
  route(packet: PublishPacket): void {
    const { brokerId } = packet as Partial<AedesPublishPacket>
    const numbered = brokerId === undefined ? new Packet(packet, this) : packet
    // What Aedes tells itself: no client may subscribe to it.
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

  /** One that ended while its CONNECT was under way would stay for ever. */
  _finishRegisterClient(client: AedesClient): void {
    if (client.closed) return
    this.connectedClients++
    this.clients[client.id] = client
    this.emit('client', client)
  }

  /** A take-over in quick succession would let the old client's end remove the new one's entry. */
  unregisterClient(client: AedesClient): void {
    if (this.clients[client.id] === client) delete this.clients[client.id]
    this.connectedClients--
    this.emit('clientDisconnect', client)
  }
}

export interface DeliveryRules {
  /** Whether this packet may reach this client. */
  readonly mayRead: (topic: string) => boolean
  /** Whether the packet comes by the stream of the stored queue. */
  readonly isStreamed: (packet: AedesPublishPacket) => boolean
  /** Stores the packet id and QoS that a queued packet is sent with; rejects when the store fails. */
  readonly recordId: (packet: AedesPublishPacket) => Promise<void>
  /** Queues a retained message for this session, at this QoS; rejects when the store fails. @returns it as queued */
  readonly enqueue: (packet: AedesPublishPacket, qos: QoS) => Promise<AedesPublishPacket>
  /** Whether an acknowledgement with this packet id is still owed, perhaps since an earlier connection. */
  readonly isInFlight: (messageId: number) => boolean
  /** A QoS 0 packet was not sent because the client does not take what it has. */
  readonly onSkipped: () => void
  /** The client cannot be sent a QoS 1 or 2 packet: it is behind by more than its buffer. */
  readonly onOverrun: () => void
  /** What may wait in memory while the queue is being sent. */
  readonly maxHeldBytes: number
}

/** A packet to send, and the QoS that its subscription was granted. */
interface Due {
  readonly packet: AedesPublishPacket
  readonly granted: QoS
}

/** Packets at QoS 0 as bytes: the same for all subscribers. */
const encoded = new WeakMap<AedesPublishPacket, Buffer>()

/**
 * Replaces Aedes' delivery of routed packets to one client. Aedes drops what overtakes (its dedupe keeps the highest
 * counter seen), sends QoS 2 to a wildcard subscription of QoS 1, takes the first of overlapping filters, waits for
 * subscribers that are slow, and mixes live packets with those queued while a persistent session was away. Here: once a
 * client, at the highest QoS of all filters that match [MQTT-3.3.5-1], never above the packet's, and live ones behind
 * the queue.
 */
export class ClientDelivery implements Subscriber {
  /** Writes wait for their packet id to be recorded, in order. */
  #tail: Promise<unknown> | undefined
  /** QoS 1 and 2 packets that came while the queue is being sent. */
  #held: Due[] | undefined = []
  #heldBytes = 0
  /** The client's own filters; made when a retained message asks for it. */
  #filters: FilterIndex<Route> | undefined

  constructor(
    private readonly client: AedesClient,
    private readonly transport: MqttTransport,
    private readonly rules: DeliveryRules,
  ) {
    reservePacketIds(client, rules.isInFlight)
    // What is routed comes to `deliver`; Aedes is left with the retained messages at SUBSCRIBE.
    client.deliver0 = (packet, done) => this.#deliverRetained(packet, done)
    client.deliverQoS = client.deliver0
  }

  /** Aedes' authorizeForward: it is asked for the packets of the queue only, since live ones come here. */
  forwardQueued(packet: AedesPublishPacket): AedesPublishPacket | null {
    if (!this.rules.mayRead(packet.topic)) return null
    this.transport.expect(packet.qos)
    return packet
  }

  /** The queue is sent (Aedes' clientReady): what came meanwhile follows. */
  ready(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const due of held) this.#send(due)
  }

  deliver(packet: AedesPublishPacket, granted: QoS): void {
    if (!this.rules.mayRead(packet.topic)) return
    const due = { packet, granted }
    if (packet.qos === 0 || this.client.clean) this.#send(due)
    else if (this.rules.isStreamed(packet)) return
    else if (this.#held !== undefined) this.#hold(due, this.#held)
    else this.#send(due)
  }

  /**
   * Past the broker, to this client alone: where it has subscribed to just this topic, at QoS 1 at most. It is not
   * recorded, so it does not come again, and one that a client does not take is dealt with as any other packet.
   */
  tell(packet: AedesPublishPacket): void {
    const granted = this.client.subscriptions[packet.topic]?.qos
    if (granted === undefined) return
    const qos = granted === 0 ? 0 : 1
    if (this.transport.isCongested) qos === 0 ? this.rules.onSkipped() : this.rules.onOverrun()
    else this.#write(packet, qos)
  }

  added(filter: string, route: Route): void {
    this.#filters?.add(filter, route)
  }

  removed(filter: string, route: Route): void {
    this.#filters?.remove(filter, route)
  }

  /** They are in the stored queue, too: a client that is cut off gets them on its next connection. */
  #hold(due: Due, held: Due[]): void {
    this.#heldBytes += PACKET_BYTES + due.packet.topic.length + due.packet.payload.length
    if (this.#heldBytes <= this.rules.maxHeldBytes) {
      held.push(due)
      return
    }
    held.length = 0
    this.rules.onOverrun()
  }

  /** They come from a stream, which waits while the client is full. */
  #deliverRetained(packet: AedesPublishPacket, done: Done): void {
    if (this.transport.isCongested) this.transport.once('drain', () => done())
    else setImmediate(done)
    if (!this.rules.mayRead(packet.topic)) return
    const qos = packet.qos === 0 ? 0 : (Math.min(packet.qos, this.#grantedQoS(packet.topic)) as QoS)
    // To a persistent session by way of its queue: without its acknowledgement it comes again [MQTT-4.4.0-1].
    if (qos === 0 || this.client.clean) this.#write(packet, qos)
    else this.#writeRecorded(packet, qos, this.rules.enqueue(packet, qos))
  }

  #send({ packet, granted }: Due): void {
    const qos = Math.min(packet.qos, granted) as QoS
    if (this.transport.isCongested) qos === 0 ? this.rules.onSkipped() : this.rules.onOverrun()
    else if (qos === 0 || this.client.clean) this.#write(packet, qos)
    else this.#writeRecorded(packet, qos)
  }

  #write(packet: AedesPublishPacket, qos: QoS): void {
    const messageId = qos > 0 ? this.client._nextId++ : undefined
    if (this.#tail === undefined) this.#put(packet, qos, messageId)
    else this.#after(undefined, () => this.#put(packet, qos, messageId))
  }

  #writeRecorded(packet: AedesPublishPacket, qos: QoS, queued?: Promise<AedesPublishPacket>): void {
    const messageId = this.client._nextId++
    const record = (one: AedesPublishPacket) => this.rules.recordId({ ...one, qos, messageId })
    this.#after(queued?.then(record) ?? record(packet), () => this.#put(packet, qos, messageId))
  }

  #after(record: Promise<void> | undefined, write: () => void): void {
    const mine: Promise<void> = Promise.all([this.#tail, record])
      .then(write, this.rules.onOverrun)
      .then(() => {
        if (this.#tail === mine) this.#tail = undefined
      })
    this.#tail = mine
  }

  #put(packet: AedesPublishPacket, qos: QoS, messageId: number | undefined): void {
    // PUBACK, or PUBREC and PUBCOMP.
    this.transport.expect(qos)
    this.transport.send(messageId === undefined ? bytesOf(packet) : encode(packet, qos, messageId))
  }

  #grantedQoS(topic: string): QoS {
    this.#filters ??= indexOf(this.client.subscriptions)
    const granted = [...this.#filters.exactly(topic), ...this.#filters.byWildcard(topic)]
    return Math.max(0, ...granted.map(({ qos }) => qos)) as QoS
  }
}

function indexOf(subscriptions: Readonly<Record<string, Route>>): FilterIndex<Route> {
  const index = new FilterIndex<Route>()
  for (const [filter, route] of Object.entries(subscriptions)) index.add(filter, route)
  return index
}

function bytesOf(packet: AedesPublishPacket): Buffer {
  const known = encoded.get(packet)
  if (known !== undefined) return known
  const bytes = encode(packet, 0)
  encoded.set(packet, bytes)
  return bytes
}

function encode({ topic, payload, retain }: AedesPublishPacket, qos: QoS, messageId?: number): Buffer {
  const publish = { cmd: 'publish', topic, payload, qos, retain, dup: false } as const
  return mqttPacket.generate(messageId === undefined ? publish : { ...publish, messageId })
}

/**
 * Aedes counts `_nextId` up to 65,535 from a random number; it gets the lower half, and none that is in flight
 * [MQTT-2.3.1-2].
 */
function reservePacketIds(client: AedesClient, isInFlight: DeliveryRules['isInFlight']): void {
  let next = 1 + (client._nextId % LAST_AEDES_ID)
  Object.defineProperty(client, '_nextId', {
    get: () => {
      // Not for ever: a session may have more in flight than there are ids.
      for (let tries = 0; tries < LAST_AEDES_ID && isInFlight(next); tries++)
        next = 1 + (next % LAST_AEDES_ID)
      return next
    },
    set: (value: number) => {
      next = value > LAST_AEDES_ID || value < 1 ? 1 : value
    },
  })
}
