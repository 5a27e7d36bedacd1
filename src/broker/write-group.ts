/** What the MQTT connections of one broker share: a write at the end of each turn, and a watch over stalled ones. */

import { TurnEnd } from '../turn-end.js'

type Job = () => void

/** A connection that made no progress in so many sweeps on end is stalled. */
export const SWEEPS_TO_STALL = 4

export class WriteGroup {
  readonly #sweepIntervalMs: number
  readonly #watches = new Set<Job>()
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

  readonly #sweepAll = (): void => {
    for (const sweep of this.#watches) sweep()
  }
}
