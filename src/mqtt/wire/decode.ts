/**
 * The packets of a client as values: what encode.ts is for those that we write. Their bytes were checked before
 * (packet-rules.ts), so nothing here fails. `at` is where the body of the packet begins, `end` where it ends (exclusive).
 */
import { Fields } from './packet-rules.js'
import { DUP, type QoS, qosOf, RETAIN } from './packet-types.js'
import type { MessageProperties } from './properties.js'

/** A PUBLISH, or a will. */
export interface PublishPacket {
  readonly topic: string
  /** May be a part of the buffer that was read: a packet that is kept for long is to be copied. */
  readonly payload: Buffer
  readonly qos: QoS
  readonly retain: boolean
  readonly dup: boolean
  /** undefined at QoS 0, and for a will. */
  readonly messageId: number | undefined
  /** Of MQTT 5. */
  readonly properties?: MessageProperties
  /** Of MQTT 5: the properties that subscribers get, as bytes without their length: user properties, too (`userPropertyOf`). */
  readonly block?: Buffer
}

export interface FilterRequest {
  readonly topic: string
  readonly qos: QoS
  /** The following are of MQTT 5. Absent: false, 0. */
  readonly noLocal?: boolean
  readonly retainAsPublished?: boolean
  /** Retained messages are sent: 0 always, 1 if the subscription is new, 2 never. */
  readonly retainHandling?: 0 | 1 | 2
}

export interface SubscribePacket {
  readonly messageId: number
  /** A filter may be named twice. */
  readonly filters: readonly FilterRequest[]
  /** Of MQTT 5. */
  readonly subscriptionIdentifier?: number | undefined
}

export interface UnsubscribePacket {
  readonly messageId: number
  readonly filters: readonly string[]
}

/** @param first type, and the flags DUP, QoS and RETAIN */
export function decodePublish(first: number, bytes: Buffer, at: number, end: number): PublishPacket {
  const qos = qosOf(first) as QoS
  const topicEnd = at + 2 + bytes.readUInt16BE(at)
  return {
    topic: bytes.toString('utf8', at + 2, topicEnd),
    payload: bytes.subarray(qos > 0 ? topicEnd + 2 : topicEnd, end),
    qos,
    retain: (first & RETAIN) !== 0,
    dup: (first & DUP) !== 0,
    messageId: qos > 0 ? bytes.readUInt16BE(topicEnd) : undefined,
  }
}

/** Of PUBACK, PUBREC, PUBREL and PUBCOMP, which have nothing else: no object is made for them. */
export const decodePacketId = (bytes: Buffer, at: number): number => bytes.readUInt16BE(at)

export function decodeSubscribe(bytes: Buffer, at: number, end: number): SubscribePacket {
  const fields = new Fields(bytes, at, end)
  const messageId = fields.uint16()
  const filters: FilterRequest[] = []
  while (!fields.done) filters.push({ topic: fields.data().toString(), qos: fields.byte() as QoS })
  return { messageId, filters }
}

export function decodeUnsubscribe(bytes: Buffer, at: number, end: number): UnsubscribePacket {
  const fields = new Fields(bytes, at, end)
  const messageId = fields.uint16()
  const filters: string[] = []
  while (!fields.done) filters.push(fields.data().toString())
  return { messageId, filters }
}
