/** Accounts whose owners have deleted them, and that stay for a time in which a login takes that back. */
import type { UserId } from '../core/model.js'
import type { KeyValue, KvKey } from '../store/store.js'

const PREFIX = 'deletion'
const keyOf = (userId: UserId): KvKey => [PREFIX, userId]
const decode = (value: Uint8Array): number => Number(Buffer.from(value).toString())

export class PendingDeletions {
  constructor(
    private readonly kv: KeyValue,
    /** How long an account stays, ms; 0 = it is removed at once. */
    readonly graceMs: number,
  ) {}

  /** @returns when the account will be removed, ms since the epoch */
  async schedule(userId: UserId): Promise<number> {
    const at = Date.now() + this.graceMs
    await this.kv.kvWrite([{ put: 'meta', key: keyOf(userId), value: Buffer.from(String(at)) }])
    return at
  }

  /** @returns when the account will be removed, ms since the epoch; undefined: it stays */
  async at(userId: UserId): Promise<number | undefined> {
    const value = await this.kv.kvGet('meta', keyOf(userId))
    return value && decode(value)
  }

  /** The account stays, or is gone. @returns whether it was to be removed */
  async cancel(userId: UserId): Promise<boolean> {
    if ((await this.at(userId)) === undefined) return false
    await this.kv.kvWrite([{ remove: 'meta', key: keyOf(userId) }])
    return true
  }

  /** Accounts whose time is over. */
  async due(now = Date.now()): Promise<UserId[]> {
    const found: UserId[] = []
    for await (const { key, value } of this.kv.kvRange('meta', [PREFIX]))
      if (decode(value) <= now) found.push(String(key[1]))
    return found
  }
}
