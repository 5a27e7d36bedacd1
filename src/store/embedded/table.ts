/** Named databases of the embedded store, values of one shape. */
import { asBinary, type Binary, type RootDatabase } from 'lmdb'
import { boundedKey, type Key, readKey, writeKey } from './keys.js'

/** The part of lmdb's Database that is used. Puts and removes belong into a write or transaction of EmbeddedEnv. */
export interface Table<V, K = Key, Read = (string | number)[]> {
  get(key: K): V | undefined
  put(key: K, value: V | Binary): unknown
  remove(key: K): unknown
  clearAsync(): unknown
  getRange(bounds: Bounds<K>): Iterable<{ key: Read; value: V }>
  getKeys(bounds: Bounds<K>): Iterable<Read>
  getStats(): { entryCount: number }
}

/** A value that is encoded already; lmdb reads its bytes when it commits. */
export const encoded: (bytes: Buffer) => Binary = asBinary

/** `start` and `end` are always given: lmdb's defaults for an absent one belong to its own key encoding. */
export interface Bounds<K = Key> {
  readonly start: K
  readonly end: K
  readonly limit?: number
  readonly reverse?: boolean
  readonly exclusiveStart?: boolean
  readonly inclusiveEnd?: boolean
}

export type OpenTable = ReturnType<typeof tableOpener>

/** @param opened gets each table by its name */
export function tableOpener(root: RootDatabase, opened?: Map<string, { getStats(): object }>) {
  /** @param keys tuples, or bytes as they are (copied by each call) for what every message writes */
  return <V, K extends Key | Buffer = Key, Read = (string | number)[]>(
    name: string,
    encoding: 'msgpack' | 'string' | 'binary' = 'msgpack',
    keys: 'tuple' | 'binary' = 'tuple',
  ): Table<V, K, Read> => {
    const keyOptions =
      keys === 'tuple' ? { keyEncoder: { writeKey, readKey } } : { keyEncoding: 'binary' as const }
    const db = root.openDB({ name, encoding, ...keyOptions })
    opened?.set(name, db)
    return new CheckedTable(db as unknown as Table<V, K, Read>)
  }
}

/**
 * lmdb takes a key as it is only where it cannot be wrong: one that is too long ends the process when it is put, and one
 * that fails in a range leaves a cursor open, whose reader slot (of 126) is lost until the garbage is collected.
 */
class CheckedTable<V, K extends Key | Buffer, Read> implements Table<V, K, Read> {
  constructor(private readonly db: Table<V, K, Read>) {}

  get(key: K): V | undefined {
    return this.db.get(boundedKey(key))
  }

  put(key: K, value: V | Binary): unknown {
    return this.db.put(boundedKey(key), value)
  }

  remove(key: K): unknown {
    return this.db.remove(boundedKey(key))
  }

  clearAsync(): unknown {
    return this.db.clearAsync()
  }

  getStats(): { entryCount: number } {
    return this.db.getStats()
  }

  /** Closes its cursor however it ends: lmdb's own does not when it throws, nor does `for` where `next` threw. */
  getRange(bounds: Bounds<K>): Generator<{ key: Read; value: V }> {
    return this.#closing(bounds, () => this.db.getRange(bounds))
  }

  /** Reads no values. */
  getKeys(bounds: Bounds<K>): Generator<Read> {
    return this.#closing(bounds, () => this.db.getKeys(bounds))
  }

  *#closing<T>(bounds: Bounds<K>, range: () => Iterable<T>): Generator<T> {
    boundedKey(bounds.start)
    boundedKey(bounds.end)
    const cursor = range()[Symbol.iterator]()
    try {
      for (let next = cursor.next(); !next.done; next = cursor.next()) yield next.value
    } finally {
      cursor.return?.()
    }
  }
}
