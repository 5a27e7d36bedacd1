/** Named databases of the embedded store, values of one shape. */
import { asBinary, type Binary, type RootDatabase } from 'lmdb'
import { type Key, readKey, writeKey } from './keys.js'

/** The part of lmdb's Database that is used. Puts and removes belong into a write or transaction of EmbeddedEnv. */
export interface Table<V, K = Key, Read = (string | number)[]> {
  get(key: K): V | undefined
  put(key: K, value: V | Binary): unknown
  remove(key: K): unknown
  clearAsync(): unknown
  getRange(bounds: Bounds<K>): Iterable<{ key: Read; value: V }>
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

export function tableOpener(root: RootDatabase) {
  /** @param keys tuples, or bytes as they are (copied by each call) for what every message writes */
  return <V, K = Key, Read = (string | number)[]>(
    name: string,
    encoding: 'msgpack' | 'string' | 'binary' = 'msgpack',
    keys: 'tuple' | 'binary' = 'tuple',
  ): Table<V, K, Read> => {
    const keyOptions =
      keys === 'tuple' ? { keyEncoder: { writeKey, readKey } } : { keyEncoding: 'binary' as const }
    return root.openDB({ name, encoding, ...keyOptions }) as unknown as Table<V, K, Read>
  }
}
