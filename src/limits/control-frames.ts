/**
 * The rate of pings and pongs of one WebSocket (RFC 6455 5.5). No limit on requests counts them, and 22 MB of them a second
 * blocked the process. A client that sends too many is read later.
 */
import { type Rate, TokenBucket } from './token-bucket.js'

/** The longest time for which a connection is not read, ms. */
const MAX_HOLD_MS = 60_000
/** At most so many unanswered pings of ours are counted. */
const MAX_OWED = 1000

export class ControlFrames {
  /** Pongs that answer a ping of ours. They do not count. */
  #owed = 0
  #isOver = false
  /** Made with the first frame that counts: most clients send none. */
  #bucket: TokenBucket | undefined

  constructor(
    private readonly rate: Rate,
    private readonly onLimit: () => void,
  ) {}

  /** We sent a ping. */
  pinged(): void {
    if (this.#owed < MAX_OWED) this.#owed++
  }

  /** The client sent a ping or a pong. @returns for how long the connection is not to be read, ms */
  take(kind: 'ping' | 'pong'): number {
    if (kind === 'pong' && this.#owed > 0) {
      this.#owed--
      return 0
    }
    this.#bucket ??= new TokenBucket(this.rate)
    const waitMs = this.#bucket.borrow(1)
    // Once for all that one read brought.
    if (waitMs > 0 && !this.#isOver) this.onLimit()
    this.#isOver = waitMs > 0
    return Math.min(waitMs, MAX_HOLD_MS)
  }
}
