/** How full one inbox is with unconfirmed messages, who sent them, and whether a sender has room left. */
import type { UserId } from '../core/model.js'

export interface OccupancyLimits {
  readonly maxMessages: number
  /** UTF-16 units of the texts. */
  readonly maxBytes: number
}

/** A number of messages, and the UTF-16 units of their texts. */
interface Amount {
  count: number
  units: number
}

const NOTHING: Readonly<Amount> = { count: 0, units: 0 }
/** Up to this share of a limit it is not counted who sent what: even the sender of all of it would have room. */
const LITTLE = 1 / 4

/** An amount and its distribution by sender. If `senders` is undefined, any sender may have sent all of it. */
export class Tally implements Amount {
  count = 0
  units = 0

  constructor(readonly senders: Map<UserId, Amount> | undefined) {}

  of(sender: UserId): Readonly<Amount> {
    return this.senders === undefined ? this : (this.senders.get(sender) ?? NOTHING)
  }

  change(sender: UserId, count: number, units: number): void {
    this.count += count
    this.units += units
    const held = this.senders?.get(sender)
    if (held === undefined) this.senders?.set(sender, { count, units })
    else if (held.count + count === 0) this.senders?.delete(sender)
    else {
      held.count += count
      held.units += units
    }
  }
}

/** Amounts of senders that come and go all the time, mostly of one at a time. A Map of them would leave garbage (window.ts). */
class Passing implements Amount {
  count = 0
  units = 0
  /** Whose all of it is while there is no tally. */
  #only: UserId | undefined
  #tally: Tally | undefined

  of(sender: UserId): Readonly<Amount> {
    if (this.#tally !== undefined) return this.#tally.of(sender)
    return sender === this.#only ? this : NOTHING
  }

  change(sender: UserId, count: number, units: number): void {
    if (this.count === 0) this.#only = sender
    else if (this.#tally === undefined && sender !== this.#only) this.#begin()
    this.#tally?.change(sender, count, units)
    this.count += count
    this.units += units
    if (this.count === 0) this.#tally = undefined
  }

  #begin(): void {
    this.#tally = new Tally(new Map())
    if (this.#only !== undefined) this.#tally.change(this.#only, this.count, this.units)
  }
}

export class Occupancy {
  /** Unconfirmed messages: those that the store reported, and those stored since. */
  #stored = new Tally(undefined)
  #isKnown = false
  /** Messages that were accepted and are neither stored nor refused yet. */
  readonly #waiting = new Passing()
  /** The seq of the last message counted in `#stored`. */
  #upTo = 0
  /** Messages stored since the store was asked; undefined unless an answer is awaited. */
  #since: { sender: UserId; units: number; seq: number }[] | undefined
  /** The store's answer counts as current until this time, by performance.now(). */
  freshUntil = 0

  constructor(private readonly limits: OccupancyLimits) {}

  /** Whether the store has answered. */
  get isKnown(): boolean {
    return this.#isKnown
  }

  get hasWaiting(): boolean {
    return this.#waiting.count > 0
  }

  /** Whether the amount is large enough that its distribution by sender matters. */
  get isLarge(): boolean {
    return isMuch(this.#stored.count, this.#stored.units, this.limits)
  }

  /** Whether the amount is large and its distribution by sender is not known. */
  get hasGrown(): boolean {
    return this.isLarge && this.#stored.senders === undefined
  }

  /** Counts an accepted message at once, so that a burst reaches the limit before it is stored. */
  accept(sender: UserId, units: number): void {
    this.#waiting.change(sender, 1, units)
  }

  /** Ends the waiting of a message that was stored or refused. */
  settle(sender: UserId, units: number): void {
    this.#waiting.change(sender, -1, -units)
  }

  /** Counts a message that was stored. */
  add(sender: UserId, units: number, seq: number): void {
    this.#since?.push({ sender, units, seq })
    if (seq <= this.#upTo) return
    this.#upTo = seq
    this.#stored.change(sender, 1, units)
  }

  /** Call it when the store is asked: its answer may miss messages that are stored from now on. */
  beginAnswer(): void {
    this.#since = []
  }

  /** Takes over the store's answer. @param upTo the seq of the last message counted in `stored` */
  endAnswer(stored: Tally, upTo: number): void {
    const since = this.#since ?? []
    this.#since = undefined
    this.#stored = stored
    this.#isKnown = true
    this.#upTo = upTo
    for (const { sender, units, seq } of since) this.add(sender, units, seq)
  }

  /**
   * Whether the sender may send one more message. With room for `left` more in an inbox of `max`, one sender may hold 2
   * · left² / max messages: the only sender half of the inbox, each further one less the fuller it is. So it takes
   * about √max senders, one after the other, to leave no room for a new sender. With a share of `left` it would take
   * log₂(max).
   */
  admits(sender: UserId): boolean {
    return this.#isFree() || this.#hasShare(sender, this.#stored.of(sender))
  }

  /** Whether `admits` refuses only because the distribution by sender is not known. */
  isUndecided(sender: UserId): boolean {
    return this.#stored.senders === undefined && !this.admits(sender) && this.#hasShare(sender, NOTHING)
  }

  /** Whether less than half of the inbox is used. Then every sender has room. */
  #isFree(): boolean {
    const { maxMessages, maxBytes } = this.limits
    const { count, units } = this.#stored
    return 2 * (count + this.#waiting.count) < maxMessages && 2 * (units + this.#waiting.units) < maxBytes
  }

  #hasShare(sender: UserId, own: Readonly<Amount>): boolean {
    const { maxMessages, maxBytes } = this.limits
    const { count, units } = this.#stored
    const waiting = this.#waiting.of(sender)
    return (
      isWithinShare(own.count + waiting.count, count + this.#waiting.count, maxMessages) &&
      isWithinShare(own.units + waiting.units, units + this.#waiting.units, maxBytes)
    )
  }
}

function isWithinShare(own: number, all: number, max: number): boolean {
  const left = max - all
  return left > 0 && own < (2 * left * left) / max
}

/** @param units may also be bytes: a text has at least as many bytes as UTF-16 units */
export const isMuch = (count: number, units: number, { maxMessages, maxBytes }: OccupancyLimits): boolean =>
  count > maxMessages * LITTLE || units > maxBytes * LITTLE
