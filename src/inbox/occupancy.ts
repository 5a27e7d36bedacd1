/** How full one inbox is with what is not confirmed, who sent that, and who has no room left there. */
import type { UserId } from '../core/model.js'

export interface OccupancyLimits {
  readonly maxMessages: number
  /** UTF-16 units of text. */
  readonly maxBytes: number
}

/** Messages, and UTF-16 units of their text. */
interface Amount {
  count: number
  units: number
}

const NOTHING: Readonly<Amount> = { count: 0, units: 0 }
/** Up to this part of a limit nobody needs to know who sent it: a sender who had it all would still have room. */
const LITTLE = 1 / 4

/** An amount, and how much of it each sender has. Where `senders` is undefined, all of it may be anyone's. */
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

export class Occupancy {
  /** Stored and not confirmed when the store was asked, and stored since. */
  #stored = new Tally(undefined)
  #isKnown = false
  /** Accepted, and not yet stored or refused. */
  readonly #waiting = new Tally(new Map())
  /** The seq of the last message that is in `#stored`. */
  #upTo = 0
  /** Stored since the store began to be asked. */
  #since: { sender: UserId; units: number; seq: number }[] | undefined
  /** performance.now() from which on the store may be asked again. */
  freshUntil = 0

  constructor(private readonly limits: OccupancyLimits) {}

  /** Whether the store was asked. */
  get isKnown(): boolean {
    return this.#isKnown
  }

  get hasWaiting(): boolean {
    return this.#waiting.count > 0
  }

  /** Whether it holds so much that it matters who sent it. */
  get isLarge(): boolean {
    return isMuch(this.#stored.count, this.#stored.units, this.limits)
  }

  /** Whether it has become large and it is not known by whom. */
  get hasGrown(): boolean {
    return this.isLarge && this.#stored.senders === undefined
  }

  /** A message was accepted: it counts from now on, so that a burst finds the limit before it is stored. */
  accept(sender: UserId, units: number): void {
    this.#waiting.change(sender, 1, units)
  }

  /** It waits no more. */
  settle(sender: UserId, units: number): void {
    this.#waiting.change(sender, -1, -units)
  }

  /** It is stored. */
  add(sender: UserId, units: number, seq: number): void {
    this.#since?.push({ sender, units, seq })
    if (seq <= this.#upTo) return
    this.#upTo = seq
    this.#stored.change(sender, 1, units)
  }

  /** The store is being asked: what is stored from now on may be missing in its answer. */
  beginAnswer(): void {
    this.#since = []
  }

  /** @param upTo the seq of the last message that `stored` holds */
  endAnswer(stored: Tally, upTo: number): void {
    const since = this.#since ?? []
    this.#since = undefined
    this.#stored = stored
    this.#isKnown = true
    this.#upTo = upTo
    for (const { sender, units, seq } of since) this.add(sender, units, seq)
  }

  /**
   * Of an inbox of `max` messages with room for `left` more, a sender may hold 2 · left² / max: one alone half of it, each
   * further one less the fuller it is. So it takes about √max senders, one behind the other, to leave no room for one who has
   * sent nothing yet; were it as much as is left, it would take log₂(max).
   */
  admits(sender: UserId): boolean {
    return this.#isFree() || this.#hasShare(sender, this.#stored.of(sender))
  }

  /** Whether `admits` refuses only because it is not known who sent what is stored. */
  isUndecided(sender: UserId): boolean {
    return this.#stored.senders === undefined && !this.admits(sender) && this.#hasShare(sender, NOTHING)
  }

  /** With so little in it there is nobody to be looked up. */
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

/** @param units may be bytes: of these no text has fewer */
export const isMuch = (count: number, units: number, { maxMessages, maxBytes }: OccupancyLimits): boolean =>
  count > maxMessages * LITTLE || units > maxBytes * LITTLE
