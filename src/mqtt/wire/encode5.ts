/**
 * The packets that the gateway writes in MQTT 5. What only explains (reason string, user properties) is left out where the
 * client does not ask for it, and where its maximum packet size has no room for it. What is longer all the same is not sent
 * (transport.ts).
 */
import { writeText } from '../../core/write-text.js'
import {
  CONNACK,
  DISCONNECT,
  type PUBACK,
  type PUBCOMP,
  type PUBREC,
  type PUBREL,
  qosOf,
  type SUBACK,
  type UNSUBACK,
} from './packet-types.js'
import { EMPTY_BLOCK, encodeProperties, varintBytes, writeVarint } from './property-block.js'
import type { Properties, PropertyName } from './property-table.js'
import { REASON } from './reason-codes.js'

/** What a client's CONNECT says of the packets that it takes. */
export interface Receiver {
  /** Maximum packet size. */
  readonly maxPacketBytes: number
  /** Request problem information: reason strings in acknowledgements, too [MQTT-3.1.2-29]. */
  readonly wantsProblems: boolean
}

/** A client that said nothing. */
export const ANY_PACKET: Receiver = { maxPacketBytes: Number.POSITIVE_INFINITY, wantsProblems: true }

/** What only explains. */
export type Problem = Pick<Properties, 'reasonString' | 'userProperties'>

const NO_PROBLEM: Problem = Object.freeze({})

/**
 * @param first from `publishByte`
 * @param packetId not written at QoS 0
 * @param block properties without their length; a text is latin1, each character a byte
 */
export function encodePublish5(
  first: number,
  topic: string,
  packetId: number,
  block: Uint8Array | string,
  payload: string | Uint8Array,
): Buffer {
  const hasId = qosOf(first) > 0
  const topicBytes = Buffer.byteLength(topic)
  const payloadBytes = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
  const blockBytes = varintBytes(block.length) + block.length
  const remaining = 2 + topicBytes + (hasId ? 2 : 0) + blockBytes + payloadBytes
  const packet = begin(first, remaining)
  let at = packet.length - remaining
  at = packet.writeUInt16BE(topicBytes, at)
  at += writeText(packet, topic, topicBytes, at)
  if (hasId) at = packet.writeUInt16BE(packetId, at)
  at = writeVarint(packet, block.length, at)
  if (typeof block === 'string') packet.write(block, at, 'latin1')
  else packet.set(block, at)
  at += block.length
  if (typeof payload === 'string') writeText(packet, payload, payloadBytes, at)
  else packet.set(payload, at)
  return packet
}

/** @param properties with what explains the reason, if anything does */
export function encodeConnack5(
  reason: number,
  sessionPresent: boolean,
  properties: Properties,
  receiver: Receiver,
): Buffer {
  const head = Buffer.of(sessionPresent ? 1 : 0, reason)
  return fitting(properties, receiver, block => whole(CONNACK, head, block), SPARE_IN_CONNACK)
}

/** Reason and properties are left out where they say nothing (3.14.2.1). */
export function encodeDisconnect5(reason: number, properties: Properties, receiver: Receiver): Buffer {
  return fitting(properties, receiver, block => {
    if (block.length > 0) return whole(DISCONNECT, Buffer.of(reason), block)
    return reason === REASON.SUCCESS ? Buffer.of(DISCONNECT, 0) : Buffer.of(DISCONNECT, 1, reason)
  })
}

type Acknowledgement = typeof PUBACK | typeof PUBREC | typeof PUBREL | typeof PUBCOMP

/** Of two bytes behind the fixed header, as in 3.1.1, where there is nothing to tell (3.4.2.1). */
export function encodeAcknowledgement5(
  first: Acknowledgement,
  packetId: number,
  reason: number = REASON.SUCCESS,
  problem: Problem = NO_PROBLEM,
  receiver: Receiver = ANY_PACKET,
): Buffer {
  const high = packetId >> 8
  return explained(problem, receiver, block => {
    if (block.length > 0) return whole(first, Buffer.of(high, packetId, reason), block)
    return reason === REASON.SUCCESS
      ? Buffer.of(first, 2, high, packetId)
      : Buffer.of(first, 3, high, packetId, reason)
  })
}

/** SUBACK and UNSUBACK. @param reasons one for each filter, in order [MQTT-3.9.3-1] [MQTT-3.11.3-1] */
export function encodeFilterReasons5(
  first: typeof SUBACK | typeof UNSUBACK,
  packetId: number,
  reasons: readonly number[],
  problem: Problem = NO_PROBLEM,
  receiver: Receiver = ANY_PACKET,
): Buffer {
  const head = Buffer.of(packetId >> 8, packetId)
  const payload = Buffer.from(reasons)
  return explained(problem, receiver, block => whole(first, head, block, payload))
}

/** For packets that must not explain anything to a client that does not ask for it. */
function explained(problem: Problem, receiver: Receiver, make: (block: Buffer) => Buffer): Buffer {
  return problem === NO_PROBLEM || !receiver.wantsProblems
    ? make(EMPTY_BLOCK)
    : fitting(problem, receiver, make)
}

/** What a packet can do without, in the order in which it is left out [MQTT-3.2.2-19] [MQTT-3.2.2-20] and their like. */
const SPARE: readonly PropertyName[] = ['userProperties', 'reasonString']
/** A client that is not told of these uses neither requests with responses nor aliases; all else it must know. */
const SPARE_IN_CONNACK: readonly PropertyName[] = [...SPARE, 'responseInformation', 'topicAliasMaximum']

/** Leaves out what can be spared until the packet fits. @returns the shortest there is where none does */
function fitting(
  properties: Properties,
  { maxPacketBytes }: Receiver,
  make: (block: Buffer) => Buffer,
  spare = SPARE,
): Buffer {
  let packet = make(encodeProperties(properties))
  const left = new Set<string>()
  for (const name of spare) {
    if (packet.length <= maxPacketBytes) break
    packet = make(encodeProperties(omit(properties, left.add(name))))
  }
  return packet
}

const omit = (properties: Properties, names: ReadonlySet<string>): Properties =>
  Object.fromEntries(Object.entries(properties).filter(([name]) => !names.has(name)))

/** Fixed header, what comes before the properties, those, and the payload. */
function whole(first: number, head: Buffer, block: Buffer, payload: Buffer = EMPTY_BLOCK): Buffer {
  const packet = begin(first, head.length + varintBytes(block.length) + block.length + payload.length)
  let at = packet.length - payload.length - block.length
  packet.set(block, at)
  packet.set(payload, at + block.length)
  at -= varintBytes(block.length)
  writeVarint(packet, block.length, at)
  packet.set(head, at - head.length)
  return packet
}

/** A packet with its fixed header; `remaining` bytes are to be written behind that. */
function begin(first: number, remaining: number): Buffer {
  const packet = Buffer.allocUnsafe(1 + varintBytes(remaining) + remaining)
  packet[0] = first
  writeVarint(packet, remaining, 1)
  return packet
}
