/** Accounts whose owners have deleted them, and that stay for a time in which a login takes that back. */
import { GatewayError } from '../core/errors.js'
import type { UserId } from '../core/model.js'
import { KeyedSerial } from '../flow/serial.js'
import type { KeyValue, KvKey } from '../store/store.js'

const PREFIX = 'deletion'
const keyOf = (userId: UserId): KvKey => [PREFIX, userId]

/** Both ms since the epoch. */
interface Pending {
  /** When the account will be removed. */
  readonly at: number
  readonly scheduledAt: number
}

function decode(value: Uint8Array): Pending {
  const [at = 0, scheduledAt = 0] = Buffer.from(value).toString().split(' ').map(Number)
  return { at, scheduledAt }
}

export class PendingDeletions {
  /** A login takes a deletion back, or the account is removed: not both. */
  readonly #turns = new KeyedSerial()
  readonly #removing = new Set<UserId>()

  constructor(
    private readonly kv: KeyValue,
    /** How long an account stays, ms; 0 = it is removed at once. */
    readonly graceMs: number,
  ) {}

  /** @returns when the account will be removed, ms since the epoch */
  async schedule(userId: UserId): Promise<number> {
    const now = Date.now()
    const at = now + this.graceMs
    await this.kv.kvWrite([{ put: 'meta', key: keyOf(userId), value: Buffer.from(`${at} ${now}`) }])
    return at
  }

  /** @returns when the account will be removed, ms since the epoch; undefined: it stays */
  async at(userId: UserId): Promise<number | undefined> {
    return (await this.#get(userId))?.at
  }

  /**
   * The account stays: its owner has logged in.
   * @param since when that login began, ms since the epoch: one that began before the deletion takes nothing back
   * @returns whether it was to be removed
   * @throws GatewayError ERROR_AUTH when its time is over, and while it is being removed
   */
  cancel(userId: UserId, since: number): Promise<boolean> {
    return this.#turns.run(userId, async () => {
      if (this.#removing.has(userId)) throw new GatewayError('ERROR_AUTH')
      const pending = await this.#get(userId)
      if (pending === undefined || since < pending.scheduledAt) return false
      // What is due goes once an hour; when it goes must not be what decides.
      if (pending.at <= Date.now()) throw new GatewayError('ERROR_AUTH')
      await this.#forget(userId)
      return true
    })
  }

  /** Accounts whose time is over. */
  async due(now = Date.now()): Promise<UserId[]> {
    const found: UserId[] = []
    for await (const { key, value } of this.kv.kvRange('meta', [PREFIX]))
      if (decode(value).at <= now) found.push(String(key[1]))
    return found
  }

  /** Runs `remove` for an account that is still due; from then on no login takes that back. */
  async remove(userId: UserId, remove: () => Promise<void>): Promise<void> {
    const isDue = async () => ((await this.at(userId)) ?? Number.POSITIVE_INFINITY) <= Date.now()
    const claim = async () => {
      const is = await isDue()
      if (is) this.#removing.add(userId)
      return is
    }
    if (!(await this.#turns.run(userId, claim))) return
    try {
      await remove()
      // Last, so that it is tried again after a stop in between.
      await this.#forget(userId)
    } finally {
      this.#removing.delete(userId)
    }
  }

  async #get(userId: UserId): Promise<Pending | undefined> {
    const value = await this.kv.kvGet('meta', keyOf(userId))
    return value && decode(value)
  }

  #forget(userId: UserId): Promise<void> {
    return this.kv.kvWrite([{ remove: 'meta', key: keyOf(userId) }])
  }
}
