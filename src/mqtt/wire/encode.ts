/**
 * The packets that the gateway writes, in MQTT 3.1 and 3.1.1. Each is one buffer of its exact size.
 */
import { writeText } from '../../core/write-text.js'
import { CONNACK, qosOf, SUBACK, UNSUBACK } from './packet-types.js'

/**
 * @param first from `publishByte`
 * @param packetId not written at QoS 0
 */
export function encodePublish(
  first: number,
  topic: string,
  packetId: number,
  payload: string | Uint8Array,
): Buffer {
  const hasId = qosOf(first) > 0
  const topicBytes = Buffer.byteLength(topic)
  const payloadBytes = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length
  const remaining = 2 + topicBytes + (hasId ? 2 : 0) + payloadBytes
  const packet = begin(first, remaining)
  let at = packet.length - remaining
  at = packet.writeUInt16BE(topicBytes, at)
  at += writeText(packet, topic, topicBytes, at)
  if (hasId) at = packet.writeUInt16BE(packetId, at)
  if (typeof payload === 'string') writeText(packet, payload, payloadBytes, at)
  else packet.set(payload, at)
  return packet
}

/** @param first PUBACK, PUBREC, PUBREL or PUBCOMP: they have one form */
export function encodeAcknowledgement(first: number, packetId: number): Buffer {
  const packet = Buffer.allocUnsafe(4)
  packet[0] = first
  packet[1] = 2
  packet[2] = packetId >> 8
  packet[3] = packetId
  return packet
}

export const encodeUnsuback = (packetId: number): Buffer => encodeAcknowledgement(UNSUBACK, packetId)

/** All clients get the same bytes. */
export const PINGRESP: Buffer = Buffer.of(0xd0, 0)

/** CONNACK of a connection that is accepted. */
export const encodeConnack = (sessionPresent: boolean): Buffer =>
  Buffer.of(CONNACK, 2, sessionPresent ? 1 : 0, 0)

/** CONNACK of a connection that is refused: without session present [MQTT-3.2.2-4]. @param returnCode 1 to 5 (table 3.1) */
export const encodeRefusal = (returnCode: number): Buffer => Buffer.of(CONNACK, 2, 0, returnCode)

/** Return code of a filter that is refused (MQTT 3.1.1, 3.9.3). */
export const REFUSED_FILTER = 0x80

/** @param returnCodes one for each filter, in the order of the SUBSCRIBE [MQTT-3.8.4-5] */
export function encodeSuback(packetId: number, returnCodes: readonly number[]): Buffer {
  const remaining = 2 + returnCodes.length
  const packet = begin(SUBACK, remaining)
  const at = packet.writeUInt16BE(packetId, packet.length - remaining)
  packet.set(returnCodes, at)
  return packet
}

/** A packet with its fixed header; `remaining` bytes are to be written behind that (MQTT 3.1.1, 2.2.3). */
function begin(first: number, remaining: number): Buffer {
  const lengthBytes = remaining < 128 ? 1 : remaining < 16_384 ? 2 : remaining < 2_097_152 ? 3 : 4
  const packet = Buffer.allocUnsafe(1 + lengthBytes + remaining)
  packet[0] = first
  for (let rest = remaining, i = 1; i <= lengthBytes; i++, rest >>>= 7) {
    packet[i] = (rest & 0x7f) | (i < lengthBytes ? 0x80 : 0)
  }
  return packet
}
