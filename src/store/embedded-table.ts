/** Named databases of the embedded store: tuple keys, values of one shape. */
import type { RootDatabase } from 'lmdb'
import { type Key, readKey, writeKey } from './embedded-keys.js'

/** The part of lmdb's Database that is used. Puts and removes belong into a write or transaction of EmbeddedEnv. */
export interface Table<V> {
  get(key: Key): V | undefined
  put(key: Key, value: V): unknown
  remove(key: Key): unknown
  clearAsync(): unknown
  getRange(bounds: Bounds): Iterable<{ key: (string | number)[]; value: V }>
  getStats(): { entryCount: number }
}

/** `start` and `end` are always given: lmdb's defaults for an absent one belong to its own key encoding. */
export interface Bounds {
  readonly start: Key
  readonly end: Key
  readonly limit?: number
  readonly reverse?: boolean
  readonly exclusiveStart?: boolean
  readonly inclusiveEnd?: boolean
}

export type OpenTable = ReturnType<typeof tableOpener>

export function tableOpener(root: RootDatabase) {
  return <V>(name: string, encoding: 'msgpack' | 'string' | 'binary' = 'msgpack'): Table<V> => {
    const options = { name, encoding, keyEncoder: { writeKey, readKey } }
    return root.openDB(options) as unknown as Table<V>
  }
}
