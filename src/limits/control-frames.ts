/**
 * Pings and pongs of one WebSocket (RFC 6455 5.5): they ask for nothing that a request's rate counts, and 22 MB of them a
 * second kept the process from everything else. Whoever sends too many is read later.
 */
import type { TokenBucket } from './token-bucket.js'

/** The longest that one is not read, ms. */
const MAX_HOLD_MS = 60_000
/** Pings of ours that may be unanswered. */
const MAX_OWED = 1000

export class ControlFrames {
  /** Pongs that answer a ping of ours, which cost the client nothing. */
  #owed = 0
  #isOver = false

  constructor(
    private readonly bucket: TokenBucket,
    private readonly onLimit: () => void,
  ) {}

  /** A ping left for the client. */
  pinged(): void {
    if (this.#owed < MAX_OWED) this.#owed++
  }

  /** A ping or a pong came. @returns how long to read no more, ms */
  take(kind: 'ping' | 'pong'): number {
    if (kind === 'pong' && this.#owed > 0) {
      this.#owed--
      return 0
    }
    const waitMs = this.bucket.borrow(1)
    // Once for all that one read brought.
    if (waitMs > 0 && !this.#isOver) this.onLimit()
    this.#isOver = waitMs > 0
    return Math.min(waitMs, MAX_HOLD_MS)
  }
}
