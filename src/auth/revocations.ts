/** Accounts with a recent revocation, so that a login that began before a revocation does not succeed after it. */

import type { UserId } from '../core/model.js'
import { recentMap } from '../core/recent.js'

/** Most accounts remembered: more than can be revoked while one login waits for its password hash. */
const REMEMBERED = 10_000

export class Revocations {
  readonly #last = recentMap<UserId, number>(REMEMBERED)
  #count = 0

  /**
   * The number of revocations so far. A count, not a time, so that two revocations in one millisecond have an order.
   */
  get count(): number {
    return this.#count
  }

  add(userId: UserId): void {
    this.#last.set(userId, ++this.#count)
  }

  /** Whether the account had a revocation after `count` was read. */
  hasSince(userId: UserId, count: number): boolean {
    return (this.#last.get(userId) ?? 0) > count
  }
}
