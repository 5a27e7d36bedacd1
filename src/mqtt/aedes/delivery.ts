/** Delivery of packets to one client: live packets, retained messages, and packets of its stored queue. */
import type { AedesPublishPacket } from 'aedes'
import { encodePublish } from '../wire/encode.js'
import { publishByte, type QoS } from '../wire/packet-types.js'
import type { Done } from '../wire/socket-output.js'
import type { MqttTransport } from '../wire/transport.js'
import type { AedesClient } from './client.js'
import { FilterIndex } from './filter-index.js'
import { FIRST_INBOX_ID } from './persistence/options.js'
import type { Route, Subscriber } from './router.js'

/** Highest packet identifier that Aedes assigns; higher ones belong to the inbox (inbox-delivery.ts). */
const LAST_AEDES_ID = FIRST_INBOX_ID - 1

/** Estimated memory of a held packet besides topic and payload, bytes. */
const PACKET_BYTES = 200

export interface DeliveryRules {
  /** Whether this packet may reach this client. */
  readonly mayRead: (topic: string) => boolean
  /** Whether the stream of the stored queue delivers the packet. */
  readonly isStreamed: (packet: AedesPublishPacket) => boolean
  /** Stores the packet id and QoS with which a queued packet is sent; rejects if the store fails. */
  readonly recordId: (packet: AedesPublishPacket) => Promise<void>
  /**
   * Queues a retained message for this session, at this QoS; rejects if the store fails. @returns the packet as queued
   */
  readonly enqueue: (packet: AedesPublishPacket, qos: QoS) => Promise<AedesPublishPacket>
  /** Whether the client still owes an acknowledgement with this packet id, possibly since an earlier connection. */
  readonly isInFlight: (messageId: number) => boolean
  /** Called when a QoS 0 packet is not sent because the client's output buffer is full. */
  readonly onSkipped: () => void
  /** Called when a QoS 1 or 2 packet cannot be sent because the client's output buffer is full. */
  readonly onOverrun: () => void
  /** Bytes of live packets that may be held in memory while the stored queue is sent. */
  readonly maxHeldBytes: number
}

/** A packet to send, and the QoS that its subscription was granted. */
interface Due {
  readonly packet: AedesPublishPacket
  readonly granted: QoS
}

/** Encoded QoS 0 packets: all subscribers get the same bytes. */
const encoded = new WeakMap<AedesPublishPacket, Buffer>()

/**
 * Replaces Aedes' delivery of routed packets to one client. Aedes drops a packet that arrives out of order (it keeps
 * the highest counter seen), sends QoS 2 to a wildcard subscription of QoS 1, uses the first of overlapping filters,
 * waits for slow subscribers, and mixes live packets with those that were queued while a persistent session was
 * disconnected.
 *
 * Here each client gets a packet once, at the highest QoS of all matching filters [MQTT-3.3.5-1] but not above the
 * packet's own. Live packets follow the stored queue.
 */
export class ClientDelivery implements Subscriber {
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

  constructor(
    private readonly client: AedesClient,
    private readonly transport: MqttTransport,
    private readonly rules: DeliveryRules,
  ) {
    reservePacketIds(client, rules.isInFlight)
    // The router calls `deliver`. Aedes calls these two only for retained messages at SUBSCRIBE.
    client.deliver0 = (packet, done) => this.#deliverRetained(packet, done)
    client.deliverQoS = client.deliver0
  }

  /**
   * Implements Aedes' authorizeForward, which Aedes calls for packets of the stored queue.
   * @returns null if the client may not read the packet
   */
  forwardQueued(packet: AedesPublishPacket): AedesPublishPacket | null {
    if (!this.rules.mayRead(packet.topic)) return null
    this.transport.expect(packet.qos)
    return packet
  }

  /** Sends the held packets. Called when the stored queue is sent (Aedes' clientReady). */
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
   * Sends a packet to this client only, if it has subscribed to exactly this topic, at QoS 1 at most. The packet is not
   * stored, so a later connection does not get it again.
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
    this.rules.onOverrun()
  }

  /** Sends a retained message. Aedes reads retained messages from a stream, and reads the next one after `done`. */
  #deliverRetained(packet: AedesPublishPacket, done: Done): void {
    if (this.transport.isCongested) this.transport.once('drain', () => done())
    else setImmediate(done)
    if (!this.rules.mayRead(packet.topic)) return
    const qos = packet.qos === 0 ? 0 : (Math.min(packet.qos, this.#grantedQoS(packet.topic)) as QoS)
    // For a persistent session the message is queued, so that it is sent again if it is not acknowledged
    // [MQTT-4.4.0-1].
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
    // The client answers QoS 1 with one acknowledgement, QoS 2 with two.
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

function encode({ topic, payload, retain }: AedesPublishPacket, qos: QoS, messageId = 0): Buffer {
  return encodePublish(publishByte(qos, false, retain), topic, messageId, payload)
}

/**
 * Restricts the packet ids that Aedes assigns. Aedes counts `_nextId` from a random number to 65,535; here it gets only
 * the lower half, and no id that is in flight [MQTT-2.3.1-2].
 */
function reservePacketIds(client: AedesClient, isInFlight: DeliveryRules['isInFlight']): void {
  let next = 1 + (client._nextId % LAST_AEDES_ID)
  Object.defineProperty(client, '_nextId', {
    get: () => {
      // Bounded: a session may have more packets in flight than there are ids.
      for (let tries = 0; tries < LAST_AEDES_ID && isInFlight(next); tries++)
        next = 1 + (next % LAST_AEDES_ID)
      return next
    },
    set: (value: number) => {
      next = value > LAST_AEDES_ID || value < 1 ? 1 : value
    },
  })
}
