/** Limits of one account, over all its connections: their number, their requests and the bytes they send. */

import { GatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { recentMap } from '../core/recent.js'
import { MAX_BUCKETS } from './address-buckets.js'
import { type Rate, TokenBucket } from './token-bucket.js'

/** Buckets of the bytes that one account sends. They outlive its connections, so that reconnecting does not refill them. */
export interface Traffic {
  readonly sent: TokenBucket
  /** Bytes of broadcasts, once for each recipient. */
  readonly broadcast: TokenBucket
}

export interface AccountRules {
  readonly connectionsPerAccount: number
  /** Requests of all connections of an account. */
  readonly accountRequests: Rate
  readonly accountBytes: Rate
  readonly broadcastBytes: Rate
}

export class AccountLimits {
  readonly #open = new Map<UserId, number>()
  /** Of requests. They outlive the connections, so that reconnecting does not refill them. */
  readonly #buckets = recentMap<UserId, TokenBucket>(MAX_BUCKETS)

  readonly #traffic = recentMap<UserId, Traffic>(MAX_BUCKETS)

  constructor(private readonly rules: AccountRules) {}

  traffic(userId: UserId): Traffic {
    const known = this.#traffic.get(userId)
    if (known !== undefined) return known
    const { accountBytes, broadcastBytes } = this.rules
    const traffic = { sent: new TokenBucket(accountBytes), broadcast: new TokenBucket(broadcastBytes) }
    this.#traffic.set(userId, traffic)
    return traffic
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
    const bucket = this.#buckets.get(userId) ?? new TokenBucket(this.rules.accountRequests)
    this.#buckets.set(userId, bucket)
    return bucket
  }

  leave(userId: UserId): void {
    const left = (this.#open.get(userId) ?? 1) - 1
    if (left > 0) this.#open.set(userId, left)
    else this.#open.delete(userId)
  }
}
