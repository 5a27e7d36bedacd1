/**
 * The packets of an MQTT 5 client as values. Their bytes were checked before (packet-rules5.ts), so nothing here fails. `at`
 * is where the body of the packet begins, `end` where it ends (exclusive).
 */
import type { FilterRequest, PublishPacket, SubscribePacket, UnsubscribePacket } from './decode.js'
import { Fields } from './packet-rules.js'
import { DUP, type QoS, qosOf, RETAIN } from './packet-types.js'
import { type MessageProperties, messagePropertiesOf, propertiesOf } from './properties.js'
import { EMPTY_BLOCK, passedOn } from './property-block.js'
import type { Properties } from './property-table.js'
import { REASON } from './reason-codes.js'

/** @param first type, and the flags DUP, QoS and RETAIN */
export function decodePublish5(first: number, bytes: Buffer, at: number, end: number): PublishPacket {
  const qos = qosOf(first) as QoS
  const topicEnd = at + 2 + bytes.readUInt16BE(at)
  const lengthAt = qos > 0 ? topicEnd + 2 : topicEnd
  const packet = {
    topic: bytes.toString('utf8', at + 2, topicEnd),
    payload: bytes,
    qos,
    retain: (first & RETAIN) !== 0,
    dup: (first & DUP) !== 0,
    messageId: qos > 0 ? bytes.readUInt16BE(topicEnd) : undefined,
    properties: NO_PROPERTIES,
    block: EMPTY_BLOCK,
  }
  if (bytes[lengthAt] === 0) packet.payload = bytes.subarray(lengthAt + 1, end)
  else {
    const fields = new Fields(bytes, lengthAt, end)
    Object.assign(packet, decodeBlock(fields.block()))
    packet.payload = fields.rest()
  }
  return packet
}

const NO_PROPERTIES: MessageProperties = Object.freeze({})

/** Properties of a message: as values, and as the bytes that are passed on. */
export function decodeBlock(block: Fields): { properties: MessageProperties; block: Buffer } {
  const raw = block.rest()
  const properties = messagePropertiesOf(block)
  return { properties, block: passedOn(raw, properties) }
}

/** Of PUBACK, PUBREC, PUBREL and PUBCOMP; nobody reads their properties. */
export const decodeReason5 = (bytes: Buffer, at: number, end: number): number =>
  at + 2 < end ? bytes.readUInt8(at + 2) : REASON.SUCCESS

export function decodeSubscribe5(bytes: Buffer, at: number, end: number): SubscribePacket {
  const fields = new Fields(bytes, at, end)
  const messageId = fields.uint16()
  const { subscriptionIdentifier } = messagePropertiesOf(fields.block())
  const filters: FilterRequest[] = []
  while (!fields.done) filters.push(filterRequest(fields.data().toString(), fields.byte()))
  return { messageId, subscriptionIdentifier, filters }
}

const filterRequest = (topic: string, options: number): FilterRequest => ({
  topic,
  qos: (options & 0x03) as QoS,
  noLocal: (options & 0x04) !== 0,
  retainAsPublished: (options & 0x08) !== 0,
  retainHandling: (options >> 4) as 0 | 1 | 2,
})

export function decodeUnsubscribe5(bytes: Buffer, at: number, end: number): UnsubscribePacket {
  const fields = new Fields(bytes, at, end)
  const messageId = fields.uint16()
  fields.block()
  const filters: string[] = []
  while (!fields.done) filters.push(fields.data().toString())
  return { messageId, filters }
}

export interface DisconnectPacket5 {
  readonly reason: number
  readonly properties: Properties
}

export function decodeDisconnect5(bytes: Buffer, at: number, end: number): DisconnectPacket5 {
  const fields = new Fields(bytes, at, end)
  const reason = fields.done ? REASON.SUCCESS : fields.byte()
  return { reason, properties: fields.done ? {} : propertiesOf(fields.block()) }
}
