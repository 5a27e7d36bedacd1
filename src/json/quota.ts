/** What one JSON client has used of its limits, and which of them ends its connection. */
import { CODES, type CodeName, GatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { isForDevices } from '../handle/index.js'
import type { AddressBucket } from '../limits/address-buckets.js'
import { isWarning, type Limits } from '../limits/limits.js'
import type { TokenBucket } from '../limits/token-bucket.js'
import type { RequestName } from '../protocol/requests.js'

export type RateLimit = 'limits.requests' | 'limits.accountRequests' | 'limits.accountBytes'

export interface QuotaRules {
  /** Refused requests in a row after which the connection is closed. */
  readonly maxRefusals: number
  /** How long a client that is not logged in may ask for nothing, ms. */
  readonly loginTimeoutMs: number
}

export class Quota {
  readonly #rate: TokenBucket | undefined
  /** The account's, from login on. */
  #accountRate: TokenBucket | undefined
  /** What the account sends in bytes, from login on. */
  #sent: TokenBucket | undefined
  readonly #beforeLogin: AddressBucket | undefined
  /** Empty when the client goes on over a limit; made at the first refusal by one. */
  #warnings: TokenBucket | undefined
  #refusals = 0
  /** performance.now() of the last request. */
  #askedAt = performance.now()

  constructor(
    private readonly limits: Limits,
    private readonly rules: QuotaRules,
    address: string | undefined,
  ) {
    this.#rate = limits.requestBucket(address)
    this.#beforeLogin = limits.beforeLogin(address)
  }

  /** One more request of so many bytes. @returns the limit that it comes too soon for */
  take(bytes: number): RateLimit | undefined {
    const now = performance.now()
    this.#askedAt = now
    if (this.#sent?.spend(bytes, now) === false) return 'limits.accountBytes'
    if (this.#rate === undefined) return undefined
    if (!this.#rate.take(now)) return 'limits.requests'
    return this.#accountRate?.take(now) === false ? 'limits.accountRequests' : undefined
  }

  /** One more request of a client that is not logged in. @returns how long its next one waits, ms */
  beforeLogin(): number {
    const waitMs = this.#beforeLogin?.borrow(1) ?? 0
    if (waitMs > 0) this.limits.count('limits.requestsBeforeLogin')
    return waitMs
  }

  /**
   * @param limit that the request comes too soon for
   * @returns what it is refused with: not where the owner takes rights from the one who uses up what the account has
   */
  refusal(limit: RateLimit | undefined, request: RequestName): GatewayError | undefined {
    if (limit === undefined || (limit !== 'limits.requests' && !isForDevices(request))) return undefined
    this.limits.count(limit)
    return new GatewayError('RATE_LIMITED')
  }

  /** A request was answered. @returns why the connection must end */
  answered(code: CodeName): CodeName | undefined {
    const isRefused = CODES[code].code >= 500
    this.#refusals = isRefused && !CODES[code].retry ? this.#refusals + 1 : 0
    if (!isRefused) return undefined
    if (this.#refusals >= this.rules.maxRefusals) return this.#ends('limits.refusals', 'TOO_MANY_ERRORS')
    if (!isWarning(code)) return undefined
    this.#warnings ??= this.limits.warningBucket()
    return this.#warnings.take() ? undefined : this.#ends('limits.warnings', 'OVER_LIMITS')
  }

  /** To be asked now and then of a client that is not logged in. @returns why the connection must end */
  idle(now: number): CodeName | undefined {
    if (now - this.#askedAt < this.rules.loginTimeoutMs) return undefined
    return this.#ends('limits.loginTimeout', 'LOGIN_TIMEOUT')
  }

  /** @throws GatewayError TOO_MANY_CONNECTIONS */
  enter(userId: UserId): void {
    this.#accountRate = this.limits.enter(userId)
    this.#sent = this.limits.traffic(userId).sent
  }

  /** Safe to call twice, and without `enter`. */
  leave(userId: UserId): void {
    if (this.#accountRate !== undefined) this.limits.leave(userId)
    this.#accountRate = undefined
    this.#sent = undefined
  }

  #ends(limit: string, code: CodeName): CodeName {
    this.limits.count(limit)
    return code
  }
}
