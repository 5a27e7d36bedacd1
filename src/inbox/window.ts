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

/** Most connections are idle: all that have sent nothing share one list. Nothing is ever added to it. */
const NOTHING: number[] = []
/** An empty list of more numbers than these is given up. */
const KEPT = 64
/** In place of the units of one that was removed before an older one. */
const GONE = -1

/**
 * A list of numbers and not a Map. V8 makes another table for a Map that has outgrown one, or was emptied, and the table before
 * refers to it. So one table that grew old keeps all that follow it, until all memory is collected (short-lived.test.ts).
 */
export class Window {
  /** From `#head` to `#end`, for each a seq, rising, and the UTF-16 units of its text. The first is not GONE. */
  #items = NOTHING
  #head = 0
  #end = 0
  /** Those that are not GONE. */
  #count = 0
  #chars = 0

  /** See WindowLimits. */
  constructor(
    private readonly windowMessages: number,
    private readonly windowChars: number,
  ) {}

  /** Messages that may still be written; at least one, since an empty window takes a message of any size. */
  get messagesLeft(): number {
    return Math.max(1, this.windowMessages - this.#count)
  }

  get charsLeft(): number {
    return this.windowChars - this.#chars
  }

  /** Lowest seq in flight; undefined if there is none. */
  get oldest(): number | undefined {
    return this.#count === 0 ? undefined : this.#items[this.#head]
  }

  has(seq: number): boolean {
    return this.#find(seq) !== undefined
  }

  /** Whether one more message may be written. @param span from the cursor to the newest seq that was sent */
  hasRoom(span: number): boolean {
    if (this.#count === 0) return true
    const { windowMessages, windowChars } = this
    return span < MAX_SPAN && this.#count < windowMessages && this.#chars < windowChars
  }

  /** Both inclusive. @returns ascending, what of `from` to `to` is not in flight */
  gaps(from: number, to: number): SeqRange[] {
    const gaps: SeqRange[] = []
    if (this.#count > to - from) return gaps
    let next = from
    for (let at = this.#head; at < this.#end; at += 2) {
      if (this.#items[at + 1] === GONE) continue
      const seq = this.#items[at] as number
      if (seq > next) gaps.push([next, seq - 1])
      next = seq + 1
    }
    if (next <= to) gaps.push([next, to])
    return gaps
  }

  /** Whether half of the messages, or of the text, that may be in flight is. */
  get isHalfFull(): boolean {
    const { windowMessages, windowChars } = this
    return 2 * this.#count >= windowMessages || 2 * this.#chars >= windowChars
  }

  /** @param seq above all that were added before */
  add(seq: number, chars: number): void {
    if (this.#items === NOTHING) this.#items = []
    else if (this.#end === this.#items.length && 4 * this.#count <= this.#end) this.#close()
    this.#items[this.#end++] = seq
    this.#items[this.#end++] = chars
    this.#count++
    this.#chars += chars
  }

  /** @returns whether it was in flight */
  remove(seq: number): boolean {
    const at = this.#find(seq)
    if (at === undefined) return false
    this.#chars -= this.#items[at + 1] as number
    this.#items[at + 1] = GONE
    this.#count--
    this.#dropGone()
    return true
  }

  /** Removes all up to `seq`. @returns how many */
  removeUpTo(seq: number): number {
    const before = this.#count
    for (; this.#head < this.#end && (this.#items[this.#head] as number) <= seq; this.#head += 2) {
      const chars = this.#items[this.#head + 1] as number
      if (chars === GONE) continue
      this.#chars -= chars
      this.#count--
    }
    this.#dropGone()
    return before - this.#count
  }

  /** @returns the place of what is in flight */
  #find(seq: number): number | undefined {
    let low = this.#head / 2
    let high = this.#end / 2 - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const found = this.#items[2 * middle] as number
      if (found === seq) return this.#items[2 * middle + 1] === GONE ? undefined : 2 * middle
      if (found < seq) low = middle + 1
      else high = middle - 1
    }
    return undefined
  }

  #dropGone(): void {
    while (this.#head < this.#end && this.#items[this.#head + 1] === GONE) this.#head += 2
    if (this.#head < this.#end) return
    this.#head = this.#end = 0
    if (this.#items.length > KEPT) this.#items = NOTHING
  }

  /** Without what is gone: so the list is never much longer than what was in flight at a time, whatever is confirmed first. */
  #close(): void {
    let end = 0
    for (let at = this.#head; at < this.#end; at += 2) {
      const chars = this.#items[at + 1] as number
      if (chars === GONE) continue
      this.#items[end++] = this.#items[at] as number
      this.#items[end++] = chars
    }
    this.#head = 0
    this.#end = end
  }
}
