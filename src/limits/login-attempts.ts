/** Checks of passwords: delays after wrong ones, and turns on the few threads that hash them. */
import { RefusedUntil, toGatewayError } from '../core/errors.js'
import type { Metrics } from '../core/metrics.js'
import { recentMap } from '../core/recent.js'
import { FairQueue, type IsWanted, type Place } from '../flow/fair-queue.js'
import { type AddressList, addressGroup } from './address.js'
import { MAX_BUCKETS } from './address-buckets.js'
import { type FailedLoginRules, FailedLogins } from './failed-logins.js'

export interface LoginAttemptRules {
  /** Passwords hashed at the same time, and passwords that wait for that. */
  readonly passwords: { readonly concurrency: number; readonly queue: number }
  readonly failedLogins: FailedLoginRules
}

export class LoginAttempts {
  readonly #failed: FailedLogins
  readonly #passwords: FairQueue
  /** Address groups from which a client has logged in, and `<group> <account>` for each account. */
  readonly #known = recentMap<string, true>(MAX_BUCKETS)

  /** @param onLimit called with the config key of a limit that is reached @param times how long passwords wait and take, s */
  constructor(
    rules: LoginAttemptRules,
    private readonly exempt: AddressList,
    private readonly onLimit: (limit: string) => void,
    private readonly times: Partial<Pick<Metrics, 'passwordWaits' | 'passwordHashes'>> = {},
  ) {
    const { concurrency, queue } = rules.passwords
    const onTurn = (ms: number) => times.passwordWaits?.observe(ms / 1000)
    this.#passwords = new FairQueue({
      ...{ concurrency, max: queue, onTurn },
      onFull: () => onLimit('passwords.queue'),
    })
    this.#failed = new FailedLogins(rules.failedLogins)
  }

  /** Records that a client has logged in from this address, by any means. */
  loggedInFrom(address: string | undefined): void {
    this.#known.set(addressGroup(address), true)
  }

  /** Whether a client has logged in from this address, by any means. */
  isKnown(address: string | undefined): boolean {
    return this.#known.has(addressGroup(address))
  }

  /**
   * Checks a password or another secret, unless too many from this address were wrong.
   * @param account one key for all names of the account; see Accounts.keyOf
   * @param isWanted as for `hash`; a check that is dropped counts neither as right nor as wrong
   * @throws GatewayError TOO_MANY_ATTEMPTS before `check` is called, or what `check` throws; ERROR_AUTH counts as wrong
   */
  async attempt<T>(
    address: string | undefined,
    account: string,
    check: () => Promise<T>,
    isWanted?: IsWanted,
  ): Promise<T> {
    if (this.exempt.has(address)) return this.hash(address, account, check, isWanted)
    const settle = this.#failed.begin(addressGroup(address), account)
    if (typeof settle !== 'function') {
      this.onLimit(settle.limit)
      const seconds = Math.ceil(settle.waitMs / 1000)
      throw new RefusedUntil('TOO_MANY_ATTEMPTS', { reason: `wait ${seconds} s` }, seconds)
    }
    try {
      const result = await this.hash(address, account, check, isWanted)
      settle('right')
      return result
    } catch (thrown) {
      settle(toGatewayError(thrown).kind === 'ERROR_AUTH' ? 'wrong' : 'unknown')
      throw thrown
    }
  }

  /**
   * Runs work that hashes a password when it is its address' turn. A client that has logged in as `account` from this
   * address before goes first.
   * @param isWanted asked when its turn comes; false if the connection has closed
   * @throws GatewayError ERROR_CONNECTION_CLOSED if it is not wanted, ERROR_AUTH_FAILED (retry) if too many wait, or
   *   what `work` throws
   */
  async hash<T>(
    address: string | undefined,
    account: string,
    work: () => Promise<T>,
    isWanted?: IsWanted,
  ): Promise<T> {
    const pair = `${addressGroup(address)} ${account}`
    const result = await this.#passwords.run(this.#placeOf(address, pair), () => this.#timed(work), isWanted)
    this.#known.set(pair, true)
    return result
  }

  /** Passwords that wait for their turn, and that are being hashed. */
  get load(): { readonly waiting: number; readonly running: number } {
    return this.#passwords.load
  }

  async #timed<T>(work: () => Promise<T>): Promise<T> {
    const since = performance.now()
    try {
      return await work()
    } finally {
      this.times.passwordHashes?.observe((performance.now() - since) / 1000)
    }
  }

  #placeOf(address: string | undefined, pair: string): Place {
    const group = addressGroup(address, 48)
    if (this.#known.get(pair) === true) return { group, standing: 'known' }
    return { group, standing: this.#failed.hasFailed(addressGroup(address)) ? 'failed' : 'clean' }
  }
}
