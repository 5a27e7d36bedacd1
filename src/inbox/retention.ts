/**
 * The bounds of an inbox: length and age. The sender is not lied to: what is accepted is stored, and what must go for
 * it is the oldest. A reader that had not confirmed it finds a gap in `seq` and is told (Sink.gap); the metric counts.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { toGatewayError } from '../errors.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics.js'
import { madeAt, type UserId } from '../model.js'
import type { Store } from '../store/store.js'
import { DEFAULT_DEVICE } from './cursors.js'

export interface RetentionLimits {
  /** Messages kept in one inbox. */
  readonly maxMessages: number
  /** ms; 0 = for ever. */
  readonly maxAgeMs: number
  /** A device that stayed away longer loses its place, ms; 0 = never. */
  readonly deviceExpiryMs: number
}

/** A server that is started anew every day sweeps, too. */
const FIRST_SWEEP_MS = 60_000
const SWEEP_EVERY_MS = 3_600_000
const CHUNK = 500
const USERS_PAGE = 500
/** Characters of one page that is looked through for old messages. */
const SWEEP_CHARS = 1_000_000

export class Retention {
  /** Length is looked at once in so many appends to an inbox. */
  readonly #stride: number
  readonly #trimming = new Map<UserId, Promise<void>>()
  #first: NodeJS.Timeout | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(
    private readonly store: Store,
    private readonly limits: RetentionLimits,
    private readonly metrics: Metrics,
    private readonly log: Logger,
  ) {
    this.#stride = Math.max(1, Math.min(1000, Math.floor(limits.maxMessages / 10)))
  }

  /** @param beforeSweep called before each sweep: whoever is connected shows that it is */
  start(beforeSweep: () => void): void {
    const sweep = () => {
      beforeSweep()
      void this.sweep(Date.now())
    }
    this.#first = setTimeout(sweep, FIRST_SWEEP_MS).unref()
    this.#timer = setInterval(sweep, SWEEP_EVERY_MS).unref()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#first)
    clearInterval(this.#timer)
    await Promise.all(this.#trimming.values())
  }

  /** `seq` was appended to an inbox. */
  appended(userId: UserId, seq: number): void {
    if (seq > this.limits.maxMessages && seq % this.#stride === 0) this.#trim(userId)
  }

  /** All inboxes by age, all devices by when they were last seen. @param now ms since the epoch */
  async sweep(now: number): Promise<void> {
    const { maxAgeMs, deviceExpiryMs } = this.limits
    try {
      if (deviceExpiryMs > 0) await this.store.forgetDevices(now - deviceExpiryMs)
      if (maxAgeMs > 0) await this.#sweepInboxes(now - maxAgeMs)
    } catch (thrown) {
      this.#failed('sweep', thrown)
    }
  }

  async #sweepInboxes(before: number): Promise<void> {
    let after: UserId | undefined
    do {
      const users = await this.store.findUsers({}, USERS_PAGE, after)
      for (const { id } of users) {
        if (this.#isClosed) return
        await this.#trimOld(id, before)
        // A store that answers at once would hold the event loop for all of them.
        await nextTurn()
      }
      after = users.length === USERS_PAGE ? users.at(-1)?.id : undefined
    } while (after !== undefined)
  }

  /** Most inboxes have nothing old: the first row tells. */
  async #trimOld(userId: UserId, before: number): Promise<void> {
    let upTo = 0
    let limit = 1
    let isOld = true
    while (isOld && !this.#isClosed) {
      const rows = await this.store.readInbox(userId, upTo, limit, SWEEP_CHARS)
      const fresh = rows.findIndex(row => madeAt(row.id) >= before)
      upTo = (fresh === -1 ? rows.at(-1) : rows[fresh - 1])?.seq ?? upTo
      isOld = fresh === -1 && rows.length > 0
      limit = CHUNK
      if (isOld) await nextTurn()
    }
    if (upTo > 0) await this.#remove(userId, upTo, 'inbox.maxAge')
  }

  /** One at a time for each inbox. */
  #trim(userId: UserId): void {
    if (this.#trimming.has(userId) || this.#isClosed) return
    const work = this.#trimLong(userId)
      .catch(thrown => this.#failed('trimInbox', thrown))
      .finally(() => this.#trimming.delete(userId))
    this.#trimming.set(userId, work)
  }

  async #trimLong(userId: UserId): Promise<void> {
    const upTo = (await this.store.lastSeq(userId)) - this.limits.maxMessages
    if (upTo > 0) await this.#remove(userId, upTo, 'inbox.maxMessages')
  }

  async #remove(userId: UserId, upTo: number, limit: string): Promise<void> {
    const from = await this.store.firstSeq(userId)
    // What every device has confirmed is history; what some has not is dropped.
    const confirmed = await this.#confirmedByAll(userId)
    let removed = 0
    for (let chunk = CHUNK; chunk === CHUNK && !this.#isClosed; removed += chunk) {
      chunk = await this.store.trimInbox(userId, upTo, CHUNK)
      await nextTurn()
    }
    const dropped = Math.max(0, Math.min(removed, from + removed - 1 - confirmed))
    if (dropped === 0) return
    this.metrics.dropped.inc({ limit }, dropped)
    this.log.warn({ event: 'message.dropped', userId, limit, dropped, upTo }, 'unconfirmed messages dropped')
  }

  /** The default device is at 0 from registration, also when nothing is written of it yet. */
  async #confirmedByAll(userId: UserId): Promise<number> {
    if ((await this.store.cursor(userId, DEFAULT_DEVICE)) === undefined) return 0
    return (await this.store.slowest(userId)) ?? 0
  }

  #failed(operation: string, thrown: unknown): void {
    this.log.error({ event: 'store.failed', operation, err: toGatewayError(thrown) }, 'inboxes not trimmed')
  }
}
