/**
 * Delays behind failed logins, which double. They are kept by account and address together, so that a stranger who
 * guesses delays himself and never the owner; and by address alone, for one who tries many accounts.
 */
import { LRUCache } from 'lru-cache'

export interface FailedLoginRules {
  /** Failures without a delay: of one address at one account, and at all. */
  readonly perAccount: number
  readonly perAddress: number
  /** The first delay, and the longest, ms. */
  readonly delayMs: number
  readonly maxDelayMs: number
}

export type FailedLoginLimit = 'limits.failedLogins' | 'limits.failedLoginsPerAddress'

/** The end of an attempt, to be called once. */
export type Settle = (outcome: 'right' | 'wrong' | 'unknown') => void

/** Failures are forgotten so long after the last one, ms. */
const FORGET_MS = 3_600_000
const MAX_KEPT = 100_000

/** All devices of an account may come back at once; more than these are guesses. */
const MAX_PENDING = 50

class Tries {
  #failures = 0
  #pending = 0
  #until = 0

  constructor(
    private readonly free: number,
    private readonly rules: FailedLoginRules,
  ) {}

  /** @returns ms to wait, 0 = go on */
  wait(now: number): number {
    return Math.max(0, this.#until - now)
  }

  /** Whether as many are under way as may be: after a failure each counts as one more. */
  get isBusy(): boolean {
    const mayFail = this.#failures === 0 ? MAX_PENDING : this.free - this.#failures
    return this.#pending > 0 && this.#pending >= mayFail
  }

  begin(): void {
    this.#pending++
  }

  end(isFailure: boolean, now: number): void {
    this.#pending--
    if (!isFailure) return
    this.#failures++
    const doublings = Math.min(this.#failures - this.free, 30)
    if (doublings >= 0)
      this.#until = now + Math.min(this.rules.maxDelayMs, this.rules.delayMs * 2 ** doublings)
  }

  forgive(): void {
    this.#failures = 0
    this.#until = 0
  }
}

export class FailedLogins {
  readonly #kept = new LRUCache<string, Tries>({ max: MAX_KEPT, ttl: FORGET_MS })

  constructor(private readonly rules: FailedLoginRules) {}

  /**
   * @param group of the address
   * @param account as the client names it
   * @returns what to call when the outcome is known; or which limit is reached, and ms to wait
   */
  begin(
    group: string,
    account: string,
    now = performance.now(),
  ): Settle | { limit: FailedLoginLimit; waitMs: number } {
    const own = this.#tries(`${group} ${account}`, this.rules.perAccount)
    const all = this.#tries(group, this.rules.perAddress)
    const [ownWait, allWait] = [own.wait(now), all.wait(now)]
    if (allWait > 0) return { limit: 'limits.failedLoginsPerAddress', waitMs: allWait }
    if (ownWait > 0) return { limit: 'limits.failedLogins', waitMs: ownWait }
    if (own.isBusy) return { limit: 'limits.failedLogins', waitMs: this.rules.delayMs }
    own.begin()
    all.begin()
    return outcome => {
      const at = Math.max(now, performance.now())
      own.end(outcome === 'wrong', at)
      // Not forgiven by a success: whoever guesses has an account, too.
      all.end(outcome === 'wrong', at)
      if (outcome === 'right') own.forgive()
    }
  }

  /** Setting it again begins its time anew. */
  #tries(key: string, free: number): Tries {
    const tries = this.#kept.get(key) ?? new Tries(free, this.rules)
    this.#kept.set(key, tries)
    return tries
  }
}
