/** Who sent what one inbox holds unconfirmed, and who has no room left there. */
import type { UserId } from '../model.js'

export interface CrowdLimits {
  readonly maxMessages: number
  /** Characters of text. */
  readonly maxBytes: number
}

/** Below this part of a limit nobody can have more than their share. */
const SMALL_PART = 1 / 4

interface Held {
  count: number
  bytes: number
}

export class Crowd {
  readonly #senders = new Map<UserId, Held>()
  readonly #all: Held = { count: 0, bytes: 0 }
  #upTo = 0
  /** performance.now() from which on it should be counted again. */
  freshUntil = 0

  constructor(private readonly limits: CrowdLimits) {}

  get isLarge(): boolean {
    const { maxMessages, maxBytes } = this.limits
    return this.#all.count > maxMessages * SMALL_PART || this.#all.bytes > maxBytes * SMALL_PART
  }

  add(sender: UserId, bytes: number, seq: number): void {
    if (seq <= this.#upTo) return
    this.#upTo = seq
    const held = this.#senders.get(sender) ?? { count: 0, bytes: 0 }
    this.#senders.set(sender, held)
    for (const one of [held, this.#all]) {
      one.count++
      one.bytes += bytes
    }
  }

  /**
   * One sender may hold as much as is left for all others: one half, two a third each. So however many throw-away senders
   * there are, there is room for who has sent nothing yet, until it is filled to the last message.
   */
  admits(sender: UserId): boolean {
    const { count = 0, bytes = 0 } = this.#senders.get(sender) ?? {}
    return count < this.limits.maxMessages - this.#all.count && bytes < this.limits.maxBytes - this.#all.bytes
  }
}
