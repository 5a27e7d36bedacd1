/**
 * Message ids: UUIDv7 (RFC 9562, 5.7). History is sorted by them, so they always rise, even where the clock goes back or the
 * process restarts: the store has a time, ahead of the clock, that no id exceeds, and the next start begins behind it.
 */
import { randomFillSync } from 'node:crypto'
import { v7 } from 'uuid'
import type { KeyValue } from '../store/store.js'

const RANDOM_BYTES = 16
/** Where the text form has the two digits of each byte (RFC 9562, 4). */
const TEXT_AT = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34]
const DIGITS = Buffer.from('0123456789abcdef')
const PLACE = ['message-time'] as const
/** The stored time is so far ahead of the clock: after a kill, ids are at most so far ahead of it. */
const AHEAD_MS = 15_000
/** How often it is written. */
const EVERY_MS = 5000

export class MessageIds {
  /** uuid asks the system for 16 random bytes a call, an eighth of a message's cost. A pool asks once for 1,024 ids. */
  readonly #pool = Buffer.alloc(RANDOM_BYTES * 1024)
  #used = this.#pool.length
  /** A counter in each millisecond, with a random start and room above it (RFC 9562 6.2, method 1). */
  #lastMs = 0
  #seq = 0
  /** The stored time: no id is above it. */
  #limitMs = 0
  readonly #bytes = new Uint8Array(16)
  readonly #text = Buffer.alloc(36, '-')
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
    return this.#textOf(v7({ random, msecs: this.#lastMs, seq: this.#seq }, this.#bytes))
  }

  /** uuid puts the text together from 20 strings; V8 joins them when it is first read. */
  #textOf(bytes: Uint8Array): string {
    const text = this.#text
    for (let i = 0; i < bytes.length; i++) {
      const at = TEXT_AT[i] ?? 0
      const byte = bytes[i] ?? 0
      text[at] = DIGITS[byte >>> 4] ?? 0
      text[at + 1] = DIGITS[byte & 15] ?? 0
    }
    return text.toString('latin1')
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
