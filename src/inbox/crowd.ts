/** Who sent what one inbox holds unconfirmed, and who has no room left there. */
import type { UserId } from '../model.js'

export interface CrowdLimits {
  readonly maxMessages: number
  /** Characters of text. */
  readonly maxBytes: number
}

/** Below this part of a limit nobody can have more than their share. */
const SMALL_PART = 1 / 4

/** Messages and characters of one sender, and of all. */
class Tally {
  readonly senders = new Map<UserId, { count: number; bytes: number }>()
  count = 0
  bytes = 0

  change(sender: UserId, count: number, bytes: number): void {
    const held = this.senders.get(sender) ?? { count: 0, bytes: 0 }
    held.count += count
    held.bytes += bytes
    if (held.count > 0) this.senders.set(sender, held)
    else this.senders.delete(sender)
    this.count += count
    this.bytes += bytes
  }
}

export class Crowd {
  readonly #stored = new Tally()
  /** Accepted, and not yet stored or refused. */
  #waiting = new Tally()
  /** Stored since a new count was begun. */
  #recent: { sender: UserId; bytes: number; seq: number }[] | undefined
  #upTo = 0
  /** performance.now() from which on it should be counted again. */
  freshUntil = 0

  constructor(private readonly limits: CrowdLimits) {}

  get isLarge(): boolean {
    const { maxMessages, maxBytes } = this.limits
    return this.#stored.count > maxMessages * SMALL_PART || this.#stored.bytes > maxBytes * SMALL_PART
  }

  get hasWaiting(): boolean {
    return this.#waiting.count > 0
  }

  /** A message was accepted: it counts from now on, so that a burst finds the limit before it is stored. */
  accept(sender: UserId, bytes: number): void {
    this.#waiting.change(sender, 1, bytes)
  }

  /** It waits no more. Of one that was accepted before this was made nothing is known. */
  settle(sender: UserId, bytes: number): void {
    if (this.#waiting.senders.has(sender)) this.#waiting.change(sender, -1, -bytes)
  }

  /** It is stored. */
  add(sender: UserId, bytes: number, seq: number): void {
    this.#recent?.push({ sender, bytes, seq })
    if (seq <= this.#upTo) return
    this.#upTo = seq
    this.#stored.change(sender, 1, bytes)
  }

  /** Another one is being made from the store; `follow` hands on what it cannot find there. */
  beginRecount(): void {
    this.#recent = []
  }

  /** @param before the one that this takes the place of */
  follow(before: Crowd): void {
    this.#waiting = before.#waiting
    for (const { sender, bytes, seq } of before.#recent ?? []) this.add(sender, bytes, seq)
  }

  /**
   * One sender may hold as much as is left for all others: one half, two a third each. So however many throw-away senders
   * there are, there is room for who has sent nothing yet, until it is filled to the last message.
   */
  admits(sender: UserId): boolean {
    const { maxMessages, maxBytes } = this.limits
    const tallies = [this.#stored, this.#waiting]
    const sum = (of: (tally: Tally) => number | undefined) =>
      tallies.reduce((total, tally) => total + (of(tally) ?? 0), 0)
    return (
      sum(({ senders }) => senders.get(sender)?.count) < maxMessages - sum(({ count }) => count) &&
      sum(({ senders }) => senders.get(sender)?.bytes) < maxBytes - sum(({ bytes }) => bytes)
    )
  }
}
