/** What becomes due by the age of keys and logins. */
import type { Logins } from '../auth/logins.js'
import type { TokenKeys } from '../auth/token-keys.js'
import type { Audit } from '../core/audit.js'
import type { Logger } from '../core/log.js'

const EVERY_MS = 3_600_000

/** Once an hour: replaces a key that is too old to sign, and removes logins that have expired. */
export class Upkeep {
  readonly #timer: NodeJS.Timeout

  constructor(
    private readonly keys: Pick<TokenKeys, 'rotateIfDue'>,
    private readonly logins: Pick<Logins, 'sweep'>,
    private readonly audit: Pick<Audit, 'record'>,
    private readonly log: Pick<Logger, 'error'>,
  ) {
    this.#timer = setInterval(() => void this.run(), EVERY_MS).unref()
  }

  /** Never rejects: what fails is logged, and due again an hour later. */
  async run(): Promise<void> {
    try {
      const [isRotated] = await Promise.all([this.keys.rotateIfDue(), this.logins.sweep()])
      if (isRotated) this.audit.record({ event: 'keys.rotated' })
    } catch (err) {
      this.log.error({ event: 'store.failed', operation: 'keepUp', err }, 'tokens not tended')
    }
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
