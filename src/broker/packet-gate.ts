/** Lets the whole, well-formed MQTT 3.1 and 3.1.1 packets of one client through, as the bytes that they are. */
import {
  checkConnect,
  checkPacketId,
  checkPublish,
  checkPublishQos0,
  checkSubscribe,
  checkUnsubscribe,
  Fields,
  MalformedPacket,
  type PacketLimits,
} from './packet-rules.js'

/** Takes packets before Aedes gets to see them. */
export interface PacketLane {
  /**
   * @param at where a whole, well-formed packet begins in `bytes`, @param bodyAt behind its fixed header
   * @returns whether the packet was taken; then nobody else gets it
   */
  take(bytes: Buffer, at: number, bodyAt: number, end: number): boolean
  /** All packets of one chunk were offered. */
  settle(): void
}

interface PacketKind {
  readonly check: (fields: Fields, limits: PacketLimits) => void
  /** Most bytes that there can be behind the fixed header. */
  readonly maxLength: number
}

/** Four bytes of seven bits (MQTT 3.1.1, 2.2.3). */
const MAX_REMAINING_LENGTH = 0x0fffffff
/** Protocol name to keep alive, then client id, will topic, will message, user name, password of 65,537 bytes each. */
const MAX_CONNECT_LENGTH = 12 + 5 * 65_537

/** Packet types by which a client asks for something; the others answer, or end. */
const REQUESTS: ReadonlySet<number> = new Set([3, 8, 10, 12]) // PUBLISH, SUBSCRIBE, UNSUBSCRIBE, PINGREQ

const CONNECT = 0x10
const DISCONNECT = 0xe0

const publishQos0: PacketKind = { check: checkPublishQos0, maxLength: MAX_REMAINING_LENGTH }
const publish: PacketKind = { check: checkPublish, maxLength: MAX_REMAINING_LENGTH }
const acknowledgement: PacketKind = { check: checkPacketId, maxLength: 2 }
const bare: PacketKind = { check: () => {}, maxLength: 0 }

/** All that a client may send (MQTT 3.1.1, 2.2), by its first byte: packet type and flags. */
const KINDS: ReadonlyMap<number, PacketKind> = new Map([
  [CONNECT, { check: checkConnect, maxLength: MAX_CONNECT_LENGTH }],
  [0x30, publishQos0],
  [0x31, publishQos0],
  [0x32, publish],
  [0x33, publish],
  [0x34, publish],
  [0x35, publish],
  [0x3a, publish],
  [0x3b, publish],
  [0x3c, publish],
  [0x3d, publish],
  [0x40, acknowledgement],
  [0x50, acknowledgement],
  [0x62, acknowledgement],
  [0x70, acknowledgement],
  [0x82, { check: checkSubscribe, maxLength: MAX_REMAINING_LENGTH }],
  [0xa2, { check: checkUnsubscribe, maxLength: MAX_REMAINING_LENGTH }],
  [0xc0, bare],
  [DISCONNECT, bare],
])

/** Why a first byte is not in KINDS. */
function firstByteFault(first: number): MalformedPacket {
  const type = first >> 4
  if (type === 3) {
    return (first & 0x06) === 0x06
      ? new MalformedPacket('PUBLISH with QoS 3', '[MQTT-3.3.1-4]')
      : new MalformedPacket('DUP at QoS 0', '[MQTT-3.3.1-2]')
  }
  return KINDS.has(first & 0xf0) || KINDS.has((first & 0xf0) | 0x02)
    ? new MalformedPacket(`wrong flags for packet type ${type}`, '[MQTT-2.2.2-2]')
    : new MalformedPacket(`packet type ${type} from a client`, '[MQTT-4.8.0-1]')
}

const NOTHING = Buffer.alloc(0)

export class PacketGate {
  readonly #limits: PacketLimits
  #requests = 0
  #phase: 'new' | 'open' | 'closed' = 'new'
  /** The beginning of a packet that is not all there, in a buffer that may be longer. */
  #held = NOTHING
  #heldBytes = 0
  /** Of the packet whose fixed header was read last: its kind, where its body begins, and its whole length. */
  #kind = bare
  #bodyAt = 0
  #packetBytes = 0

  constructor(limits: PacketLimits) {
    this.#limits = limits
  }

  /** Whether a DISCONNECT passed. */
  get hasDisconnected(): boolean {
    return this.#phase === 'closed'
  }

  /** How many packets passed, since it was last asked, by which the client asks for something. */
  takeRequests(): number {
    const count = this.#requests
    this.#requests = 0
    return count
  }

  /**
   * @param deliver gets the bytes of whole packets that passed, in order, at most twice a call; they are parts of
   *   `chunk` where possible, so nobody may change that afterwards
   * @param lane is offered each packet first, until it leaves one: what comes behind that must not overtake it
   * @throws MalformedPacket after what came before it was delivered; then the gate must not be used any more
   */
  push(chunk: Buffer, deliver: (packets: Buffer) => void, lane?: PacketLane): void {
    const bytes = this.#heldBytes === 0 ? chunk : this.#complete(chunk, deliver, lane)
    let at = 0
    let taken = 0
    try {
      while (
        at < bytes.length &&
        this.#readFixedHeader(bytes, at) &&
        at + this.#packetBytes <= bytes.length
      ) {
        this.#check(bytes, at)
        const end = at + this.#packetBytes
        if (taken === at && lane?.take(bytes, at, at + this.#bodyAt, end)) taken = end
        at = end
      }
    } finally {
      if (at > taken) deliver(bytes.subarray(taken, at))
    }
    if (at < bytes.length) this.#hold(bytes.subarray(at))
  }

  /** Joins what is held with what it lacks. @returns what is still to be looked at */
  #complete(chunk: Buffer, deliver: (packets: Buffer) => void, lane?: PacketLane): Buffer {
    if (this.#packetBytes === 0) {
      const joined = Buffer.concat([this.#held.subarray(0, this.#heldBytes), chunk])
      this.#heldBytes = 0
      return joined
    }
    const lacking = this.#packetBytes - this.#heldBytes
    this.#hold(chunk.subarray(0, lacking))
    if (chunk.length < lacking) return NOTHING
    const packet = this.#held
    this.#held = NOTHING
    this.#heldBytes = 0
    this.#check(packet, 0)
    if (!lane?.take(packet, 0, this.#bodyAt, packet.length)) deliver(packet)
    return chunk.subarray(lacking)
  }

  /** Copies: a slice would keep its whole chunk alive. Grows by doubling: a header alone must not cost us its length. */
  #hold(bytes: Buffer): void {
    const needed = this.#heldBytes + bytes.length
    if (needed > this.#held.length) {
      const grown = Buffer.allocUnsafeSlow(
        Math.min(Math.max(needed, 2 * this.#held.length), this.#packetBytes || needed),
      )
      this.#held.copy(grown, 0, 0, this.#heldBytes)
      this.#held = grown
    }
    bytes.copy(this.#held, this.#heldBytes)
    this.#heldBytes = needed
  }

  /** @returns false when more of it is to come; then `#packetBytes` is 0 */
  #readFixedHeader(bytes: Buffer, at: number): boolean {
    this.#packetBytes = 0
    const kind = this.#kindOf(bytes.readUInt8(at))
    let length = 0
    for (let i = 1; i <= 4; i++) {
      if (at + i >= bytes.length) return false
      const byte = bytes.readUInt8(at + i)
      length += (byte & 0x7f) << (7 * (i - 1))
      if (byte < 0x80) {
        this.#admit(kind, i + 1, length)
        return true
      }
    }
    throw new MalformedPacket('remaining length of more than four bytes', '[MQTT-4.8.0-1]')
  }

  #kindOf(first: number): PacketKind {
    const kind = KINDS.get(first)
    if (kind === undefined) throw firstByteFault(first)
    if (this.#phase === (first === CONNECT ? 'new' : 'open')) return kind
    if (this.#phase === 'new') throw new MalformedPacket('first packet is not CONNECT', '[MQTT-3.1.0-1]')
    if (this.#phase === 'open') throw new MalformedPacket('second CONNECT', '[MQTT-3.1.0-2]')
    throw new MalformedPacket('packet behind DISCONNECT', '[MQTT-3.14.4-2]')
  }

  /** Judges the length before anything of the body is kept. */
  #admit(kind: PacketKind, headerBytes: number, length: number): void {
    if (length > kind.maxLength)
      throw new MalformedPacket('bytes behind the end of the packet', '[MQTT-4.8.0-1]')
    if (headerBytes + length > this.#limits.maxPacketBytes) {
      throw new MalformedPacket('packet too large', 'maxPacketBytes')
    }
    this.#kind = kind
    this.#bodyAt = headerBytes
    this.#packetBytes = headerBytes + length
  }

  #check(bytes: Buffer, at: number): void {
    this.#kind.check(new Fields(bytes, at + this.#bodyAt, at + this.#packetBytes), this.#limits)
    const first = bytes.readUInt8(at)
    if (REQUESTS.has(first >> 4)) this.#requests++
    if (first === CONNECT) this.#phase = 'open'
    else if (first === DISCONNECT) this.#phase = 'closed'
  }
}
