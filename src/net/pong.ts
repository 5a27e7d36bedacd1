/**
 * Answers WebSocket pings at the end of the turn, the last one of several with one pong (RFC 6455, 5.5.3). ws itself
 * would send one pong per ping, and close a connection that has more than 60 pongs which its socket has not taken.
 */
import type { TurnEnd } from '../flow/turn-end.js'

/** The part of ws' WebSocket that is used. */
interface WebSocket {
  readonly readyState: number
  readonly OPEN: number
  pong(payload: Buffer, mask: boolean, sent: () => void): void
}

export class Ponger {
  #payload: Buffer | undefined
  #isSending = false

  constructor(
    private readonly ws: WebSocket,
    private readonly turnEnd: TurnEnd,
  ) {}

  /** Call it for each ping. */
  pinged(payload: Buffer): void {
    const isDue = this.#payload !== undefined || this.#isSending
    // Copied, since the payload is a view of the read buffer.
    this.#payload = Buffer.from(payload)
    if (!isDue) this.turnEnd.add(this)
  }

  /** Sends the pong. A further one is sent only after the socket has taken this one, so at most one is buffered. */
  run(): void {
    const payload = this.#payload
    this.#payload = undefined
    if (payload === undefined || this.ws.readyState !== this.ws.OPEN) return
    this.#isSending = true
    this.ws.pong(payload, false, () => this.#sent())
  }

  #sent(): void {
    this.#isSending = false
    if (this.#payload !== undefined) this.turnEnd.add(this)
  }
}
