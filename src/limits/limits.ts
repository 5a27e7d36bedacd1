/** Every limit that counts clients or their requests, and the metric that counts how often each is reached. */

import { type CodeName, GatewayError, toGatewayError } from '../core/errors.js'
import type { Metrics } from '../core/metrics.js'
import type { UserId } from '../core/model.js'
import { recentMap } from '../core/recent.js'
import { FairQueue, type IsWanted, type Place } from '../flow/fair-queue.js'
import { AccountLimits, type AccountRules, type Traffic } from './account-limits.js'
import { AddressList, addressGroup } from './address.js'
import { type AddressBucket, AddressBuckets, MAX_BUCKETS } from './address-buckets.js'
import { Admission, type AdmissionLimit, type AdmissionRules } from './admission.js'
import { ControlFrames } from './control-frames.js'
import { type FailedLoginRules, FailedLogins } from './failed-logins.js'
import { type Guest, type GuestRules, Guests } from './guests.js'
import { type Rate, TokenBucket } from './token-bucket.js'

export interface LimitRules extends AccountRules {
  readonly admission: AdmissionRules
  readonly crowd: GuestRules
  /** Passwords hashed at the same time, and passwords that wait for that. */
  readonly passwords: { readonly concurrency: number; readonly queue: number }
  /** Requests of one address before login, and HTTP requests of one address. */
  readonly requestsBeforeLogin: Rate
  readonly httpRequests: Rate
  /** Pings and unsolicited pongs of one WebSocket. */
  readonly controlFrames: Rate
  readonly failedLogins: FailedLoginRules
  /** Requests of one connection. */
  readonly requests: Rate
  /** Registrations of one address. */
  readonly registrations: Rate
  /** Refusals by a limit, after which a connection is closed. */
  readonly warnings: Rate
  /** Addresses and networks without limits by address and without rates. */
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
  readonly #registrations: AddressBuckets
  readonly #beforeLogin: AddressBuckets
  readonly #http: AddressBuckets
  readonly #passwords: FairQueue
  readonly #crowd: Guests
  /** Address groups from which a client has logged in, and `<group> <account>` for each account. */
  readonly #known = recentMap<string, true>(MAX_BUCKETS)
  readonly #exempt: AddressList

  constructor(
    private readonly rules: LimitRules,
    private readonly metrics: Metrics,
  ) {
    this.#exempt = new AddressList(rules.exempt)
    this.#admission = new Admission(rules.admission, this.#exempt, address => this.#isKnown(address))
    this.#crowd = new Guests(rules.crowd)
    this.#registrations = new AddressBuckets(rules.registrations)
    this.#beforeLogin = new AddressBuckets(rules.requestsBeforeLogin)
    this.#http = new AddressBuckets(rules.httpRequests)
    const { concurrency, queue } = rules.passwords
    this.#passwords = new FairQueue({ concurrency, max: queue, onFull: () => this.count('passwords.queue') })
    this.#failedLogins = new FailedLogins(rules.failedLogins)
    this.#accounts = new AccountLimits(rules)
  }

  /** A limit was reached. @param limit its config key */
  count(limit: string): void {
    this.metrics.limited.inc({ limit })
  }

  /** Counts a new connection. @returns the limit that is reached, or the function to call when it has closed */
  admit(address: string | undefined): AdmissionLimit | (() => void) {
    const answer = this.#admission.admit(address)
    if (typeof answer === 'string') this.count(answer)
    return answer
  }

  /** Whether there is room for one more connection; may close one without a login. */
  hasRoom(address: string | undefined): boolean {
    const hasRoom = this.#crowd.makeRoom(this.#isKnown(address))
    if (!hasRoom) this.count('limits.connections')
    return hasRoom
  }

  /** Registers an open connection without a login. @param close ends it */
  join(close: () => void): Guest {
    return this.#crowd.join(() => {
      this.count('limits.connections')
      close()
    })
  }

  /** Records that a client has logged in from this address, by any means. */
  loggedInFrom(address: string | undefined): void {
    this.#known.set(addressGroup(address), true)
  }

  /** Counts a connection of an account; see AccountLimits. @throws GatewayError TOO_MANY_CONNECTIONS */
  enter(userId: UserId, replaces = false): TokenBucket {
    try {
      return this.#accounts.enter(userId, replaces)
    } catch (thrown) {
      this.count('limits.connectionsPerAccount')
      throw thrown
    }
  }

  /** The buckets of the bytes that an account sends, from any address. */
  traffic(userId: UserId): Traffic {
    return this.#accounts.traffic(userId)
  }

  /** Charges a broadcast to its sender. @throws GatewayError RATE_LIMITED */
  broadcast(userId: UserId, bytes: number): void {
    if (this.traffic(userId).broadcast.spend(bytes)) return
    this.count('limits.broadcastBytes')
    throw new GatewayError('RATE_LIMITED')
  }

  /** Ends a connection of an account. */
  leave(userId: UserId): void {
    this.#accounts.leave(userId)
  }

  isExempt(address: string | undefined): boolean {
    return this.#exempt.has(address)
  }

  /** The request rate of one connection; undefined if its address is exempt. */
  requestBucket(address: string | undefined): TokenBucket | undefined {
    return this.isExempt(address) ? undefined : new TokenBucket(this.rules.requests)
  }

  /** The request rate before login, of an address; undefined if it is exempt. */
  beforeLogin(address: string | undefined): AddressBucket | undefined {
    return this.isExempt(address) ? undefined : this.#beforeLogin.of(address)
  }

  /** Counts an HTTP request that is not a WebSocket upgrade. @returns false if the address has used up its rate */
  askHttp(address: string | undefined): boolean {
    if (this.isExempt(address) || this.#http.of(address).take()) return true
    this.count('limits.httpRequests')
    return false
  }

  /** The rate of pings and pongs of one WebSocket. */
  controlFrames(): ControlFrames {
    return new ControlFrames(new TokenBucket(this.rules.controlFrames), () =>
      this.count('limits.controlFrames'),
    )
  }

  /** The bucket of one connection that refusals by a limit use up. */
  warningBucket(): TokenBucket {
    return new TokenBucket(this.rules.warnings)
  }

  /** Counts a registration. @throws GatewayError TOO_MANY_REGISTRATIONS */
  register(address: string | undefined): void {
    if (this.#exempt.has(address)) return
    if (this.#registrations.of(address).take()) return
    this.count('limits.registrations')
    throw new GatewayError('TOO_MANY_REGISTRATIONS')
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
    if (this.#exempt.has(address)) return this.hash(address, account, check, isWanted)
    const settle = this.#failedLogins.begin(addressGroup(address), account)
    if (typeof settle !== 'function') {
      this.count(settle.limit)
      const seconds = Math.ceil(settle.waitMs / 1000)
      throw new GatewayError('TOO_MANY_ATTEMPTS', { reason: `wait ${seconds} s` })
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
    const result = await this.#passwords.run(this.#placeOf(address, pair), work, isWanted)
    this.#known.set(pair, true)
    return result
  }

  #placeOf(address: string | undefined, pair: string): Place {
    const group = addressGroup(address, 48)
    if (this.#known.get(pair) === true) return { group, standing: 'known' }
    return { group, standing: this.#failedLogins.hasFailed(addressGroup(address)) ? 'failed' : 'clean' }
  }

  #isKnown(address: string | undefined): boolean {
    return this.#known.has(addressGroup(address))
  }
}
