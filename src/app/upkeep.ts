/** What becomes due by the age of keys and logins. */
import type { TokenKeys } from '../auth/token-keys.js'
import type { Audit } from '../core/audit.js'
import type { Logger } from '../core/log.js'

const EVERY_MS = 3_600_000

/** What removes what is due: logins and links that have expired, accounts that their owners deleted long enough ago. */
export interface Sweepable {
  sweep(): Promise<void>
}

/** Once an hour: replaces a key that is too old to sign, and removes what is due. */
export class Upkeep {
  readonly #timer: NodeJS.Timeout
  #running: Promise<void> = Promise.resolve()

  constructor(
    private readonly keys: Pick<TokenKeys, 'rotateIfDue'>,
    private readonly swept: readonly Sweepable[],
    private readonly audit: Pick<Audit, 'record'>,
    private readonly log: Pick<Logger, 'error'>,
  ) {
    this.#timer = setInterval(() => void this.run(), EVERY_MS).unref()
  }

  /** Never rejects: what fails is logged, and due again an hour later. */
  run(): Promise<void> {
    this.#running = this.#tend().catch(err =>
      this.log.error({ event: 'store.failed', operation: 'keepUp', err }, 'tokens and deletions not tended'),
    )
    return this.#running
  }

  /** Resolves when nothing of it is under way. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#running
  }

  async #tend(): Promise<void> {
    const [isRotated] = await Promise.all([this.keys.rotateIfDue(), ...this.swept.map(one => one.sweep())])
    if (isRotated) this.audit.record({ event: 'keys.rotated' })
  }
}
