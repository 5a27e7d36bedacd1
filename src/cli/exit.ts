import { constants } from 'node:os'
import type { Logger } from '../core/log.js'
import { EXIT_FAILURE } from './exit-codes.js'

/** The end of the process: closes the gateway within a deadline. */
export class Exit {
  readonly #close: () => Promise<void>
  readonly #timeoutMs: number
  readonly #log: Logger
  #first: { readonly signal: NodeJS.Signals; readonly at: number } | undefined
  #code: number | undefined

  constructor(close: () => Promise<void>, timeoutMs: number, log: Logger) {
    this.#close = close
    this.#timeoutMs = timeoutMs
    this.#log = log
  }

  get isLeaving(): boolean {
    return this.#code !== undefined
  }

  /** The first signal starts closing; a second one ends the process at once. */
  onSignal(signal: NodeJS.Signals): void {
    if (!this.isLeaving) {
      this.#first = { signal, at: performance.now() }
      this.#log.info({ event: 'gateway.closing', signal }, 'closing')
      this.leave(0)
    } else if (!this.#isEcho(signal)) {
      process.exit(128 + constants.signals[signal])
    }
  }

  /** Starts closing. Further calls can only raise the exit code. */
  leave(code: number): void {
    const wasLeaving = this.isLeaving
    this.#code = Math.max(code, this.#code ?? 0)
    if (wasLeaving) return
    setTimeout(() => {
      this.#log.error(
        { event: 'gateway.close-timed-out', timeoutMs: this.#timeoutMs },
        'did not close in time',
      )
      process.exit(EXIT_FAILURE)
    }, this.#timeoutMs)
    this.#close()
      .then(() => this.#log.info({ event: 'gateway.closed' }, 'closed'))
      .catch(err => {
        this.#log.error({ event: 'gateway.close-failed', err }, 'did not close cleanly')
        this.#code = EXIT_FAILURE
      })
      .finally(() => this.#log.flush(() => process.exit(this.#code)))
  }

  /** Under `npm start`, Ctrl-C arrives twice within half a millisecond: from the terminal and from npm. */
  #isEcho(signal: NodeJS.Signals): boolean {
    return signal === this.#first?.signal && performance.now() - this.#first.at < 50
  }
}
