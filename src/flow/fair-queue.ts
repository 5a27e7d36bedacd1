/**
 * Whose work is next where all wait for the same few threads: passwords and images. In a single queue, who fills it keeps all
 * others out: 250 addresses with five guesses each kept an owner from logging in. So addresses take turns, and an
 * address that got into the account before comes before others.
 */
import { GatewayError } from '../core/errors.js'

/** `known`: this address got into this account before; `failed`: it sent wrong passwords lately; `clean`: neither. */
const STANDINGS = ['known', 'clean', 'failed'] as const
export type Standing = (typeof STANDINGS)[number]

export interface Place {
  /** The network or account that it comes from. Groups take turns. */
  readonly group: string
  readonly standing: Standing
}

export interface FairQueueRules {
  /** Work that runs at one time. */
  readonly concurrency: number
  /** Most waiting work. Beyond it, one piece of the group with the most waiting work is refused. */
  readonly max: number
  /** Called when one is refused. */
  readonly onFull: () => void
  /** What the refused is told. Default: ERROR_AUTH_FAILED. */
  readonly refusal?: () => GatewayError
  /** Called when a piece of work has its turn, with how long it waited, ms. */
  readonly onTurn?: (waitedMs: number) => void
}

/** Whether the result is still wanted. */
export type IsWanted = () => boolean

interface Waiting {
  readonly isWanted: IsWanted
  readonly start: () => void
  readonly refuse: (error: GatewayError) => void
}

const always: IsWanted = () => true

/** Which standing comes first in each of eight turns: every standing has some, so that none waits for ever. */
const TURNS: readonly Standing[] = ['known', 'clean', 'known', 'failed', 'known', 'clean', 'known', 'clean']

/** The waiting work of one standing. Groups take turns; within a group the order is that of arrival. */
class Lane {
  /** In the order of their turns. */
  readonly #groups = new Map<string, Waiting[]>()

  get isEmpty(): boolean {
    return this.#groups.size === 0
  }

  count(group: string): number {
    return this.#groups.get(group)?.length ?? 0
  }

  push(group: string, one: Waiting): void {
    const waiting = this.#groups.get(group)
    if (waiting === undefined) this.#groups.set(group, [one])
    else waiting.push(one)
  }

  shift(): Waiting | undefined {
    for (const [group, waiting] of this.#groups) {
      const one = waiting.shift()
      this.#groups.delete(group)
      if (waiting.length > 0) this.#groups.set(group, waiting)
      return one
    }
    return undefined
  }

  get largest(): string | undefined {
    let largest: string | undefined
    for (const group of this.#groups.keys())
      if (largest === undefined || this.count(group) > this.count(largest)) largest = group
    return largest
  }

  /** Takes out the newest of a group. */
  pop(group: string): Waiting | undefined {
    const waiting = this.#groups.get(group)
    const one = waiting?.pop()
    if (waiting?.length === 0) this.#groups.delete(group)
    return one
  }
}

export class FairQueue {
  readonly #lanes: Record<Standing, Lane> = { known: new Lane(), clean: new Lane(), failed: new Lane() }
  #running = 0
  #waiting = 0
  #turn = 0

  constructor(private readonly rules: FairQueueRules) {}

  /** How many pieces of work wait for their turn, and how many run. */
  get load(): { readonly waiting: number; readonly running: number } {
    return { waiting: this.#waiting, running: this.#running }
  }

  /**
   * @param isWanted asked when the turn has come: work that is no longer wanted is not run
   * @throws GatewayError ERROR_CONNECTION_CLOSED if it is not wanted, `refusal` if too many wait, or
   *   what `work` throws
   */
  async run<T>(place: Place, work: () => Promise<T>, isWanted: IsWanted = always): Promise<T> {
    if (!isWanted()) throw unwanted()
    const since = performance.now()
    if (this.#running < this.rules.concurrency) this.#running++
    else await this.#wait(place, isWanted)
    this.rules.onTurn?.(performance.now() - since)
    try {
      return await work()
    } finally {
      this.#next()
    }
  }

  #wait({ group, standing }: Place, isWanted: IsWanted): Promise<void> {
    if (this.#waiting >= this.rules.max && !this.#makeRoom(group, standing)) {
      this.rules.onFull()
      throw this.#refusal()
    }
    this.#waiting++
    return new Promise((resolve, reject) => {
      this.#lanes[standing].push(group, { isWanted, start: resolve, refuse: reject })
    })
  }

  /** Hands the free place on. */
  #next(): void {
    const first = TURNS[this.#turn++ % TURNS.length] ?? 'known'
    const one = this.#shift(first)
    if (one === undefined) this.#running--
    else one.start()
  }

  /**
   * Removes the next work, and refuses work that is no longer wanted: a guess costs nothing after its connection has
   * closed.
   */
  #shift(first: Standing): Waiting | undefined {
    for (const standing of [first, ...STANDINGS]) {
      const lane = this.#lanes[standing]
      for (let one = lane.shift(); one !== undefined; one = lane.shift()) {
        this.#waiting--
        if (one.isWanted()) return one
        one.refuse(unwanted())
      }
    }
    return undefined
  }

  /**
   * Refuses the newest of the largest group of the lowest standing that has work waiting.
   * @returns false if that would be the one that comes now
   */
  #makeRoom(group: string, standing: Standing): boolean {
    const last = STANDINGS.findLast(one => !this.#lanes[one].isEmpty)
    if (last === undefined || STANDINGS.indexOf(last) < STANDINGS.indexOf(standing)) return false
    const lane = this.#lanes[last]
    const { largest } = lane
    if (largest === undefined || (last === standing && lane.count(largest) <= lane.count(group) + 1))
      return false
    this.#waiting--
    this.rules.onFull()
    lane.pop(largest)?.refuse(this.#refusal())
    return true
  }

  #refusal(): GatewayError {
    return (this.rules.refusal ?? refused)()
  }
}

const unwanted = () => new GatewayError('ERROR_CONNECTION_CLOSED')
const refused = () => new GatewayError('ERROR_AUTH_FAILED', { reason: 'too many logins at once, try again' })
