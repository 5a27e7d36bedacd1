/**
 * Who is next where all wait for the same few threads: passwords. One queue would be whoever fills it: 250 addresses with
 * five guesses each kept an owner out. So addresses take turns, and those who have got in before come before others.
 */
import { GatewayError } from '../core/errors.js'

/** `known`: this address got into this account before; `failed`: passwords of it were wrong lately. */
const STANDINGS = ['known', 'clean', 'failed'] as const
export type Standing = (typeof STANDINGS)[number]

export interface Place {
  /** The network that takes turns with others. */
  readonly group: string
  readonly standing: Standing
}

export interface FairQueueRules {
  /** At one time. */
  readonly concurrency: number
  /** That wait; beyond it one is refused, of those who have most in it. */
  readonly max: number
  /** One was refused. */
  readonly onFull: () => void
}

/** Whether somebody still waits for it. */
export type IsWanted = () => boolean

interface Waiting {
  readonly isWanted: IsWanted
  readonly start: () => void
  readonly refuse: (error: GatewayError) => void
}

const always: IsWanted = () => true

/** Whose turn it is first, in eight turns: nobody waits for ever, whoever else comes. */
const TURNS: readonly Standing[] = ['known', 'clean', 'known', 'failed', 'known', 'clean', 'known', 'clean']

/** Those of one standing: groups take turns, each in its own order. */
class Lane {
  /** The group whose turn is next comes first. */
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

  /** Takes out the one that came last. */
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

  /**
   * @param isWanted asked when its turn has come: what nobody wants any more takes no turn
   * @throws GatewayError ERROR_CONNECTION_CLOSED when it is not wanted, ERROR_AUTH_FAILED (retry) when too many wait, or what
   *   `work` throws
   */
  async run<T>(place: Place, work: () => Promise<T>, isWanted: IsWanted = always): Promise<T> {
    if (!isWanted()) throw unwanted()
    if (this.#running < this.rules.concurrency) this.#running++
    else await this.#wait(place, isWanted)
    try {
      return await work()
    } finally {
      this.#next()
    }
  }

  #wait({ group, standing }: Place, isWanted: IsWanted): Promise<void> {
    if (this.#waiting >= this.rules.max && !this.#makeRoom(group, standing)) {
      this.rules.onFull()
      throw refused()
    }
    this.#waiting++
    return new Promise((resolve, reject) => {
      this.#lanes[standing].push(group, { isWanted, start: resolve, refuse: reject })
    })
  }

  /** The place that is free now is handed on. */
  #next(): void {
    const first = TURNS[this.#turn++ % TURNS.length] ?? 'known'
    const one = this.#shift(first)
    if (one === undefined) this.#running--
    else one.start()
  }

  /** Takes out whose turn it is, and on the way those that nobody waits for: a guess costs nothing once its connection is closed. */
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

  /** The newest of the group that has most waiting goes, of the last standing: not where that is the one who comes. */
  #makeRoom(group: string, standing: Standing): boolean {
    const last = STANDINGS.findLast(one => !this.#lanes[one].isEmpty)
    if (last === undefined || STANDINGS.indexOf(last) < STANDINGS.indexOf(standing)) return false
    const lane = this.#lanes[last]
    const { largest } = lane
    if (largest === undefined || (last === standing && lane.count(largest) <= lane.count(group) + 1))
      return false
    this.#waiting--
    this.rules.onFull()
    lane.pop(largest)?.refuse(refused())
    return true
  }
}

const unwanted = () => new GatewayError('ERROR_CONNECTION_CLOSED')
const refused = () => new GatewayError('ERROR_AUTH_FAILED', { reason: 'too many logins at once, try again' })
