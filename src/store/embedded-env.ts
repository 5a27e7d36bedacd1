/**
 * The LMDB environment of the embedded store: opening, the lock, one way to read, two ways to write.
 * lmdb is imported here and in embedded-visible.ts, nowhere else.
 */
import { randomUUID } from 'node:crypto'
import { open, type RootDatabase } from 'lmdb'
import { GatewayError } from '../errors.js'
import { failureOf, isFatal, reasonText, toStoreError } from './embedded-errors.js'
import { type Key, readKey, writeKey } from './embedded-keys.js'
import { onVisible, survivesUnsynced } from './embedded-visible.js'

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

/** Writes that can be told apart while they are under way; more of them just wait for lmdb's promise. */
const MARKS = 32

export class EmbeddedEnv {
  readonly #dir: string
  readonly #durability: Durability
  #root: RootDatabase | undefined
  /** Why nothing can be written any more, see isFatal. */
  #broken: GatewayError | undefined
  /** What is being written, each with the check whether it can be read by now. */
  readonly #writes = new Map<Promise<void>, () => void>()
  /** [n mod MARKS] → the mark of write n: who can read that, can read all of write n. */
  #marks: Table<string> | undefined
  readonly #run = randomUUID()
  #written = 0

  constructor(dir: string, durability: Durability) {
    this.#dir = dir
    this.#durability = durability
  }

  /**
   * @throws GatewayError STORE_UNAVAILABLE when the folder cannot be used or another store has it open.
   *
   * The lock is LMDB's own, so that it ends with the process however that ends: the first to open a folder gets an
   * exclusive lock of the operating system, empties the table of readers, and keeps a shared lock. Whoever is not
   * the first finds the first one's row in that table. It needs no file of ours that could be left behind, no pid that
   * could be another's by now, and it holds between containers that share a folder.
   */
  open(): void {
    // eventTurnBatching adds a promise to each commit that is never handed out: a failed commit ends the process.
    // safeRestore would drop what was committed and not yet synced when a process died.
    const options = {
      path: this.#dir,
      noSubdir: false,
      maxDbs: 32,
      eventTurnBatching: false,
      safeRestore: false,
    }
    if (this.#root !== undefined)
      throw new GatewayError('STORE_UNAVAILABLE', { reason: 'the store is open already' })
    try {
      this.#root = open(options)
    } catch (cause) {
      throw new GatewayError(
        'STORE_UNAVAILABLE',
        { reason: `cannot open ${this.#dir}: ${reasonText(cause)}` },
        cause,
      )
    }
    this.#refuseOthers(0)
    this.#marks = this.table('marks', 'string')
    if (this.#durability === 'commit' && survivesUnsynced()) this.#acknowledgeVisible(this.#root)
  }

  /** Call it when all tables are open: from its first read on this store is in the table of readers. */
  lock(): void {
    this.read(() => this.#marks?.get([0]))
    this.#refuseOthers(1)
  }

  #refuseOthers(own: number): void {
    const rows = this.root
      .readerList()
      .split('\n')
      .filter(row => /^\s*\d/.test(row))
    if (rows.length <= own) return
    const pid = rows[0]?.trim().split(/\s/, 1)[0]
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

  /** Runs a read; all that it reads is of one snapshot, for it does not wait in between. */
  read<T>(work: () => T): T {
    try {
      void this.root
      return work()
    } catch (cause) {
      throw toStoreError(cause, this.#dir)
    }
  }

  /** One commit for all puts and removes of `work`, which does not read, and throws before its first put or never. */
  write(work: () => void): Promise<void> {
    return this.#commit((root, mark) =>
      root.batch(() => {
        work()
        mark()
      }),
    )
  }

  /**
   * One commit for all that `work` does, with everything written before it visible to its reads. `work` does not
   * wait, and throws before its first put or never.
   */
  async transaction<T>(work: () => T): Promise<T> {
    const results: T[] = []
    await this.#commit((root, mark) =>
      root.transaction(() => {
        results.push(work())
        mark()
      }),
    )
    return results[0] as T
  }

  /** Resolves when the commit is as durable as was asked for. */
  async #commit(start: (root: RootDatabase, mark: () => void) => Promise<unknown>): Promise<void> {
    const { root } = this
    if (this.#broken !== undefined) throw this.#broken
    const n = ++this.#written
    const marks = this.#marks
    const [key, mark] = [[n % MARKS], `${this.#run} ${n}`]
    const writing = this.#settle(
      root,
      start(root, () => marks?.put(key, mark)),
    )
    const visible = new Promise<void>(resolve => {
      this.#writes.set(writing, () => marks?.get(key) === mark && resolve())
    })
    const forget = () => this.#writes.delete(writing)
    writing.then(forget, forget)
    await Promise.race([writing, visible])
  }

  #acknowledgeVisible(root: RootDatabase): void {
    onVisible(root, () => {
      root.resetReadTxn()
      for (const check of this.#writes.values()) check()
    })
  }

  async #settle(root: RootDatabase, commit: Promise<unknown>): Promise<void> {
    try {
      await commit
      if (this.#durability === 'flush') await sync(root)
    } catch (thrown) {
      const failure = await failureOf(thrown)
      if (failure === undefined || !isFatal(failure, this.#dir))
        throw toStoreError(failure ?? thrown, this.#dir)
      const reason = `a write failed (${reasonText(failure)}); start the gateway anew once the disk is well`
      this.#broken ??= new GatewayError('STORE_UNAVAILABLE', { reason }, failure)
      throw this.#broken
    }
  }

  /** Waits for the writes that were accepted, then closes. */
  async close(): Promise<void> {
    const root = this.#root
    this.#root = undefined
    // A broken environment would never get to the end of its writes: it ends with the process, and so does its lock.
    if (root === undefined || this.#broken !== undefined) return
    await Promise.allSettled(this.#writes.keys())
    // After a commit that failed lmdb waits for ever for its sync, unless another one has succeeded since.
    await root.transaction(() => undefined)
    await root.close()
  }
}

/** Not `root.flushed`, which never resolves once a later commit has failed. */
function sync(root: RootDatabase): Promise<void> {
  const { sync } = root as unknown as { sync(done: (error?: Error) => void): void }
  return new Promise((resolve, reject) => sync(error => (error === undefined ? resolve() : reject(error))))
}
