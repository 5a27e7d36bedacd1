/**
 * What all MQTT connections of one broker share: writes at the end of the event-loop turn, turns for long input, and the
 * timer that looks for stalled connections.
 */
import type { Job } from '../../flow/due.js'
import { TurnEnd } from '../../flow/turn-end.js'

/** Has input that it could not look at in one turn. */
export interface Looker {
  lookOn(): void
}

/** Looks for a stall now and then. */
export interface Sweeper {
  sweep(): void
}

/** A connection is stalled when it made no progress in so many sweeps in a row. */
export const SWEEPS_TO_STALL = 4

export class WriteGroup {
  readonly #sweepIntervalMs: number
  readonly #watches = new Set<Sweeper>()
  readonly #queue = new Set<Looker>()
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
   * Lets `looker` look on in a later event-loop turn. One a turn, first come first served, so that other work goes on in between
   * however many connections have input left.
   */
  inTurn(looker: Looker): void {
    if (this.#queue.size === 0) setImmediate(this.#runNext)
    this.#queue.add(looker)
  }

  /** Calls its `sweep` every quarter of the stall timeout until `unwatch`. */
  watch(sweeper: Sweeper): void {
    this.#watches.add(sweeper)
    this.#timer ??= setInterval(this.#sweepAll, this.#sweepIntervalMs).unref()
  }

  unwatch(sweeper: Sweeper): void {
    this.#watches.delete(sweeper)
    if (this.#watches.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  readonly #runNext = (): void => {
    const [looker] = this.#queue
    if (looker === undefined) return
    this.#queue.delete(looker)
    if (this.#queue.size > 0) setImmediate(this.#runNext)
    looker.lookOn()
  }

  readonly #sweepAll = (): void => {
    for (const sweeper of this.#watches) sweeper.sweep()
  }
}
