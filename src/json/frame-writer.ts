/**
 * All that leaves for one JSON client: what one turn writes becomes one buffer and one write of the socket.
 *
 * Past `ws.send`, which makes two chunks of each frame: with one buffer a turn a core carried a third more messages
 * (docs/performance.md). A server's frames are not masked and none here is fragmented or compressed, so a frame is
 * its header and its text (RFC 6455 5.2). ws itself writes only close frames and pongs, between the buffers.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { TurnEnd } from '../flow/turn-end.js'

const TEXT = 0x81
const PING = 0x89

export interface WriterHooks {
  /** Asked at a turn's end, behind its frames: what to ping with, if anything. */
  pingPayload(): string | undefined
  /** The turn's frames have left for the socket; what it took at once brings no 'drain'. */
  written(): void
  /** The turn's end failed. */
  failed(thrown: unknown): void
}

/** Frames of texts that many clients get, the reply `201` above all. */
const ready = new Map<string, Buffer>()

/** Header and text of one frame. @param text one of a few: what it encodes to is kept */
function readyFrame(text: string): Buffer {
  const known = ready.get(text)
  if (known !== undefined) return known
  const frame = encodeFrames([text], undefined)
  ready.set(text, frame)
  return frame
}

export class FrameWriter {
  /** Texts, and frames that are ready as they are. */
  #frames: (string | Buffer)[] = []
  #waitingChars = 0
  #isDue = false

  constructor(
    private readonly ws: WebSocket,
    private readonly socket: Socket,
    private readonly turnEnd: TurnEnd,
    private readonly hooks: WriterHooks,
  ) {}

  get isOpen(): boolean {
    return this.ws.readyState === this.ws.OPEN
  }

  /** Bytes that the client has not taken, and characters that have not been written yet. */
  get waiting(): number {
    return this.socket.writableLength + this.#waitingChars
  }

  /** One text frame; leaves with the others of this turn. */
  write(frame: string): void {
    this.#push(frame)
  }

  #push(frame: string | Buffer): void {
    if (!this.isOpen) return
    this.#frames.push(frame)
    this.#waitingChars += frame.length
    this.wake()
  }

  /** The same for a text of which there are only a few: what it encodes to is kept. */
  writeFixed(text: string): void {
    this.#push(readyFrame(text))
  }

  /** Sees to it that this turn's end comes by, also when nothing is written. */
  wake(): void {
    if (this.#isDue) return
    this.#isDue = true
    this.turnEnd.add(this.#atTurnEnd)
  }

  /** What was written leaves before the close frame. */
  close(code: number, reason: string): void {
    this.#flush(undefined)
    this.ws.close(code, reason)
  }

  readonly #atTurnEnd = (): void => {
    this.#isDue = false
    if (!this.isOpen) return
    try {
      this.#flush(this.hooks.pingPayload())
      this.hooks.written()
    } catch (thrown) {
      this.hooks.failed(thrown)
    }
  }

  #flush(ping: string | undefined): void {
    const frames = this.#frames
    this.#frames = []
    this.#waitingChars = 0
    if (this.isOpen && (frames.length > 0 || ping !== undefined))
      this.socket.write(encodeFrames(frames, ping))
  }
}

function encodeFrames(frames: readonly (string | Buffer)[], ping: string | undefined): Buffer {
  const lengths = frames.map(frame => Buffer.byteLength(frame))
  let size = ping === undefined ? 0 : 2 + ping.length
  frames.forEach((frame, i) => {
    const length = lengths[i] ?? 0
    size += typeof frame === 'string' ? headerBytes(length) + length : length
  })
  const buffer = Buffer.allocUnsafe(size)
  let at = 0
  frames.forEach((frame, i) => {
    const length = lengths[i] ?? 0
    if (typeof frame === 'string') at = writeFrame(buffer, at, TEXT, frame, length)
    else {
      buffer.set(frame, at)
      at += length
    }
  })
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
  // As many bytes as characters is ASCII, for which latin1 is the same and cheaper.
  return at + buffer.write(text, at, length === text.length ? 'latin1' : 'utf8')
}
