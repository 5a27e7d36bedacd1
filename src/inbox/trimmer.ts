/** Removes rows of inboxes, and counts those that some device had not confirmed. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Logger } from '../core/log.js'
import type { Metrics } from '../core/metrics.js'
import { type InboxRow, madeAt, type UserId } from '../core/model.js'
import type { Roles } from '../store/store.js'

export interface Removed {
  readonly removed: number
  readonly dropped: number
}

/** Rows removed in one call of the store. */
const CHUNK = 500
/** UTF-16 units of one page of rows that are looked at. */
const PAGE_CHARS = 1_000_000

export class Trimmer {
  #isClosed = false

  constructor(
    private readonly store: Pick<Roles, 'inbox' | 'cursors'>,
    /** A device that was not seen for so long does not count, ms; 0: every device counts. */
    private readonly deviceExpiryMs: number,
    private readonly metrics: Metrics,
    private readonly log: Logger,
  ) {}

  close(): void {
    this.#isClosed = true
  }

  /**
   * Removes rows up to `upTo`.
   * @param limit the config key that asks for it, or `operator`
   * @returns how many rows, and how many of them some device had not confirmed @throws GatewayError
   */
  async remove(userId: UserId, upTo: number, limit: string): Promise<Removed> {
    const from = await this.store.inbox.firstSeq(userId)
    // Rows that every device has confirmed are history; the others count as dropped.
    const confirmed = await this.confirmedByAll(userId)
    let removed = 0
    for (let chunk = CHUNK; chunk === CHUNK && !this.#isClosed; removed += chunk) {
      chunk = await this.store.inbox.trimInbox(userId, upTo, CHUNK)
      await nextTurn()
    }
    const dropped = Math.max(0, Math.min(removed, from + removed - 1 - confirmed))
    if (dropped === 0) return { removed, dropped }
    this.metrics.dropped.inc({ limit }, dropped)
    this.log.warn({ event: 'message.dropped', userId, limit, dropped, upTo }, 'unconfirmed messages dropped')
    return { removed, dropped }
  }

  /** @returns the seq up to which all were made before; 0 for none */
  olderUpTo(userId: UserId, before: number): Promise<number> {
    return this.#lastInRow(userId, 0, ({ id }) => madeAt(id) < before)
  }

  /** @returns the seq up to which all behind `from` have expired; `from` for none */
  expiredUpTo(userId: UserId, from: number): Promise<number> {
    const now = Date.now()
    return this.#lastInRow(userId, from, ({ expiresAt }) => expiresAt !== undefined && expiresAt <= now)
  }

  /** In most inboxes the first row tells. @returns the seq up to which all rows behind `from` are such; `from` for none */
  async #lastInRow(userId: UserId, from: number, isSuch: (row: InboxRow) => boolean): Promise<number> {
    let upTo = from
    let limit = 1
    let goesOn = true
    while (goesOn && !this.#isClosed) {
      const rows = await this.store.inbox.readInbox(userId, upTo, limit, PAGE_CHARS)
      const other = rows.findIndex(row => !isSuch(row))
      upTo = (other === -1 ? rows.at(-1) : rows[other - 1])?.seq ?? upTo
      goesOn = other === -1 && rows.length > 0
      limit = CHUNK
      if (goesOn) await nextTurn()
    }
    return upTo
  }

  /** Highest seq that every device has confirmed; that of the furthest one if no device was seen. @throws GatewayError */
  async confirmedByAll(userId: UserId): Promise<number> {
    const since = this.deviceExpiryMs > 0 ? Date.now() - this.deviceExpiryMs : 0
    const { cursors } = this.store
    return (await cursors.slowest(userId, since)) ?? (await cursors.furthest(userId))
  }
}
