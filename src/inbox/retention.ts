/**
 * The bounds of an inbox. By length and bytes the oldest go that every device has confirmed; what some device has not is
 * never displaced by what is newer, which is refused instead (crowd.ts). By age the oldest go, confirmed or not: a reader
 * that had not confirmed them finds a gap in `seq` and is told (Sink.gap); the metric counts.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { toGatewayError } from '../errors.js'
import type { Logger } from '../log.js'
import type { Metrics } from '../metrics.js'
import { madeAt, type NewMessage, type UserId } from '../model.js'
import type { Store } from '../store/store.js'
import { Crowd } from './crowd.js'

export interface RetentionLimits {
  /** Messages kept in one inbox, and bytes of their text. */
  readonly maxMessages: number
  readonly maxBytes: number
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
/**
 * Up to this length each inbox is counted from the first message on: one burst could fill it before it is looked at. A
 * longer one is counted when a quarter is full, since what waits to be stored is little beside it.
 */
const SHORT_INBOX = 10_000
/** An inbox is counted again when it was left alone so many times as long as the counting took. */
const REST = 10
/** Characters of one page that is looked through for old messages. */
const SWEEP_CHARS = 1_000_000

export class Retention {
  /** Length is looked at once in so many appends to an inbox. */
  readonly #stride: number
  readonly #trimming = new Map<UserId, Promise<void>>()
  /** Inboxes that hold much that is not confirmed: who sent it. */
  readonly #crowds = new Map<UserId, Crowd>()
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

  /** A message waits to be stored; `appended` or `refused` says what became of it. */
  accepted({ inbox, sender, text }: NewMessage): void {
    if (this.#crowds.size === 0 && this.limits.maxMessages > SHORT_INBOX) return
    let crowd = this.#crowds.get(inbox)
    if (crowd === undefined) {
      if (this.limits.maxMessages > SHORT_INBOX) return
      crowd = new Crowd(this.limits)
      this.#crowds.set(inbox, crowd)
    }
    crowd.accept(sender, text.length)
  }

  /** It was not stored, or is a repeat. */
  refused({ inbox, sender, text }: NewMessage): void {
    if (this.#crowds.size > 0) this.#crowds.get(inbox)?.settle(sender, text.length)
  }

  /** A message was appended to its inbox. */
  appended(message: NewMessage, seq: number): void {
    this.refused(message)
    if (this.#crowds.size > 0) this.#crowds.get(message.inbox)?.add(message.sender, message.text.length, seq)
    if (seq % this.#stride === 0) this.#look(message.inbox)
  }

  /** Whether there is room for a message of this sender in that inbox. */
  admits(inbox: UserId, sender: UserId): boolean {
    const crowd = this.#crowds.size === 0 ? undefined : this.#crowds.get(inbox)
    if (crowd === undefined || crowd.admits(sender)) return true
    // What was confirmed since makes room.
    if (performance.now() >= crowd.freshUntil) this.#look(inbox)
    return false
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
  #look(userId: UserId): void {
    if (this.#trimming.has(userId) || this.#isClosed) return
    const work = this.#lookAt(userId)
      .catch(thrown => this.#failed('trimInbox', thrown))
      .finally(() => this.#trimming.delete(userId))
    this.#trimming.set(userId, work)
  }

  async #lookAt(userId: UserId): Promise<void> {
    const { maxMessages, maxBytes } = this.limits
    this.#crowds.get(userId)?.beginRecount()
    const last = await this.store.lastSeq(userId)
    const confirmed = await this.#confirmedByAll(userId)
    const upTo = Math.min(last - maxMessages, confirmed)
    if (upTo > 0) await this.#remove(userId, upTo, 'inbox.maxMessages')
    let bytes = await this.store.inboxBytes(userId)
    while (bytes > maxBytes && !this.#isClosed) {
      if ((await this.store.trimInbox(userId, confirmed, CHUNK)) === 0) break
      bytes = await this.store.inboxBytes(userId)
      await nextTurn()
    }
    await this.#count(userId, confirmed, last - confirmed > maxMessages / 4 || bytes > maxBytes / 4)
  }

  /** Who sent what is not confirmed, where that is much. */
  async #count(userId: UserId, confirmed: number, isMuch: boolean): Promise<void> {
    const begun = performance.now()
    const crowd = new Crowd(this.limits)
    for (let at = confirmed, isMore = isMuch; isMore && !this.#isClosed; ) {
      const rows = await this.store.readInbox(userId, at, CHUNK, SWEEP_CHARS)
      for (const { text, seq } of rows) crowd.add(senderOf(text), text.length, seq)
      at = rows.at(-1)?.seq ?? at
      isMore = rows.length > 0
      await nextTurn()
    }
    crowd.freshUntil = performance.now() + REST * (performance.now() - begun)
    const before = this.#crowds.get(userId)
    if (before !== undefined) crowd.follow(before)
    if (crowd.isLarge || crowd.hasWaiting) this.#crowds.set(userId, crowd)
    else this.#crowds.delete(userId)
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

  /** By devices seen within their expiry; the account's first device is yet to come while there is none. */
  async #confirmedByAll(userId: UserId): Promise<number> {
    const { deviceExpiryMs } = this.limits
    const since = deviceExpiryMs > 0 ? Date.now() - deviceExpiryMs : 0
    return (await this.store.slowest(userId, since)) ?? (await this.store.furthest(userId))
  }

  #failed(operation: string, thrown: unknown): void {
    this.log.error({ event: 'store.failed', operation, err: toGatewayError(thrown) }, 'inboxes not trimmed')
  }
}

/** Every text begins with it: `{"sender":"123456789"`. */
const senderOf = (text: string): UserId => text.slice(11, 20)
