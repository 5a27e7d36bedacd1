/** A key-value store in a Map. A test can delay its writes or make them fail. */
import { GatewayError } from '../../src/core/errors.js'
import type { KvStore } from '../../src/mqtt/routing/persistence/kv.js'
import type { KvCollection, KvKey, KvValue, KvWrite } from '../../src/store/store.js'

interface Entry {
  readonly collection: KvCollection
  readonly key: KvKey
  readonly value: KvValue
}

export class HeldKv implements KvStore {
  isFailing = false
  /** Whether a failing write is done nevertheless, as if only the server's answer was lost. */
  writesThoughFailing = false
  /** Number of write calls. */
  writes = 0
  readonly #entries: Map<string, Entry>
  /** Resolves when writes may continue; later writes keep their order. */
  #gate: Promise<void> = Promise.resolve()
  #open: () => void = () => undefined

  constructor(entries: Iterable<[string, Entry]> = []) {
    this.#entries = new Map(entries)
  }

  /** From now on writes wait. */
  hold(): void {
    this.#gate = new Promise(resolve => {
      this.#open = resolve
    })
  }

  letGo(): void {
    this.#open()
  }

  /** The stored content, as another process would find it. */
  crashed(): HeldKv {
    return new HeldKv(this.#entries)
  }

  keys(collection: KvCollection): KvKey[] {
    return this.#of(collection, []).map(({ key }) => key)
  }

  async kvWrite(writes: readonly KvWrite[]): Promise<void> {
    this.writes += 1
    const { isFailing } = this
    await this.#gate
    if (!isFailing || this.writesThoughFailing) for (const write of writes) this.#write(write)
    if (isFailing) throw new GatewayError('STORE_UNAVAILABLE')
  }

  readonly commit = (writes: readonly KvWrite[]) => this.kvWrite(writes)

  async kvGet(collection: KvCollection, key: KvKey): Promise<KvValue | undefined> {
    return this.#entries.get(idOf(collection, key))?.value
  }

  /** The content at the start of the range, like a store that reads in pages. */
  async *kvRange(
    collection: KvCollection,
    prefix: KvKey,
    _between?: readonly [string, string],
    wants: (key: KvKey) => boolean = () => true,
  ): AsyncGenerator<{ key: KvKey; value: KvValue }> {
    yield* this.#of(collection, prefix).filter(({ key }) => wants(key))
  }

  #of(collection: KvCollection, prefix: KvKey): Entry[] {
    return [...this.#entries.values()]
      .filter(entry => entry.collection === collection && prefix.every((part, i) => entry.key[i] === part))
      .sort((a, b) => compare(a.key, b.key))
  }

  #write(write: KvWrite): void {
    if ('put' in write) {
      const { put: collection, key, value } = write
      this.#entries.set(idOf(collection, key), { collection, key, value })
    } else this.#entries.delete(idOf(write.remove, write.key))
  }
}

const idOf = (collection: KvCollection, key: KvKey) => JSON.stringify([collection, ...key])

function compare(a: KvKey, b: KvKey): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [x, y] = [a[i], b[i]]
    if (x === y) continue
    if (x === undefined || y === undefined) return x === undefined ? -1 : 1
    return x < y ? -1 : 1
  }
  return 0
}
