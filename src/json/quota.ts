/** How much one JSON client has used of its limits, and which limit ends its connection. */
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
  /** A client that is not logged in and makes no request for so long is closed, ms. */
  readonly loginTimeoutMs: number
}

export class Quota {
  readonly #rate: TokenBucket | undefined
  /** Whose connection it counts as, from login on. */
  #userId: UserId | undefined
  /** Requests of the account, and bytes that it sends, from its first request on. */
  #accountRate: TokenBucket | undefined
  #sent: TokenBucket | undefined
  /** From the first request until login. */
  #beforeLogin: AddressBucket | undefined
  /** Refusals by a limit; made at the first one. */
  #warnings: TokenBucket | undefined
  #refusals = 0
  /** performance.now() of the last request. */
  #askedAt = performance.now()

  constructor(
    private readonly limits: Limits,
    private readonly rules: QuotaRules,
    private readonly address: string | undefined,
  ) {
    this.#rate = limits.requestBucket(address)
  }

  /** Takes one request. @param bytes of its text @returns the limit that it is over, if any */
  take(bytes: number): RateLimit | undefined {
    const now = performance.now()
    this.#askedAt = now
    if (this.#userId !== undefined && !this.#mayBegin(this.#userId, bytes, now)) return 'limits.accountBytes'
    if (this.#rate === undefined) return undefined
    if (!this.#rate.take(now)) return 'limits.requests'
    return this.#accountRate?.take(now) === false ? 'limits.accountRequests' : undefined
  }

  #mayBegin(userId: UserId, bytes: number, now: number): boolean {
    this.#accountRate ??= this.limits.accountRate(userId)
    this.#sent ??= this.limits.traffic(userId).sent
    return this.#sent.spend(bytes, now)
  }

  /** Takes one request of a client that is not logged in. @returns how long the next one has to wait, ms */
  beforeLogin(): number {
    this.#beforeLogin ??= this.limits.beforeLogin(this.address)
    const waitMs = this.#beforeLogin?.borrow(1) ?? 0
    if (waitMs > 0) this.limits.count('limits.requestsBeforeLogin')
    return waitMs
  }

  /**
   * @param limit that the request is over
   * @returns what to refuse it with. The limits of the account do not refuse what only its owner may ask for (revoke,
   *   password …): else a stolen device could use them up and so keep the owner from revoking it.
   */
  refusal(limit: RateLimit | undefined, request: RequestName): GatewayError | undefined {
    if (limit === undefined || (limit !== 'limits.requests' && !isForDevices(request))) return undefined
    this.limits.count(limit)
    return new GatewayError('RATE_LIMITED')
  }

  /** A request was answered. @returns why the connection must end, if it must */
  answered(code: CodeName): CodeName | undefined {
    const isRefused = CODES[code].code >= 500
    this.#refusals = isRefused && !CODES[code].retry ? this.#refusals + 1 : 0
    if (!isRefused) return undefined
    if (this.#refusals >= this.rules.maxRefusals) return this.#ends('limits.refusals', 'TOO_MANY_ERRORS')
    if (!isWarning(code)) return undefined
    this.#warnings ??= this.limits.warningBucket()
    return this.#warnings.take() ? undefined : this.#ends('limits.warnings', 'OVER_LIMITS')
  }

  /** For a client that is not logged in. @param now performance.now() @returns why the connection must end, if it must */
  idle(now: number): CodeName | undefined {
    if (now - this.#askedAt < this.rules.loginTimeoutMs) return undefined
    return this.#ends('limits.loginTimeout', 'LOGIN_TIMEOUT')
  }

  /** @throws GatewayError TOO_MANY_CONNECTIONS */
  enter(userId: UserId): void {
    this.limits.enterAccount(userId)
    this.#userId = userId
    this.#beforeLogin = undefined
  }

  /** Safe to call twice, and without `enter`. */
  leave(userId: UserId): void {
    if (this.#userId !== undefined) this.limits.leave(userId)
    this.#userId = undefined
    this.#accountRate = undefined
    this.#sent = undefined
  }

  #ends(limit: string, code: CodeName): CodeName {
    this.limits.count(limit)
    return code
  }
}
