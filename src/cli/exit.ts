import { constants } from 'node:os'
import type { Logger } from '../core/log.js'
import { EXIT_FAILURE } from './exit-codes.js'

/**
 * Ends the process whatever listeners of its `exit` throw: pino's writes what waits for a file, and cannot where that is not
 * open. What it throws would be an uncaught exception like any other, and the process went on. The second call runs no listener.
 */
function endProcess(code: number | undefined): never {
  try {
    process.exit(code)
  } catch {
    process.exit(code)
  }
}

/** What comes before the close. */
export interface Draining {
  /** Resolves when clients have been sent away. */
  run(): Promise<void>
  /** Ends `run` now. */
  hurry(): void
}

/** The end of the process: sends clients away, then closes the gateway within a deadline. */
export class Exit {
  readonly #close: () => Promise<void>
  readonly #timeoutMs: number
  readonly #log: Logger
  readonly #draining: Draining | undefined
  #isDraining = false
  #first: { readonly signal: NodeJS.Signals; readonly at: number } | undefined
  #code: number | undefined

  /** @param timeoutMs of the close: the time before it, which `draining` takes, does not count */
  constructor(close: () => Promise<void>, timeoutMs: number, log: Logger, draining?: Draining) {
    this.#close = close
    this.#timeoutMs = timeoutMs
    this.#log = log
    this.#draining = draining
  }

  get isLeaving(): boolean {
    return this.#code !== undefined
  }

  /**
   * The first signal starts closing, or, where an operator's command has begun to send clients away, does not wait for the
   * rest of them; a second one ends the process at once.
   */
  onSignal(signal: NodeJS.Signals): void {
    const isFirst = !this.isLeaving || (this.#isDraining && this.#first === undefined)
    if (!isFirst) {
      if (!this.#isEcho(signal)) endProcess(128 + constants.signals[signal])
      return
    }
    this.#first = { signal, at: performance.now() }
    this.#log.info({ event: 'gateway.closing', signal }, 'closing')
    if (this.isLeaving) this.#draining?.hurry()
    else this.leave(0)
  }

  /** Starts to leave; after a failure without draining. Further calls can only raise the exit code. */
  leave(code: number): void {
    const wasLeaving = this.isLeaving
    this.#code = Math.max(code, this.#code ?? 0)
    if (wasLeaving) return
    if (this.#draining === undefined || code !== 0) this.#end()
    else void this.#drainFirst(this.#draining)
  }

  async #drainFirst(draining: Draining): Promise<void> {
    this.#isDraining = true
    await draining.run().catch(err => {
      this.#log.error({ event: 'gateway.drain-failed', err }, 'clients not sent away one by one')
    })
    this.#isDraining = false
    this.#end()
  }

  #end(): void {
    setTimeout(() => {
      this.#log.error(
        { event: 'gateway.close-timed-out', timeoutMs: this.#timeoutMs },
        'did not close in time',
      )
      endProcess(EXIT_FAILURE)
    }, this.#timeoutMs)
    this.#close()
      .then(() => this.#log.info({ event: 'gateway.closed' }, 'closed'))
      .catch(err => {
        this.#log.error({ event: 'gateway.close-failed', err }, 'did not close cleanly')
        this.#code = EXIT_FAILURE
      })
      .finally(() => this.#log.flush(() => endProcess(this.#code)))
  }

  /** Under `npm start`, Ctrl-C arrives twice within half a millisecond: from the terminal and from npm. */
  #isEcho(signal: NodeJS.Signals): boolean {
    return signal === this.#first?.signal && performance.now() - this.#first.at < 50
  }
}
