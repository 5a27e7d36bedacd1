/** A client that sends numbered messages and checks those it receives. Subclasses implement the wire protocol. */
import { type Flow, writeStamp } from './flow.js'
import { micros, RawSocket } from './socket.js'

/** The most unacknowledged messages of a sender. */
export const MAX_WINDOW = 64

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
  /** Unacknowledged messages, at most MAX_WINDOW. */
  window = MAX_WINDOW
  /** When messages were due that the window had no room for, µs. */
  readonly #overdue: number[] = []
  /**
   * One prepared frame for each slot. When its message is acknowledged, the server has read the frame, so the bytes may
   * change and the slot is free.
   */
  #slots: Buffer = Buffer.alloc(0)
  /** When the message of each slot was sent or due, µs. */
  readonly #stamps = new Uint32Array(MAX_WINDOW)
  #frame: Frame | undefined

  /** Connects; resolves when the connection is ready for a login. */
  abstract open(): Promise<void>

  /**
   * Logs in and begins to receive.
   * @param session `kept`: a persistent session (MQTT) @param token of the gateway; undefined: by password
   */
  abstract enter(id: string, session: 'clean' | 'kept', token?: string): Promise<void>

  /** The frame that sends a message to `recipient`, for one slot. */
  protected abstract frame(recipient: string, slot: number): Frame

  /** From now on this client sends to `recipient`, and `flow` counts its messages. */
  aim(recipient: string, flow: Flow): void {
    const frames = Array.from({ length: MAX_WINDOW }, (_, slot) => this.frame(recipient, slot))
    this.#frame = frames[0]
    this.#slots = Buffer.concat(frames.map(({ bytes }) => bytes))
    this.outgoing = flow
  }

  /** Sends as fast as messages are acknowledged. @param window unacknowledged messages */
  flood(window: number): void {
    this.isFlooding = true
    this.window = window
    this.refill()
  }

  /** Stops reading, like a frozen client, and stays connected. */
  freeze(): void {
    this.socket.pause()
  }

  /** Sends one message, at once or when its window has room. @param due when it was due, µs: its delay counts from then */
  sendDue(due: number): void {
    this.#overdue.push(due)
    this.#sendOverdue()
  }

  /** Acknowledgements come in the order of the messages. */
  protected acked(): void {
    const flow = this.outgoing
    flow?.acknowledge(this.#stamps[flow.acked % MAX_WINDOW] ?? 0, this.readAt)
  }

  protected delivered(bytes: Buffer, contentEnd: number): void {
    this.incoming?.take(bytes, contentEnd, this.readAt)
  }

  /** Call after a read is parsed: sends in one write all messages that the acknowledgements allow. */
  protected refill(): void {
    const flow = this.outgoing
    if (flow === undefined) return
    if (this.#overdue.length > 0) this.#sendOverdue()
    if (!this.isFlooding) return
    const count = Math.min(this.window - (flow.sent - flow.acked), flow.limit - flow.sent)
    if (count > 0) this.#send(flow, count, micros())
  }

  #sendOverdue(): void {
    const flow = this.outgoing
    while (flow !== undefined && flow.sent - flow.acked < this.window) {
      const due = this.#overdue.shift()
      if (due === undefined) return
      this.#send(flow, 1, due)
    }
  }

  #send(flow: Flow, count: number, stamp: number): void {
    if (this.#frame === undefined) return
    const { contentAt, mask, bytes } = this.#frame
    const size = bytes.length
    const first = flow.sent % MAX_WINDOW
    for (let i = 0; i < count; i++) {
      const slot = (first + i) % MAX_WINDOW
      const at = slot * size + contentAt
      this.#stamps[slot] = stamp
      writeStamp(this.#slots, at, flow.sent++, mask)
      writeStamp(this.#slots, at + 8, stamp, mask)
    }
    const end = first + count
    if (end <= MAX_WINDOW) {
      this.socket.write(this.#slots.subarray(first * size, end * size))
      return
    }
    this.socket.cork()
    this.socket.write(this.#slots.subarray(first * size))
    this.socket.write(this.#slots.subarray(0, (end - MAX_WINDOW) * size))
    this.socket.uncork()
  }
}
