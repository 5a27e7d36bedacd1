/** For tests of the broker's persistence: real stores, and stores that count calls or fail. */
import { join } from 'node:path'
import type { Test } from 'tap'
import { GatewayError } from '../../src/core/errors.js'
import type { BrokerPacket, KvStore } from '../../src/mqtt/routing/persistence/kv.js'
import type { PersistenceOptions } from '../../src/mqtt/routing/persistence/options.js'
import { BrokerPersistence } from '../../src/mqtt/routing/persistence/persistence.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import {
  KV_COLLECTIONS,
  type KvCollection,
  type KvKey,
  type KvWrite,
  type Store,
} from '../../src/store/store.js'
import { MONGODB_URL, mongoStore, testDatabase } from './mongodb.js'

/** Opens an empty store; `t`'s teardown closes it. */
export type OpenStore = (t: Test) => Promise<Store>

async function openEmbedded(t: Test): Promise<Store> {
  const store = new EmbeddedStore({ dir: join(t.testdir(), 'db'), durability: 'commit', dedupWindowMs: 1000 })
  await store.open()
  t.teardown(() => store.close())
  return store
}

async function openMongo(t: Test): Promise<Store> {
  const store = mongoStore(testDatabase(t))
  await store.open()
  t.teardown(() => store.close())
  return store
}

/** The stores on which the persistence must work; MongoDB only with a test server (store-mongodb.test.ts reports a skip). */
export const STORES: readonly { readonly name: string; readonly open: OpenStore }[] = [
  { name: 'embedded', open: openEmbedded },
  ...(MONGODB_URL === undefined ? [] : [{ name: 'mongodb', open: openMongo }]),
]

/** Starts a broker with a new id. A second one over the same store is a restart. */
export async function start(
  kv: KvStore,
  options: PersistenceOptions = {},
  broker: { id: string; clients?: Record<string, unknown> } = { id: crypto.randomUUID() },
): Promise<BrokerPersistence> {
  const persistence = new BrokerPersistence(kv, options)
  await persistence.setup(broker)
  return persistence
}

export async function all(stream: AsyncIterable<unknown>): Promise<BrokerPacket[]> {
  const packets: BrokerPacket[] = []
  for await (const packet of stream) packets.push(packet as BrokerPacket)
  return packets
}

export function publication(topic: string, more: Partial<BrokerPacket> = {}): BrokerPacket {
  return { cmd: 'publish', topic, payload: Buffer.from(topic), qos: 1, retain: false, dup: false, ...more }
}

export function retained(topic: string, payload = topic): BrokerPacket {
  return publication(topic, { payload: Buffer.from(payload), retain: true })
}

export const payloads = (packets: readonly BrokerPacket[]): string[] =>
  packets.map(({ payload }) => String(payload))

/** Forwards all calls, counts them, and fails on request. */
export class WatchedKv implements KvStore {
  gets = 0
  /** Keys that ranges looked at. */
  walked = 0
  /** Of the values that they read. */
  valueBytes = 0
  writes: (readonly KvWrite[])[] = []
  isFailing = false
  readonly #kv: KvStore

  constructor(kv: KvStore) {
    this.#kv = kv
  }

  reset(): void {
    this.gets = 0
    this.walked = 0
    this.valueBytes = 0
    this.writes = []
  }

  async kvWrite(writes: readonly KvWrite[]): Promise<void> {
    this.#check()
    this.writes.push(writes)
    return this.#kv.kvWrite(writes)
  }

  async kvGet(collection: KvCollection, key: KvKey): ReturnType<KvStore['kvGet']> {
    this.#check()
    this.gets += 1
    return this.#kv.kvGet(collection, key)
  }

  async *kvRange(
    collection: KvCollection,
    prefix: KvKey,
    between?: readonly [string, string],
    wants?: (key: KvKey) => boolean,
  ): AsyncGenerator<{ key: KvKey; value: Uint8Array }> {
    this.#check()
    const counted = (key: KvKey) => {
      this.walked += 1
      return wants === undefined || wants(key)
    }
    for await (const entry of this.#kv.kvRange(collection, prefix, between, counted)) {
      this.valueBytes += entry.value.byteLength
      yield entry
    }
  }

  #check(): void {
    if (this.isFailing) throw new GatewayError('STORE_UNAVAILABLE')
  }
}

/** The broker's whole content of the store as text, to check that something was removed. */
export async function dump(kv: KvStore): Promise<string[]> {
  const rows: string[] = []
  for (const collection of KV_COLLECTIONS) {
    for await (const { key } of kv.kvRange(collection, [])) rows.push(`${collection} ${JSON.stringify(key)}`)
  }
  return rows
}
