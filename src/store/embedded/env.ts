/** The LMDB environment of the embedded store: opening, the lock, one way to read, two ways to write. */
import { open, type RootDatabase } from 'lmdb'
import { GatewayError } from '../../core/errors.js'
import { bootId } from './boot-id.js'
import { Commits, type Durability, type StoreTimes, type Work } from './commits.js'
import { DiskSync } from './disk-sync.js'
import { reasonText, toStoreError } from './errors.js'
import { checkFile, type FileCheck, fileState, noteClosed, restoreFile } from './file.js'
import { dataFileOf, Place } from './place.js'
import { type Space, spaceOf } from './space.js'
import { type OpenTable, type Table, tableOpener } from './table.js'

interface Opened {
  readonly root: RootDatabase
  readonly commits: Commits
  readonly place: Place
  readonly disk: DiskSync | undefined
  readonly marks: Table<string>
  readonly tables: ReadonlyMap<string, { getStats(): object }>
}

export interface EnvOptions {
  readonly dir: string
  readonly durability: Durability
  readonly check: FileCheck
  readonly times?: StoreTimes | undefined
}

// eventTurnBatching: it adds a promise to each commit that nobody gets: a failed commit ends the process.
// txnStartThreshold: from the sixth write on lmdb's thread would begin, and then wait for each write that this thread adds; it begins
// when the turn has ended and all are there. Of a message in a closed loop that saves a tenth.
// safeRestore: it drops what was committed and not yet synced when a process died.
// maxFreeSpaceTo…: of its list of free pages LMDB reads and writes up to 50,000 entries in a commit; with a long list
// that is most of the cost of a small one. With a short one (300 were tried) it finds no room for large rows, and the file grows.
const SETTINGS = {
  noSubdir: false,
  maxDbs: 32,
  eventTurnBatching: false,
  txnStartThreshold: 1_000_000,
  safeRestore: false,
  maxFreeSpaceToLoad: 5000,
  maxFreeSpaceToRetain: 10_000,
}

/** A message that goes to the journal costs little more than a look whether LMDB's files are there: one look in so many ms. */
const LOOK_EVERY_MS = 100

export class EmbeddedEnv {
  readonly #options: EnvOptions
  #opened: Opened | undefined

  constructor(options: EnvOptions) {
    this.#options = options
  }

  /** The data folder. */
  get dir(): string {
    return this.#options.dir
  }

  get times(): StoreTimes | undefined {
    return this.#options.times
  }

  get durability(): Durability {
    return this.#options.durability
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
  async open<T>(build: (table: OpenTable) => T): Promise<T> {
    if (this.#opened !== undefined) throw unavailable('the store is open already')
    let root: RootDatabase | undefined
    let disk: DiskSync | undefined
    try {
      checkFile(this.dir, this.#options.check)
      // Where it cannot be told whether the system was started anew, lmdb syncs each commit by itself.
      const syncsBehind = bootId() !== 0n
      await this.#prepare(syncsBehind)
      const before = dataFileOf(this.dir)
      root = open({ path: this.dir, ...SETTINGS, ...(syncsBehind && { noSync: true }) })
      const row = this.#takeRow(root)
      // `mumi compact` of another process, which has ended by now: what is written to the old file is lost.
      if (before !== '' && before !== dataFileOf(this.dir))
        throw unavailable(`${this.dir}/data.mdb was replaced while it was opened; try again`)
      if (syncsBehind) disk = new DiskSync(root, this.dir, this.break, this.times?.sync)
      const tables = new Map<string, { getStats(): object }>()
      const table = tableOpener(root, tables)
      const marks = table<string>('marks', 'string')
      const built = build(table)
      marks.get([0]) // another row
      row.done()
      const { durability, times } = this.#options
      const commits = new Commits({ root, marks, dir: this.dir, durability, disk, times })
      this.#opened = { root, commits, place: new Place(this.dir), disk, marks, tables }
      return built
    } catch (cause) {
      await disk?.close().catch(() => undefined)
      await root?.close()
      throw cause instanceof GatewayError
        ? cause
        : unavailable(`cannot open ${this.dir}: ${reasonText(cause)}`, cause)
    }
  }

  /** What is not as this store leaves it is set right, while no other process has the folder open. */
  async #prepare(syncsBehind: boolean): Promise<void> {
    const state = fileState(this.dir)
    // LMDB reads no more than the meta pages of the file as it is now.
    if (state === 'ahead') await this.#alone({ noSync: true }, () => restoreFile(this.dir))
    if (state === 'synced by lmdb' && syncsBehind) await this.#alone({}, root => this.#settle(root))
  }

  async #alone(settings: { noSync?: true }, work: (root: RootDatabase) => void): Promise<void> {
    const root = open({ path: this.dir, ...SETTINGS, ...settings })
    try {
      this.#takeRow(root)
      work(root)
    } finally {
      await root.close()
    }
  }

  /** An older version had the file open and did not close it: LMDB gets it whole in the way in which it was written. */
  #settle(root: RootDatabase): void {
    const marks = tableOpener(root)<string>('marks', 'string')
    // Synced before they count, one for each of the two meta pages.
    for (const n of [1, 2])
      root.transactionSync(() => {
        marks.put([0], String(n))
      })
  }

  /**
   * Takes a row in the table of readers. Of two processes that do so at once, at least one sees the other, since each takes
   * its row before it looks. @throws GatewayError if there is another row
   */
  #takeRow(root: RootDatabase): { done(): void } {
    this.#refuseOthers(root, 0)
    const row = root.useReadTransaction()
    this.#refuseOthers(root, 1)
    return row
  }

  #refuseOthers(root: RootDatabase, own: number): void {
    const rows = root
      .readerList()
      .split('\n')
      .filter(row => /^\s*\d/.test(row))
    const pid = rows.map(row => row.trim().split(/\s/, 1)[0]).find(pid => pid !== String(process.pid))
    if (rows.length > own)
      throw unavailable(`${this.dir} is in use by process ${pid ?? process.pid}: one gateway a data folder`)
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
      throw toStoreError(cause, this.dir)
    }
  }

  /**
   * One commit for all puts and removes of `work`, which does not read, and throws before its first put or never.
   * @param puts how many there are, roughly
   */
  write(work: () => void, puts = 1): Promise<void> {
    return this.#run({ run: work, reads: false, puts })
  }

  /**
   * One commit for all that `work` does, with everything written before it visible to its reads. `work` does not
   * wait, and throws before its first put or never.
   * @param puts how many puts and removes there are, roughly
   */
  transaction<T>(work: () => T, puts = 1): Promise<T> {
    return this.#run({ run: work, reads: true, puts })
  }

  /** Like `write`, of what was acknowledged before. Nobody's acknowledgement waits for it. */
  writeBehind(work: () => void, puts: number): Promise<void> {
    return this.#run({ run: work, reads: false, puts, isAcknowledged: true })
  }

  /** To be waited for before what the journal has is acknowledged: all writes before it. undefined: they are. */
  get acknowledged(): Promise<unknown> | undefined {
    return this.#open.commits.acknowledged
  }

  /** Resolves when all that was written survives a power cut. @throws GatewayError */
  durable(): Promise<void> {
    return this.#open.commits.durable()
  }

  /** Nothing is accepted any more: nobody can say what is on the disk. */
  readonly break = (cause: unknown): void => this.#opened?.commits.break(cause)

  /** For what does not write to the file itself. @throws GatewayError if nothing is accepted */
  checkLately(): void {
    this.#check(LOOK_EVERY_MS)
  }

  #check(maxAgeMs?: number): void {
    const { commits, place } = this.#open
    commits.check()
    place.check(maxAgeMs)
  }

  /** Makes a commit. @throws GatewayError */
  async ping(): Promise<void> {
    const { marks } = this.#open
    await this.write(() => void marks.put([-1], ''))
  }

  async #run<T>(work: Work<T>): Promise<T> {
    this.#check()
    return await this.#open.commits.run(work)
  }

  /** Writes all that is committed into a new `data.mdb`, without free pages, on a thread of lmdb. @param folder empty */
  async copyTo(folder: string): Promise<void> {
    try {
      await this.#open.root.backup(folder, true)
    } catch (thrown) {
      throw toStoreError(thrown, folder)
    }
  }

  /** How the pages of the file are used. @throws GatewayError */
  get space(): Space {
    return this.read(() => spaceOf(this.#open.root, this.#open.tables.values()))
  }

  /** Waits for the writes that were accepted, then closes. @throws GatewayError if the disk refused the last sync */
  async close(): Promise<void> {
    const opened = this.#opened
    if (opened === undefined) return
    this.#opened = undefined
    const { root, commits, place, disk } = opened
    await commits.idle()
    // lmdb would wait for ever for what it could not write. The lock ends with the process.
    if (commits.broken) return
    // And for the sync of a commit that failed, unless another one has succeeded since.
    await root.transaction(() => undefined)
    try {
      await disk?.close()
    } catch (cause) {
      throw toStoreError(cause, this.dir)
    } finally {
      await root.close()
    }
    if (place.isThere) noteClosed(this.dir)
  }
}

function unavailable(reason: string, cause?: unknown): GatewayError {
  return new GatewayError('STORE_UNAVAILABLE', { reason }, cause)
}
