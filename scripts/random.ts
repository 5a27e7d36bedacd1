/** Seeded random numbers. Every client has its own generator, so the timing of others does not change its decisions. */
import { createHash } from 'node:crypto'

export class Random {
  #state: number

  constructor(private readonly seed: string) {
    this.#state = createHash('sha256').update(seed).digest().readUInt32LE()
  }

  /** The same seed and name give the same numbers. */
  fork(name: string): Random {
    return new Random(`${this.seed} ${name}`)
  }

  /** 0 ≤ x < 1. Source: mulberry32 by Tommy Ettinger, public domain. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let bits = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }

  between(low: number, high: number): number {
    return low + this.next() * (high - low)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** @throws Error if the list is empty */
  pick<T>(from: readonly T[]): T {
    const picked = from[Math.floor(this.next() * from.length)]
    if (picked === undefined) throw new Error('nothing to pick from')
    return picked
  }

  /** An exponentially distributed time, as between independent events. */
  wait(mean: number): number {
    return -Math.log(1 - this.next()) * mean
  }
}
