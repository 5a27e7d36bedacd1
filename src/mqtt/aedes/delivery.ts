/** Delivery of packets to one client: live, retained, and those of its stored queue. */
import type { AedesPublishPacket } from 'aedes'
import { encodePublish } from '../wire/encode.js'
import { publishByte, type QoS } from '../wire/packet-types.js'
import type { Done } from '../wire/socket-output.js'
import type { MqttTransport } from '../wire/transport.js'
import type { AedesClient } from './client.js'
import { FilterIndex } from './filter-index.js'
import { FIRST_INBOX_ID } from './persistence/options.js'
import type { Route, Subscriber } from './router.js'

/** Highest packet identifier that Aedes gives out; those above belong to the inbox (inbox-delivery.ts). */
const LAST_AEDES_ID = FIRST_INBOX_ID - 1

/** About how many bytes a held packet takes in memory besides topic and payload. */
const PACKET_BYTES = 200

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
 * Replaces Aedes' delivery of routed packets to one client. Aedes drops what overtakes (its dedupe keeps the highest
 * counter seen), sends QoS 2 to a wildcard subscription of QoS 1, takes the first of overlapping filters, waits for
 * subscribers that are slow, and mixes live packets with those queued while a persistent session was away. Here a
 * packet is sent once to each client, at the highest QoS of all filters that match [MQTT-3.3.5-1] and never above its
 * own, and live packets follow the stored queue.
 */
export class ClientDelivery implements Subscriber {
  /**
   * The last packet that waits until its packet id is stored; packets behind it wait, too, so that all keep their
   * order.
   */
  #tail: Promise<unknown> | undefined
  /** Live QoS 1 and 2 packets that wait until the stored queue is sent; undefined from then on. */
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
    // The router calls `deliver`. Aedes calls these two for retained messages at SUBSCRIBE only.
    client.deliver0 = (packet, done) => this.#deliverRetained(packet, done)
    client.deliverQoS = client.deliver0
  }

  /**
   * Aedes' authorizeForward, which it asks about packets of the stored queue.
   * @returns null if the client may not read it
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
   * Sends a packet to this client only, where it has subscribed to exactly this topic, at QoS 1 at most. The packet is
   * not stored, so it is not sent again on the next connection.
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

  /** Held packets are in the stored queue, too: a client that is disconnected here gets them on its next connection. */
  #hold(due: Due, held: Due[]): void {
    this.#heldBytes += PACKET_BYTES + due.packet.topic.length + due.packet.payload.length
    if (this.#heldBytes <= this.rules.maxHeldBytes) {
      held.push(due)
      return
    }
    held.length = 0
    this.rules.onOverrun()
  }

  /** Aedes reads retained messages from a stream, which waits until `done`. */
  #deliverRetained(packet: AedesPublishPacket, done: Done): void {
    if (this.transport.isCongested) this.transport.once('drain', () => done())
    else setImmediate(done)
    if (!this.rules.mayRead(packet.topic)) return
    const qos = packet.qos === 0 ? 0 : (Math.min(packet.qos, this.#grantedQoS(packet.topic)) as QoS)
    // Queued for a persistent session: without an acknowledgement it is sent again [MQTT-4.4.0-1].
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
    // QoS 1 brings one acknowledgement, QoS 2 two.
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
