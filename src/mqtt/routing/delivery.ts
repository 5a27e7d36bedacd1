/** Delivery of packets to one client: live packets, retained messages, and packets of its stored queue. */
import { encodePublish, encodePubrel } from '../wire/encode.js'
import { publishByte, type QoS } from '../wire/packet-types.js'
import type { MqttTransport } from '../wire/transport.js'
import { FilterIndex } from './filter-index.js'
import type { RoutedPacket } from './packet.js'
import type { BrokerPacket, ClientRef } from './persistence/kv.js'
import type { Route, Router, Subscriber } from './router.js'

/** Packet identifiers from here to 65535 belong to the inbox (mqtt/inbox-delivery.ts), those below to other topics. */
export const FIRST_INBOX_ID = 32_768
const LAST_ID = FIRST_INBOX_ID - 1

/** Estimated memory of a held packet besides topic and payload, bytes. */
const PACKET_BYTES = 200

/** The client to which packets are delivered. */
export interface Recipient extends ClientRef {
  readonly clean: boolean
  readonly closed: boolean
  /** Whether packets on this topic may reach the client. */
  mayRead(topic: string): boolean
  /** A QoS 1 or 2 packet cannot be sent because the client's output buffer is full, or the store failed: ends the connection. */
  overrun(): void
}

/** What all deliveries of a broker share. */
export interface DeliveryRules {
  readonly router: Router
  /** Whether the stream of the stored queue delivers the packet. */
  readonly isStreamed: (client: ClientRef, packet: RoutedPacket) => boolean
  /** Stores the packet id and QoS with which a queued packet is sent; rejects if the store fails. */
  readonly recordId: (client: ClientRef, packet: BrokerPacket) => Promise<void>
  /** Removes a queued packet that was sent, or may not be. */
  readonly forgetId: (client: ClientRef, packet: BrokerPacket) => Promise<unknown>
  /**
   * Queues a retained message for this session, at this QoS; rejects if the store fails. @returns the packet as queued
   */
  readonly enqueue: (client: ClientRef, packet: RoutedPacket, qos: QoS) => Promise<RoutedPacket>
  /** Whether the client still owes an acknowledgement with this packet id, possibly since an earlier connection. */
  readonly isInFlight: (client: ClientRef, messageId: number) => boolean
  /** Called when a QoS 0 packet is not sent because the client's output buffer is full. */
  readonly onSkipped: () => void
  /** Bytes of live packets that may be held in memory while the stored queue is sent. */
  readonly maxHeldBytes: number
}

/** A packet to send, and the QoS that its subscription was granted. */
interface Due {
  readonly packet: RoutedPacket
  readonly granted: QoS
}

/** Encoded QoS 0 packets: all subscribers get the same bytes. */
const encoded = new WeakMap<RoutedPacket, Buffer>()

/**
 * Each client gets a packet once, at the highest QoS of all matching filters [MQTT-3.3.5-1] but not above the packet's
 * own. Live packets follow the stored queue.
 */
export class ClientDelivery implements Subscriber {
  /** By topic filter. */
  readonly #subscriptions = new Map<string, Route>()
  /**
   * Settles when the last waiting packet is sent. A packet waits until its packet id is stored, and later packets wait
   * behind it, so the order is kept.
   */
  #tail: Promise<unknown> | undefined
  /** Live QoS 1 and 2 packets that wait until the stored queue is sent; undefined after that. */
  #held: Due[] | undefined = []
  #heldBytes = 0
  /** Index of the client's own filters; made for its first retained message. */
  #filters: FilterIndex<Route> | undefined
  /** Begins by chance: a client of a clean session that is back does not get the ids of its last connection again. */
  #nextId = 1 + Math.floor(Math.random() * LAST_ID)

  constructor(
    private readonly client: Recipient,
    private readonly transport: MqttTransport,
    private readonly rules: DeliveryRules,
  ) {}

  /** @returns undefined if the client is not subscribed to exactly this filter */
  granted(filter: string): QoS | undefined {
    return this.#subscriptions.get(filter)?.qos
  }

  /** Packets are routed to the client from this turn on. Replaces a subscription with this filter [MQTT-3.8.4-3]. */
  subscribe(filter: string, qos: QoS): void {
    this.unsubscribe(filter)
    const route = this.rules.router.add(filter, qos, this)
    this.#subscriptions.set(filter, route)
    this.#filters?.add(filter, route)
  }

  unsubscribe(filter: string): void {
    const route = this.#subscriptions.get(filter)
    if (route === undefined) return
    this.#subscriptions.delete(filter)
    this.rules.router.remove(filter, route)
    this.#filters?.remove(filter, route)
  }

  close(): void {
    for (const [filter, route] of this.#subscriptions) this.rules.router.remove(filter, route)
    this.#subscriptions.clear()
    this.#held = undefined
  }

  /**
   * Sends the packets of the stored queue, and then the live ones that were held meanwhile.
   * @param queue DUP and packet ids are those of an earlier connection, where that was sent them [MQTT-4.4.0-1]
   */
  async sendQueue(queue: AsyncIterable<BrokerPacket>): Promise<void> {
    for await (const packet of queue) {
      if (this.client.closed) return
      await this.#sendQueued(packet)
      await this.transport.drained()
    }
    const held = this.#held ?? []
    this.#held = undefined
    for (const due of held) this.#send(due)
  }

  async #sendQueued(packet: BrokerPacket): Promise<void> {
    const { client, rules, transport } = this
    const messageId = packet.messageId ?? this.#takeId()
    await rules.recordId(client, { ...packet, messageId })
    if (client.closed) return
    if (packet.cmd === 'pubrel') {
      transport.expect(1)
      transport.send(encodePubrel(messageId))
    } else if (client.mayRead(packet.topic ?? ''))
      this.#put(packet as RoutedPacket, packet.qos as QoS, messageId)
    else await rules.forgetId(client, { messageId })
  }

  deliver(packet: RoutedPacket, granted: QoS): void {
    if (!this.client.mayRead(packet.topic)) return
    const due = { packet, granted }
    if (packet.qos === 0 || this.client.clean) this.#send(due)
    else if (this.rules.isStreamed(this.client, packet)) return
    else if (this.#held !== undefined) this.#hold(due, this.#held)
    else this.#send(due)
  }

  /**
   * Sends a packet to this client only, if it has subscribed to exactly this topic, at QoS 1 at most. The packet is not
   * stored, so a later connection does not get it again.
   */
  tell(packet: RoutedPacket): void {
    const granted = this.granted(packet.topic)
    if (granted === undefined) return
    const qos = granted === 0 ? 0 : 1
    if (this.transport.isCongested) qos === 0 ? this.rules.onSkipped() : this.client.overrun()
    else this.#write(packet, qos)
  }

  /**
   * Holds a packet. It is in the stored queue, too: a client that is disconnected here gets it on its next connection.
   */
  #hold(due: Due, held: Due[]): void {
    this.#heldBytes += PACKET_BYTES + due.packet.topic.length + due.packet.payload.length
    if (this.#heldBytes <= this.rules.maxHeldBytes) {
      held.push(due)
      return
    }
    held.length = 0
    this.client.overrun()
  }

  /** Sends a retained message. */
  retained(message: BrokerPacket): void {
    const packet = { ...message, cmd: 'publish', retain: true, dup: false } as RoutedPacket
    if (!this.client.mayRead(packet.topic)) return
    const qos = packet.qos === 0 ? 0 : (Math.min(packet.qos, this.#grantedQoS(packet.topic)) as QoS)
    // For a persistent session the message is queued, so that it is sent again if it is not acknowledged
    // [MQTT-4.4.0-1].
    if (qos === 0 || this.client.clean) this.#write(packet, qos)
    else this.#writeRecorded(packet, qos, this.rules.enqueue(this.client, packet, qos))
  }

  #send({ packet, granted }: Due): void {
    const qos = Math.min(packet.qos, granted) as QoS
    if (this.transport.isCongested) qos === 0 ? this.rules.onSkipped() : this.client.overrun()
    else if (qos === 0 || this.client.clean) this.#write(packet, qos)
    else this.#writeRecorded(packet, qos)
  }

  #write(packet: RoutedPacket, qos: QoS): void {
    const messageId = qos > 0 ? this.#takeId() : undefined
    if (this.#tail === undefined) this.#put(packet, qos, messageId)
    else this.#after(undefined, () => this.#put(packet, qos, messageId))
  }

  #writeRecorded(packet: RoutedPacket, qos: QoS, queued?: Promise<RoutedPacket>): void {
    const messageId = this.#takeId()
    const record = (one: RoutedPacket) => this.rules.recordId(this.client, { ...one, qos, messageId })
    this.#after(queued?.then(record) ?? record(packet), () => this.#put(packet, qos, messageId))
  }

  #after(record: Promise<void> | undefined, write: () => void): void {
    const mine: Promise<void> = Promise.all([this.#tail, record])
      .then(write, () => this.client.overrun())
      .then(() => {
        if (this.#tail === mine) this.#tail = undefined
      })
    this.#tail = mine
  }

  #put(packet: RoutedPacket, qos: QoS, messageId: number | undefined): void {
    // The client answers QoS 1 with one acknowledgement, QoS 2 with two.
    this.transport.expect(qos)
    this.transport.send(messageId === undefined ? bytesOf(packet) : encode(packet, qos, messageId))
  }

  /** The next packet id, and none that is in flight [MQTT-2.3.1-2]. */
  #takeId(): number {
    let id = this.#nextId
    // Bounded: a session may have more packets in flight than there are ids.
    for (let tries = 0; tries < LAST_ID && this.rules.isInFlight(this.client, id); tries++)
      id = 1 + (id % LAST_ID)
    this.#nextId = 1 + (id % LAST_ID)
    return id
  }

  #grantedQoS(topic: string): QoS {
    this.#filters ??= indexOf(this.#subscriptions)
    const granted = [...this.#filters.exactly(topic), ...this.#filters.byWildcard(topic)]
    return Math.max(0, ...granted.map(({ qos }) => qos)) as QoS
  }
}

function indexOf(subscriptions: ReadonlyMap<string, Route>): FilterIndex<Route> {
  const index = new FilterIndex<Route>()
  for (const [filter, route] of subscriptions) index.add(filter, route)
  return index
}

function bytesOf(packet: RoutedPacket): Buffer {
  const known = encoded.get(packet)
  if (known !== undefined) return known
  const bytes = encode(packet, 0)
  encoded.set(packet, bytes)
  return bytes
}

function encode({ topic, payload, retain, dup }: RoutedPacket, qos: QoS, messageId = 0): Buffer {
  return encodePublish(publishByte(qos, dup, retain), topic, messageId, payload)
}
