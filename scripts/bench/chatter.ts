/** A client that sends numbered messages and checks those it receives. Subclasses implement the wire protocol. */
import { type Flow, writeStamp } from './flow.js'
import { micros, RawSocket } from './socket.js'

/** Unacknowledged messages of a sender. */
export const WINDOW = 16

/** A prepared frame, and the position of the stamp in it. */
export interface Frame {
  readonly bytes: Buffer
  readonly contentAt: number
  /** Every byte of the WebSocket masking key, 0 for none. */
  readonly mask: number
}

export abstract class Chatter extends RawSocket {
  outgoing: Flow | undefined
  incoming: Flow | undefined
  /** Whether it sends as fast as messages are acknowledged. */
  isFlooding = false
  /**
   * One prepared frame for each slot of the window. When its message is acknowledged, the server has read the frame, so
   * the bytes may change and the slot is free.
   */
  #slots: Buffer = Buffer.alloc(0)
  #frame: Frame | undefined

  /** Connects; resolves when the connection is ready for a login. */
  abstract open(): Promise<void>

  /** Logs in and begins to receive. @param session `kept`: a persistent session (MQTT) */
  abstract enter(id: string, session: 'clean' | 'kept'): Promise<void>

  /** The frame that sends a message to `recipient`, for one slot of the window. */
  protected abstract frame(recipient: string, slot: number): Frame

  /** From now on this client sends to `recipient`, and `flow` counts its messages. */
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

  /** Stops reading, like a frozen client, and stays connected. */
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

  /** Call after a read is parsed: sends in one write all messages that the acknowledgements allow. */
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
