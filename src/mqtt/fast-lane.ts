/**
 * Handles QoS 1 messages to an inbox, and PUBACKs of inbox packets, without Aedes: its parser, queue and handlers cost
 * more than all of our own work, and nothing in them is needed for these packets.
 *
 * The lane takes a packet only when Aedes has read all packets before it. Aedes passes each PUBLISH to the connection's
 * Publisher as soon as it reads it. So the Publisher gets the packets of both ways in the order in which they came, and
 * keeps that order in the inbox and in the acknowledgements [MQTT-4.6.0-2].
 */

import { INBOX_TOPIC_BYTES, isInboxTopic } from './acl/topics.js'
import type { AedesClient } from './aedes/client.js'
import type { PublishPacket } from './aedes/types.js'
import { isInboxPacketId } from './inbox-delivery.js'
import { encodePuback } from './wire/encode.js'
import type { PacketLane } from './wire/packet-gate.js'
import { DUP, PUBACK, publishByte } from './wire/packet-types.js'
import type { Done } from './wire/socket-output.js'
import type { MqttTransport } from './wire/transport.js'

const PUBLISH_QOS1 = publishByte(1, false, false)

/** With so many bytes waiting for the store a client is not read; one read may bring more than that. */
const MAX_UNFINISHED_BYTES = 65_536

interface LaneConnection {
  /** Too many bytes of this sender wait for the store, from whichever of its connections. */
  readonly hasTooMuchWaiting: boolean
  publish(packet: PublishPacket, done: Done): void
  acknowledged(packetId: number): void
}

export class FastLane implements PacketLane {
  /** Bytes of packets whose PUBACK was not written yet. */
  #unfinishedBytes = 0
  #hasTaken = false
  #isHolding = false
  #isDraining = false

  constructor(
    private readonly client: AedesClient,
    private readonly transport: MqttTransport,
    private readonly connection: LaneConnection,
  ) {}

  take(bytes: Buffer, at: number, bodyAt: number, end: number): boolean {
    if (this.client.closed || this.transport.readableLength > 0) return false
    const first = bytes[at] ?? 0
    if (first === PUBACK) return this.#confirm(bytes.readUInt16BE(bodyAt))
    if ((first & ~DUP) !== PUBLISH_QOS1 || !isInboxTopic(bytes, bodyAt)) return false
    const idAt = bodyAt + 2 + INBOX_TOPIC_BYTES
    const packet = {
      cmd: 'publish' as const,
      topic: bytes.toString('latin1', bodyAt + 2, idAt),
      payload: bytes.subarray(idAt + 2, end),
      qos: 1 as const,
      messageId: bytes.readUInt16BE(idAt),
      dup: (first & DUP) !== 0,
      retain: false,
    }
    this.#hasTaken = true
    this.#unfinishedBytes += end - at
    this.connection.publish(packet, this.#finisher(packet.messageId, end - at))
    return true
  }

  settle(): void {
    if (!this.#hasTaken) return
    this.#hasTaken = false
    this.#holdOrRelease()
  }

  /** @returns false for the PUBACK of a packet that Aedes sent */
  #confirm(packetId: number): boolean {
    if (!isInboxPacketId(packetId)) return false
    this.connection.acknowledged(packetId)
    return true
  }

  /** A method of its own, so that the closure refers to two numbers only: thousands wait for their commit at a time. */
  #finisher(messageId: number, size: number): Done {
    return error => this.#finish(messageId, size, error)
  }

  #finish(messageId: number, size: number, error?: Error | null): void {
    this.#unfinishedBytes -= size
    // As Aedes does after an error: the connection closes.
    if (error) this.client.emit('error', error)
    else if (!this.transport.send(encodePuback(messageId))) this.#awaitDrain()
    if (this.#isHolding) this.#holdOrRelease()
  }

  /** A client that does not take its PUBACKs is not read. */
  #awaitDrain(): void {
    if (this.#isDraining || !this.transport.isCongested) return
    this.#isDraining = true
    this.transport.once('drain', () => {
      this.#isDraining = false
      this.#holdOrRelease()
    })
    this.#holdOrRelease()
  }

  #holdOrRelease(): void {
    const max = this.connection.hasTooMuchWaiting ? 1 : MAX_UNFINISHED_BYTES
    const mustHold = this.#isDraining || this.#unfinishedBytes >= max
    if (mustHold === this.#isHolding) return
    this.#isHolding = mustHold
    if (mustHold) this.transport.holdInput()
    else this.transport.releaseInput()
  }
}
