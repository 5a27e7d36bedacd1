/** What all connections of an account have together: how many there are, and their requests. */
import { LRUCache } from 'lru-cache'
import { GatewayError } from '../errors.js'
import type { UserId } from '../model.js'
import { MAX_BUCKETS } from './admission.js'
import { type Rate, TokenBucket } from './token-bucket.js'

export class AccountLimits {
  readonly #open = new Map<UserId, number>()
  /** They outlive the connections: to come back is no way to a full one. */
  readonly #buckets = new LRUCache<UserId, TokenBucket>({ max: MAX_BUCKETS })

  constructor(
    private readonly maxConnections: number,
    private readonly requests: Rate,
  ) {}

  /**
   * Counts a connection in.
   * @param replaces whether one that is there ends for it: a device that comes back before it is missed
   * @returns the account's request rate; call `leave` when the connection is over
   * @throws GatewayError TOO_MANY_CONNECTIONS
   */
  enter(userId: UserId, replaces = false): TokenBucket {
    const count = this.#open.get(userId) ?? 0
    if (count >= this.maxConnections + (replaces ? 1 : 0)) throw new GatewayError('TOO_MANY_CONNECTIONS')
    this.#open.set(userId, count + 1)
    const bucket = this.#buckets.get(userId) ?? new TokenBucket(this.requests)
    this.#buckets.set(userId, bucket)
    return bucket
  }

  leave(userId: UserId): void {
    const left = (this.#open.get(userId) ?? 1) - 1
    if (left > 0) this.#open.set(userId, left)
    else this.#open.delete(userId)
  }
}
