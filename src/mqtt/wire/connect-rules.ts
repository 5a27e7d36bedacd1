/** The rules of MQTT 3.1.1 and 3.1 for CONNECT, and our limits on its fields. */
import { checkText, checkTopicName, type Fields, MalformedPacket, type PacketLimits } from './packet-rules.js'
import { REASON } from './reason-codes.js'

/** Protocol level of MQTT 3.1. */
export const MQTT_3_1 = 3

const CLEAN_SESSION = 0x02
const WILL = 0x04
const WILL_QOS_AND_RETAIN = 0x38
const PASSWORD = 0x40
const USER_NAME = 0x80

/** LENGTHS.email is 320 UTF-16 units; a character has up to four bytes. */
const MAX_USER_NAME_BYTES = 4 * 320
/** LENGTHS.token, which is ASCII. The login has a lower limit for passwords (mqtt/connect.ts). */
const MAX_PASSWORD_BYTES = 8192

/**
 * Longest CONNECT: fixed header (5 bytes), protocol name to keep alive (12), and five fields, each behind its length in two
 * bytes.
 */
export const maxConnectBytes = ({ maxClientIdBytes, maxTopicBytes, maxWillBytes }: PacketLimits): number =>
  5 + 12 + 5 * 2 + maxClientIdBytes + maxTopicBytes + maxWillBytes + MAX_USER_NAME_BYTES + MAX_PASSWORD_BYTES

export interface Connect {
  readonly level: number
  readonly keepAliveSeconds: number
}

/**
 * Checks CONNECT. Clears in its bytes the flags that MQTT 3.1 does not use, since Aedes' parser has the rules of 3.1.1.
 * @throws MalformedPacket
 */
export function checkConnect(fields: Fields, limits: PacketLimits): Connect {
  const level = checkProtocol(fields)
  const flagsAt = fields.at
  let flags = fields.byte()
  const clear = (mask: number): void => {
    flags &= ~mask
    fields.bytes[flagsAt] = flags
  }
  if (level === MQTT_3_1) clear(flags & WILL ? 0x01 : 0x01 | WILL_QOS_AND_RETAIN)
  checkFlags(flags)
  const keepAliveSeconds = fields.uint16()
  checkKeepAlive(keepAliveSeconds, limits)
  checkClientId(fields.data(), { level, isClean: (flags & CLEAN_SESSION) !== 0 }, limits)
  if (flags & WILL) {
    checkTopicName(fields.data(), limits)
    if (fields.data().length > limits.maxWillBytes)
      throw new MalformedPacket('will message too long', 'maxWillBytes', REASON.PACKET_TOO_LARGE)
  }
  // MQTT 3.1, 3.1: "The Remaining Length field … takes precedence over the User Name flag", and over the Password flag.
  if (level === MQTT_3_1 && fields.done) clear(USER_NAME | PASSWORD)
  if (flags & USER_NAME) checkUserName(fields.data())
  if (level === MQTT_3_1 && fields.done) clear(PASSWORD)
  if (flags & PASSWORD) checkLength(fields.data(), MAX_PASSWORD_BYTES, 'password')
  if (!fields.done) throw new MalformedPacket('bytes behind the end of the CONNECT payload', '[MQTT-3.1.4-1]')
  return { level, keepAliveSeconds }
}

/** Reads no further than the level: a client of MQTT 5 has other fields behind it, and must get CONNACK 0x01. */
function checkProtocol(fields: Fields): number {
  const protocol = fields.data().toString('latin1')
  if (protocol !== 'MQTT' && protocol !== 'MQIsdp') {
    throw new MalformedPacket('unknown protocol name', '[MQTT-3.1.2-1]')
  }
  const level = fields.byte()
  if (level !== (protocol === 'MQTT' ? 4 : MQTT_3_1)) {
    throw new MalformedPacket(
      'unacceptable protocol level',
      '[MQTT-3.1.2-2]',
      REASON.UNSUPPORTED_PROTOCOL_VERSION,
    )
  }
  return level
}

function checkFlags(flags: number): void {
  const willQos = (flags >> 3) & 0x03
  if (flags & 0x01) throw new MalformedPacket('reserved CONNECT flag set', '[MQTT-3.1.2-3]')
  if (flags & WILL) {
    if (willQos === 3) throw new MalformedPacket('will QoS 3', '[MQTT-3.1.2-14]')
  } else {
    if (willQos !== 0) throw new MalformedPacket('will QoS without a will', '[MQTT-3.1.2-13]')
    if (flags & 0x20) throw new MalformedPacket('will retain without a will', '[MQTT-3.1.2-15]')
  }
  if (flags & PASSWORD && !(flags & USER_NAME))
    throw new MalformedPacket('password without a user name', '[MQTT-3.1.2-22]')
}

/** No CONNACK return code fits: the connection is closed without one [MQTT-3.2.2-6]. */
function checkKeepAlive(seconds: number, { keepaliveLimitSeconds }: PacketLimits): void {
  if (keepaliveLimitSeconds > 0 && (seconds === 0 || seconds > keepaliveLimitSeconds))
    throw new MalformedPacket('keep alive over the limit, or none', 'keepaliveLimit')
}

function checkUserName(userName: Buffer): void {
  checkLength(userName, MAX_USER_NAME_BYTES, 'user name')
  checkText(userName, 'user name')
}

function checkLength({ length }: Buffer, max: number, what: string): void {
  if (length > max)
    throw new MalformedPacket(`${what} too long`, '(MQTT 3.1.1, 3.1.4)', REASON.BAD_USER_NAME_OR_PASSWORD)
}

interface ConnectKind {
  readonly level: number
  readonly isClean: boolean
}

/** MQTT 3.1 allows 23 characters only; we allow its clients as many as those of 3.1.1. */
function checkClientId(clientId: Buffer, { level, isClean }: ConnectKind, limits: PacketLimits): void {
  checkText(clientId, 'client identifier')
  if (clientId.length > limits.maxClientIdBytes) {
    throw new MalformedPacket(
      'client identifier too long',
      '[MQTT-3.1.3-9]',
      REASON.CLIENT_IDENTIFIER_NOT_VALID,
    )
  }
  // MQTT 3.1 does not allow an empty identifier (its section 3.1, "Client Identifier").
  if (clientId.length === 0 && (!isClean || level === MQTT_3_1)) {
    throw new MalformedPacket('empty client identifier', '[MQTT-3.1.3-8]', REASON.CLIENT_IDENTIFIER_NOT_VALID)
  }
}
