/** Asks at intervals whether the store can be used, and logs each change. */
import type { Logger } from '../core/log.js'
import type { Store } from './store.js'

/** An idle store is asked, too: its folder may have been removed. */
const EVERY_MS = 10_000

export class StoreWatch {
  readonly #timer: NodeJS.Timeout
  #asking: Promise<boolean> | undefined
  #wasGood = true

  constructor(
    private readonly store: Pick<Store, 'ping'>,
    private readonly log: Logger,
  ) {
    this.#timer = setInterval(() => void this.isGood(), EVERY_MS).unref()
  }

  /** Never rejects. Calls at the same time share one ping, since anybody may call (/readyz) and a ping costs a commit. */
  isGood(): Promise<boolean> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  async #ask(): Promise<boolean> {
    const failure = await this.store.ping().then(
      () => undefined,
      (thrown: unknown) => ({ err: thrown }),
    )
    const isGood = failure === undefined
    if (isGood !== this.#wasGood) {
      if (isGood) this.log.info({ event: 'store.recovered' }, 'store can be used again')
      else this.log.error({ event: 'store.failed', operation: 'ping', ...failure }, 'store cannot be used')
    }
    this.#wasGood = isGood
    return isGood
  }
}
