/** CONNECT of MQTT 5, behind the protocol version: its rules, our limits on its fields, and what it says. */
import { isUtf8 } from 'node:buffer'
import { checkClientIdText, checkPassword, checkUserName } from './connect-rules.js'
import { decodeBlock } from './decode5.js'
import { checkTopicName, Fields, MalformedPacket, type PacketLimits } from './packet-rules.js'
import { CONNECT, type QoS } from './packet-types.js'
import { checkProperties, type MessageProperties, readProperties } from './properties.js'
import { type Properties, WILL } from './property-table.js'
import { REASON } from './reason-codes.js'

const RESERVED_FLAG = 0x01
const CLEAN_START = 0x02
const WILL_FLAG = 0x04
const WILL_QOS = 0x18
const WILL_RETAIN = 0x20
const PASSWORD = 0x40
const USER_NAME = 0x80

export interface Will5 {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: QoS
  readonly retain: boolean
  /** With the delay, and without user properties. */
  readonly properties: MessageProperties
  /** The properties that subscribers get, as bytes without their length. */
  readonly block: Buffer
}

export interface ConnectPacket5 {
  readonly version: 5
  readonly keepAliveSeconds: number
  /** Clean start. */
  readonly clean: boolean
  /** Empty: the server makes one. */
  readonly clientId: string
  readonly properties: Properties
  readonly will: Will5 | undefined
  readonly userName: string | undefined
  /** May come without a user name. */
  readonly password: Buffer | undefined
}

/** @param fields behind the protocol version @returns what is copied out of the packet @throws MalformedPacket */
export function readConnect5(fields: Fields, limits: PacketLimits): ConnectPacket5 {
  const flags = fields.byte()
  checkFlags(flags)
  const keepAliveSeconds = fields.uint16()
  const properties = copied(readProperties(fields, CONNECT))
  const clientId = readClientId(fields, limits)
  const will = flags & WILL_FLAG ? readWill(fields, flags, limits) : undefined
  const userName = flags & USER_NAME ? checkUserName(fields.data()).toString() : undefined
  const password = flags & PASSWORD ? Buffer.from(checkPassword(fields.data())) : undefined
  if (!fields.done) throw new MalformedPacket('bytes behind the end of the CONNECT payload', '[MQTT-3.1.4-1]')
  const clean = (flags & CLEAN_START) !== 0
  return { version: 5, keepAliveSeconds, clean, clientId, properties, will, userName, password }
}

function checkFlags(flags: number): void {
  if (flags & RESERVED_FLAG) throw new MalformedPacket('reserved CONNECT flag set', '[MQTT-3.1.2-3]')
  if (flags & WILL_FLAG) {
    if ((flags & WILL_QOS) === WILL_QOS) throw new MalformedPacket('will QoS 3', '[MQTT-3.1.2-12]')
    return
  }
  if (flags & WILL_QOS) throw new MalformedPacket('will QoS without a will', '[MQTT-3.1.2-11]')
  if (flags & WILL_RETAIN) throw new MalformedPacket('will retain without a will', '[MQTT-3.1.2-13]')
}

/** An empty one is allowed with clean start 0, too: CONNACK tells which one was assigned [MQTT-3.1.3-7]. */
function readClientId(fields: Fields, limits: PacketLimits): string {
  const clientId = fields.data()
  checkClientIdText(clientId, limits)
  return clientId.toString()
}

function readWill(fields: Fields, flags: number, limits: PacketLimits): Will5 {
  const { at } = fields
  checkProperties(fields, WILL)
  const { properties, block } = decodeBlock(new Fields(fields.bytes, at, fields.at).block())
  const topic = fields.data()
  checkTopicName(topic, limits)
  const payload = fields.data()
  if (block.length + payload.length > limits.maxWillBytes)
    throw new MalformedPacket('will message too long', 'maxWillBytes', REASON.PACKET_TOO_LARGE)
  if (properties.payloadFormatIndicator === 1 && !isUtf8(payload))
    throw new MalformedPacket(
      'will payload that is not UTF-8',
      '(MQTT 5, 3.1.3.2.3)',
      REASON.PAYLOAD_FORMAT_INVALID,
    )
  return {
    topic: topic.toString(),
    payload: Buffer.from(payload),
    qos: ((flags & WILL_QOS) >> 3) as QoS,
    retain: (flags & WILL_RETAIN) !== 0,
    properties: copied(properties),
    block: Buffer.from(block),
  }
}

/** The values that are bytes of the packet: authentication and correlation data. */
function copied(properties: Properties): Properties {
  const { authenticationData, correlationData } = properties
  return {
    ...properties,
    ...(authenticationData && { authenticationData: Buffer.from(authenticationData) }),
    ...(correlationData && { correlationData: Buffer.from(correlationData) }),
  }
}
