/**
 * How fast a client's packets are read. MQTT 3.1.1 has no way to refuse a PUBLISH and be sent it again but to close
 * the connection, so one that is too fast is not refused: it waits, and what it sent is acknowledged later.
 */
import type { Limits } from '../limits/limits.js'
import type { TokenBucket } from '../limits/token-bucket.js'

export class Pacer {
  #account: TokenBucket | undefined

  constructor(
    private readonly own: TokenBucket,
    private readonly limits: Limits,
  ) {}

  /** From here on it counts for the account, too. */
  enter(account: TokenBucket): void {
    this.#account = account
  }

  /** @param count packets that were read @returns how long to read no more, ms */
  pace(count: number): number {
    const now = performance.now()
    const own = this.own.borrow(count, now)
    const account = this.#account?.borrow(count, now) ?? 0
    if (own > 0) this.limits.count('limits.requests')
    if (account > 0) this.limits.count('limits.accountRequests')
    return Math.max(own, account)
  }
}
