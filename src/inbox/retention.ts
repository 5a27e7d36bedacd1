/**
 * The bounds of an inbox. By length and bytes the oldest go that every device has confirmed or that have expired; what else some
 * device has not is never displaced by what is newer, which is refused instead (occupancy.ts). By age the oldest go, confirmed or not:
 * a reader that had not confirmed them finds a gap in `seq` and is told (Sink.gap); the metric counts.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { GatewayError, toGatewayError } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import type { Metrics } from '../core/metrics.js'
import type { NewMessage, UserId } from '../core/model.js'
import type { Roles } from '../store/store.js'
import type { Cursors } from './cursors.js'
import { isMuch, Occupancy, Tally } from './occupancy.js'
import { type Removed, Trimmer } from './trimmer.js'

export interface RetentionLimits {
  /** Messages kept in one inbox, and bytes of their text. */
  readonly maxMessages: number
  readonly maxBytes: number
  /** ms; 0 = for ever. */
  readonly maxAgeMs: number
  /** A device that stayed away longer loses its place, ms; 0 = never. */
  readonly deviceExpiryMs: number
}

/** The first sweep is soon after the start, so that a gateway that is restarted every day sweeps, too. */
const FIRST_SWEEP_MS = 60_000
const SWEEP_EVERY_MS = 3_600_000
const CHUNK = 500
const USERS_PAGE = 500
/** Inboxes whose occupancy is kept in memory. The store is asked about others. */
const MAX_KNOWN = 50_000
/** If counting an inbox took more than one page, it is not counted again for this many times the time that it took. */
const REST = 10
/** UTF-16 units of one page in a sweep. */
const SWEEP_CHARS = 1_000_000

export class Retention {
  /** Length is looked at once in so many appends to an inbox. */
  readonly #stride: number
  readonly #trimmer: Trimmer
  readonly #trimming = new Map<UserId, Promise<void>>()
  /** How full inboxes are that were sent to. */
  readonly #known = new Map<UserId, Occupancy>()
  #first: NodeJS.Timeout | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(
    private readonly store: Pick<Roles, 'users' | 'inbox' | 'cursors'>,
    private readonly cursors: Pick<Cursors, 'writeNow'>,
    private readonly limits: RetentionLimits,
    metrics: Metrics,
    private readonly log: Logger,
  ) {
    this.#trimmer = new Trimmer(store, limits.deviceExpiryMs, metrics, log)
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
    this.#trimmer.close()
    clearTimeout(this.#first)
    clearInterval(this.#timer)
    await Promise.all(this.#trimming.values())
  }

  /** A message waits to be stored; `appended` or `refused` says what became of it. */
  accepted({ inbox, sender, text }: NewMessage): void {
    this.#occupancy(inbox).accept(sender, text.length)
  }

  /** It was not stored, or is a repeat. */
  refused({ inbox, sender, text }: NewMessage): void {
    this.#occupancy(inbox).settle(sender, text.length)
  }

  /** A message was appended to its inbox. */
  appended({ inbox, sender, text }: NewMessage, seq: number): void {
    const occupancy = this.#occupancy(inbox)
    occupancy.settle(sender, text.length)
    occupancy.add(sender, text.length, seq)
    if (seq % this.#stride === 0 || occupancy.hasGrown) void this.#look(inbox)
  }

  /** See Trimmer. @throws GatewayError */
  readonly confirmedByAll = (userId: UserId): Promise<number> => this.#trimmer.confirmedByAll(userId)

  /** Whether there is room for a message of this sender in that inbox, as far as it is known. */
  admits(inbox: UserId, sender: UserId): boolean {
    return this.#occupancy(inbox).admits(sender)
  }

  /** Whether the store was asked how full this inbox is. */
  isKnown(inbox: UserId): boolean {
    return this.#occupancy(inbox).isKnown
  }

  /** Whether `admits` would guess: the store was not asked, or not lately and might by now have room. */
  isUnsure(inbox: UserId, sender: UserId): boolean {
    const occupancy = this.#occupancy(inbox)
    if (this.#isClosed) return false
    if (!occupancy.isKnown) return true
    if (occupancy.admits(sender)) return false
    return occupancy.isUndecided(sender) || performance.now() >= occupancy.freshUntil
  }

  /**
   * Asks the store how full an inbox is. One who asks for a sender of whom `isUnsure` was true can rely on `admits`.
   * @throws GatewayError STORE_UNAVAILABLE
   */
  async ask(inbox: UserId, sender: UserId): Promise<void> {
    // The one under way may have begun before it mattered who sent what.
    await this.#trimming.get(inbox)
    if (!this.isUnsure(inbox, sender)) return
    await this.#look(inbox, this.#occupancy(inbox).isUndecided(sender))
    if (!this.#occupancy(inbox).isKnown && !this.#isClosed) throw new GatewayError('STORE_UNAVAILABLE')
  }

  /**
   * Removes messages for an operator, confirmed or not; their devices are told as by age.
   * @param before only those made before this time, ms since the epoch; undefined: all that are there now
   * @throws GatewayError
   */
  async purge(inbox: UserId, before: number | undefined): Promise<Removed> {
    // What was confirmed lately is not dropped.
    await this.cursors.writeNow(inbox)
    const all = before === undefined
    const upTo = await (all ? this.store.inbox.lastSeq(inbox) : this.#trimmer.olderUpTo(inbox, before))
    if (upTo === 0) return { removed: 0, dropped: 0 }
    const removed = await this.#trimmer.remove(inbox, upTo, 'operator')
    // Who was refused for want of room has room from now on.
    await this.#trimming.get(inbox)
    this.#occupancy(inbox).freshUntil = 0
    await this.#look(inbox, true)
    return removed
  }

  /** All inboxes by age, all devices by when they were last seen. @param now ms since the epoch */
  async sweep(now: number): Promise<void> {
    const { maxAgeMs, deviceExpiryMs } = this.limits
    try {
      if (deviceExpiryMs > 0) await this.store.cursors.forgetDevices(now - deviceExpiryMs)
      if (maxAgeMs > 0) await this.#sweepInboxes(now - maxAgeMs)
    } catch (thrown) {
      this.#failed('sweep', thrown)
    }
  }

  async #sweepInboxes(before: number): Promise<void> {
    let after: UserId | undefined
    do {
      const users = await this.store.users.findUsers({}, USERS_PAGE, after)
      for (const { id } of users) {
        if (this.#isClosed) return
        const upTo = await this.#trimmer.olderUpTo(id, before)
        if (upTo > 0) await this.#trimmer.remove(id, upTo, 'inbox.maxAge')
        // A store that answers at once would hold the event loop for all of them.
        await nextTurn()
      }
      after = users.length === USERS_PAGE ? users.at(-1)?.id : undefined
    } while (after !== undefined)
  }

  #occupancy(inbox: UserId): Occupancy {
    const known = this.#known.get(inbox)
    if (known !== undefined) return known
    const made = new Occupancy(this.limits)
    this.#known.set(inbox, made)
    if (this.#known.size > MAX_KNOWN) this.#forgetOne()
    return made
  }

  /** The oldest, but for what would be lost or takes long to be read again: that becomes the newest. */
  #forgetOne(): void {
    for (const [inbox, occupancy] of this.#known) {
      this.#known.delete(inbox)
      if (occupancy.hasWaiting || occupancy.isLarge || this.#trimming.has(inbox))
        this.#known.set(inbox, occupancy)
      return
    }
  }

  /** One at a time for each inbox. @param bySender whether it matters who sent what, however little there is */
  #look(inbox: UserId, bySender = false): Promise<void> {
    const running = this.#trimming.get(inbox)
    if (running !== undefined || this.#isClosed) return running ?? Promise.resolve()
    const work = this.#lookAt(inbox, this.#occupancy(inbox), bySender)
      .catch(thrown => this.#failed('trimInbox', thrown))
      .finally(() => this.#trimming.delete(inbox))
    this.#trimming.set(inbox, work)
    return work
  }

  async #lookAt(inbox: UserId, occupancy: Occupancy, bySender: boolean): Promise<void> {
    const { maxMessages, maxBytes } = this.limits
    const begun = performance.now()
    const isDue = !occupancy.isKnown || occupancy.hasGrown || bySender || begun >= occupancy.freshUntil
    if (isDue) occupancy.beginAnswer()
    // Recent confirmations make room, so they are written first if the inbox is large.
    if (occupancy.isLarge) await this.cursors.writeNow(inbox)
    const last = await this.store.inbox.lastSeq(inbox)
    const confirmed = await this.#mayGo(inbox, last)
    const upTo = Math.min(last - maxMessages, confirmed)
    if (upTo > 0) await this.#trimmer.remove(inbox, upTo, 'inbox.maxMessages')
    let bytes = await this.store.inbox.inboxBytes(inbox)
    while (bytes > maxBytes && !this.#isClosed) {
      if ((await this.store.inbox.trimInbox(inbox, confirmed, CHUNK)) === 0) break
      bytes = await this.store.inbox.inboxBytes(inbox)
      await nextTurn()
    }
    if (!isDue) return
    const count = last - confirmed
    if (bySender || isMuch(count, bytes, this.limits)) {
      await this.#count(inbox, confirmed, occupancy)
    } else {
      const little = new Tally(undefined)
      little.change('', count, count === 0 ? 0 : bytes)
      occupancy.endAnswer(little, last)
    }
    const isDear = count > CHUNK || bytes > SWEEP_CHARS
    occupancy.freshUntil = isDear ? performance.now() + REST * (performance.now() - begun) : 0
  }

  /** @returns the seq up to which every device has confirmed, or which no device gets any more since it has expired */
  async #mayGo(inbox: UserId, last: number): Promise<number> {
    const confirmed = await this.#trimmer.confirmedByAll(inbox)
    const bytes = await this.store.inbox.inboxBytes(inbox)
    return isMuch(last - confirmed, bytes, this.limits)
      ? this.#trimmer.expiredUpTo(inbox, confirmed)
      : confirmed
  }

  /** Who sent what is not confirmed. */
  async #count(inbox: UserId, confirmed: number, occupancy: Occupancy): Promise<void> {
    const tally = new Tally(new Map())
    let at = confirmed
    for (let isMore = true; isMore && !this.#isClosed; ) {
      const rows = await this.store.inbox.readInbox(inbox, at, CHUNK, SWEEP_CHARS)
      for (const { sender, text } of rows) tally.change(sender, 1, text.length)
      at = rows.at(-1)?.seq ?? at
      isMore = rows.length > 0
      if (isMore) await nextTurn()
    }
    occupancy.endAnswer(tally, at)
  }

  #failed(operation: string, thrown: unknown): void {
    this.log.error({ event: 'store.failed', operation, err: toGatewayError(thrown) }, 'inboxes not trimmed')
  }
}
