/**
 * The bounds of an inbox: length and age. The sender is not lied to: what is accepted is stored, and what must go for
 * it is the oldest. A reader that had not confirmed it finds a gap in `seq` and is told (Sink.gap); the metric counts.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { toGatewayError } from '../errors.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics.js'
import type { UserId } from '../model.js'
import type { Store } from '../store/store.js'

export interface RetentionLimits {
  /** Messages kept in one inbox. */
  readonly maxMessages: number
  /** ms; 0 = for ever. */
  readonly maxAgeMs: number
  /** A device that stayed away longer loses its place, ms; 0 = never. */
  readonly deviceExpiryMs: number
}

const SWEEP_EVERY_MS = 3_600_000
const CHUNK = 500
const USERS_PAGE = 500

/** When a message was made, ms: the first 48 bits of a UUIDv7 (RFC 9562, 5.7). */
const madeAt = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)

export class Retention {
  /** Length is looked at once in so many appends to an inbox. */
  readonly #stride: number
  readonly #trimming = new Map<UserId, Promise<void>>()
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

  start(): void {
    this.#timer = setInterval(() => void this.sweep(Date.now()), SWEEP_EVERY_MS).unref()
  }

  async close(): Promise<void> {
    this.#isClosed = true
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
      for (const { id } of users) await this.#trimOld(id, before)
      after = users.length === USERS_PAGE ? users.at(-1)?.id : undefined
    } while (after !== undefined && !this.#isClosed)
  }

  async #trimOld(userId: UserId, before: number): Promise<void> {
    let upTo = 0
    for (;;) {
      const rows = await this.store.readInbox(userId, upTo, CHUNK)
      const fresh = rows.findIndex(row => madeAt(row.id) >= before)
      const old = fresh === -1 ? rows : rows.slice(0, fresh)
      upTo = old.at(-1)?.seq ?? upTo
      if (fresh !== -1 || rows.length < CHUNK || this.#isClosed) break
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
    const confirmed = (await this.store.slowest(userId)) ?? 0
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

  #failed(operation: string, thrown: unknown): void {
    this.log.error({ event: 'store.failed', operation, err: toGatewayError(thrown) }, 'inboxes not trimmed')
  }
}
