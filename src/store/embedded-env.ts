/**
 * The LMDB environment of the embedded store: opening, the lock, one way to read, two ways to write, errors.
 * lmdb is imported here and nowhere else.
 */
import { open, type RootDatabase } from 'lmdb'
import { type CodeName, GatewayError } from '../errors.js'
import { type Key, readKey, writeKey } from './embedded-keys.js'

export type Durability = 'commit' | 'flush'

/** A named database: tuple keys, values of one shape. */
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

/** Errors by which an operating system or LMDB says that there is no room. */
const FULL = /ENOSPC|EDQUOT|EFBIG|No space left|quota exceeded|File too large|MDB_MAP_FULL/i

export class EmbeddedEnv {
  readonly #dir: string
  readonly #durability: Durability
  #root: RootDatabase | undefined
  readonly #writes = new Set<Promise<unknown>>()

  constructor(dir: string, durability: Durability) {
    this.#dir = dir
    this.#durability = durability
  }

  /**
   * @throws GatewayError STORE_UNAVAILABLE when the folder cannot be used or another store has it open.
   *
   * The lock is LMDB's own, so that it ends with the process however that ends: the first to open a folder takes an
   * exclusive lock of the operating system, empties the table of readers, and keeps a shared one. Whoever is not the
   * first finds the first one's row in that table.
   */
  open(): void {
    try {
      this.#root = open({ path: this.#dir, noSubdir: false, maxDbs: 32, eventTurnBatching: false })
    } catch (cause) {
      throw new GatewayError(
        'STORE_UNAVAILABLE',
        { reason: `cannot open ${this.#dir}: ${text(cause)}` },
        cause,
      )
    }
    this.#refuseOthers(0)
  }

  /** Call it when all tables are open: from the first read on this store is in the table of readers. */
  lock(): void {
    this.root.get('')
    this.#refuseOthers(1)
  }

  #refuseOthers(own: number): void {
    const rows = this.root
      .readerList()
      .trim()
      .split('\n')
      .filter(row => /^\s*\d/.test(row))
    if (rows.length <= own) return
    const pid = rows[0]?.trim().split(/\s+/)[0]
    void this.#root?.close()
    this.#root = undefined
    const reason = `${this.#dir} is in use by process ${pid}: one gateway a data folder`
    throw new GatewayError('STORE_UNAVAILABLE', { reason })
  }

  table<V>(name: string, encoding: 'msgpack' | 'string' | 'binary' = 'msgpack'): Table<V> {
    const options = { name, encoding, keyEncoder: { writeKey, readKey } }
    return this.root.openDB(options) as unknown as Table<V>
  }

  get root(): RootDatabase {
    if (this.#root === undefined)
      throw new GatewayError('STORE_UNAVAILABLE', { reason: 'the store is closed' })
    return this.#root
  }

  /** Runs a read; everything it reads is of one snapshot, for it does not wait in between. */
  read<T>(work: () => T): T {
    try {
      void this.root
      return work()
    } catch (cause) {
      throw toStoreError(cause)
    }
  }

  /** One commit for all puts and removes of `work`, which must not throw after its first one, and must not read. */
  write(work: () => void): Promise<void> {
    return this.#track(async () => {
      await this.root.batch(work)
    })
  }

  /**
   * One commit for all that `work` does, with everything written before it visible to its reads. `work` does not
   * wait, and throws before its first put or not at all.
   */
  transaction<T>(work: () => T): Promise<T> {
    return this.#track(() => this.root.transaction(work))
  }

  async #track<T>(commit: () => Promise<T>): Promise<T> {
    const writing = this.#settle(commit)
    this.#writes.add(writing)
    try {
      return await writing
    } finally {
      this.#writes.delete(writing)
    }
  }

  async #settle<T>(commit: () => Promise<T>): Promise<T> {
    try {
      const result = await commit()
      if (this.#durability === 'flush') await this.root.flushed
      return result
    } catch (cause) {
      throw toStoreError(await reasonOf(cause))
    }
  }

  /** Waits for the writes that were accepted, then closes. */
  async close(): Promise<void> {
    const root = this.#root
    if (root === undefined) return
    this.#root = undefined
    await Promise.allSettled(this.#writes)
    await root.close()
  }
}

/** What made the commit fail: lmdb hands it over as a promise, and it must be taken, or it ends the process. */
async function reasonOf(thrown: unknown): Promise<unknown> {
  if (!(thrown instanceof Error && 'commitError' in thrown)) return thrown
  try {
    await thrown.commitError
  } catch (cause) {
    return cause
  }
  return thrown
}

function toStoreError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  const code: CodeName = FULL.test(text(thrown)) ? 'STORE_FULL' : 'STORE_UNAVAILABLE'
  return new GatewayError(code, { reason: text(thrown) }, thrown)
}

function text(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
