/** Numbered messages of one sender to one recipient: sent, received, lost, reordered, damaged. */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'

/** Bytes of a content: 8 for the number, 8 for the time, the rest padding. */
export const CONTENT = 100
/** A content before it is stamped. No character of it or of a stamp needs an escape in JSON. */
export const BLANK = 'x'.repeat(CONTENT)
const FILLING = 0x78
const STAMPS = 16

const histogram = () => createHistogram({ lowest: 1, highest: 100_000_000, figures: 3 })

/** Records times while it is switched on, µs from when a message was sent or, in an open loop, was due. */
export class Meter {
  isOn = false
  delivered = 0
  /** Until the recipient read the message. */
  readonly latency: RecordableHistogram = histogram()
  /** Until the sender read the acknowledgement. */
  readonly acknowledgement: RecordableHistogram = histogram()

  start(): void {
    this.latency.reset()
    this.acknowledgement.reset()
    this.delivered = 0
    this.isOn = true
  }
}

export class Flow {
  sent = 0
  acked = 0
  received = 0
  duplicated = 0
  reordered = 0
  /** Messages whose content differs from what was sent. */
  damaged = 0
  /** Stop after this many messages. */
  limit = Number.POSITIVE_INFINITY
  #next = 0
  readonly #missing = new Set<number>()

  constructor(private readonly meter: Meter) {}

  /** Messages that were sent and not received, in order or out of order. */
  get lost(): number {
    return this.#missing.size + this.sent - this.#next
  }

  get isSettled(): boolean {
    return this.acked === this.sent && this.lost === 0
  }

  /** Counts an acknowledgement. @param since when its message was sent or due, µs */
  acknowledge(since: number, now: number): void {
    this.acked++
    if (this.meter.isOn) this.meter.acknowledgement.record(elapsed(since, now))
  }

  /** @param end index in `bytes` after the content */
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
    meter.latency.record(elapsed(readStamp(bytes, at + 8), now))
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

/** µs between two times of `micros`, at least 1. */
const elapsed = (since: number, now: number): number => Math.max(1, (now - since) >>> 0)

/** Writes 32 bits as eight letters `@` to `O`, four bits each: text without division and without JSON escapes. */
export function writeStamp(bytes: Buffer, at: number, value: number, mask: number): void {
  for (let i = 0, shift = 28; i < 8; i++, shift -= 4) bytes[at + i] = (0x40 | ((value >>> shift) & 15)) ^ mask
}

function readStamp(bytes: Buffer, at: number): number {
  let value = 0
  for (let i = 0; i < 8; i++) value = (value << 4) | ((bytes[at + i] ?? 0) & 15)
  return value >>> 0
}
