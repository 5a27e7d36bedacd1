/**
 * The reason codes of MQTT 5 (2.4): their names, the packets that may carry each, and what takes their place in another
 * packet or an older version.
 */
import { CODES, type CodeName } from '../../core/codes.js'
import {
  AUTH,
  CONNACK,
  DISCONNECT,
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  SUBACK,
  UNSUBACK,
} from './packet-types.js'

/**
 * By the names of the specification: the code, and the packets that may carry it. SUCCESS is also called normal
 * disconnection (DISCONNECT) and granted QoS 0 (SUBACK).
 */
const ROWS = {
  SUCCESS: [0x00, CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH],
  GRANTED_QOS_1: [0x01, SUBACK],
  GRANTED_QOS_2: [0x02, SUBACK],
  DISCONNECT_WITH_WILL: [0x04, DISCONNECT],
  NO_MATCHING_SUBSCRIBERS: [0x10, PUBACK, PUBREC],
  NO_SUBSCRIPTION_EXISTED: [0x11, UNSUBACK],
  CONTINUE_AUTHENTICATION: [0x18, AUTH],
  RE_AUTHENTICATE: [0x19, AUTH],
  UNSPECIFIED_ERROR: [0x80, CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT],
  MALFORMED_PACKET: [0x81, CONNACK, DISCONNECT],
  PROTOCOL_ERROR: [0x82, CONNACK, DISCONNECT],
  IMPLEMENTATION_SPECIFIC_ERROR: [0x83, CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT],
  UNSUPPORTED_PROTOCOL_VERSION: [0x84, CONNACK],
  CLIENT_IDENTIFIER_NOT_VALID: [0x85, CONNACK],
  BAD_USER_NAME_OR_PASSWORD: [0x86, CONNACK],
  NOT_AUTHORIZED: [0x87, CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT],
  SERVER_UNAVAILABLE: [0x88, CONNACK],
  SERVER_BUSY: [0x89, CONNACK, DISCONNECT],
  BANNED: [0x8a, CONNACK],
  SERVER_SHUTTING_DOWN: [0x8b, DISCONNECT],
  BAD_AUTHENTICATION_METHOD: [0x8c, CONNACK, DISCONNECT],
  KEEP_ALIVE_TIMEOUT: [0x8d, DISCONNECT],
  SESSION_TAKEN_OVER: [0x8e, DISCONNECT],
  TOPIC_FILTER_INVALID: [0x8f, SUBACK, UNSUBACK, DISCONNECT],
  TOPIC_NAME_INVALID: [0x90, CONNACK, PUBACK, PUBREC, DISCONNECT],
  PACKET_IDENTIFIER_IN_USE: [0x91, PUBACK, PUBREC, SUBACK, UNSUBACK],
  PACKET_IDENTIFIER_NOT_FOUND: [0x92, PUBREL, PUBCOMP],
  RECEIVE_MAXIMUM_EXCEEDED: [0x93, DISCONNECT],
  TOPIC_ALIAS_INVALID: [0x94, DISCONNECT],
  PACKET_TOO_LARGE: [0x95, CONNACK, DISCONNECT],
  MESSAGE_RATE_TOO_HIGH: [0x96, DISCONNECT],
  QUOTA_EXCEEDED: [0x97, CONNACK, PUBACK, PUBREC, SUBACK, DISCONNECT],
  ADMINISTRATIVE_ACTION: [0x98, DISCONNECT],
  PAYLOAD_FORMAT_INVALID: [0x99, CONNACK, PUBACK, PUBREC, DISCONNECT],
  RETAIN_NOT_SUPPORTED: [0x9a, CONNACK, DISCONNECT],
  QOS_NOT_SUPPORTED: [0x9b, CONNACK, DISCONNECT],
  USE_ANOTHER_SERVER: [0x9c, CONNACK, DISCONNECT],
  SERVER_MOVED: [0x9d, CONNACK, DISCONNECT],
  SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: [0x9e, SUBACK, DISCONNECT],
  CONNECTION_RATE_EXCEEDED: [0x9f, CONNACK, DISCONNECT],
  MAXIMUM_CONNECT_TIME: [0xa0, DISCONNECT],
  SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: [0xa1, SUBACK, DISCONNECT],
  WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: [0xa2, SUBACK, DISCONNECT],
} as const

export type ReasonName = keyof typeof ROWS

const NAMES = Object.keys(ROWS) as ReasonName[]

export const REASON = Object.freeze(Object.fromEntries(NAMES.map(name => [name, ROWS[name][0]]))) as Readonly<
  Record<ReasonName, number>
>

/** Packets by reason code. */
const CARRIERS: ReadonlyMap<number, ReadonlySet<number>> = new Map(
  NAMES.map(name => [ROWS[name][0], new Set<number>(ROWS[name].slice(1))]),
)

/** A code of 0x80 or greater tells of a failure (2.4). */
export const isFailure = (code: number): boolean => code >= 0x80

/** @param packet its first byte, as in packet-types.ts */
export const mayCarry = (packet: number, code: number): boolean => CARRIERS.get(code)?.has(packet) === true

/** What a client may say in DISCONNECT (table 3-10); the other codes of DISCONNECT are the server's. */
const CLIENT_DISCONNECTS: ReadonlySet<number> = new Set([
  REASON.SUCCESS,
  REASON.DISCONNECT_WITH_WILL,
  REASON.UNSPECIFIED_ERROR,
  REASON.MALFORMED_PACKET,
  REASON.PROTOCOL_ERROR,
  REASON.IMPLEMENTATION_SPECIFIC_ERROR,
  REASON.TOPIC_NAME_INVALID,
  REASON.RECEIVE_MAXIMUM_EXCEEDED,
  REASON.TOPIC_ALIAS_INVALID,
  REASON.PACKET_TOO_LARGE,
  REASON.MESSAGE_RATE_TOO_HIGH,
  REASON.QUOTA_EXCEEDED,
  REASON.ADMINISTRATIVE_ACTION,
  REASON.PAYLOAD_FORMAT_INVALID,
])

/** Whether a packet from a client may carry the code. */
export const mayClientSend = (packet: number, code: number): boolean =>
  packet === DISCONNECT ? CLIENT_DISCONNECTS.has(code) : mayCarry(packet, code)

/** The next best code where a packet may not carry one; for all others it is IMPLEMENTATION_SPECIFIC_ERROR. */
const INSTEAD: ReadonlyMap<number, number> = new Map([
  [REASON.BAD_USER_NAME_OR_PASSWORD, REASON.NOT_AUTHORIZED],
  [REASON.ADMINISTRATIVE_ACTION, REASON.NOT_AUTHORIZED],
  [REASON.BANNED, REASON.ADMINISTRATIVE_ACTION],
  [REASON.SERVER_SHUTTING_DOWN, REASON.SERVER_UNAVAILABLE],
  [REASON.SERVER_UNAVAILABLE, REASON.SERVER_BUSY],
  [REASON.TOPIC_NAME_INVALID, REASON.TOPIC_FILTER_INVALID],
  [REASON.PACKET_TOO_LARGE, REASON.QUOTA_EXCEEDED],
  [REASON.MESSAGE_RATE_TOO_HIGH, REASON.QUOTA_EXCEEDED],
  [REASON.CONNECTION_RATE_EXCEEDED, REASON.QUOTA_EXCEEDED],
])

/** Packets that refuse something; each may carry IMPLEMENTATION_SPECIFIC_ERROR. */
type Refusal =
  | typeof CONNACK
  | typeof PUBACK
  | typeof PUBREC
  | typeof SUBACK
  | typeof UNSUBACK
  | typeof DISCONNECT

/** The reason code of an error in a packet of this type. */
export function reasonOf(kind: CodeName, packet: Refusal): number {
  let code = CODES[kind].mqtt5
  while (!mayCarry(packet, code)) code = INSTEAD.get(code) ?? REASON.IMPLEMENTATION_SPECIFIC_ERROR
  return code
}

/** CONNACK return codes (MQTT 3.1.1, table 3.1). For the faults that have none a server closes without CONNACK. */
const RETURN_CODES: ReadonlyMap<number, number> = new Map([
  [REASON.UNSUPPORTED_PROTOCOL_VERSION, 1],
  [REASON.CLIENT_IDENTIFIER_NOT_VALID, 2],
  [REASON.SERVER_UNAVAILABLE, 3],
  [REASON.SERVER_BUSY, 3],
  [REASON.QUOTA_EXCEEDED, 3],
  [REASON.CONNECTION_RATE_EXCEEDED, 3],
  [REASON.BAD_USER_NAME_OR_PASSWORD, 4],
  [REASON.NOT_AUTHORIZED, 5],
  [REASON.BANNED, 5],
])

/** What CONNACK of MQTT 3.1 and 3.1.1 says in place of a reason code, if it can. */
export const returnCodeOf = (code: number): number | undefined => RETURN_CODES.get(code)
