/** Lets the whole, well-formed MQTT 3.1 and 3.1.1 packets of one client through, as the bytes that they are. */
import { checkConnect, maxConnectBytes } from './connect-rules.js'
import {
  bare,
  CONNECT,
  DISCONNECT,
  firstByteFault,
  KINDS,
  type PacketKind,
  withoutOldDup,
} from './packet-kinds.js'
import { Fields, MalformedPacket, type PacketLimits } from './packet-rules.js'

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

/** What a client's packets cost, and which of them nobody needs. */
export interface PacketMeter {
  /**
   * @param first the packet's first byte: type and flags
   * @param filters of SUBSCRIBE and UNSUBSCRIBE; of all others 1
   * @param bytes its whole length
   * @returns false where it is to be dropped
   */
  admit(first: number, filters: number, bytes: number): boolean
}

/** Packets, filters, or KiB of one client that are looked at before others have their turn; one packet may be more. */
const WORK_OF_A_TURN = 64
const BYTES_A_PACKET = 1024

const NOTHING = Buffer.alloc(0)

export class PacketGate {
  readonly #limits: PacketLimits
  readonly #meter: PacketMeter | undefined
  readonly #maxConnectBytes: number
  #phase: 'new' | 'open' | 'closed' = 'new'
  #level = 0
  #keepAliveSeconds = 0
  #packets = 0
  /** What is left of it in this turn. */
  #work = WORK_OF_A_TURN
  /** The beginning of a packet that is not all there, in a buffer that may be longer. */
  #held = NOTHING
  #heldBytes = 0
  /** Of the packet whose fixed header was read last: its kind, where its body begins, and its whole length. */
  #kind = bare
  #bodyAt = 0
  #packetBytes = 0

  /** @param meter is told of every well-formed packet */
  constructor(limits: PacketLimits, meter?: PacketMeter) {
    this.#limits = limits
    this.#meter = meter
    this.#maxConnectBytes = maxConnectBytes(limits)
  }

  /** Whether no CONNECT passed yet. */
  get isNew(): boolean {
    return this.#phase === 'new'
  }

  /** Whether a DISCONNECT passed. */
  get hasDisconnected(): boolean {
    return this.#phase === 'closed'
  }

  /** Of CONNECT; 0 = none. */
  get keepAliveSeconds(): number {
    return this.#keepAliveSeconds
  }

  /** Whether this turn's work is done, or CONNECT passed. */
  get isTired(): boolean {
    return this.#work <= 0
  }

  beginTurn(): void {
    this.#work = WORK_OF_A_TURN
  }

  /** How many packets passed since it was last asked. */
  takePackets(): number {
    const count = this.#packets
    this.#packets = 0
    return count
  }

  /**
   * @param chunk is the gate's from here on: packets are handed on as parts of it where possible
   * @param deliver gets the bytes of whole packets that passed, in order
   * @param lane is offered each packet first, until it leaves one: what comes behind that must not overtake it
   * @returns what it has not looked at, to be pushed in a later turn: behind CONNECT, or behind a turn's work
   * @throws MalformedPacket after what came before it was delivered; then the gate must not be used any more
   */
  push(chunk: Buffer, deliver: (packets: Buffer) => void, lane?: PacketLane): Buffer {
    if (this.#work <= 0) this.beginTurn()
    const bytes = this.#heldBytes === 0 ? chunk : this.#complete(chunk, deliver, lane)
    let at = 0
    let taken = 0
    try {
      while (
        at < bytes.length &&
        this.#work > 0 &&
        this.#readFixedHeader(bytes, at) &&
        at + this.#packetBytes <= bytes.length
      ) {
        const isWanted = this.#check(bytes, at)
        const end = at + this.#packetBytes
        if (!isWanted) {
          if (at > taken) deliver(bytes.subarray(taken, at))
          taken = end
        } else if (taken === at && lane?.take(bytes, at, at + this.#bodyAt, end)) taken = end
        at = end
      }
    } finally {
      if (at > taken) deliver(bytes.subarray(taken, at))
    }
    const rest = bytes.subarray(at)
    if (this.#work <= 0 || rest.length === 0) return rest
    this.#hold(rest)
    return NOTHING
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
    if (this.#check(packet, 0) && !lane?.take(packet, 0, this.#bodyAt, packet.length)) deliver(packet)
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
    const kind = KINDS.get(withoutOldDup(first, this.#level))
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
    const max = this.#phase === 'new' ? this.#maxConnectBytes : this.#limits.maxPacketBytes
    if (headerBytes + length > Math.min(max, this.#limits.maxPacketBytes)) {
      throw new MalformedPacket('packet too large', 'maxPacketBytes')
    }
    this.#kind = kind
    this.#bodyAt = headerBytes
    this.#packetBytes = headerBytes + length
  }

  /** @returns whether it is wanted */
  #check(bytes: Buffer, at: number): boolean {
    const first = bytes.readUInt8(at)
    const fields = new Fields(bytes, at + this.#bodyAt, at + this.#packetBytes)
    const filters = first === CONNECT ? this.#connect(fields) : this.#kind.check(fields, this.#limits)
    this.#work -= Math.max(filters, this.#packetBytes / BYTES_A_PACKET)
    this.#packets++
    if (first === CONNECT) this.#work = 0
    else if (first === DISCONNECT) this.#phase = 'closed'
    // Aedes' parser knows the flags of 3.1.1 only.
    bytes[at] = withoutOldDup(first, this.#level)
    return this.#meter?.admit(first, filters, this.#packetBytes) ?? true
  }

  #connect(fields: Fields): number {
    const { level, keepAliveSeconds } = checkConnect(fields, this.#limits)
    this.#phase = 'open'
    this.#level = level
    this.#keepAliveSeconds = keepAliveSeconds
    return 1
  }
}
