/** Messages that were written to one device and that it has not confirmed. */

import type { SeqRange } from '../core/model.js'

/** From the oldest unconfirmed to the newest sent: an MQTT packet identifier names its seq modulo 32,768. */
const MAX_SPAN = 32_767

export interface WindowLimits {
  /** Messages in flight. */
  readonly windowMessages: number
  /** UTF-16 code units of their texts. */
  readonly windowChars: number
}

/** Most connections are idle: all that have sent nothing share one map. Nothing is ever added to it. */
const NOTHING: ReadonlyMap<number, number> = new Map()

export class Window {
  /** seq → UTF-16 units of its text, rising. */
  #inFlight = NOTHING as Map<number, number>
  #chars = 0

  /** See WindowLimits. */
  constructor(
    private readonly windowMessages: number,
    private readonly windowChars: number,
  ) {}

  /** Messages that may still be written; at least one, since an empty window takes a message of any size. */
  get messagesLeft(): number {
    return Math.max(1, this.windowMessages - this.#inFlight.size)
  }

  get charsLeft(): number {
    return this.windowChars - this.#chars
  }

  /** Lowest seq in flight; undefined if there is none. */
  get oldest(): number | undefined {
    const { value } = this.#inFlight.keys().next()
    return value
  }

  has(seq: number): boolean {
    return this.#inFlight.has(seq)
  }

  /** Whether one more message may be written. @param span from the cursor to the newest seq that was sent */
  hasRoom(span: number): boolean {
    if (this.#inFlight.size === 0) return true
    const { windowMessages, windowChars } = this
    return span < MAX_SPAN && this.#inFlight.size < windowMessages && this.#chars < windowChars
  }

  /** Both inclusive. @returns ascending, what of `from` to `to` is not in flight */
  gaps(from: number, to: number): SeqRange[] {
    const gaps: SeqRange[] = []
    if (this.#inFlight.size > to - from) return gaps
    let next = from
    for (const seq of this.#inFlight.keys()) {
      if (seq > next) gaps.push([next, seq - 1])
      next = seq + 1
    }
    if (next <= to) gaps.push([next, to])
    return gaps
  }

  /** Whether half of the messages, or of the text, that may be in flight is. */
  get isHalfFull(): boolean {
    const { windowMessages, windowChars } = this
    return 2 * this.#inFlight.size >= windowMessages || 2 * this.#chars >= windowChars
  }

  add(seq: number, chars: number): void {
    if (this.#inFlight === NOTHING) this.#inFlight = new Map()
    this.#inFlight.set(seq, chars)
    this.#chars += chars
  }

  /** @returns whether it was in flight */
  remove(seq: number): boolean {
    const chars = this.#inFlight.get(seq)
    if (chars === undefined) return false
    this.#inFlight.delete(seq)
    this.#chars -= chars
    return true
  }

  /** Removes all up to `seq`. @returns how many */
  removeUpTo(seq: number): number {
    let count = 0
    for (const [one, chars] of this.#inFlight) {
      if (one > seq) break
      this.#inFlight.delete(one)
      this.#chars -= chars
      count++
    }
    return count
  }
}
