/** Groups writes, and bounds the time of operations. */
import { GatewayError } from '../../core/errors.js'

/** The result of one item of a group. */
export type Outcome<O> = { readonly value: O } | { readonly error: unknown }

interface Waiting<I, O> {
  readonly item: I
  isLate: boolean
  settle(outcome: Outcome<O>): void
}

export interface GroupOptions<I, O> {
  /** Writes a group and resolves with the outcomes in its order. A rejection is the outcome of every item. */
  readonly write: (items: readonly I[]) => Promise<readonly Outcome<O>[]>
  readonly timeoutMs: number
  /** Most items in one group. */
  readonly maxItems: number
  /** Largest sum of `weigh` (bytes) in one group. A group of one item may be larger. */
  readonly maxWeight?: number
  readonly weigh?: (item: I) => number
}

/**
 * Writes one group at a time. Items that are added meanwhile form the next group, so a slower server gets larger
 * groups. An item waits at most `timeoutMs`. An item that times out before its group is written is dropped. If an item
 * times out while its group is written, the next group still waits until the driver has given up, so that no old write
 * overtakes a newer one.
 */
export class Group<I, O> {
  readonly #options: GroupOptions<I, O>
  #waiting: Waiting<I, O>[] = []
  #writing: Promise<void> | undefined

  constructor(options: GroupOptions<I, O>) {
    this.#options = options
  }

  add(item: I): Promise<O> {
    return new Promise((resolve, reject) => {
      const waiting = { item, isLate: false, settle: (_: Outcome<O>) => {} }
      const timer = setTimeout(() => {
        waiting.isLate = true
        reject(tooSlow(this.#options.timeoutMs))
      }, this.#options.timeoutMs)
      waiting.settle = outcome => {
        clearTimeout(timer)
        if ('error' in outcome) reject(outcome.error)
        else resolve(outcome.value)
      }
      this.#waiting.push(waiting)
      this.#writing ??= this.#writeAll()
    })
  }

  /** Resolves when no group is being written any more. */
  async idle(): Promise<void> {
    await this.#writing
  }

  async #writeAll(): Promise<void> {
    // Wait for the end of this event-loop turn, so that all items of one turn form one group.
    await new Promise(resolve => setImmediate(resolve))
    while (this.#waiting.length > 0) {
      const group = this.#take()
      if (group.length > 0) await this.#write(group)
    }
    this.#writing = undefined
  }

  #take(): Waiting<I, O>[] {
    const { maxItems, maxWeight = Number.POSITIVE_INFINITY, weigh = () => 0 } = this.#options
    this.#waiting = this.#waiting.filter(({ isLate }) => !isLate)
    let weight = 0
    const end = this.#waiting.findIndex(({ item }, i) => {
      weight += weigh(item)
      return i === maxItems || (i > 0 && weight > maxWeight)
    })
    return this.#waiting.splice(0, end === -1 ? this.#waiting.length : end)
  }

  async #write(group: readonly Waiting<I, O>[]): Promise<void> {
    try {
      const outcomes = await this.#options.write(group.map(({ item }) => item))
      for (const [i, outcome] of outcomes.entries()) group[i]?.settle(outcome)
    } catch (error) {
      for (const { settle } of group) settle({ error })
    }
  }
}

/** @throws GatewayError STORE_UNAVAILABLE if `answer` does not settle in time; the operation itself is not cancelled */
export function bounded<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(tooSlow(timeoutMs)), timeoutMs)
    answer.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

const tooSlow = (timeoutMs: number) =>
  new GatewayError('STORE_UNAVAILABLE', { reason: `no answer from MongoDB within ${timeoutMs} ms` })
