/**
 * Writes an inbox to an MQTT client: one PUBLISH a message, on `users/<me>/inbox/<seq>` or below it. The InboxReader decides what goes
 * out when.
 *
 * Packet identifiers: 32768–65535 are the inbox's, 1–32767 those of other topics (routing/packet-ids.ts). The identifier is computed from the
 * seq, so that a resend has its original one [MQTT-4.4.0-1] even after a restart, and a PUBACK names its message without
 * a table. It is unique while fewer than 32,768 messages are in flight, which `mqtt.maxInflight` guarantees.
 */

import {
  contentOf,
  createdAt,
  encodeMqttMessage,
  type FileRef,
  type FileUrls,
  type Links,
} from '../core/message.js'
import type { InboxRow, UserId } from '../core/model.js'
import { AnswersInOrder } from '../flow/in-order.js'
import type { InboxReader } from '../inbox/reader.js'
import type { Delivery, Sink } from '../inbox/sink.js'
import { encodeEvent } from '../protocol/replies.js'
import { type InboxForm, inboxTopic } from './acl/topics.js'
import { secondsLeft } from './routing/packet.js'
import { FIRST_INBOX_ID } from './routing/packet-ids.js'
import { PUBREL, publishByte, type QoS } from './wire/packet-types.js'
import type { Terms } from './wire/terms.js'
import type { MqttTransport } from './wire/transport.js'

const FIRST_ID = FIRST_INBOX_ID
const IDS = 0x8000

export const isInboxPacketId = (packetId: number): boolean => packetId >= FIRST_ID

const packetIdOf = (seq: number): number => FIRST_ID + (seq % IDS)

/** The seq that a packet identifier stands for: the first one behind `confirmed` that has it. */
const seqOf = (packetId: number, confirmed: number): number =>
  confirmed + 1 + ((((packetId - FIRST_ID - ((confirmed + 1) % IDS)) % IDS) + IDS) % IDS)

export interface InboxDeliveryOptions {
  readonly userId: UserId
  readonly qos: QoS
  readonly form: InboxForm
  readonly terms: Terms
  /** Of the filter that the inbox is subscribed with. */
  readonly subscriptionIdentifiers: readonly number[] | undefined
  /** The client's session was resumed: it remembers QoS 2 handshakes that were cut off [MQTT-4.1.0-1]. */
  readonly isResumed: boolean
  readonly files: { urlsFor(file: FileRef, reader: UserId): FileUrls }
  /** Sends an event on the client's reply topic. */
  readonly asker: { tell(event: string): void }
}

export class InboxDelivery implements Sink, Links {
  /** Set right after construction, since the reader needs this sink. */
  reader!: InboxReader
  #flushing = false
  /** The store may settle writes in another order. Made at the first PUBREC. */
  #releases: AnswersInOrder | undefined

  constructor(
    private readonly transport: MqttTransport,
    private readonly options: InboxDeliveryOptions,
  ) {}

  get front() {
    return 'mqtt' as const
  }

  get qos(): QoS {
    return this.options.qos
  }

  get form(): InboxForm {
    return this.options.form
  }

  get canTake(): boolean {
    const { qos, terms } = this.options
    const isFull = qos > 0 && terms.inFlight?.isFull
    return !this.transport.isCongested && !this.transport.isDestroyed && !isFull
  }

  deliver(row: InboxRow, how: Delivery): void {
    const { qos, terms, isResumed } = this.options
    const packetId = packetIdOf(row.seq)
    if (qos > 0) terms.inFlight?.add(packetId)
    if (how.released && isResumed && qos === 2) {
      this.transport.expect(1)
      this.transport.send(terms.encoder.acknowledge(PUBREL, packetId))
      return
    }
    const packet = this.#encode(row, packetId, how)
    if (packet.length > terms.encoder.maxPacketBytes) {
      this.#skip(row.seq, packetId)
      return
    }
    this.transport.expect(qos)
    this.transport.send(packet)
    if (qos === 0) this.#confirmWhenWritten()
  }

  #encode(row: InboxRow, packetId: number, { again, waited }: Delivery): Buffer {
    const { userId, qos, form, terms } = this.options
    const first = publishByte(qos, again, waited)
    const topic = inboxTopic(userId, row.seq, form)
    const payload = form === 'json' ? encodeMqttMessage(row, this) : contentOf(row, this)
    if (terms.version < 5) return terms.encoder.publish(first, topic, packetId, payload)
    return terms.encoder.publish(first, topic, packetId, payload, propertiesOf(row), this.options)
  }

  /** Larger than the client takes: as if it had confirmed it [MQTT-3.1.2-25]; it is told. */
  #skip(seq: number, packetId: number): void {
    this.options.terms.inFlight?.delete(packetId)
    setImmediate(() => this.reader.confirmOne(seq))
    this.gap(seq, seq)
  }

  gap(from: number, to: number): void {
    this.options.asker.tell(encodeEvent('dropped', { from, to }))
  }

  urlsFor(file: FileRef): FileUrls {
    return this.options.files.urlsFor(file, this.options.userId)
  }

  /** PUBACK or PUBCOMP. */
  acknowledged(packetId: number): void {
    this.reader.confirmOne(seqOf(packetId, this.reader.confirmed))
  }

  /** PUBREC. Resolves when PUBREL may go out, in the order of the calls [MQTT-4.6.0-4]. @throws GatewayError */
  released(packetId: number): Promise<void> {
    this.#releases ??= new AnswersInOrder()
    return this.#releases.keep(this.reader.release(seqOf(packetId, this.reader.confirmed)))
  }

  close(): void {
    this.reader.close()
  }

  /** The client is no longer congested. */
  resume(): void {
    this.reader.resume()
  }

  /**
   * QoS 0 has no acknowledgement: a message is confirmed when it has left the process. Not a turn later: by then its client
   * may have got it and gone.
   */
  #confirmWhenWritten(): void {
    if (this.#flushing) return
    this.#flushing = true
    const { sent } = this.reader
    this.transport.flushed(error => {
      if (error) return
      this.#flushing = false
      this.reader.confirmUpTo(sent)
      if (this.reader.sent > sent) this.#confirmWhenWritten()
    })
  }
}

/** What MQTT 5 tells of a message besides its payload: user properties, which all are ASCII, as latin1 text. */
const propertiesOf = (row: InboxRow): string => {
  const { id, seq, sender } = row
  const first = `&\0\x02id${sized(id)}&\0\x03seq${sized(`${seq}`)}`
  return `${expiryOf(row)}${first}&\0\x06sender${sized(sender)}&\0\x0acreated_at${sized(createdAt(row))}`
}

/** What is left of the message expiry interval [MQTT-3.3.2-6]. */
function expiryOf(row: InboxRow): string {
  const seconds = secondsLeft(row)
  if (seconds === undefined) return ''
  const bytes = [24, 16, 8, 0].map(shift => (seconds >>> shift) & 0xff)
  return `\x02${String.fromCharCode(...bytes)}`
}

/** A text of less than 256 bytes, with its length in two. */
const sized = (text: string): string => `\0${String.fromCharCode(text.length)}${text}`
