/**
 * The rules of MQTT 5 for the packets of a client behind its CONNECT. As in packet-rules.ts, the functions read the packet's
 * bytes, throw MalformedPacket, and keep nothing.
 */
import {
  checkCount,
  checkTopic,
  checkTopicFilter,
  checkTopicName,
  Fields,
  MalformedPacket,
  type PacketLimits,
} from './packet-rules.js'
import { DISCONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE } from './packet-types.js'
import { checkProperties, messagePropertiesOf } from './properties.js'
import { mayClientSend, REASON } from './reason-codes.js'

/** @returns the number of topic filters in SUBSCRIBE and UNSUBSCRIBE; otherwise 1 @throws MalformedPacket */
type Check = (bytes: Buffer, at: number, end: number, limits: PacketLimits) => number

const protocolError = (reason: string, clause: string): MalformedPacket =>
  new MalformedPacket(reason, clause, REASON.PROTOCOL_ERROR)

export const checkPublishQos0: Check = (bytes, at, end, limits) => {
  if (hasNoProperties(bytes, at, end, 0)) {
    checkTopic(bytes, at, end, limits)
    return 1
  }
  const fields = new Fields(bytes, at, end)
  const topic = fields.data()
  return checkTopicAndProperties(topic, fields, limits)
}

export const checkPublish: Check = (bytes, at, end, limits) => {
  if (hasNoProperties(bytes, at, end, PACKET_ID_BYTES)) {
    checkId(bytes.readUInt16BE(checkTopic(bytes, at, end, limits)))
    return 1
  }
  const fields = new Fields(bytes, at, end)
  const topic = fields.data()
  checkPacketId(fields)
  return checkTopicAndProperties(topic, fields, limits)
}

const PACKET_ID_BYTES = 2

/**
 * Most PUBLISH packets have none: they are checked without making objects.
 * @param idBytes between the topic and the length of the properties
 */
const hasNoProperties = (bytes: Buffer, at: number, end: number, idBytes: number): boolean => {
  if (at + 2 > end) return false
  const lengthAt = at + 2 + bytes.readUInt16BE(at) + idBytes
  return lengthAt < end && bytes[lengthAt] === 0
}

/** The topic may be empty where an alias stands for it. */
function checkTopicAndProperties(topic: Buffer, fields: Fields, limits: PacketLimits): number {
  const { at } = fields
  checkProperties(fields, PUBLISH)
  if (topic.length > 0 || !hasAlias(new Fields(fields.bytes, at, fields.at).block()))
    checkTopicName(topic, limits)
  return 1
}

const hasAlias = (block: Fields): boolean => messagePropertiesOf(block).topicAlias !== undefined

const checkPacketId = (fields: Fields): void => checkId(fields.uint16())

function checkId(packetId: number): void {
  if (packetId === 0) throw protocolError('packet identifier 0', '[MQTT-2.2.1-3]')
}

/** Reason code and properties may be left out where they say nothing (3.4.2.1). @param first PUBACK … PUBCOMP */
export const checkAcknowledgement =
  (first: number): Check =>
  (bytes, at, end) => {
    if (end - at === PACKET_ID_BYTES) {
      checkId(bytes.readUInt16BE(at))
      return 1
    }
    const fields = new Fields(bytes, at, end)
    checkPacketId(fields)
    checkReason(first, fields)
    return 1
  }

export const checkDisconnect: Check = (bytes, at, end) => {
  checkReason(DISCONNECT, new Fields(bytes, at, end))
  return 1
}

function checkReason(first: number, fields: Fields): void {
  if (fields.done) return
  const reason = fields.byte()
  if (!mayClientSend(first, reason))
    throw protocolError(`reason code ${reason} from a client`, '(MQTT 5, 2.4)')
  if (!fields.done) checkProperties(fields, first)
  if (!fields.done) throw new MalformedPacket('bytes behind the end of the packet', '(MQTT 5, 2.1.4)')
}

/** CONNECT that asks for enhanced authentication is refused, so nobody may send AUTH. */
export const checkAuth: Check = () => {
  throw protocolError('AUTH without an authentication method in CONNECT', '[MQTT-4.12.0-7]')
}

export const checkSubscribe: Check = (bytes, at, end, limits) =>
  checkFilters(SUBSCRIBE, new Fields(bytes, at, end), limits, fields => {
    const filter = fields.data()
    const isShared = checkShare(filter)
    checkTopicFilter(filter, limits)
    checkOptions(fields.byte(), isShared)
  })

export const checkUnsubscribe: Check = (bytes, at, end, limits) =>
  checkFilters(UNSUBSCRIBE, new Fields(bytes, at, end), limits, fields => {
    const filter = fields.data()
    checkShare(filter)
    checkTopicFilter(filter, limits)
  })

/** @param checkOne reads a filter, and its options if there are any @returns the number of filters */
function checkFilters(
  first: number,
  fields: Fields,
  limits: PacketLimits,
  checkOne: (fields: Fields) => void,
): number {
  checkPacketId(fields)
  checkProperties(fields, first)
  if (fields.done) throw protocolError('no topic filter', '[MQTT-3.8.3-2] [MQTT-3.10.3-2]')
  let filters = 0
  while (!fields.done) {
    checkCount(++filters, limits)
    checkOne(fields)
  }
  return filters
}

const NO_LOCAL = 0x04
const RESERVED = 0xc0

/** Subscription options (3.8.3.1). */
function checkOptions(options: number, isShared: boolean): void {
  if (options & RESERVED)
    throw new MalformedPacket('reserved bits of the subscription options', '[MQTT-3.8.3-5]')
  if ((options & 0x03) === 3) throw protocolError('QoS 3 asked for', '(MQTT 5, 3.8.3.1)')
  if ((options & 0x30) === 0x30) throw protocolError('retain handling 3', '(MQTT 5, 3.8.3.1)')
  if (isShared && options & NO_LOCAL)
    throw protocolError('no local of a shared subscription', '[MQTT-3.8.3-4]')
}

/** `$share/<name>/<filter>`; the filter as a whole is well-formed. @returns whether it is one */
function checkShare(filter: Buffer): boolean {
  const [share, name, ...rest] = filter.toString().split('/')
  if (share !== '$share') return false
  if (name === undefined || name === '' || /[+#]/.test(name))
    throw invalidShare('share name that is empty or has a wildcard')
  if (rest.join('/') === '') throw invalidShare('shared subscription without a topic filter')
  return true
}

const invalidShare = (reason: string): MalformedPacket =>
  new MalformedPacket(reason, '[MQTT-4.8.2-1] [MQTT-4.8.2-2]', REASON.TOPIC_FILTER_INVALID)
