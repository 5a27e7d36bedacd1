/** Accounts with a recent revocation, so that a login that began before a revocation does not succeed after it. */

import type { UserId } from '../core/model.js'
import { recentMap } from '../core/recent.js'

/** Most accounts remembered: more than can be revoked while one login waits for its password hash. */
const REMEMBERED = 10_000

export class Revocations {
  readonly #last = recentMap<UserId, number>(REMEMBERED)
  /** Without those of credentials and app passwords that another one replaced: they are no other login's. */
  readonly #ofOwners = recentMap<UserId, number>(REMEMBERED)
  #count = 0

  /**
   * The number of revocations so far. A count, not a time, so that two revocations in one millisecond have an order.
   */
  get count(): number {
    return this.#count
  }

  /** @param isReplaced of a credential or an app password, which another one replaces */
  add(userId: UserId, isReplaced = false): void {
    this.#last.set(userId, ++this.#count)
    if (!isReplaced) this.#ofOwners.set(userId, this.#count)
  }

  /** Whether the account had a revocation after `count` was read. @param isOwner of one who has come in by neither */
  hasSince(userId: UserId, count: number, isOwner = false): boolean {
    return ((isOwner ? this.#ofOwners : this.#last).get(userId) ?? 0) > count
  }
}
