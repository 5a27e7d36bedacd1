/**
 * Message ids: UUIDv7 (RFC 9562, 5.7). History is sorted by them, so they always rise, even where the clock goes back or the
 * process restarts: the store has a time, ahead of the clock, that no id exceeds, and the next start begins behind it.
 */
import { randomFillSync, randomInt } from 'node:crypto'
import type { KeyValue } from '../store/store.js'

/** Of an id: two bits of one byte, and five whole ones. */
const RANDOM_BYTES = 6
/** Ids of one pool. */
const POOL = 1024
/** Two digits of each byte. */
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
const PLACE = ['message-time'] as const
/** The stored time is so far ahead of the clock: after a kill, ids are at most so far ahead of it. */
const AHEAD_MS = 15_000
/** How often it is written. */
const EVERY_MS = 5000

export class MessageIds {
  /** To ask the system for the random bytes of each id was an eighth of a message's cost. */
  readonly #pool = Buffer.alloc(RANDOM_BYTES * POOL)
  #used = this.#pool.length
  /** The time as an id has it, and of which time that is. */
  #text = ''
  #textMs = -1
  /** A counter in each millisecond, with a random start and room above it (RFC 9562 6.2, method 1). */
  #lastMs = 0
  #seq = 0
  /** The stored time: no id is above it. */
  #limitMs = 0
  #timer: NodeJS.Timeout | undefined

  constructor(private readonly kv: Pick<KeyValue, 'kvGet' | 'kvWrite'>) {}

  /** @throws GatewayError */
  async open(): Promise<void> {
    const kept = await this.kv.kvGet('meta', PLACE)
    // One more: ids of that millisecond may have been given.
    this.#lastMs = kept === undefined ? 0 : Number(Buffer.from(kept).toString()) + 1
    this.#limitMs = this.#lastMs
    await this.#write(Math.max(this.#lastMs, Date.now()) + AHEAD_MS)
    // While the store fails it takes no messages either; ids stay below the last stored time.
    const goOn = () => this.#write(Date.now() + AHEAD_MS).catch(() => undefined)
    this.#timer = setInterval(goOn, EVERY_MS).unref()
  }

  /** To be called when no more ids are needed. If it fails, the next start begins a little ahead of the clock. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#put(this.#lastMs).catch(() => undefined)
  }

  /** @param now ms since the epoch. Ids rise also when it goes back; when it jumps ahead they stop at the stored time */
  next(now: number): string {
    if (this.#used === this.#pool.length) {
      randomFillSync(this.#pool)
      this.#used = 0
    }
    const ms = Math.min(now, this.#limitMs)
    if (ms > this.#lastMs) {
      this.#lastMs = ms
      this.#seq = randomInt(0x8000_0000)
    } else {
      this.#seq = (this.#seq + 1) >>> 0
      if (this.#seq === 0) this.#lastMs++
    }
    return this.#format()
  }

  /** The layout of uuid's v7: time, 12 and 14 and 6 bits of the counter, 42 random ones. */
  #format(): string {
    if (this.#textMs !== this.#lastMs) this.#setTime()
    const pool = this.#pool
    const at = this.#used
    this.#used += RANDOM_BYTES
    const seq = this.#seq
    const high = 0x7000 | (seq >>> 20)
    const middle = 0x8000 | ((seq >>> 6) & 0x3fff)
    const low = ((seq << 2) & 0xfc) | (byte(pool, at) & 3)
    return (
      `${this.#text}${hex(high >>> 8)}${hex(high)}-${hex(middle >>> 8)}${hex(middle)}-${hex(low)}${hex(byte(pool, at + 1))}` +
      `${hex(byte(pool, at + 2))}${hex(byte(pool, at + 3))}${hex(byte(pool, at + 4))}${hex(byte(pool, at + 5))}`
    )
  }

  #setTime(): void {
    const digits = this.#lastMs.toString(16).padStart(12, '0')
    this.#text = `${digits.slice(0, 8)}-${digits.slice(8)}-`
    this.#textMs = this.#lastMs
  }

  async #write(limitMs: number): Promise<void> {
    if (limitMs <= this.#limitMs) return
    await this.#put(limitMs)
    this.#limitMs = limitMs
  }

  async #put(ms: number): Promise<void> {
    await this.kv.kvWrite([{ put: 'meta', key: PLACE, value: Buffer.from(String(ms)) }])
  }
}

const byte = (pool: Buffer, at: number): number => pool[at] ?? 0
const hex = (value: number): string => HEX[value & 255] ?? ''
