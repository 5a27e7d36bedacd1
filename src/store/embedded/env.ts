/**
 * The LMDB environment of the embedded store: opening, the lock, one way to read, two ways to write.
 * lmdb is imported here, and its types in commits.ts and progress.ts.
 */
import { open, type RootDatabase } from 'lmdb'
import { GatewayError } from '../../core/errors.js'
import { Commits, type Durability } from './commits.js'
import { reasonText, toStoreError } from './errors.js'
import { checkFile, type FileCheck, noteClosed } from './file.js'
import { Place } from './place.js'
import { type OpenTable, tableOpener } from './table.js'

interface Opened {
  readonly root: RootDatabase
  readonly commits: Commits
  readonly place: Place
}

export interface EnvOptions {
  readonly dir: string
  readonly durability: Durability
  readonly check: FileCheck
}

export class EmbeddedEnv {
  readonly #options: EnvOptions
  #opened: Opened | undefined

  constructor(options: EnvOptions) {
    this.#options = options
  }

  get #dir(): string {
    return this.#options.dir
  }

  /**
   * Opens the folder, and the tables with `build`.
   * @throws GatewayError STORE_UNAVAILABLE when it cannot be used, or another store has it open.
   *
   * The lock is LMDB's own, so that it ends with the process however that ends. The first process to open a folder
   * gets an exclusive lock of the operating system, empties the reader table, and keeps a shared lock; from its first
   * read on it has a row in that table. If another process has a row in the reader table, the folder is in use. This
   * needs no lock file that could be left behind and no pid that could be reused, and it works between containers.
   */
  open<T>(build: (table: OpenTable) => T): T {
    if (this.#opened !== undefined) throw unavailable('the store is open already')
    let root: RootDatabase | undefined
    try {
      checkFile(this.#dir, this.#options.check)
      // eventTurnBatching: it adds a promise to each commit that nobody gets: a failed commit ends the process.
      // safeRestore: it drops what was committed and not yet synced when a process died.
      const settings = { maxDbs: 32, eventTurnBatching: false, safeRestore: false }
      root = open({ path: this.#dir, noSubdir: false, ...settings })
      this.#refuseOthers(root, 0)
      const table = tableOpener(root)
      const marks = table<string>('marks', 'string')
      const built = build(table)
      marks.get([0])
      this.#refuseOthers(root, 1)
      this.#opened = {
        root,
        commits: new Commits({ root, marks, dir: this.#dir, durability: this.#options.durability }),
        place: new Place(this.#dir),
      }
      return built
    } catch (cause) {
      void root?.close()
      throw cause instanceof GatewayError
        ? cause
        : unavailable(`cannot open ${this.#dir}: ${reasonText(cause)}`, cause)
    }
  }

  #refuseOthers(root: RootDatabase, own: number): void {
    const rows = root
      .readerList()
      .split('\n')
      .filter(row => /^\s*\d/.test(row))
    const pid = rows[0]?.trim().split(/\s/, 1)[0]
    if (rows.length > own)
      throw unavailable(`${this.#dir} is in use by process ${pid}: one gateway a data folder`)
  }

  get #open(): Opened {
    if (this.#opened === undefined) throw unavailable('the store is not open')
    return this.#opened
  }

  /** Runs a read; all that it reads is of one snapshot, for it does not wait in between. */
  read<T>(work: () => T): T {
    try {
      void this.#open
      return work()
    } catch (cause) {
      throw toStoreError(cause, this.#dir)
    }
  }

  /** One commit for all puts and removes of `work`, which does not read, and throws before its first put or never. */
  async write(work: () => void): Promise<void> {
    const { root, commits, place } = this.#open
    place.check()
    await commits.run(mark =>
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
    const { root, commits, place } = this.#open
    place.check()
    const results: T[] = []
    await commits.run(mark =>
      root.transaction(() => {
        results.push(work())
        mark()
      }),
    )
    return results[0] as T
  }

  /** Waits for the writes that were accepted, then closes. */
  async close(): Promise<void> {
    const opened = this.#opened
    if (opened === undefined) return
    this.#opened = undefined
    const { root, commits, place } = opened
    await commits.idle()
    // lmdb would wait for ever for what it could not write. The lock ends with the process.
    if (commits.broken) return
    // And for the sync of a commit that failed, unless another one has succeeded since.
    await root.transaction(() => undefined)
    await root.close()
    if (place.isThere) noteClosed(this.#dir)
  }
}

function unavailable(reason: string, cause?: unknown): GatewayError {
  return new GatewayError('STORE_UNAVAILABLE', { reason }, cause)
}
