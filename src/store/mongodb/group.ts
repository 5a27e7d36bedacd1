/** How writes are grouped and bounded in time. */
import { GatewayError } from '../../core/errors.js'

/** What became of one item of a group. */
export type Outcome<O> = { readonly value: O } | { readonly error: unknown }

interface Waiting<I, O> {
  readonly item: I
  isLate: boolean
  settle(outcome: Outcome<O>): void
}

export interface GroupOptions<I, O> {
  /** Writes a group; outcomes in its order. A rejection is the outcome of all. */
  readonly write: (items: readonly I[]) => Promise<readonly Outcome<O>[]>
  readonly timeoutMs: number
  /** Items in one group. */
  readonly maxItems: number
  /** Bytes in one group, as `weigh` counts them; one item is always let through. */
  readonly maxWeight?: number
  readonly weigh?: (item: I) => number
}

/**
 * One group at a time: what comes while one is being written goes into the next, so the slower the server, the larger
 * the groups. An item waits at most `timeoutMs`. One that is late before its turn is never written; with one that is
 * late while it is written, all others wait until the driver has given up, so that no old write overtakes a new one.
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

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    await this.#writing
  }

  async #writeAll(): Promise<void> {
    // End of this event-loop turn: all that one turn brings is one group.
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

/** @throws GatewayError STORE_UNAVAILABLE where `answer` does not come in time; what it stands for goes on */
export function bounded<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(tooSlow(timeoutMs)), timeoutMs)
    answer.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

const tooSlow = (timeoutMs: number) =>
  new GatewayError('STORE_UNAVAILABLE', { reason: `no answer from MongoDB within ${timeoutMs} ms` })
