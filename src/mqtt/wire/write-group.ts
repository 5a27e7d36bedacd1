/**
 * What all MQTT connections of one broker share: writes at the end of the event-loop turn, turns for long input, and the
 * timer that looks for stalled connections.
 */

import { TurnEnd } from '../../flow/turn-end.js'

type Job = () => void

/** A connection is stalled when it made no progress in so many sweeps in a row. */
export const SWEEPS_TO_STALL = 4

export class WriteGroup {
  readonly #sweepIntervalMs: number
  readonly #watches = new Set<Job>()
  readonly #queue = new Set<Job>()
  #timer: NodeJS.Timeout | undefined

  /** @param stallTimeoutMs a stall is found after this time, or up to a quarter later: one timer serves all connections */
  constructor(
    stallTimeoutMs: number,
    private readonly turnEnd = new TurnEnd(),
  ) {
    this.#sweepIntervalMs = stallTimeoutMs / SWEEPS_TO_STALL
  }

  /** Runs `job` once at the end of this event-loop turn, after all input of the turn was handled. */
  atTurnEnd(job: Job): void {
    this.turnEnd.add(job)
  }

  /**
   * Runs `job` in a later event-loop turn. One job a turn, first come first served, so that other work goes on in between
   * however many connections have input left.
   */
  inTurn(job: Job): void {
    if (this.#queue.size === 0) setImmediate(this.#runNext)
    this.#queue.add(job)
  }

  /** Calls `sweep` every quarter of the stall timeout until `unwatch`. */
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
