/** Limits of one account, over all its connections: their number, their requests and the bytes they send. */

import { GatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { recentMap } from '../core/recent.js'
import { MAX_BUCKETS } from './address-buckets.js'
import { type Rate, TokenBucket } from './token-bucket.js'

/** Buckets of one account, each made when it is first used. They outlive its connections, so that reconnecting does not refill them. */
class AccountBuckets {
  #requests: TokenBucket | undefined
  #sent: TokenBucket | undefined
  #broadcast: TokenBucket | undefined

  constructor(private readonly rules: AccountRules) {}

  /** Requests of all its connections. */
  get requests(): TokenBucket {
    this.#requests ??= new TokenBucket(this.rules.accountRequests)
    return this.#requests
  }

  /** Bytes that it sends. */
  get sent(): TokenBucket {
    this.#sent ??= new TokenBucket(this.rules.accountBytes)
    return this.#sent
  }

  /** Bytes of broadcasts, once for each recipient. */
  get broadcast(): TokenBucket {
    this.#broadcast ??= new TokenBucket(this.rules.broadcastBytes)
    return this.#broadcast
  }
}

/** Of the bytes that one account sends. */
export type Traffic = Pick<AccountBuckets, 'sent' | 'broadcast'>

export interface AccountRules {
  readonly connectionsPerAccount: number
  /** Requests of all connections of an account. */
  readonly accountRequests: Rate
  readonly accountBytes: Rate
  readonly broadcastBytes: Rate
}

export class AccountLimits {
  readonly #open = new Map<UserId, number>()
  readonly #buckets = recentMap<UserId, AccountBuckets>(MAX_BUCKETS)

  constructor(private readonly rules: AccountRules) {}

  traffic(userId: UserId): Traffic {
    return this.#of(userId)
  }

  #of(userId: UserId): AccountBuckets {
    const known = this.#buckets.get(userId)
    if (known !== undefined) return known
    const buckets = new AccountBuckets(this.rules)
    this.#buckets.set(userId, buckets)
    return buckets
  }

  /**
   * Counts a connection of the account; call `leave` when it is over.
   * @param replaces whether it takes the place of an open one: a device that reconnects before its end was noticed
   * @throws GatewayError TOO_MANY_CONNECTIONS
   */
  enter(userId: UserId, replaces = false): void {
    const count = this.#open.get(userId) ?? 0
    if (count >= this.rules.connectionsPerAccount + (replaces ? 1 : 0))
      throw new GatewayError('TOO_MANY_CONNECTIONS')
    this.#open.set(userId, count + 1)
  }

  /** The account's rate of requests. */
  rate(userId: UserId): TokenBucket {
    return this.#of(userId).requests
  }

  leave(userId: UserId): void {
    const left = (this.#open.get(userId) ?? 1) - 1
    if (left > 0) this.#open.set(userId, left)
    else this.#open.delete(userId)
  }
}
