/**
 * Frames of a WebSocket client (RFC 6455, 5) out of bytes as they come. Between two frames nothing is kept, and of a frame
 * that has not come whole a copy: a view would keep all that was read with it.
 */
import { isUtf8 } from 'node:buffer'

export const OPCODE = { more: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** What a client did wrong: the code of the close frame that says so (RFC 6455, 7.4.1), and for the log what it was. */
export interface FrameFault {
  readonly code: 1002 | 1007 | 1008 | 1009
  readonly what: string
}

/** What gets the frames. A payload is unmasked, and valid until the method returns. */
export interface FrameTaker {
  message(payload: Buffer, isBinary: boolean): void
  /** @param opcode of a close, ping or pong */
  control(opcode: number, payload: Buffer): void
  /** It is the last that is taken. */
  fault(fault: FrameFault): void
}

/**
 * Most fragments of one message (RFC 6455, 5.4). Browsers send a large message in fragments of 128 KiB, and an MQTT packet may
 * be split. The limit bounds the work for a flood of empty fragments.
 */
export const MAX_FRAGMENTS = 1024

const FIN = 0x80
const RESERVED = 0x70
const MASKED = 0x80
const MASK_BYTES = 4
const MAX_CONTROL_BYTES = 125
const NOTHING = Buffer.alloc(0)

export const TOO_LONG: FrameFault = { code: 1009, what: 'message too long' }
const TOO_MANY_FRAGMENTS: FrameFault = { code: 1008, what: 'too many fragments' }
const NOT_UTF8: FrameFault = { code: 1007, what: 'text is not UTF-8' }
const broken = (what: string): FrameFault => ({ code: 1002, what })

/** A message whose last fragment has not come. */
interface Fragments {
  readonly isBinary: boolean
  readonly parts: Buffer[]
  bytes: number
  count: number
}

export class FrameReader {
  /** No frame is taken behind the current one. */
  #isStopped = false
  #isReading = false
  #isOver = false
  /** The part of a frame that has come, in its first bytes. */
  #held = NOTHING
  #heldBytes = 0
  /** So many bytes the frame needs, as far as is known. */
  #needed = 0
  #fragments: Fragments | undefined

  /** @param maxPayload most bytes of one message */
  constructor(
    private readonly taker: FrameTaker,
    private readonly maxPayload: number,
  ) {}

  /** Whether it is inside `read` or `goOn`. */
  get isReading(): boolean {
    return this.#isReading
  }

  /** Takes no frame behind the current one until `goOn`. */
  stop(): void {
    this.#isStopped = true
  }

  /** Takes on with what was read. */
  goOn(): void {
    if (this.#isOver) return
    this.#isStopped = false
    if (this.#heldBytes > 0) this.#parse(this.#held.subarray(0, this.#heldBytes))
  }

  /** Nothing is taken any more, and what was read is forgotten. */
  end(): void {
    this.#isOver = true
    this.#isStopped = true
    this.#held = NOTHING
    this.#heldBytes = 0
    this.#fragments = undefined
  }

  read(bytes: Buffer): void {
    if (this.#isOver) return
    if (this.#heldBytes === 0 && !this.#isStopped) {
      this.#parse(bytes)
      return
    }
    this.#hold(bytes)
    if (this.#heldBytes >= this.#needed && !this.#isStopped) this.goOn()
  }

  #parse(bytes: Buffer): void {
    this.#isReading = true
    let at = 0
    for (let end = 0; !this.#isStopped && end !== -1; ) {
      end = this.#takeFrame(bytes, at)
      if (end !== -1) at = end
    }
    this.#isReading = false
    this.#keep(bytes, at)
  }

  /** Keeps what is behind the frames that were taken. */
  #keep(bytes: Buffer, from: number): void {
    if (this.#isOver) return
    const rest = bytes.length - from
    if (rest === 0) this.#held = NOTHING
    else if (bytes.buffer === this.#held.buffer) this.#held.copyWithin(0, from, bytes.length)
    else {
      this.#held = Buffer.allocUnsafeSlow(rest)
      bytes.copy(this.#held, 0, from)
    }
    this.#heldBytes = rest
  }

  /** Room is doubled, so that a frame which comes byte by byte is copied few times. */
  #hold(bytes: Buffer): void {
    const all = this.#heldBytes + bytes.length
    if (all > this.#held.length) {
      const room = Buffer.allocUnsafeSlow(Math.max(all, 2 * this.#held.length))
      this.#held.copy(room, 0, 0, this.#heldBytes)
      this.#held = room
    }
    bytes.copy(this.#held, this.#heldBytes)
    this.#heldBytes = all
  }

  /** @returns where the next frame begins; -1 if this one has not come whole, or is none */
  #takeFrame(bytes: Buffer, at: number): number {
    const left = bytes.length - at
    if (left < 2) return this.#need(2)
    const first = bytes.readUInt8(at)
    const second = bytes.readUInt8(at + 1)
    const wrong = this.#wrongWith(first, second)
    if (wrong !== undefined) return this.#fail(wrong)
    const extended = extendedBytes(second)
    const head = 2 + extended + MASK_BYTES
    if (left < head) return this.#need(head)
    const length = lengthOf(bytes, at, second)
    if (!isControl(first) && length + (this.#fragments?.bytes ?? 0) > this.maxPayload)
      return this.#fail(TOO_LONG)
    if (left < head + length) return this.#need(head + length)
    const start = at + head
    const payload = bytes.subarray(start, start + length)
    unmask(payload, bytes.readUInt32BE(start - MASK_BYTES))
    this.#take(first, payload)
    return start + length
  }

  #need(bytes: number): -1 {
    this.#needed = bytes
    return -1
  }

  #fail(fault: FrameFault): -1 {
    this.end()
    this.taker.fault(fault)
    return -1
  }

  /** RFC 6455, 5.2, 5.4 and 5.5: what the first two bytes of a frame must not say. */
  #wrongWith(first: number, second: number): FrameFault | undefined {
    const opcode = first & 15
    if ((first & RESERVED) !== 0) return broken('reserved bit')
    if ((second & MASKED) === 0) return broken('no mask')
    if (isControl(first)) {
      if (opcode > OPCODE.pong) return broken(`opcode ${opcode}`)
      if ((first & FIN) === 0) return broken('control frame in fragments')
      return (second & 127) > MAX_CONTROL_BYTES ? broken('long control frame') : undefined
    }
    if (opcode > OPCODE.binary) return broken(`opcode ${opcode}`)
    const isFirst = opcode !== OPCODE.more
    return isFirst === (this.#fragments !== undefined) ? broken('fragment out of order') : undefined
  }

  #take(first: number, payload: Buffer): void {
    if (isControl(first)) this.taker.control(first & 15, payload)
    else if ((first & FIN) !== 0 && this.#fragments === undefined)
      this.#message(payload, (first & 15) === OPCODE.binary)
    else this.#fragment(first, payload)
  }

  #fragment(first: number, payload: Buffer): void {
    this.#fragments ??= { isBinary: (first & 15) === OPCODE.binary, parts: [], bytes: 0, count: 0 }
    const { parts, isBinary } = this.#fragments
    if (++this.#fragments.count > MAX_FRAGMENTS) {
      this.#fail(TOO_MANY_FRAGMENTS)
      return
    }
    this.#fragments.bytes += payload.length
    if (payload.length > 0) parts.push(Buffer.from(payload))
    if ((first & FIN) === 0) return
    this.#fragments = undefined
    this.#message(Buffer.concat(parts), isBinary)
  }

  #message(payload: Buffer, isBinary: boolean): void {
    if (isBinary || isUtf8(payload)) this.taker.message(payload, isBinary)
    else this.#fail(NOT_UTF8)
  }
}

const isControl = (first: number): boolean => (first & 8) !== 0

/** Bytes of the length behind the first two. */
function extendedBytes(second: number): number {
  const length = second & 127
  return length < 126 ? 0 : length === 126 ? 2 : 8
}

function lengthOf(bytes: Buffer, at: number, second: number): number {
  const length = second & 127
  if (length < 126) return length
  if (length === 126) return bytes.readUInt16BE(at + 2)
  return bytes.readUInt32BE(at + 2) * 2 ** 32 + bytes.readUInt32BE(at + 6)
}

/** In place (RFC 6455, 5.3). */
function unmask(payload: Buffer, mask: number): void {
  if (mask === 0) return
  const [a, b, c, d] = [mask >>> 24, (mask >>> 16) & 255, (mask >>> 8) & 255, mask & 255]
  const whole = payload.length & ~3
  let i = 0
  for (; i < whole; i += 4) {
    payload[i] = (payload[i] as number) ^ a
    payload[i + 1] = (payload[i + 1] as number) ^ b
    payload[i + 2] = (payload[i + 2] as number) ^ c
    payload[i + 3] = (payload[i + 3] as number) ^ d
  }
  for (const byte of [a, b, c]) if (i < payload.length) payload[i] = (payload[i++] as number) ^ byte
}
