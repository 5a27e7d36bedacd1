/** Numbered messages of one sender to one recipient, and what became of them. */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'

/** Bytes of a content: 8 of the number, 8 of the time, the rest is filling. */
export const CONTENT = 100
/** What a content is before it is stamped. No character of it, nor of a stamp, needs an escape in JSON. */
export const BLANK = 'x'.repeat(CONTENT)
const FILLING = 0x78
const STAMPS = 16

/** Delivery times while it is on. */
export class Meter {
  isOn = false
  delivered = 0
  /** µs from the sender's write to the recipient's read. */
  readonly latency: RecordableHistogram = createHistogram({ lowest: 1, highest: 100_000_000, figures: 3 })
}

export class Flow {
  sent = 0
  acked = 0
  received = 0
  duplicated = 0
  reordered = 0
  /** Content that is not what was sent. */
  damaged = 0
  /** Stop after so many. */
  limit = Number.POSITIVE_INFINITY
  #next = 0
  readonly #missing = new Set<number>()

  constructor(private readonly meter: Meter) {}

  /** Sent and neither received nor known to be received out of order. */
  get lost(): number {
    return this.#missing.size + this.sent - this.#next
  }

  get isSettled(): boolean {
    return this.acked === this.sent && this.lost === 0
  }

  /** @param end where the content ends in `bytes` */
  take(bytes: Buffer, end: number, now: number): void {
    const at = end - CONTENT
    const isWhole =
      bytes[at + STAMPS - 1] !== FILLING && bytes[at + STAMPS] === FILLING && bytes[end - 1] === FILLING
    if (!isWhole) this.damaged++
    this.received++
    this.#number(readStamp(bytes, at))
    const { meter } = this
    if (!meter.isOn) return
    meter.delivered++
    meter.latency.record(Math.max(1, (now - readStamp(bytes, at + 8)) >>> 0))
  }

  #number(seq: number): void {
    if (seq === this.#next) {
      this.#next++
    } else if (seq > this.#next) {
      for (let missing = this.#next; missing < seq; missing++) this.#missing.add(missing)
      this.#next = seq + 1
    } else if (this.#missing.delete(seq)) this.reordered++
    else this.duplicated++
  }
}

/** 32 bits as eight letters `@` to `O`, four bits each: no division, no escape, and still text. */
export function writeStamp(bytes: Buffer, at: number, value: number, mask: number): void {
  for (let i = 0, shift = 28; i < 8; i++, shift -= 4) bytes[at + i] = (0x40 | ((value >>> shift) & 15)) ^ mask
}

function readStamp(bytes: Buffer, at: number): number {
  let value = 0
  for (let i = 0; i < 8; i++) value = (value << 4) | ((bytes[at + i] ?? 0) & 15)
  return value >>> 0
}
