/** A token bucket. `take` runs once per request, so it has no timer and no promise: two subtractions and a clock. */

export interface Rate {
  readonly perSecond: number
  /** The capacity: the most that can be taken at once. */
  readonly burst: number
}

const MS = 1000

export class TokenBucket {
  #tokens: number
  #filledAt: number

  /** The bucket starts full. @param now performance.now() */
  constructor(
    private readonly rate: Rate,
    now = performance.now(),
  ) {
    this.#tokens = rate.burst
    this.#filledAt = now
  }

  has(now = performance.now()): boolean {
    this.#fill(now)
    return this.#tokens >= 1
  }

  /**
   * @param keep how many tokens must remain after this one
   * @returns false if there are too few tokens, or a debt
   */
  take(now = performance.now(), keep = 0): boolean {
    this.#fill(now)
    if (this.#tokens < 1 + keep) return false
    this.#tokens--
    return true
  }

  /**
   * Takes `count` tokens even if there are fewer, which leaves a debt.
   * @returns false, and takes none, if there is a debt
   */
  spend(count: number, now = performance.now()): boolean {
    this.#fill(now)
    if (this.#tokens < 0) return false
    this.#tokens -= count
    return true
  }

  /** Takes `count` tokens even if there are fewer. @returns ms until the debt is paid off; 0 = none */
  borrow(count: number, now = performance.now()): number {
    this.#fill(now)
    this.#tokens -= count
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.rate.perSecond) * MS
  }

  #fill(now: number): void {
    const earned = ((now - this.#filledAt) * this.rate.perSecond) / MS
    this.#tokens = Math.min(this.rate.burst, this.#tokens + earned)
    this.#filledAt = now
  }
}
