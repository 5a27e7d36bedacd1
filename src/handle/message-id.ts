/**
 * UUIDv7 of messages (RFC 9562, 5.7). History is sorted by them, so they never go back, whatever the clock does, over
 * restarts either: the store has a time that no id is above, written ahead of the clock, and the next start begins there.
 */
import { randomFillSync } from 'node:crypto'
import { v7 } from 'uuid'
import type { Store } from '../store/store.js'

const RANDOM_BYTES = 16
const PLACE = ['message-time'] as const
/** The time is written this far ahead, and this often: after a kill ids are at most so far ahead of the clock. */
const AHEAD_MS = 15_000
const EVERY_MS = 5000

export class MessageIds {
  /** uuid asks the system for 16 random bytes a call, an eighth of a message's cost; a pool asks once in 1,024. */
  readonly #pool = Buffer.alloc(RANDOM_BYTES * 1024)
  #used = this.#pool.length
  /** As uuid's own v7 counts: a random start in each millisecond, with room above it, then one more each (6.2, method 1). */
  #lastMs = 0
  #seq = 0
  /** What the store has: no id is above it. */
  #limitMs = 0
  #timer: NodeJS.Timeout | undefined

  constructor(private readonly store: Pick<Store, 'kvGet' | 'kvWrite'>) {}

  /** @throws GatewayError */
  async open(): Promise<void> {
    const kept = await this.store.kvGet('meta', PLACE)
    // Behind it: ids of that very millisecond may have been given.
    this.#lastMs = kept === undefined ? 0 : Number(Buffer.from(kept).toString()) + 1
    this.#limitMs = this.#lastMs
    await this.#write(Math.max(this.#lastMs, Date.now()) + AHEAD_MS)
    // A store that fails takes no messages either; ids rise within the last limit until it takes the next.
    const goOn = () => this.#write(Date.now() + AHEAD_MS).catch(() => undefined)
    this.#timer = setInterval(goOn, EVERY_MS).unref()
  }

  /** No id is asked for any more. A failure costs the next start that it begins a little ahead of the clock. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#put(this.#lastMs).catch(() => undefined)
  }

  /** @param now ms since the epoch; ids keep rising when the clock does not, and wait for the store's limit when it jumps */
  next(now: number): string {
    if (this.#used === this.#pool.length) {
      randomFillSync(this.#pool)
      this.#used = 0
    }
    const random = this.#pool.subarray(this.#used, this.#used + RANDOM_BYTES)
    this.#used += RANDOM_BYTES
    const ms = Math.min(now, this.#limitMs)
    if (ms > this.#lastMs) {
      this.#lastMs = ms
      this.#seq = random.readUInt32BE(6) & 0x7fff_ffff
    } else {
      this.#seq = (this.#seq + 1) >>> 0
      if (this.#seq === 0) this.#lastMs++
    }
    return v7({ random, msecs: this.#lastMs, seq: this.#seq })
  }

  async #write(limitMs: number): Promise<void> {
    if (limitMs <= this.#limitMs) return
    await this.#put(limitMs)
    this.#limitMs = limitMs
  }

  async #put(ms: number): Promise<void> {
    await this.store.kvWrite([{ put: 'meta', key: PLACE, value: Buffer.from(String(ms)) }])
  }
}
