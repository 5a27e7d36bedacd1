/** Finds the packets in the bytes of a client, and lets only well-formed ones of MQTT 3.1, 3.1.1 and 5 through. */
import { type ConnectPacket, readConnect } from './connect-packet.js'
import { maxConnectBytes } from './connect-rules.js'
import { bare, firstByteFault, KINDS, KINDS5, type PacketKind, withoutOldDup } from './packet-kinds.js'
import { Fields, MalformedPacket, type PacketLimits } from './packet-rules.js'
import { CONNECT, DISCONNECT } from './packet-types.js'
import { REASON } from './reason-codes.js'

/** Takes the packets of a client, in order. */
export interface PacketSink {
  connect(packet: ConnectPacket): void
  /**
   * Any other packet, well-formed.
   * @param first its first byte: type and flags
   * @param bytes a buffer that holds the packet
   * @param at where its body begins, behind the fixed header
   * @param end where it ends, exclusive
   */
  take(first: number, bytes: Buffer, at: number, end: number): void
}

/** Counts what a client's packets cost, and picks out those to drop. */
export interface PacketMeter {
  /**
   * @param first the packet's first byte: type and flags
   * @param filters number of filters in SUBSCRIBE and UNSUBSCRIBE, otherwise 1
   * @param bytes length of the whole packet
   * @returns false if the packet is dropped
   */
  admit(first: number, filters: number, bytes: number): boolean
}

/** Packets, filters or KiB of one client that are checked in one event-loop turn; a single packet may be more. */
const WORK_OF_A_TURN = 64
const BYTES_A_PACKET = 1024

const NOTHING = Buffer.alloc(0)

export class PacketGate {
  readonly #limits: PacketLimits
  readonly #meter: PacketMeter | undefined
  readonly #maxConnectBytes: number
  #phase: 'new' | 'open' | 'closed' = 'new'
  #level = 0
  #kinds = KINDS
  #packets = 0
  /** What is left of WORK_OF_A_TURN in this turn. */
  #work = WORK_OF_A_TURN
  /** The first `#heldBytes` bytes are the beginning of a packet that is not complete. */
  #held = NOTHING
  #heldBytes = 0
  /** Of the packet whose fixed header was read last: its kind, the length of the header, and of the whole packet. */
  #kind = bare
  #bodyAt = 0
  #packetBytes = 0

  /** @param meter gets every well-formed packet */
  constructor(limits: PacketLimits, meter?: PacketMeter) {
    this.#limits = limits
    this.#meter = meter
    this.#maxConnectBytes = maxConnectBytes(limits)
  }

  /** No CONNECT has passed yet. */
  get isNew(): boolean {
    return this.#phase === 'new'
  }

  /** A DISCONNECT has passed. */
  get hasDisconnected(): boolean {
    return this.#phase === 'closed'
  }

  /** Nothing more is checked in this turn: its work is used up, or CONNECT passed. */
  get isTired(): boolean {
    return this.#work <= 0
  }

  beginTurn(): void {
    this.#work = WORK_OF_A_TURN
  }

  /** Number of packets since the last call. */
  takePackets(): number {
    const count = this.#packets
    this.#packets = 0
    return count
  }

  /**
   * Checks the packets in a chunk, and gives each to `sink`.
   * @param chunk belongs to the gate from here on: packets are parts of it where possible
   * @returns the bytes that were not checked, to be pushed in a later turn: behind CONNECT, or beyond a turn's work
   * @throws MalformedPacket after the packets before it were given; the gate must not be used any more then
   */
  push(chunk: Buffer, sink: PacketSink): Buffer {
    if (this.#work <= 0) this.beginTurn()
    const bytes = this.#heldBytes === 0 ? chunk : this.#complete(chunk, sink)
    let at = 0
    while (
      at < bytes.length &&
      this.#work > 0 &&
      this.#readFixedHeader(bytes, at) &&
      at + this.#packetBytes <= bytes.length
    ) {
      const end = at + this.#packetBytes
      this.#give(bytes, at, end, sink)
      at = end
    }
    if (at === bytes.length) return NOTHING
    const rest = bytes.subarray(at)
    if (this.#work <= 0) return rest
    this.#hold(rest)
    return NOTHING
  }

  /** Completes the packet that is held. @returns the bytes behind it */
  #complete(chunk: Buffer, sink: PacketSink): Buffer {
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
    this.#give(packet, 0, packet.length, sink)
    return chunk.subarray(lacking)
  }

  /**
   * Copies, since a slice would keep its whole chunk alive. The buffer doubles as bytes come, so that a fixed header
   * alone does not make us allocate the length that it names.
   */
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

  /** @returns false if the header is not complete; `#packetBytes` is 0 then */
  #readFixedHeader(bytes: Buffer, at: number): boolean {
    this.#packetBytes = 0
    const kind = this.#kindOf(bytes.readUInt8(at))
    let length = 0
    for (let i = 1; i <= 4; i++) {
      if (at + i >= bytes.length) return false
      const byte = bytes.readUInt8(at + i)
      length += (byte & 0x7f) << (7 * (i - 1))
      if (byte < 0x80) {
        if (this.#level === 5) checkHeader(i + 1, length)
        this.#admit(kind, i + 1, length)
        return true
      }
    }
    throw new MalformedPacket('remaining length of more than four bytes', '[MQTT-4.8.0-1]')
  }

  #kindOf(first: number): PacketKind {
    const kind = this.#kinds.get(withoutOldDup(first, this.#level))
    if (kind === undefined) throw firstByteFault(first)
    if (this.#phase === (first === CONNECT ? 'new' : 'open')) return kind
    throw this.#orderFault()
  }

  /** Of a packet that may not come in this phase. */
  #orderFault(): MalformedPacket {
    const of = (reason: string, clause: string) => new MalformedPacket(reason, clause, REASON.PROTOCOL_ERROR)
    if (this.#phase === 'new') return of('first packet is not CONNECT', '[MQTT-3.1.0-1]')
    if (this.#phase === 'open') return of('second CONNECT', '[MQTT-3.1.0-2]')
    return of('packet behind DISCONNECT', '[MQTT-3.14.4-2]')
  }

  /** Checks the length before any of the body is kept. */
  #admit(kind: PacketKind, headerBytes: number, length: number): void {
    if (length > kind.maxLength)
      throw new MalformedPacket('bytes behind the end of the packet', '[MQTT-4.8.0-1]')
    const max = this.#phase === 'new' ? this.#maxConnectBytes : this.#limits.maxPacketBytes
    if (headerBytes + length > Math.min(max, this.#limits.maxPacketBytes)) {
      throw new MalformedPacket('packet too large', 'maxPacketBytes', REASON.PACKET_TOO_LARGE)
    }
    this.#kind = kind
    this.#bodyAt = headerBytes
    this.#packetBytes = headerBytes + length
  }

  /** Checks a packet, counts it, and gives it to `sink` unless the meter drops it. */
  #give(bytes: Buffer, at: number, end: number, sink: PacketSink): void {
    const first = withoutOldDup(bytes.readUInt8(at), this.#level)
    const bodyAt = at + this.#bodyAt
    this.#packets++
    if (first === CONNECT) {
      this.#connect(readConnect(new Fields(bytes, bodyAt, end), this.#limits), end - at, sink)
      return
    }
    const filters = this.#kind.check(bytes, bodyAt, end, this.#limits)
    this.#work -= Math.max(filters, (end - at) / BYTES_A_PACKET)
    if (first === DISCONNECT) this.#phase = 'closed'
    if (this.#meter?.admit(first, filters, end - at) ?? true) sink.take(first, bytes, bodyAt, end)
  }

  #connect(packet: ConnectPacket, length: number, sink: PacketSink): void {
    this.#work = 0
    this.#phase = 'open'
    this.#level = packet.version
    if (packet.version === 5) {
      checkHeader(this.#bodyAt, length - this.#bodyAt)
      this.#kinds = KINDS5
    }
    this.#meter?.admit(CONNECT, 1, length)
    sink.connect(packet)
  }
}

/** MQTT 3.1.1 does not forbid a remaining length with more bytes than it needs. @throws MalformedPacket */
function checkHeader(headerBytes: number, length: number): void {
  if (headerBytes > 2 && length < 1 << (7 * (headerBytes - 2)))
    throw new MalformedPacket('remaining length longer than need be', '[MQTT-1.5.5-1]').in(5)
}
