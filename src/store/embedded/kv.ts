/** The broker's own state in the embedded store: bytes by tuple, a table a collection. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { DeletedUsers } from '../deleted.js'
import type { KeyValue, KvCollection, KvKey, KvValue, KvWrite } from '../store.js'
import type { EmbeddedEnv } from './env.js'
import { boundedKey, FIRST, type Key, LAST } from './keys.js'
import type { OpenTable, Table } from './table.js'

/** A range is read in pages of so many entries, or bytes of values; nothing is held open between two of them. */
const PAGE = 256
const PAGE_BYTES = 65_536

interface Entry {
  readonly key: KvKey
  readonly value: KvValue
}

interface Page {
  readonly entries: readonly Entry[]
  /** The last key that was looked at; undefined: there are no more. */
  readonly last: KvKey | undefined
}

export class EmbeddedKv implements KeyValue {
  readonly #env: EmbeddedEnv
  readonly #tables: Readonly<Record<KvCollection, Table<KvValue>>>

  constructor(
    env: EmbeddedEnv,
    table: OpenTable,
    private readonly deleted: DeletedUsers,
  ) {
    this.#env = env
    const collection = (name: KvCollection) => table<KvValue>(`kv-${name}`, 'binary')
    this.#tables = {
      retained: collection('retained'),
      subscriptions: collection('subscriptions'),
      queue: collection('queue'),
      incoming: collection('incoming'),
      wills: collection('wills'),
      meta: collection('meta'),
      sessions: collection('sessions'),
    }
  }

  async kvWrite(writes: readonly KvWrite[]): Promise<void> {
    const kept = this.deleted.without(writes)
    for (const { key } of kept) boundedKey(key)
    await this.#env.write(() => {
      for (const write of kept) {
        if ('put' in write) this.#tables[write.put].put(write.key, write.value)
        else this.#tables[write.remove].remove(write.key)
      }
    }, kept.length)
  }

  async kvGet(collection: KvCollection, key: KvKey): Promise<KvValue | undefined> {
    return this.#env.read(() => this.#tables[collection].get(key))
  }

  async *kvRange(
    collection: KvCollection,
    prefix: KvKey,
    between?: readonly [string, string],
    wants?: (key: KvKey) => boolean,
  ): AsyncGenerator<{ key: KvKey; value: KvValue }> {
    const end: Key = boundedKey([...prefix, between?.[1] ?? LAST])
    let start: Key = prefix.length === 0 ? [FIRST] : prefix
    if (between !== undefined) start = [...prefix, between[0]]
    for (;;) {
      const { entries, last } = this.#env.read(() =>
        wants === undefined
          ? this.#page(collection, start, end)
          : this.#wantedPage(collection, start, end, wants),
      )
      yield* entries
      if (last === undefined) return
      start = [...last, FIRST]
      if (wants !== undefined) await nextTurn()
    }
  }

  #page(collection: KvCollection, start: Key, end: Key): Page {
    const entries: Entry[] = []
    let bytes = 0
    for (const entry of this.#tables[collection].getRange({ start, end, limit: PAGE })) {
      entries.push(entry)
      bytes += entry.value.length
      if (bytes >= PAGE_BYTES) break
    }
    return { entries, last: entries.at(-1)?.key }
  }

  #wantedPage(collection: KvCollection, start: Key, end: Key, wants: (key: KvKey) => boolean): Page {
    const table = this.#tables[collection]
    const entries: Entry[] = []
    let last: KvKey | undefined
    let bytes = 0
    for (const key of table.getKeys({ start, end, limit: PAGE })) {
      last = key
      const value = wants(key) ? table.get(key) : undefined
      if (value === undefined) continue
      entries.push({ key, value })
      bytes += value.length
      if (bytes >= PAGE_BYTES) break
    }
    return { entries, last }
  }
}
