/** Delivery of packets to one client: live packets, retained messages, and packets of its stored queue. */
import { Serial } from '../../flow/serial.js'
import { PUBREL, type QoS } from '../wire/packet-types.js'
import type { MqttTransport } from '../wire/transport.js'
import { ClientFilters } from './client-filters.js'
import type { DeliveryRules, Recipient } from './delivery-rules.js'
import { type Due, HeldPackets } from './held.js'
import { isExpired, type Outgoing, type RoutedPacket } from './packet.js'
import { encodeFor } from './packet-encoding.js'
import { PacketIds } from './packet-ids.js'
import type { BrokerPacket } from './persistence/kv.js'
import { type Grant, keepsRetain, qosOfGrant, type Subscriber } from './router.js'
import { SharedInFlight, sharedOf, type Unsettled } from './unsettled.js'

/** A packet for the client, without its packet id. */
type Decided = Omit<Outgoing, 'messageId'>

/**
 * Each client gets a packet once, at the highest QoS of all matching filters [MQTT-3.3.5-1] but not above the packet's
 * own. Live packets follow the stored queue.
 */
export class ClientDelivery implements Subscriber {
  readonly filters: ClientFilters
  /**
   * Settles when the last waiting packet is sent. A packet waits until its packet id is stored, and later packets wait
   * behind it, so the order is kept.
   */
  #tail: Promise<unknown> | undefined
  #held: HeldPackets | undefined
  /** The stored queue is sent. */
  #isLive = false
  #shared: SharedInFlight | undefined
  #retainedOrder: Serial | undefined
  /** Called when the client has acknowledged a packet. */
  #onRoom: (() => void) | undefined
  readonly #ids: PacketIds

  constructor(
    private readonly client: Recipient,
    private readonly transport: MqttTransport,
    private readonly rules: DeliveryRules,
  ) {
    this.filters = new ClientFilters(rules.router, this)
    this.#ids = new PacketIds(client, rules)
  }

  get clientId(): string {
    return this.client.id
  }

  get isKept(): boolean {
    return !this.client.clean
  }

  get hasRoom(): boolean {
    return !this.#mustHold && !this.transport.isCongested
  }

  mayGet(topic: string): boolean {
    return !this.client.closed && this.client.mayRead(topic)
  }

  /** @returns what other members of its groups get in its place */
  close(): Unsettled[] {
    this.filters.removeAll()
    const held = this.#held?.takeAll() ?? []
    this.#onRoom?.()
    return [...(this.#shared?.all() ?? []), ...sharedOf(held)]
  }

  /** PUBACK or PUBCOMP. */
  settled(messageId: number): void {
    this.#shared?.acknowledged(messageId)
  }

  /**
   * Sends the packets of the stored queue, and then the live ones that were held meanwhile.
   * @param queue DUP and packet ids are those of an earlier connection, where that was sent them [MQTT-4.4.0-1]
   */
  async sendQueue(queue: AsyncIterable<BrokerPacket>): Promise<void> {
    for await (const packet of queue) {
      while (this.client.terms.inFlight?.isFull && !this.client.closed)
        await new Promise<void>(resolve => {
          this.#onRoom = resolve
        })
      if (this.client.closed) return
      await this.#sendQueued(packet)
      await this.transport.drained()
    }
    this.#isLive = true
    this.acknowledged()
  }

  async #sendQueued(packet: BrokerPacket): Promise<void> {
    const { client, rules, transport } = this
    const messageId = packet.messageId ?? this.#ids.take()
    await rules.recordId(client, { ...packet, messageId })
    if (client.closed) return
    client.terms.inFlight?.add(messageId)
    if (packet.cmd === 'pubrel') {
      transport.expect(1)
      transport.send(client.terms.encoder.acknowledge(PUBREL, messageId))
      return
    }
    const { qos, retain = false } = packet as RoutedPacket
    // What was sent once does not expire any more (MQTT 5, 4.3.3).
    const isDue = client.mayRead(packet.topic ?? '') && (packet.dup || !isExpired(packet))
    if (isDue) this.#put({ packet: packet as RoutedPacket, qos, retain, messageId })
    else {
      client.terms.inFlight?.delete(messageId)
      await rules.forgetId(client, { messageId })
    }
  }

  deliver(packet: RoutedPacket, grant: Grant): void {
    if (!this.client.mayRead(packet.topic)) return
    const due = { packet, grant, isStored: !this.client.clean }
    if (packet.qos === 0) this.#send(due)
    else if (!this.client.clean && this.rules.isStreamed(this.client, packet)) return
    else if (qosOfGrant(grant) === 0 && this.#isBegun) this.#send(due)
    else if (this.#mustHold) this.#hold(due)
    else this.#send(due)
  }

  /** The client has acknowledged packets: what waits for that is sent. */
  acknowledged(): void {
    this.#onRoom?.()
    this.#onRoom = undefined
    while (this.#held?.isEmpty === false && this.#mayGoOn) this.#send(this.#held.shift() as Due)
  }

  /**
   * Sends a packet to this client only, if it has subscribed to its topic, at QoS 1 at most. The packet is not stored, so a
   * later connection does not get it again.
   * @param asked the filters of which the client must have one; undefined: any that matches
   */
  tell(packet: RoutedPacket, asked?: readonly string[]): void {
    const { filters, client } = this
    const granted = asked === undefined ? filters.highest(packet.topic) : filters.highestOf(asked)
    if (granted === undefined) return
    const due = { packet, grant: granted === 0 ? 0 : 1, isStored: false }
    if (granted > 0 && client.terms.inFlight?.isFull) this.#hold(due)
    else this.#send(due)
  }

  /**
   * Sends the retained messages of a SUBSCRIBE behind those of earlier ones: each reads a part of them into memory, and a
   * client may send hundreds of SUBSCRIBEs at once.
   */
  afterRetained(send: () => Promise<void>): Promise<void> {
    const order = this.#retainedOrder ?? new Serial()
    this.#retainedOrder = order
    return order.run(send).finally(() => {
      if (order.isIdle) this.#retainedOrder = undefined
    })
  }

  /**
   * Sends a retained message: with the QoS and the identifiers of the SUBSCRIBE that asks for it, not of other filters that match
   * [MQTT-3.8.4-8].
   * @param since tick from before its filters were added
   */
  retained(message: BrokerPacket, since: number): void {
    const packet = { ...message, cmd: 'publish', retain: true, dup: false } as RoutedPacket
    if (!this.client.mayRead(packet.topic) || isExpired(packet)) return
    const granted = this.filters.highest(packet.topic, since)
    // It has unsubscribed meanwhile [MQTT-3.10.4-2].
    if (granted === undefined) return
    const qos = Math.min(packet.qos, granted) as QoS
    // For a persistent session the message is queued, so that it is sent again if it is not acknowledged
    // [MQTT-4.4.0-1].
    const due = { packet, qos, retain: true, since }
    if (qos === 0 || this.client.clean) this.#write(due)
    else this.#writeRecorded(due, this.rules.enqueue(this.client, packet, qos))
  }

  get #isBegun(): boolean {
    return this.#isLive || this.client.clean
  }

  get #mayGoOn(): boolean {
    return this.#isBegun && !this.client.terms.inFlight?.isFull
  }

  get #mustHold(): boolean {
    return !this.#mayGoOn || this.#held?.isEmpty === false
  }

  /**
   * Holds a packet. For a persistent session it is in the stored queue, too: a client that is disconnected here gets it on its
   * next connection.
   */
  #hold(due: Due): void {
    this.#held ??= new HeldPackets(this.rules.maxHeldBytes)
    if (this.#held.push(due)) return
    for (let left = this.#held.lost; left > 0; left--) this.rules.onSkipped('mqtt.maxBufferedBytes')
    this.client.overrun()
  }

  #send({ packet, grant, isStored }: Due): void {
    const qos = Math.min(packet.qos, qosOfGrant(grant)) as QoS
    const retain = packet.retain && keepsRetain(grant)
    if (this.transport.isCongested) {
      if (qos === 0) this.rules.onSkipped('mqtt.maxBufferedBytes')
      else this.client.overrun()
    } else if (qos === 0 || !isStored) this.#write({ packet, qos, retain })
    else this.#writeRecorded({ packet, qos, retain })
  }

  #write(due: Decided): void {
    const messageId = due.qos > 0 ? this.#ids.take() : undefined
    const outgoing = { ...due, messageId }
    if (this.#tail === undefined) this.#put(outgoing)
    else this.#after(undefined, () => this.#put(outgoing))
  }

  #writeRecorded(due: Decided, queued?: Promise<RoutedPacket>): void {
    const { packet, qos, retain } = due
    const messageId = this.#ids.take()
    const record = (one: RoutedPacket) => this.rules.recordId(this.client, { ...one, qos, retain, messageId })
    this.#after(queued?.then(record) ?? record(packet), () => this.#put({ ...due, messageId }))
  }

  #after(record: Promise<void> | undefined, write: () => void): void {
    const mine: Promise<void> = Promise.all([this.#tail, record])
      .then(write, () => this.client.overrun())
      .then(() => {
        if (this.#tail === mine) this.#tail = undefined
      })
    this.#tail = mine
  }

  #put(outgoing: Outgoing): void {
    const { packet, qos, since } = outgoing
    const { terms } = this.client
    const isLate = isExpired(packet) && !packet.dup
    const bytes = isLate ? undefined : encodeFor(terms, outgoing, this.filters.identifiersOf(packet, since))
    if (bytes === undefined) {
      this.#drop(outgoing)
      return
    }
    // The client answers QoS 1 with one acknowledgement, QoS 2 with two.
    if (packet.share !== undefined) this.#sentShared(outgoing)
    this.transport.expect(qos)
    this.transport.send(bytes)
  }

  #sentShared(outgoing: Outgoing): void {
    this.#shared ??= new SharedInFlight()
    this.#shared.sent(outgoing)
  }

  /** It has expired, or is larger than the client takes: as if the client had acknowledged it [MQTT-3.1.2-25]. */
  #drop({ packet, messageId }: Outgoing): void {
    if (!isExpired(packet)) this.rules.onSkipped('maximumPacketSize')
    if (messageId === undefined) return
    this.client.terms.inFlight?.delete(messageId)
    if (!this.client.clean) this.rules.forgetId(this.client, { messageId }).catch(() => this.client.overrun())
    this.acknowledged()
  }
}
