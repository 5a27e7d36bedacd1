/**
 * How long messages take to reach a device and to be confirmed, by one message in EVERY: so that what is not looked at costs
 * an addition, and no connection keeps a time.
 */
import type { Buckets } from './histogram.js'
import { madeAt } from './model.js'

const EVERY = 32
/** Devices of which a confirmation is awaited. */
const MAX_AWAITED = 1000

export class Samples {
  #handed = 0
  /** Device → the seq whose confirmation is awaited, and when that message was accepted, ms since the epoch. */
  readonly #awaited = new Map<object, { readonly seq: number; readonly since: number }>()

  constructor(
    private readonly lag: Buckets,
    private readonly confirmed: Readonly<Record<string, Buckets>>,
  ) {}

  /** A message that was stored while the device was connected was written to it. */
  handed(device: object, seq: number, messageId: string): void {
    if (++this.#handed % EVERY !== 0) return
    const since = madeAt(messageId)
    this.lag.observe(secondsSince(since))
    if (this.#awaited.size < MAX_AWAITED && !this.#awaited.has(device))
      this.#awaited.set(device, { seq, since })
  }

  /** The device has confirmed everything up to `seq`. @param front its front end */
  settled(device: object, front: string, seq: number): void {
    if (this.#awaited.size === 0) return
    const sample = this.#awaited.get(device)
    if (sample === undefined || sample.seq > seq) return
    this.#awaited.delete(device)
    this.confirmed[front]?.observe(secondsSince(sample.since))
  }

  /** The device is gone. */
  forget(device: object): void {
    if (this.#awaited.size > 0) this.#awaited.delete(device)
  }
}

/** Ids rise also where the clock goes back; then it is told as none. */
const secondsSince = (ms: number): number => Math.max(0, Date.now() - ms) / 1000
