/**
 * Doubling delays after failed logins. They are kept by account and address together, so that a guesser delays only his own
 * address and not the owner; and by address alone, against guesses at many accounts.
 */
import { recentMap } from '../core/recent.js'

export interface FailedLoginRules {
  /** Failures before the first delay: of one address for one account, and for all accounts. */
  readonly perAccount: number
  readonly perAddress: number
  /** The first delay, and the longest, ms. */
  readonly delayMs: number
  readonly maxDelayMs: number
}

export type FailedLoginLimit = 'limits.failedLogins' | 'limits.failedLoginsPerAddress'

/** The end of an attempt, to be called once. */
export type Settle = (outcome: 'right' | 'wrong' | 'unknown') => void

/** The free failures are forgotten over this time, ms, so that an address that many share recovers. */
const FORGET_MS = 3_600_000
const MAX_KEPT = 100_000

/** Attempts under way before the first failure: all devices of an account may reconnect at once. */
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

  /** Whether no further attempt may begin. After a failure each attempt under way counts as a failure. */
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

  /** As if there had been none. */
  get isBlank(): boolean {
    return this.#failures === 0 && this.#pending === 0
  }
}

export class FailedLogins {
  readonly #kept = recentMap<string, Tries>(MAX_KEPT, FORGET_MS)

  constructor(private readonly rules: FailedLoginRules) {}

  /**
   * @param group of the address
   * @param account a short key, the same for all names of the account
   * @returns the function to call with the outcome, or the limit that is reached and the ms to wait
   */
  begin(
    group: string,
    account: string,
    now = performance.now(),
  ): Settle | { limit: FailedLoginLimit; waitMs: number } {
    const all = this.#tries(group, this.rules.perAddress)
    const allWait = all.wait(now)
    // Before an entry for the account is made: a client that has to wait can name any number of accounts.
    if (allWait > 0) return { limit: 'limits.failedLoginsPerAddress', waitMs: allWait }
    const key = `${group} ${account}`
    const own = this.#tries(key, this.rules.perAccount)
    const ownWait = own.wait(now)
    if (ownWait > 0) return { limit: 'limits.failedLogins', waitMs: ownWait }
    if (own.isBusy) return { limit: 'limits.failedLogins', waitMs: this.rules.delayMs }
    own.begin()
    all.begin()
    return outcome => {
      const at = Math.max(now, performance.now())
      own.end(outcome === 'wrong', at)
      // A success does not clear the failures of the address: a guesser has an account of his own.
      all.end(outcome === 'wrong', at)
      if (outcome !== 'right') return
      own.forgive()
      // Nearly all logins succeed at once: nothing is to be kept of them.
      if (own.isBlank && this.#kept.get(key) === own) this.#kept.delete(key)
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
