/** Accounts that were deleted, and what the broker keeps of one. */
import type { UserId } from '../core/model.js'
import type { KvCollection, KvKey, KvWrite, Store } from './store.js'

/** Where keys begin with a client id, which begins with its account (mqtt/acl/client-id.ts), behind this prefix. */
const BY_CLIENT: readonly (readonly [KvCollection, KvKey])[] = [
  ['subscriptions', []],
  ['queue', []],
  ['incoming', []],
  ['wills', []],
  ['meta', ['session']],
]
/** What meta has of accounts: ['session', client id], ['retained', account, …]. */
const OF_ACCOUNT = new Set<unknown>(['session', 'retained'])
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

function accountOf(collection: KvCollection, key: KvKey): UserId {
  if (collection === 'sessions') return String(key[0])
  const part = collection === 'meta' ? (OF_ACCOUNT.has(key[0]) ? key[1] : '') : key[0]
  return collection === 'retained' ? '' : (String(part).split(':', 1)[0] ?? '')
}

/** Removes MQTT sessions, subscriptions, queues, wills, retained messages and logins of an account. */
export async function purgeKv(store: Pick<Store, 'kvRange' | 'kvWrite'>, id: UserId): Promise<void> {
  for (const [collection, prefix] of BY_CLIENT)
    await removeAll(store, collection, store.kvRange(collection, prefix, [`${id}:`, `${id};`]))
  await removeRetained(store, id)
  await removeAll(store, 'sessions', store.kvRange('sessions', [id]))
  // A write of one key alone also empties MongoDB's journal (mongodb/kv.ts), which names what was removed.
  await store.kvWrite([{ remove: 'meta', key: ['purged'] }])
}

/** What it published last under its topic, found by the rows that come with them (mqtt/aedes/persistence/retained.ts). */
async function removeRetained(store: Pick<Store, 'kvRange' | 'kvWrite'>, id: UserId): Promise<void> {
  for await (const { key, value } of store.kvRange('meta', ['retained', id])) {
    const topic = Buffer.from(value).toString().split('/')
    await store.kvWrite([
      { remove: 'retained', key: topic },
      { remove: 'meta', key },
    ])
  }
}

async function removeAll(
  store: Pick<Store, 'kvWrite'>,
  collection: KvCollection,
  found: AsyncIterable<{ key: KvKey }>,
): Promise<void> {
  let removals: KvWrite[] = []
  for await (const { key } of found) {
    removals.push({ remove: collection, key })
    if (removals.length < CHUNK) continue
    await store.kvWrite(removals)
    removals = []
  }
  if (removals.length > 0) await store.kvWrite(removals)
}
