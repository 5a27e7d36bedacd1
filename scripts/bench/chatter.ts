/** A client that sends numbered messages and checks those it gets; what is on the wire is its subclasses' business. */
import { type Flow, writeStamp } from './flow.js'
import { micros, RawSocket } from './socket.js'

/** Messages that a sender has unacknowledged. */
export const WINDOW = 16

/** Where the stamp goes in a frame that is otherwise ready. */
export interface Frame {
  readonly bytes: Buffer
  readonly contentAt: number
  /** Every byte of the WebSocket masking key, 0 for none. */
  readonly mask: number
}

export abstract class Chatter extends RawSocket {
  outgoing: Flow | undefined
  incoming: Flow | undefined
  /** Sends as fast as it is acknowledged. */
  isFlooding = false
  /**
   * One ready frame for each place in the window. A place is free again when its message is acknowledged: the server
   * has read it, so the bytes may change.
   */
  #slots: Buffer = Buffer.alloc(0)
  #frame: Frame | undefined

  /** Resolves with the connection ready for a login. */
  abstract open(): Promise<void>

  /** Logs in and begins to receive. @param session `kept`: what the broker holds for this client survives it (MQTT) */
  abstract enter(id: string, session: 'clean' | 'kept'): Promise<void>

  /** The frame that sends a message to `recipient`, for one place in the window. */
  protected abstract frame(recipient: string, slot: number): Frame

  /** From now on this client's messages go to `recipient` and are counted by `flow`. */
  aim(recipient: string, flow: Flow): void {
    const frames = Array.from({ length: WINDOW }, (_, slot) => this.frame(recipient, slot))
    this.#frame = frames[0]
    this.#slots = Buffer.concat(frames.map(({ bytes }) => bytes))
    this.outgoing = flow
  }

  flood(): void {
    this.isFlooding = true
    this.refill()
  }

  /** Reads no more, as a client that hangs; it stays connected. */
  freeze(): void {
    this.socket.pause()
  }

  /** Sends one message. @returns false when the window is full */
  sendOne(): boolean {
    const flow = this.outgoing
    if (flow === undefined || flow.sent - flow.acked >= WINDOW) return false
    this.#send(flow, 1)
    return true
  }

  protected acked(count: number): void {
    if (this.outgoing !== undefined) this.outgoing.acked += count
  }

  protected delivered(bytes: Buffer, contentEnd: number): void {
    this.incoming?.take(bytes, contentEnd, this.readAt)
  }

  /** To be called when all that came in one read is parsed: what it allows goes out in one write. */
  protected refill(): void {
    const flow = this.outgoing
    if (!this.isFlooding || flow === undefined) return
    const count = Math.min(WINDOW - (flow.sent - flow.acked), flow.limit - flow.sent)
    if (count > 0) this.#send(flow, count)
  }

  #send(flow: Flow, count: number): void {
    if (this.#frame === undefined) return
    const { contentAt, mask, bytes } = this.#frame
    const size = bytes.length
    const now = micros()
    const first = flow.sent % WINDOW
    for (let i = 0; i < count; i++) {
      const at = ((first + i) % WINDOW) * size + contentAt
      writeStamp(this.#slots, at, flow.sent++, mask)
      writeStamp(this.#slots, at + 8, now, mask)
    }
    const end = first + count
    if (end <= WINDOW) {
      this.socket.write(this.#slots.subarray(first * size, end * size))
      return
    }
    this.socket.cork()
    this.socket.write(this.#slots.subarray(first * size))
    this.socket.write(this.#slots.subarray(0, (end - WINDOW) * size))
    this.socket.uncork()
  }
}
