/** A rate with room for bursts. Runs once a request: two subtractions and a clock, no timer and no promise. */

export interface Rate {
  readonly perSecond: number
  /** Most that can be taken at once. */
  readonly burst: number
}

const MS = 1000

export class TokenBucket {
  #tokens: number
  #filledAt: number

  /** Begins full. @param now performance.now() */
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
   * @param keep so many are left for others
   * @returns false where there is none left, or a debt to pay first
   */
  take(now = performance.now(), keep = 0): boolean {
    this.#fill(now)
    if (this.#tokens < 1 + keep) return false
    this.#tokens--
    return true
  }

  /** Takes all of it, also what is not there, unless there is a debt to pay first. @returns whether it was taken */
  spend(count: number, now = performance.now()): boolean {
    this.#fill(now)
    if (this.#tokens < 0) return false
    this.#tokens -= count
    return true
  }

  /** Takes also what is not there. @returns how long nothing more may be taken, ms; 0 = go on */
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
