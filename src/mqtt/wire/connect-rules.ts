/** CONNECT: the rules of MQTT 3.1.1 and 3.1, our limits on its fields, and what it says. */
import { checkText, checkTopicName, type Fields, MalformedPacket, type PacketLimits } from './packet-rules.js'
import type { QoS } from './packet-types.js'
import { REASON } from './reason-codes.js'

/** Protocol level of MQTT 3.1. */
export const MQTT_3_1 = 3 as const

const CLEAN_SESSION = 0x02
const WILL = 0x04
const WILL_QOS_AND_RETAIN = 0x38
const WILL_RETAIN = 0x20
const PASSWORD = 0x40
const USER_NAME = 0x80

/** LENGTHS.email is 320 UTF-16 units; a character has up to four bytes. */
const MAX_USER_NAME_BYTES = 4 * 320
/** LENGTHS.token, which is ASCII. The login has a lower limit for passwords (mqtt/connect.ts). */
const MAX_PASSWORD_BYTES = 8192

/** Properties of CONNECT in MQTT 5 besides those of its will: most of it user properties, of which we make no use. */
const MAX_PROPERTY_BYTES = 4096

/**
 * Longest CONNECT: fixed header (5 bytes), protocol name to keep alive (12), properties of CONNECT and will behind lengths of up
 * to four bytes, and five fields, each behind its length in two bytes.
 */
export const maxConnectBytes = ({
  maxClientIdBytes,
  maxTopicBytes,
  maxWillBytes,
}: Pick<PacketLimits, 'maxClientIdBytes' | 'maxTopicBytes' | 'maxWillBytes'>): number =>
  5 +
  12 +
  (2 * 4 + MAX_PROPERTY_BYTES) +
  (5 * 2 + maxClientIdBytes + maxTopicBytes + maxWillBytes + MAX_USER_NAME_BYTES + MAX_PASSWORD_BYTES)

export interface Will {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: QoS
  readonly retain: boolean
}

export interface ConnectPacket4 {
  /** 3: MQTT 3.1, 4: MQTT 3.1.1. */
  readonly version: 3 | 4
  readonly keepAliveSeconds: number
  /** Clean session. */
  readonly clean: boolean
  /** Empty: the server makes one. */
  readonly clientId: string
  readonly will: Will | undefined
  readonly userName: string | undefined
  readonly password: Buffer | undefined
}

/** @param fields behind the protocol level @returns what is copied out of the packet @throws MalformedPacket */
export function readConnect4(fields: Fields, version: 3 | 4, limits: PacketLimits): ConnectPacket4 {
  let flags = fields.byte()
  // MQTT 3.1 does not use these.
  if (version === MQTT_3_1) flags &= flags & WILL ? ~0x01 : ~(0x01 | WILL_QOS_AND_RETAIN)
  checkFlags(flags)
  const keepAliveSeconds = fields.uint16()
  checkKeepAlive(keepAliveSeconds, limits)
  const clean = (flags & CLEAN_SESSION) !== 0
  const clientId = readClientId(fields, { version, clean }, limits)
  const will = flags & WILL ? readWill(fields, flags, limits) : undefined
  // MQTT 3.1, 3.1: "The Remaining Length field … takes precedence over the User Name flag", and over the Password flag.
  const mayLack = version === MQTT_3_1
  const userName =
    flags & USER_NAME && !(mayLack && fields.done) ? checkUserName(fields.data()).toString() : undefined
  const password =
    flags & PASSWORD && !(mayLack && fields.done) ? Buffer.from(checkPassword(fields.data())) : undefined
  if (!fields.done) throw new MalformedPacket('bytes behind the end of the CONNECT payload', '[MQTT-3.1.4-1]')
  return { version, keepAliveSeconds, clean, clientId, will, userName, password }
}

function checkFlags(flags: number): void {
  const willQos = (flags >> 3) & 0x03
  if (flags & 0x01) throw new MalformedPacket('reserved CONNECT flag set', '[MQTT-3.1.2-3]')
  if (flags & WILL) {
    if (willQos === 3) throw new MalformedPacket('will QoS 3', '[MQTT-3.1.2-14]')
  } else {
    if (willQos !== 0) throw new MalformedPacket('will QoS without a will', '[MQTT-3.1.2-13]')
    if (flags & WILL_RETAIN) throw new MalformedPacket('will retain without a will', '[MQTT-3.1.2-15]')
  }
  if (flags & PASSWORD && !(flags & USER_NAME))
    throw new MalformedPacket('password without a user name', '[MQTT-3.1.2-22]')
}

/** No CONNACK return code fits: the connection is closed without one [MQTT-3.2.2-6]. */
function checkKeepAlive(seconds: number, { keepaliveLimitSeconds }: PacketLimits): void {
  if (keepaliveLimitSeconds > 0 && (seconds === 0 || seconds > keepaliveLimitSeconds))
    throw new MalformedPacket('keep alive over the limit, or none', 'keepaliveLimit')
}

function readWill(fields: Fields, flags: number, limits: PacketLimits): Will {
  const topic = fields.data()
  checkTopicName(topic, limits)
  const payload = fields.data()
  if (payload.length > limits.maxWillBytes)
    throw new MalformedPacket('will message too long', 'maxWillBytes', REASON.PACKET_TOO_LARGE)
  return {
    topic: topic.toString(),
    payload: Buffer.from(payload),
    qos: ((flags >> 3) & 0x03) as QoS,
    retain: (flags & WILL_RETAIN) !== 0,
  }
}

export function checkUserName(userName: Buffer): Buffer {
  checkLength(userName, MAX_USER_NAME_BYTES, 'user name')
  checkText(userName, 'user name')
  return userName
}

export function checkPassword(password: Buffer): Buffer {
  checkLength(password, MAX_PASSWORD_BYTES, 'password')
  return password
}

function checkLength({ length }: Buffer, max: number, what: string): void {
  if (length > max)
    throw new MalformedPacket(`${what} too long`, '(MQTT 3.1.1, 3.1.4)', REASON.BAD_USER_NAME_OR_PASSWORD)
}

/** MQTT 3.1 allows 23 characters only; we allow its clients as many as those of 3.1.1. */
export function checkClientIdText(clientId: Buffer, { maxClientIdBytes }: PacketLimits): void {
  checkText(clientId, 'client identifier')
  if (clientId.length > maxClientIdBytes)
    throw new MalformedPacket(
      'client identifier too long',
      '[MQTT-3.1.3-9]',
      REASON.CLIENT_IDENTIFIER_NOT_VALID,
    )
}

function readClientId(
  fields: Fields,
  { version, clean }: Pick<ConnectPacket4, 'version' | 'clean'>,
  limits: PacketLimits,
): string {
  const clientId = fields.data()
  checkClientIdText(clientId, limits)
  // MQTT 3.1 does not allow an empty identifier (its section 3.1, "Client Identifier").
  if (clientId.length === 0 && (!clean || version === MQTT_3_1)) {
    throw new MalformedPacket('empty client identifier', '[MQTT-3.1.3-8]', REASON.CLIENT_IDENTIFIER_NOT_VALID)
  }
  return clientId.toString()
}
