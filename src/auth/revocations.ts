/**
 * Which accounts had rights taken away lately: a login that began before that must not be let in behind it. Counted,
 * not timed: two things in one millisecond have an order, too.
 */

import type { UserId } from '../core/model.js'
import { recentMap } from '../core/recent.js'

/** More than are revoked while one login waits for its hash. */
const REMEMBERED = 10_000

export class Revocations {
  readonly #last = recentMap<UserId, number>(REMEMBERED)
  #count = 0

  /** To be taken before anything is checked. */
  get mark(): number {
    return this.#count
  }

  add(userId: UserId): void {
    this.#last.set(userId, ++this.#count)
  }

  hasSince(userId: UserId, mark: number): boolean {
    return (this.#last.get(userId) ?? 0) > mark
  }
}
