/** Sends clients away one after the other, so that they do not all come back in the same moment. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../core/log.js'
import type { Metrics } from '../core/metrics.js'

/** A front end with its open connections. */
export interface Drained {
  readonly connections: number
  /** Ends those that have been open longest. @param after s until the client of the next one should be back */
  dismiss(count: number, after: () => number): void | Promise<void>
}

/** What lets clients in. */
export interface Entrance {
  /** Lets no more in. @param comeBackSeconds s until a client should be back */
  drain(comeBackSeconds: () => number): void
}

/** Connections are ended so often, ms: as many as are due. */
const TICK_MS = 100
/** What a restart takes, s: nobody is asked to come back earlier than so long after the last connection ended. */
const RESTART_SECONDS = 1

export class Drain {
  readonly #hurry = new AbortController()
  /** performance.now() when the last connection ends. */
  #until: number | undefined
  #spreadMs: number

  /** @param spreadMs the last connection ends so long after the first; 0: nobody is sent away before the close */
  constructor(
    spreadMs: number,
    private readonly log: Logger,
    private readonly metrics: Metrics,
  ) {
    this.#spreadMs = spreadMs
  }

  get isOn(): boolean {
    return this.#until !== undefined
  }

  get spreadMs(): number {
    return this.#spreadMs
  }

  /** While it is on, the one with which it began counts. */
  set spreadMs(spreadMs: number) {
    if (!this.isOn) this.#spreadMs = spreadMs
  }

  /** Resolves when no connection is left, the time is over, or `hurry` was called. */
  async run(entrance: Entrance, fronts: readonly Drained[]): Promise<void> {
    const spreadMs = this.#spreadMs
    if (spreadMs === 0 || this.isOn) return
    const { log, metrics } = this
    const open = () => fronts.reduce((sum, { connections }) => sum + connections, 0)
    this.#until = performance.now() + spreadMs
    metrics.draining.set(1)
    entrance.drain(this.#comeBackSeconds)
    log.info(
      { event: 'gateway.draining', connections: open(), seconds: spreadMs / 1000 },
      'sending clients away',
    )
    await this.#dismiss(fronts, open)
    log.info({ event: 'gateway.drained', connections: open() }, 'clients sent away')
  }

  /** Does not wait for the rest of the time. */
  hurry(): void {
    this.#hurry.abort()
  }

  async #dismiss(fronts: readonly Drained[], open: () => number): Promise<void> {
    const { signal } = this.#hurry
    const atFirst = fronts.map(({ connections }) => connections)
    while (this.#leftMs > 0 && open() > 0 && !signal.aborted) {
      await delay(Math.min(TICK_MS, this.#leftMs), undefined, { signal }).catch(() => undefined)
      const share = this.#leftMs / this.#spreadMs
      for (const [i, front] of fronts.entries()) {
        const due = front.connections - Math.floor((atFirst[i] ?? 0) * share)
        if (due > 0) await front.dismiss(due, this.#comeBackSeconds)
      }
    }
  }

  /** s until one client should be back: when the gateway is, and each at another time within the spread. */
  readonly #comeBackSeconds = (): number =>
    RESTART_SECONDS + Math.ceil((this.#leftMs + Math.random() * this.#spreadMs) / 1000)

  get #leftMs(): number {
    return Math.max(0, (this.#until ?? 0) - performance.now())
  }
}
