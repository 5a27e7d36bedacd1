/** What the MQTT connections of one broker share: a write at the end of each turn, turns for long input, and a watch over stalled ones. */

import { TurnEnd } from '../../flow/turn-end.js'

type Job = () => void

/** A connection that made no progress in so many sweeps on end is stalled. */
export const SWEEPS_TO_STALL = 4

export class WriteGroup {
  readonly #sweepIntervalMs: number
  readonly #watches = new Set<Job>()
  readonly #queue = new Set<Job>()
  readonly #turnEnd = new TurnEnd()
  #timer: NodeJS.Timeout | undefined

  /** @param stallTimeoutMs found to within a quarter more, by one timer for all connections */
  constructor(stallTimeoutMs: number) {
    this.#sweepIntervalMs = stallTimeoutMs / SWEEPS_TO_STALL
  }

  /** Runs `job` once, with all others of this event-loop turn, when the turn's input is worked off. */
  atTurnEnd(job: Job): void {
    this.#turnEnd.add(job)
  }

  /**
   * Runs `job` in a later turn of the event loop, and no other job of this kind in that turn: however many connections
   * have work left, everything else goes on in between. Each that asks again stands behind the others.
   */
  inTurn(job: Job): void {
    if (this.#queue.size === 0) setImmediate(this.#runNext)
    this.#queue.add(job)
  }

  /** Runs `sweep` every quarter of the stall timeout until `unwatch`. */
  watch(sweep: Job): void {
    this.#watches.add(sweep)
    this.#timer ??= setInterval(this.#sweepAll, this.#sweepIntervalMs).unref()
  }

  unwatch(sweep: Job): void {
    this.#watches.delete(sweep)
    if (this.#watches.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  readonly #runNext = (): void => {
    const [job] = this.#queue
    if (job === undefined) return
    this.#queue.delete(job)
    if (this.#queue.size > 0) setImmediate(this.#runNext)
    job()
  }

  readonly #sweepAll = (): void => {
    for (const sweep of this.#watches) sweep()
  }
}
