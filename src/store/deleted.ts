/** Accounts that were deleted, and what the broker keeps of one. */
import type { UserId } from '../core/model.js'
import type { KeyValue, KvCollection, KvKey, KvWrite } from './store.js'

/** Where keys begin with a client id, which begins with its account (mqtt/acl/client-id.ts), behind this prefix. */
const BY_CLIENT: readonly (readonly [KvCollection, KvKey])[] = [
  ['subscriptions', []],
  ['queue', []],
  ['incoming', []],
  ['wills', []],
  ['meta', ['session']],
]
/** What meta has of accounts: ['session', client id], ['retained', account, …], and so on. */
const OF_ACCOUNT = new Set<unknown>([
  'session',
  'retained',
  'proof',
  'mail',
  'file',
  'file-reader',
  'file-day',
])
/** Where keys of meta begin with such a word and the account. */
const BY_ACCOUNT = ['proof', 'mail', 'file', 'file-reader', 'file-day'] as const
/** Removals of one commit. */
const CHUNK = 500

/**
 * Those deleted since the store was opened: what is still on its way for them is not written any more. Their ids are
 * never given again.
 */
export class DeletedUsers {
  readonly #ids = new Set<UserId>()

  add(id: UserId): void {
    this.#ids.add(id)
  }

  has(id: UserId): boolean {
    return this.#ids.size > 0 && this.#ids.has(id)
  }

  /** @returns the writes without those that keep something of a deleted account */
  without(writes: readonly KvWrite[]): readonly KvWrite[] {
    if (this.#ids.size === 0) return writes
    const isGone = (write: KvWrite) => 'put' in write && this.#ids.has(accountOf(write.put, write.key))
    // A retained message does not tell its account, but comes with a row that does.
    if (writes.some(write => isGone(write) && write.key[0] === 'retained')) return []
    return writes.filter(write => !isGone(write))
  }
}

/** The account that an entry belongs to; another text where it belongs to none. */
export function accountOf(collection: KvCollection, key: KvKey): UserId {
  if (collection === 'sessions') return String(key[0])
  const part = collection === 'meta' ? (OF_ACCOUNT.has(key[0]) ? key[1] : '') : key[0]
  return collection === 'retained' ? '' : (String(part).split(':', 1)[0] ?? '')
}

/** Removes MQTT sessions, subscriptions, queues, wills, retained messages and logins of an account. */
async function purgeKv(kv: KeyValue, id: UserId): Promise<void> {
  for (const [collection, prefix] of BY_CLIENT)
    await removeAll(kv, collection, kv.kvRange(collection, prefix, [`${id}:`, `${id};`]))
  await removeRetained(kv, id)
  await removeAll(kv, 'sessions', kv.kvRange('sessions', [id]))
  for (const name of BY_ACCOUNT) await removeAll(kv, 'meta', kv.kvRange('meta', [name, id]))
  await removeHeld(kv, id)
  // A write of one key alone also empties MongoDB's journal (mongodb/kv.ts), which names what was removed.
  await kv.kvWrite([{ remove: 'meta', key: ['purged'] }])
}

/** What it published last under its topic, found by the rows that come with them (mqtt/routing/persistence/retained.ts). */
async function removeRetained(kv: KeyValue, id: UserId): Promise<void> {
  for await (const { key, value } of kv.kvRange('meta', ['retained', id])) {
    const topic = Buffer.from(value).toString().split('/')
    await kv.kvWrite([
      { remove: 'retained', key: topic },
      { remove: 'meta', key },
    ])
  }
}

/** Addresses that the account had (accounts/held-addresses.ts): there are few, of the last days. */
async function removeHeld(kv: KeyValue, id: UserId): Promise<void> {
  for await (const { key, value } of kv.kvRange('meta', ['held']))
    if (Buffer.from(value).toString().startsWith(`${id} `)) await kv.kvWrite([{ remove: 'meta', key }])
}

async function removeAll(
  kv: KeyValue,
  collection: KvCollection,
  found: AsyncIterable<{ key: KvKey }>,
): Promise<void> {
  let removals: KvWrite[] = []
  for await (const { key } of found) {
    removals.push({ remove: collection, key })
    if (removals.length < CHUNK) continue
    await kv.kvWrite(removals)
    removals = []
  }
  if (removals.length > 0) await kv.kvWrite(removals)
}

/** What an account has in one role besides itself. */
export interface Purgeable {
  /** Removes it in pieces, each a commit of its own. */
  purge(id: UserId): Promise<void>
}

/** What is left of deleted accounts in all roles. A deletion that a stop interrupted is finished after the next open. */
export class Remains {
  constructor(
    private readonly kv: KeyValue,
    private readonly others: readonly Purgeable[],
  ) {}

  async purge(id: UserId): Promise<void> {
    await purgeKv(this.kv, id)
    for (const role of this.others) await role.purge(id)
  }

  /** The broker's state alone: call it before the broker reads its state. */
  async purgeKv(ids: readonly UserId[]): Promise<void> {
    for (const id of ids) await purgeKv(this.kv, id)
  }
}

/** How one store removes the account itself. */
export interface DeletableUsers {
  /** The account is gone when this resolves, and noted as one of which something may remain. */
  remove(id: UserId): Promise<void>
  /** Deleted users of whom something may remain. */
  toPurge(): Promise<UserId[]>
  /** Notes that nothing of it remains. */
  purged(id: UserId): Promise<unknown>
}

/** The order of a deletion: the account first, then what it has in all roles. The same in every store. */
export class Deletions {
  #finishing: Promise<void> = Promise.resolve()

  constructor(
    private readonly users: DeletableUsers,
    private readonly deleted: DeletedUsers,
    private readonly remains: Remains,
  ) {}

  /** See Users.deleteUser. */
  async run(id: UserId, gone?: () => Promise<unknown>): Promise<void> {
    await this.users.remove(id)
    this.deleted.add(id)
    await gone?.()
    await this.#purge(id)
  }

  /**
   * Finishes deletions that a stop interrupted. Resolves when the broker's state of these accounts is gone, which must be
   * before the broker reads it. Nobody waits for the rest; a failure leaves it to the next open.
   */
  async finish(): Promise<void> {
    const left = await this.users.toPurge()
    await this.remains.purgeKv(left)
    this.#finishing = this.#purgeAll(left).catch(() => undefined)
  }

  /** Resolves when `finish` has done the rest, or has failed. */
  finished(): Promise<void> {
    return this.#finishing
  }

  async #purgeAll(ids: readonly UserId[]): Promise<void> {
    for (const id of ids) await this.#purge(id)
  }

  async #purge(id: UserId): Promise<void> {
    await this.remains.purge(id)
    await this.users.purged(id)
  }
}
