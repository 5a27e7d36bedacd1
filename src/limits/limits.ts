/** Every limit that counts clients or their requests, and the metric that counts how often each is reached. */

import { type CodeName, GatewayError } from '../core/errors.js'
import type { Metrics } from '../core/metrics.js'
import type { UserId } from '../core/model.js'
import { Turnstile } from '../flow/turnstile.js'
import { AccountLimits, type AccountRules, type Traffic } from './account-limits.js'
import { AddressList } from './address.js'
import { type AddressBucket, AddressBuckets, RecipientBuckets } from './address-buckets.js'
import { Admission, type AdmissionRules } from './admission.js'
import { ControlFrames } from './control-frames.js'
import { type Guest, type GuestRules, Guests } from './guests.js'
import { type LoginAttemptRules, LoginAttempts } from './login-attempts.js'
import { type Rate, TokenBucket } from './token-bucket.js'

export interface LimitRules extends AccountRules, LoginAttemptRules {
  readonly admission: AdmissionRules
  readonly crowd: GuestRules
  /** Requests of one address before login, and HTTP requests of one address. */
  readonly requestsBeforeLogin: Rate
  readonly httpRequests: Rate
  /** Pings and unsolicited pongs of one WebSocket. */
  readonly controlFrames: Rate
  /** Requests of one connection. */
  readonly requests: Rate
  /** Registrations of one address. */
  readonly registrations: Rate
  /** Letters that one address asks for, and letters to one email address. */
  readonly mails: Rate
  readonly mailsPerRecipient: Rate
  /** Images of one account that are decoded. */
  readonly images: Rate
  /** Refusals by a limit, after which a connection is closed. */
  readonly warnings: Rate
  /** Addresses and networks without limits by address and without rates. */
  readonly exempt: readonly string[]
}

/**
 * Handshakes, requests before login and CONNECTs of one turn of the event loop. Each costs 0.1 to 0.2 ms. Where 10,000 clients come
 * back behind a restart, thousands of sockets are readable in one turn, which took most of a second (docs/performance.md).
 */
const ENTER_A_TURN = 4

/** Refusals that count as a warning to the client. */
const WARNINGS: ReadonlySet<CodeName> = new Set<CodeName>([
  'RATE_LIMITED',
  'TOO_MANY_REGISTRATIONS',
  'TOO_MANY_ATTEMPTS',
  'TOO_MANY_LETTERS',
  'TOO_MANY_CONNECTIONS',
])

export const isWarning = (code: CodeName): boolean => WARNINGS.has(code)

export class Limits {
  /** Checks of passwords, and which addresses somebody has logged in from. */
  readonly logins: LoginAttempts
  /** What those do who are not logged in. */
  readonly entrance = new Turnstile(ENTER_A_TURN)
  readonly #accounts: AccountLimits
  readonly #admission: Admission
  readonly #registrations: AddressBuckets
  readonly #beforeLogin: AddressBuckets
  readonly #http: AddressBuckets
  readonly #mails: AddressBuckets
  readonly #recipients: RecipientBuckets
  readonly #images: RecipientBuckets
  readonly #crowd: Guests
  readonly #exempt: AddressList
  readonly #onControlFrames = () => this.count('limits.controlFrames')

  constructor(
    private readonly rules: LimitRules,
    private readonly metrics: Metrics,
  ) {
    this.#exempt = new AddressList(rules.exempt)
    this.logins = new LoginAttempts(rules, this.#exempt, limit => this.count(limit), metrics)
    this.#admission = new Admission(rules.admission, this.#exempt, address => this.logins.isKnown(address))
    this.#crowd = new Guests(rules.crowd, () => this.count('limits.connections'))
    this.#registrations = new AddressBuckets(rules.registrations)
    this.#beforeLogin = new AddressBuckets(rules.requestsBeforeLogin)
    this.#http = new AddressBuckets(rules.httpRequests)
    this.#mails = new AddressBuckets(rules.mails)
    this.#recipients = new RecipientBuckets(rules.mailsPerRecipient)
    this.#images = new RecipientBuckets(rules.images)
    this.#accounts = new AccountLimits(rules)
  }

  /** A limit was reached. @param limit its config key */
  count(limit: string): void {
    this.metrics.limited.inc({ limit })
  }

  /** Counts a new connection. @returns false if a limit is reached; else call `left` when it has closed */
  admit(address: string | undefined): boolean {
    const limit = this.#admission.admit(address)
    if (limit !== undefined) this.count(limit)
    return limit === undefined
  }

  /** A connection that was admitted has closed. @param address the same as before */
  left(address: string | undefined): void {
    this.#admission.left(address)
  }

  /** Whether there is room for one more connection; may close one without a login. */
  hasRoom(address: string | undefined): boolean {
    const hasRoom = this.#crowd.makeRoom(this.logins.isKnown(address))
    if (!hasRoom) this.count('limits.connections')
    return hasRoom
  }

  /** Registers an open connection without a login. @param end ends it; given `who` */
  join<T = undefined>(end: (who: T) => void, who?: T): Guest {
    return this.#crowd.join(end, who)
  }

  /** Counts a connection of an account; see AccountLimits. @throws GatewayError TOO_MANY_CONNECTIONS */
  enter(userId: UserId, replaces = false): TokenBucket {
    this.enterAccount(userId, replaces)
    return this.accountRate(userId)
  }

  /** The same where the rate is asked for later. @throws GatewayError TOO_MANY_CONNECTIONS */
  enterAccount(userId: UserId, replaces = false): void {
    try {
      this.#accounts.enter(userId, replaces)
    } catch (thrown) {
      this.count('limits.connectionsPerAccount')
      throw thrown
    }
  }

  /** The rate of requests of an account, over all its connections. */
  accountRate(userId: UserId): TokenBucket {
    return this.#accounts.rate(userId)
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
    return new ControlFrames(this.rules.controlFrames, this.#onControlFrames)
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

  /** Counts a letter that somebody asks for. @throws GatewayError TOO_MANY_LETTERS */
  askForMail(address: string | undefined): void {
    if (this.#exempt.has(address) || this.#mails.of(address).take()) return
    this.count('limits.mails')
    throw new GatewayError('TOO_MANY_LETTERS')
  }

  /** Counts a letter to an email address. @returns false if it got enough */
  mayMail(recipient: string): boolean {
    if (this.#recipients.take(recipient)) return true
    this.count('limits.mailsPerRecipient')
    return false
  }

  /** Counts an image that is to be decoded. @throws GatewayError RATE_LIMITED */
  image(userId: UserId): void {
    if (this.#images.take(userId)) return
    this.count('limits.images')
    throw new GatewayError('RATE_LIMITED')
  }
}
