/** Every limit that counts clients or their requests, and the metric that counts how often each is reached. */
import { LRUCache } from 'lru-cache'
import { type CodeName, GatewayError, toGatewayError } from '../errors.js'
import type { Metrics } from '../metrics.js'
import type { UserId } from '../model.js'
import { AccountLimits, type AccountRules, type Traffic } from './account-limits.js'
import { AddressList, addressGroup } from './address.js'
import { Admission, type AdmissionLimit, type AdmissionRules, MAX_BUCKETS } from './admission.js'
import { type FailedLoginRules, FailedLogins } from './failed-logins.js'
import { type Rate, TokenBucket } from './token-bucket.js'

export interface LimitRules extends AccountRules {
  readonly admission: AdmissionRules
  readonly failedLogins: FailedLoginRules
  /** Requests of one connection. */
  readonly requests: Rate
  /** Registrations of one address. */
  readonly registrations: Rate
  /** Refusals by a limit, after which a connection is closed. */
  readonly warnings: Rate
  /** Addresses and networks without limits by address and of rates. */
  readonly exempt: readonly string[]
}

/** Refusals that count as a warning to the client. */
const WARNINGS: ReadonlySet<CodeName> = new Set<CodeName>([
  'RATE_LIMITED',
  'TOO_MANY_REGISTRATIONS',
  'TOO_MANY_ATTEMPTS',
  'TOO_MANY_CONNECTIONS',
])

export const isWarning = (code: CodeName): boolean => WARNINGS.has(code)

export class Limits {
  readonly #accounts: AccountLimits
  readonly #admission: Admission
  readonly #failedLogins: FailedLogins
  readonly #registrations = new LRUCache<string, TokenBucket>({ max: MAX_BUCKETS })
  readonly #exempt: AddressList

  constructor(
    private readonly rules: LimitRules,
    private readonly metrics: Metrics,
  ) {
    this.#exempt = new AddressList(rules.exempt)
    this.#admission = new Admission(rules.admission, this.#exempt)
    this.#failedLogins = new FailedLogins(rules.failedLogins)
    this.#accounts = new AccountLimits(rules)
  }

  /** A limit was reached. @param limit its config key */
  count(limit: string): void {
    this.metrics.limited.inc({ limit })
  }

  /** One more connection. @returns the limit that is reached; or what to call when the connection is over */
  admit(address: string | undefined): AdmissionLimit | (() => void) {
    const answer = this.#admission.admit(address)
    if (typeof answer === 'string') this.count(answer)
    return answer
  }

  /** One more connection of an account; see AccountLimits. @throws GatewayError TOO_MANY_CONNECTIONS */
  enter(userId: UserId, replaces = false): TokenBucket {
    try {
      return this.#accounts.enter(userId, replaces)
    } catch (thrown) {
      this.count('limits.connectionsPerAccount')
      throw thrown
    }
  }

  /** What an account may send, in bytes, wherever it connects from. */
  traffic(userId: UserId): Traffic {
    return this.#accounts.traffic(userId)
  }

  /** A broadcast of so many bytes to so many. @throws GatewayError RATE_LIMITED */
  broadcast(userId: UserId, bytes: number): void {
    if (this.traffic(userId).broadcast.spend(bytes)) return
    this.count('limits.broadcastBytes')
    throw new GatewayError('RATE_LIMITED')
  }

  /** Its end. */
  leave(userId: UserId): void {
    this.#accounts.leave(userId)
  }

  isExempt(address: string | undefined): boolean {
    return this.#exempt.has(address)
  }

  /** For one connection; undefined where its requests are not counted. */
  requestBucket(address: string | undefined): TokenBucket | undefined {
    return this.isExempt(address) ? undefined : new TokenBucket(this.rules.requests)
  }

  /** For one connection: empty after too many refusals by a limit. */
  warningBucket(): TokenBucket {
    return new TokenBucket(this.rules.warnings)
  }

  /** One more registration. @throws GatewayError TOO_MANY_REGISTRATIONS */
  register(address: string | undefined): void {
    if (this.#exempt.has(address)) return
    const group = addressGroup(address)
    const bucket = this.#registrations.get(group) ?? new TokenBucket(this.rules.registrations)
    this.#registrations.set(group, bucket)
    if (bucket.take()) return
    this.count('limits.registrations')
    throw new GatewayError('TOO_MANY_REGISTRATIONS')
  }

  /**
   * Checks a password, or whatever else `check` looks at, unless too many of this address were wrong.
   * @param account one text for all its names; see Accounts.keyOf
   * @throws GatewayError TOO_MANY_ATTEMPTS before `check` is called, or what `check` throws; ERROR_AUTH counts as wrong
   */
  async attempt<T>(address: string | undefined, account: string, check: () => Promise<T>): Promise<T> {
    if (this.#exempt.has(address)) return check()
    const settle = this.#failedLogins.begin(addressGroup(address), account)
    if (typeof settle !== 'function') {
      this.count(settle.limit)
      const seconds = Math.ceil(settle.waitMs / 1000)
      throw new GatewayError('TOO_MANY_ATTEMPTS', { reason: `wait ${seconds} s` })
    }
    try {
      const result = await check()
      settle('right')
      return result
    } catch (thrown) {
      settle(toGatewayError(thrown).code === 'ERROR_AUTH' ? 'wrong' : 'unknown')
      throw thrown
    }
  }
}
