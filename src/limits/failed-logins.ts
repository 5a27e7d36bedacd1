/**
 * Delays behind failed logins, which double. They are kept by account and address together, so that a stranger who
 * guesses delays himself and never the owner; and by address alone, for one who tries many accounts.
 */
import { recentMap } from '../core/recent.js'

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

/** As many failures as are free are forgotten in so long, ms: an address that many share does not wait for ever. */
const FORGET_MS = 3_600_000
const MAX_KEPT = 100_000

/** All devices of an account may come back at once; more than these are guesses. */
const MAX_PENDING = 50

class Tries {
  #failures = 0
  #pending = 0
  #until = 0
  #failedAt = 0

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
    const forgotten = ((now - this.#failedAt) / FORGET_MS) * this.free
    this.#failures = Math.max(0, this.#failures - forgotten) + 1
    this.#failedAt = now
    const doublings = Math.min(Math.ceil(this.#failures - this.free), 30)
    if (doublings >= 0)
      this.#until = now + Math.min(this.rules.maxDelayMs, this.rules.delayMs * 2 ** doublings)
  }

  get hasFailed(): boolean {
    return this.#failures > 0
  }

  forgive(): void {
    this.#failures = 0
    this.#until = 0
  }
}

export class FailedLogins {
  readonly #kept = recentMap<string, Tries>(MAX_KEPT, FORGET_MS)

  constructor(private readonly rules: FailedLoginRules) {}

  /**
   * @param group of the address
   * @param account short, whatever the client sent, and the same for all its names
   * @returns what to call when the outcome is known; or which limit is reached, and ms to wait
   */
  begin(
    group: string,
    account: string,
    now = performance.now(),
  ): Settle | { limit: FailedLoginLimit; waitMs: number } {
    const all = this.#tries(group, this.rules.perAddress)
    const allWait = all.wait(now)
    // Before anything is kept of the account: whoever waits can name as many as they like.
    if (allWait > 0) return { limit: 'limits.failedLoginsPerAddress', waitMs: allWait }
    const own = this.#tries(`${group} ${account}`, this.rules.perAccount)
    const ownWait = own.wait(now)
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

  /** Whether a password from this address was wrong lately. */
  hasFailed(group: string): boolean {
    return this.#kept.get(group)?.hasFailed === true
  }

  /** Setting it again begins its time anew. */
  #tries(key: string, free: number): Tries {
    const tries = this.#kept.get(key) ?? new Tries(free, this.rules)
    this.#kept.set(key, tries)
    return tries
  }
}
