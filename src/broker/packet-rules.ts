/**
 * What MQTT 3.1.1 has a server refuse inside a packet, and our limits on it. Aedes 1.2 and mqtt-packet 9 let most of
 * this through. The functions throw MalformedPacket; they look at a packet's bytes and keep nothing.
 */
import { isUtf8 } from 'node:buffer'

export interface PacketLimits {
  /** Whole packet with its fixed header; known, and judged, before the packet's body is read. */
  readonly maxPacketBytes: number
  /** Topic names and topic filters, UTF-8. */
  readonly maxTopicBytes: number
  /** `a/b` has two levels. */
  readonly maxTopicLevels: number
  readonly maxClientIdBytes: number
}

/** CONNACK return codes that stand for a fault in CONNECT itself (MQTT 3.1.1, 3.2.2.3). */
const UNACCEPTABLE_PROTOCOL_LEVEL = 0x01
const IDENTIFIER_REJECTED = 0x02

export class MalformedPacket extends Error {
  override readonly name = 'MalformedPacket'

  /**
   * @param reason what is wrong, never the client's own bytes
   * @param clause the rule broken, `[MQTT-…]` as in the specification, or the name of the limit passed
   * @param refuse CONNACK return code, where the specification wants one before the connection is closed
   */
  constructor(
    readonly reason: string,
    readonly clause: string,
    readonly refuse?: number,
  ) {
    super(`${reason} ${clause}`)
  }
}

const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23

function checkText(text: Buffer, what: string): void {
  let bits = 0
  for (let i = 0; i < text.length; i++) {
    const byte = text[i] as number
    if (byte === 0) throw new MalformedPacket(`NUL in the ${what}`, '[MQTT-1.5.3-2]')
    bits |= byte
  }
  if (bits > 0x7f && !isUtf8(text))
    throw new MalformedPacket(`ill-formed UTF-8 in the ${what}`, '[MQTT-1.5.3-1]')
}

function checkTopicText(topic: Buffer, what: string, limits: PacketLimits): void {
  if (topic.length === 0) throw new MalformedPacket(`empty ${what}`, '[MQTT-4.7.3-1]')
  if (topic.length > limits.maxTopicBytes) throw new MalformedPacket(`${what} too long`, 'maxTopicBytes')
  checkText(topic, what)
}

function checkLevels(levels: number, limits: PacketLimits): void {
  if (levels > limits.maxTopicLevels) throw new MalformedPacket('too many topic levels', 'maxTopicLevels')
}

function checkTopicName(topic: Buffer, limits: PacketLimits): void {
  checkTopicText(topic, 'topic name', limits)
  let levels = 1
  for (let i = 0; i < topic.length; i++) {
    const byte = topic[i]
    if (byte === SLASH) levels++
    else if (byte === PLUS || byte === HASH) {
      throw new MalformedPacket('wildcard in the topic name', '[MQTT-4.7.1-1]')
    }
  }
  checkLevels(levels, limits)
}

/** `$share/…` passes: it is well-formed, and whether it is granted is for the access rules to say. */
function checkTopicFilter(filter: Buffer, limits: PacketLimits): void {
  checkTopicText(filter, 'topic filter', limits)
  let levels = 1
  for (let i = 0; i < filter.length; i++) {
    const byte = filter[i]
    if (byte === SLASH) levels++
    else if (byte === PLUS || byte === HASH) checkWildcard(filter, i)
  }
  checkLevels(levels, limits)
}

function checkWildcard(filter: Buffer, at: number): void {
  const isWholeLevel =
    (at === 0 || filter[at - 1] === SLASH) && (at + 1 === filter.length || filter[at + 1] === SLASH)
  if (filter[at] === PLUS && !isWholeLevel) {
    throw new MalformedPacket('+ that is not a level by itself', '[MQTT-4.7.1-3]')
  }
  if (filter[at] === HASH && !(isWholeLevel && at + 1 === filter.length)) {
    throw new MalformedPacket('# that is not the last level by itself', '[MQTT-4.7.1-2]')
  }
}

/** What one packet has behind its fixed header, read in order; it ends at `end`, the buffer may go on. */
export class Fields {
  #at: number

  constructor(
    readonly bytes: Buffer,
    start: number,
    readonly end: number,
  ) {
    this.#at = start
  }

  get done(): boolean {
    return this.#at === this.end
  }

  #take(count: number): number {
    const start = this.#at
    if (start + count > this.end)
      throw new MalformedPacket('field beyond the end of the packet', '[MQTT-4.8.0-1]')
    this.#at = start + count
    return start
  }

  byte(): number {
    return this.bytes.readUInt8(this.#take(1))
  }

  uint16(): number {
    return this.bytes.readUInt16BE(this.#take(2))
  }

  /** Text or binary data behind its length in two bytes. */
  data(): Buffer {
    const length = this.uint16()
    const start = this.#take(length)
    return this.bytes.subarray(start, start + length)
  }
}

export function checkConnect(fields: Fields, limits: PacketLimits): void {
  const level = checkProtocol(fields)
  const flags = fields.byte()
  checkConnectFlags(flags)
  fields.uint16()
  checkClientId(fields.data(), { level, isClean: (flags & 0x02) !== 0 }, limits)
  if (flags & 0x04) {
    checkTopicName(fields.data(), limits)
    fields.data()
  }
  if (flags & 0x80) checkText(fields.data(), 'user name')
  if (flags & 0x40) fields.data()
  if (!fields.done) throw new MalformedPacket('bytes behind the end of the CONNECT payload', '[MQTT-3.1.4-1]')
}

/** Reads no further than the level: MQTT 5 puts other fields behind it and must still get its CONNACK. */
function checkProtocol(fields: Fields): number {
  const protocol = fields.data().toString('latin1')
  if (protocol !== 'MQTT' && protocol !== 'MQIsdp') {
    throw new MalformedPacket('unknown protocol name', '[MQTT-3.1.2-1]')
  }
  const level = fields.byte()
  if (level !== (protocol === 'MQTT' ? 4 : 3)) {
    throw new MalformedPacket('unacceptable protocol level', '[MQTT-3.1.2-2]', UNACCEPTABLE_PROTOCOL_LEVEL)
  }
  return level
}

function checkConnectFlags(flags: number): void {
  const willQos = (flags >> 3) & 0x03
  if (flags & 0x01) throw new MalformedPacket('reserved CONNECT flag set', '[MQTT-3.1.2-3]')
  if (flags & 0x04) {
    if (willQos === 3) throw new MalformedPacket('will QoS 3', '[MQTT-3.1.2-14]')
  } else {
    if (willQos !== 0) throw new MalformedPacket('will QoS without a will', '[MQTT-3.1.2-13]')
    if (flags & 0x20) throw new MalformedPacket('will retain without a will', '[MQTT-3.1.2-15]')
  }
  if (flags & 0x40 && !(flags & 0x80))
    throw new MalformedPacket('password without a user name', '[MQTT-3.1.2-22]')
}

interface ConnectKind {
  readonly level: number
  readonly isClean: boolean
}

function checkClientId(clientId: Buffer, { level, isClean }: ConnectKind, limits: PacketLimits): void {
  checkText(clientId, 'client identifier')
  if (clientId.length > limits.maxClientIdBytes) {
    throw new MalformedPacket('client identifier too long', '[MQTT-3.1.3-9]', IDENTIFIER_REJECTED)
  }
  // MQTT 3.1 knows no empty identifier at all (its section 3.1, "Client Identifier").
  if (clientId.length === 0 && (!isClean || level === 3)) {
    throw new MalformedPacket('empty client identifier', '[MQTT-3.1.3-8]', IDENTIFIER_REJECTED)
  }
}

export function checkPublishQos0(fields: Fields, limits: PacketLimits): void {
  checkTopicName(fields.data(), limits)
}

export function checkPublish(fields: Fields, limits: PacketLimits): void {
  checkTopicName(fields.data(), limits)
  checkPacketId(fields)
}

/** All there is in PUBACK, PUBREC, PUBREL and PUBCOMP. */
export function checkPacketId(fields: Fields): void {
  if (fields.uint16() === 0) throw new MalformedPacket('packet identifier 0', '[MQTT-2.3.1-1]')
}

export function checkSubscribe(fields: Fields, limits: PacketLimits): void {
  checkPacketId(fields)
  if (fields.done) throw new MalformedPacket('SUBSCRIBE without a topic filter', '[MQTT-3.8.3-3]')
  while (!fields.done) {
    checkTopicFilter(fields.data(), limits)
    if (fields.byte() > 2)
      throw new MalformedPacket('reserved bits or QoS 3 asked for in SUBSCRIBE', '[MQTT-3-8.3-4]')
  }
}

export function checkUnsubscribe(fields: Fields, limits: PacketLimits): void {
  checkPacketId(fields)
  if (fields.done) throw new MalformedPacket('UNSUBSCRIBE without a topic filter', '[MQTT-3.10.3-2]')
  while (!fields.done) checkTopicFilter(fields.data(), limits)
}
