/**
 * All that leaves for one JSON client: the frames of one event-loop turn are one buffer and one write of the socket.
 *
 * They do not go through `ws.send`, which makes two chunks of each frame: with one buffer a turn a core carried a third
 * more messages (docs/performance.md). A server's frames are not masked, and none here is fragmented or compressed, so
 * that a frame is its header and its text (RFC 6455 5.2). Close frames and pongs go between the buffers.
 */

import type { Socket } from 'node:net'
import type { Fuse } from '../core/faults.js'
import { writeText } from '../core/write-text.js'
import type { TurnEnd } from '../flow/turn-end.js'
import { Ponger } from '../net/pong.js'
import type { Writer } from './inbox-delivery.js'
import type { ClientSocket } from './socket.js'

const TEXT = 0x81
const PING = 0x89

export interface WriterRules {
  /** Beyond so many bytes that the client has not taken the writer is full. */
  readonly maxBufferedBytes: number
}

/** The connection that it writes for. */
export interface WriterOwner extends Fuse {
  /** Asked at a turn's end, behind its frames: what to ping with, if anything. ASCII, at most 125 bytes. */
  pingPayload(): string | undefined
  /** The turn's frames have left for the socket: what it took at once brings no 'drain'. */
  goOn(): void
}

/** Frames of texts that many clients get, the reply `201` above all. */
const ready = new Map<string, Buffer>()

/** Header and text of one frame. @param text one of a few: its frame is kept */
function readyFrame(text: string): Buffer {
  const known = ready.get(text)
  if (known !== undefined) return known
  const length = Buffer.byteLength(text)
  const frame = encodeFrames([text], [length], undefined)
  ready.set(text, frame)
  return frame
}

/** Of all that have nothing to write. Nothing is ever added to it. */
const NONE: never[] = []

export class FrameWriter implements Writer {
  /** Texts, and whole frames. */
  #frames = NONE as (string | Buffer)[]
  /** Bytes of each: of a text without its header. */
  #lengths: number[] = NONE
  #unwrittenBytes = 0
  #isDue = false
  /** Made at the first ping. */
  #ponger: Ponger | undefined
  /** Makes an encrypted packet of each text, once the client has begun with such. */
  #seal: ((text: string) => string) | undefined

  constructor(
    private readonly ws: Pick<ClientSocket, 'isOpen' | 'readyState' | 'OPEN' | 'pong' | 'close'>,
    private readonly socket: Socket,
    private readonly turnEnd: TurnEnd,
    private readonly rules: WriterRules,
    private readonly owner: WriterOwner,
  ) {}

  get isOpen(): boolean {
    return this.ws.isOpen
  }

  /** Never below the socket's own high-water mark, beyond which the socket says when it is empty again ('drain'). */
  get isFull(): boolean {
    const waiting = this.socket.writableLength + this.#unwrittenBytes
    return waiting > this.rules.maxBufferedBytes && waiting > this.socket.writableHighWaterMark
  }

  get canTake(): boolean {
    return !this.isFull && this.isOpen
  }

  /** Whether what is written leaves in encrypted packets. */
  get isSealed(): boolean {
    return this.#seal !== undefined
  }

  /** From now on each text leaves as what `seal` makes of it, ASCII. It is called in the order in which they leave. */
  sealWith(seal: (text: string) => string): void {
    this.#seal = seal
  }

  /** A text frame; leaves with the others of this turn. */
  write(text: string): void {
    if (!this.isOpen) return
    if (this.#seal === undefined) this.#push(text, Buffer.byteLength(text))
    else {
      const packet = this.#seal(text)
      this.#push(packet, packet.length)
    }
  }

  /** The same for a text of which there are only a few: its frame is kept. */
  writeFixed(text: string): void {
    if (this.#seal !== undefined) {
      this.write(text)
      return
    }
    if (!this.isOpen) return
    const frame = readyFrame(text)
    this.#push(frame, frame.length)
  }

  #push(frame: string | Buffer, bytes: number): void {
    if (this.#frames === NONE) {
      this.#frames = [frame]
      this.#lengths = [bytes]
    } else {
      this.#frames.push(frame)
      this.#lengths.push(bytes)
    }
    this.#unwrittenBytes += bytes
    this.wake()
  }

  /** Sees to it that `pingPayload` is asked at this turn's end, also when nothing is written. */
  wake(): void {
    if (this.#isDue) return
    this.#isDue = true
    this.turnEnd.add(this)
  }

  /** Answers a ping. */
  pong(payload: Buffer): void {
    this.#ponger ??= new Ponger(this.ws, this.turnEnd)
    this.#ponger.pinged(payload)
  }

  /** Sends a close frame behind what was written. */
  close(code: number, reason: string): void {
    this.flush()
    this.ws.close(code, reason)
  }

  /** What was written leaves now, and not at the end of the turn. */
  flush(): void {
    this.#flush(undefined)
  }

  /** For the end of the turn. */
  run(): void {
    this.#isDue = false
    if (!this.isOpen) return
    try {
      this.#flush(this.owner.pingPayload())
      this.owner.goOn()
    } catch (thrown) {
      this.owner.fault('ws.turn-end', thrown)
    }
  }

  #flush(ping: string | undefined): void {
    const frames = this.#frames
    const lengths = this.#lengths
    if (frames.length === 0 && ping === undefined) return
    this.#frames = NONE as (string | Buffer)[]
    this.#lengths = NONE
    this.#unwrittenBytes = 0
    if (this.isOpen) this.socket.write(encodeFrames(frames, lengths, ping))
  }
}

/** All frames in one buffer. @param lengths bytes of each @param ping payload of a ping behind them */
function encodeFrames(
  frames: readonly (string | Buffer)[],
  lengths: readonly number[],
  ping: string | undefined,
): Buffer {
  let size = ping === undefined ? 0 : 2 + ping.length
  for (let i = 0; i < frames.length; i++) {
    const length = lengths[i] ?? 0
    size += typeof frames[i] === 'string' ? headerBytes(length) + length : length
  }
  const buffer = Buffer.allocUnsafe(size)
  let at = 0
  for (let i = 0; i < frames.length; i++) {
    const frame = frames[i] ?? ''
    const length = lengths[i] ?? 0
    if (typeof frame === 'string') at = writeFrame(buffer, at, TEXT, frame, length)
    else {
      buffer.set(frame, at)
      at += length
    }
  }
  if (ping !== undefined) writeFrame(buffer, at, PING, ping, ping.length)
  return buffer
}

const headerBytes = (length: number): number => (length < 126 ? 2 : length < 65_536 ? 4 : 10)

/** @param length of `text` as UTF-8, bytes @returns where the next frame begins */
function writeFrame(buffer: Buffer, start: number, opcode: number, text: string, length: number): number {
  let at = start
  buffer[at++] = opcode
  if (length < 126) buffer[at++] = length
  else if (length < 65_536) {
    buffer[at++] = 126
    at = buffer.writeUInt16BE(length, at)
  } else {
    buffer[at++] = 127
    at = buffer.writeUInt32BE(0, at)
    at = buffer.writeUInt32BE(length, at)
  }
  return at + writeText(buffer, text, length, at)
}
