/** Which accounts had rights revoked lately, so that a login that began before a revocation does not end behind it. */

import type { UserId } from '../core/model.js'
import { recentMap } from '../core/recent.js'

/** Accounts that are remembered: more than are revoked while one login waits for its password hash. */
const REMEMBERED = 10_000

export class Revocations {
  readonly #last = recentMap<UserId, number>(REMEMBERED)
  #count = 0

  /** How many revocations there were. A count and not a time: two revocations in one millisecond have an order, too. */
  get mark(): number {
    return this.#count
  }

  add(userId: UserId): void {
    this.#last.set(userId, ++this.#count)
  }

  /** Whether rights of the account were revoked after `mark` was read. */
  hasSince(userId: UserId, mark: number): boolean {
    return (this.#last.get(userId) ?? 0) > mark
  }
}
