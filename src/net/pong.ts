/**
 * Pongs at a turn's end, one for the last ping of several (RFC 6455 5.5.3): ws sends one for each ping, and drops a
 * connection with more than 60 that its socket has not taken.
 */
import type { TurnEnd } from '../flow/turn-end.js'

/** What is used of ws' WebSocket. */
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

  /** A ping came. */
  pinged(payload: Buffer): void {
    const isDue = this.#payload !== undefined || this.#isSending
    // A copy: it is a piece of all that one read brought.
    this.#payload = Buffer.from(payload)
    if (!isDue) this.turnEnd.add(this.#send)
  }

  /** The next waits until the socket has taken this one: never more than one lies there. */
  readonly #send = (): void => {
    const payload = this.#payload
    this.#payload = undefined
    if (payload === undefined || this.ws.readyState !== this.ws.OPEN) return
    this.#isSending = true
    this.ws.pong(payload, false, this.#sent)
  }

  readonly #sent = (): void => {
    this.#isSending = false
    if (this.#payload !== undefined) this.turnEnd.add(this.#send)
  }
}
