/**
 * The rules of MQTT 3.1.1 for the fields of a packet, and our limits on them. The functions read the packet's bytes, throw
 * MalformedPacket, and keep nothing. `at` is where the body of the packet begins, `end` where it ends (exclusive).
 */
import { isUtf8 } from 'node:buffer'
import { filterFault } from '../../core/topic-filter.js'
import { DISCONNECT } from './packet-types.js'
import { mayCarry, REASON, returnCodeOf } from './reason-codes.js'

export interface PacketLimits {
  /** Bytes of a whole packet with its fixed header. Checked before the body is read. */
  readonly maxPacketBytes: number
  /** Bytes of a topic name or topic filter, UTF-8. */
  readonly maxTopicBytes: number
  /** Levels of a topic name or filter; `a/b` has two. */
  readonly maxTopicLevels: number
  readonly maxClientIdBytes: number
  readonly maxWillBytes: number
  /** Longest keep alive, s; 0: any, and none at all. */
  readonly keepaliveLimitSeconds: number
  /** Filters of one session; one packet may name twice as many. */
  readonly maxSubscriptions: number
}

export class MalformedPacket extends Error {
  override readonly name = 'MalformedPacket'

  /**
   * @param reason what is wrong; never with bytes of the client
   * @param clause the rule that is broken: `[MQTT-…]` as in the specification, or the limit's config key under `mqtt`
   * @param code what CONNACK or DISCONNECT of MQTT 5 says of it
   */
  constructor(
    readonly reason: string,
    readonly clause: string,
    readonly code: number = REASON.MALFORMED_PACKET,
  ) {
    super(`${reason} ${clause}`)
  }

  /** Of CONNECT, where that is malformed and the version was read. */
  version: number | undefined

  in(version: number): this {
    return Object.assign(this, { version })
  }

  /** CONNACK return code that a client of 3.1 or 3.1.1 gets before the connection closes: only for faults of CONNECT. */
  get refuse(): number | undefined {
    return mayCarry(DISCONNECT, this.code) ? undefined : returnCodeOf(this.code)
  }
}

const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23

export const checkText = (text: Buffer, what: string): void => checkTextAt(text, 0, text.length, what)

export function checkTextAt(bytes: Buffer, start: number, end: number, what: string): void {
  let bits = 0
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number
    if (byte === 0) throw new MalformedPacket(`NUL in the ${what}`, '[MQTT-1.5.3-2]')
    bits |= byte
  }
  if (bits > 0x7f && !isUtf8(bytes.subarray(start, end)))
    throw new MalformedPacket(`ill-formed UTF-8 in the ${what}`, '[MQTT-1.5.3-1]')
}

function checkLevels(levels: number, code: number, limits: PacketLimits): void {
  if (levels > limits.maxTopicLevels)
    throw new MalformedPacket('too many topic levels', 'maxTopicLevels', code)
}

/** @param start where the topic name begins, behind its length */
function checkTopicAt(bytes: Buffer, start: number, end: number, limits: PacketLimits): void {
  if (start === end) throw new MalformedPacket('empty topic name', '[MQTT-4.7.3-1]', REASON.PROTOCOL_ERROR)
  if (end - start > limits.maxTopicBytes)
    throw new MalformedPacket('topic name too long', 'maxTopicBytes', REASON.TOPIC_NAME_INVALID)
  let bits = 0
  let levels = 1
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number
    bits |= byte
    if (byte === SLASH) levels++
    else if (byte === 0) throw new MalformedPacket('NUL in the topic name', '[MQTT-1.5.3-2]')
    else if (byte === PLUS || byte === HASH) {
      throw new MalformedPacket('wildcard in the topic name', '[MQTT-4.7.1-1]')
    }
  }
  if (bits > 0x7f && !isUtf8(bytes.subarray(start, end)))
    throw new MalformedPacket('ill-formed UTF-8 in the topic name', '[MQTT-1.5.3-1]')
  checkLevels(levels, REASON.TOPIC_NAME_INVALID, limits)
}

export const checkTopicName = (topic: Buffer, limits: PacketLimits): void =>
  checkTopicAt(topic, 0, topic.length, limits)

/** `$share/…` passes: it is well-formed, and the access rules refuse it. */
export function checkTopicFilter(bytes: Buffer, limits: PacketLimits): void {
  if (bytes.length === 0)
    throw new MalformedPacket('empty topic filter', '[MQTT-4.7.3-1]', REASON.PROTOCOL_ERROR)
  if (bytes.length > limits.maxTopicBytes)
    throw new MalformedPacket('topic filter too long', 'maxTopicBytes', REASON.TOPIC_FILTER_INVALID)
  checkText(bytes, 'topic filter')
  const filter = bytes.toString()
  const fault = filterFault(filter)
  if (fault !== undefined) throw new MalformedPacket(fault.reason, fault.clause)
  checkLevels(filter.split('/').length, REASON.TOPIC_FILTER_INVALID, limits)
}

/** Reads the fields behind a packet's fixed header, in order. The packet ends at `end`; the buffer may go on. */
export class Fields {
  #at: number

  constructor(
    readonly bytes: Buffer,
    start: number,
    readonly end: number,
  ) {
    this.#at = start
  }

  /** Where the next field begins. */
  get at(): number {
    return this.#at
  }

  get done(): boolean {
    return this.#at === this.end
  }

  #take(count: number): number {
    const start = this.#at
    if (start + count > this.end) throw beyondEnd()
    this.#at = start + count
    return start
  }

  byte(): number {
    return this.bytes.readUInt8(this.#take(1))
  }

  uint16(): number {
    return this.bytes.readUInt16BE(this.#take(2))
  }

  uint32(): number {
    return this.bytes.readUInt32BE(this.#take(4))
  }

  /** A variable byte integer (MQTT 5, 1.5.5), which has no more bytes than its value needs. */
  varint(): number {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte()
      if (byte === 0 && shift > 0)
        throw new MalformedPacket('variable byte integer longer than need be', '[MQTT-1.5.5-1]')
      value += (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw new MalformedPacket('variable byte integer of more than four bytes', '(MQTT 5, 1.5.5)')
  }

  /** The fields of a block, which has its length in a variable byte integer before it. */
  block(): Fields {
    const length = this.varint()
    const start = this.#take(length)
    return new Fields(this.bytes, start, start + length)
  }

  /** All that has not been read. */
  rest(): Buffer {
    return this.bytes.subarray(this.#at, this.end)
  }

  /** Text or binary data, which has its length in two bytes before it. */
  data(): Buffer {
    const start = this.skipData()
    return this.bytes.subarray(start, this.#at)
  }

  /** Passes over text or binary data. @returns where it begins; it ends at `at` */
  skipData(): number {
    return this.#take(this.uint16())
  }
}

type Check = (bytes: Buffer, at: number, end: number, limits: PacketLimits) => number

const beyondEnd = (): MalformedPacket =>
  new MalformedPacket('field beyond the end of the packet', '[MQTT-4.8.0-1]')

/** @returns where the topic name ends */
export function checkTopic(bytes: Buffer, at: number, end: number, limits: PacketLimits): number {
  if (at + 2 > end) throw beyondEnd()
  const topicEnd = at + 2 + bytes.readUInt16BE(at)
  if (topicEnd > end) throw beyondEnd()
  checkTopicAt(bytes, at + 2, topicEnd, limits)
  return topicEnd
}

export const checkPublishQos0: Check = (bytes, at, end, limits) => {
  checkTopic(bytes, at, end, limits)
  return 1
}

export const checkPublish: Check = (bytes, at, end, limits) =>
  checkPacketId(bytes, checkTopic(bytes, at, end, limits), end)

/** The only field of PUBACK, PUBREC, PUBREL and PUBCOMP. */
export function checkPacketId(bytes: Buffer, at: number, end: number): number {
  if (at + 2 > end) throw beyondEnd()
  if (bytes.readUInt16BE(at) === 0) throw new MalformedPacket('packet identifier 0', '[MQTT-2.3.1-1]')
  return 1
}

/** @returns the number of filters */
export const checkSubscribe: Check = (bytes, at, end, limits) => {
  checkPacketId(bytes, at, end)
  const fields = new Fields(bytes, at + 2, end)
  if (fields.done)
    throw new MalformedPacket('SUBSCRIBE without a topic filter', '[MQTT-3.8.3-3]', REASON.PROTOCOL_ERROR)
  let filters = 0
  while (!fields.done) {
    checkCount(++filters, limits)
    checkTopicFilter(fields.data(), limits)
    if (fields.byte() > 2)
      throw new MalformedPacket('reserved bits or QoS 3 asked for in SUBSCRIBE', '[MQTT-3-8.3-4]')
  }
  return filters
}

/** @returns the number of filters */
export const checkUnsubscribe: Check = (bytes, at, end, limits) => {
  checkPacketId(bytes, at, end)
  const fields = new Fields(bytes, at + 2, end)
  if (fields.done)
    throw new MalformedPacket('UNSUBSCRIBE without a topic filter', '[MQTT-3.10.3-2]', REASON.PROTOCOL_ERROR)
  let filters = 0
  for (; !fields.done; checkTopicFilter(fields.data(), limits)) checkCount(++filters, limits)
  return filters
}

/** A packet of 1 MiB could name 262,144. Twice the limit of a session, so that a client sees in SUBACK which are refused. */
export function checkCount(filters: number, { maxSubscriptions }: PacketLimits): void {
  if (filters > 2 * maxSubscriptions)
    throw new MalformedPacket('too many topic filters', 'maxSubscriptions', REASON.QUOTA_EXCEEDED)
}
