/** The journal, and what LMDB knows of it: whose it is, and how much of it LMDB has. */
import { randomBytes } from 'node:crypto'
import { GatewayError } from '../../core/errors.js'
import type { EmbeddedEnv } from './env.js'
import { reasonText, toStoreError } from './errors.js'
import { JournalFiles } from './journal-files.js'
import { ForeignJournal, type Found, readJournal, STORE_ID_BYTES } from './journal-read.js'
import type { JournalRecord } from './journal-record.js'
import type { OpenTable, Table } from './table.js'

const ID = ['id']
const APPLIED = ['applied']

export class Journal {
  /** [ID] → the store's id; [APPLIED] → number of the last record that LMDB has. */
  readonly #table: Table<Buffer | number>
  #found: Found = { records: [], segments: [] }
  #files: JournalFiles | undefined
  #last = 0
  #isBegun = false
  #isRemoving = false

  constructor(
    private readonly env: EmbeddedEnv,
    table: OpenTable,
  ) {
    this.#table = table('journal')
  }

  /** At the opening of the store. @returns what LMDB does not have. @throws GatewayError STORE_UNAVAILABLE */
  read(): readonly JournalRecord[] {
    this.#last = Number(this.#table.get(APPLIED) ?? 0)
    try {
      this.#found = readJournal(this.env.dir, this.#id, this.#last)
    } catch (thrown) {
      if (!(thrown instanceof ForeignJournal)) throw toStoreError(thrown, this.env.dir)
      const reason = `${reasonText(thrown)}; put the files of one backup in their place, or remove the journal (journal-… and opened) and what is in it`
      throw new GatewayError('STORE_UNAVAILABLE', { reason }, thrown)
    }
    const { records, segments } = this.#found
    this.#last = records.at(-1)?.number ?? this.#last
    if (segments.length > 0) this.#files = this.#open()
    return records
  }

  /** To be called before an append. The first one of a store makes its id. @throws GatewayError */
  async begin(): Promise<void> {
    if (this.#isBegun) return
    if (this.#id === undefined) {
      await this.env.write(() => void this.#table.put(ID, randomBytes(STORE_ID_BYTES)))
      // The journal names it, so that it is on the disk first.
      await this.env.durable()
    }
    this.#files ??= this.#open()
    try {
      this.#files.prepare()
    } catch (thrown) {
      throw toStoreError(thrown, this.env.dir)
    }
    this.#isBegun = true
  }

  /** An append need not call `begin`. */
  get isBegun(): boolean {
    return this.#isBegun
  }

  /** Number of the next record. */
  get next(): number {
    return this.#last + 1
  }

  /** Writes the record with the number `next`. @throws what the system says; then nothing of it is there */
  append(record: Buffer): void {
    this.#files?.append(record)
    this.#last++
  }

  /** Resolves when all records so far survive a power cut. @throws GatewayError */
  async synced(): Promise<void> {
    try {
      await this.#files?.synced()
    } catch (thrown) {
      throw toStoreError(thrown, this.env.dir)
    }
  }

  /** Call it within the write that puts what the records up to this number say. */
  putApplied(number: number): void {
    this.#table.put(APPLIED, number)
  }

  /** That write is committed. Files that are no longer needed go when it is on the disk. */
  applied(number: number): void {
    const oldest = this.#files?.oldest
    if (oldest === undefined || oldest > number || this.#isRemoving) return
    this.#isRemoving = true
    const done = () => {
      this.#isRemoving = false
    }
    // Where it fails, the files stay: the next one that is full, or the close, tries again.
    this.removeUpTo(number).then(done, done)
  }

  /** From now on records go to another file. @returns number of the last one before. @throws GatewayError */
  renew(): number {
    try {
      this.#files?.renew()
    } catch (thrown) {
      throw toStoreError(thrown, this.env.dir)
    }
    return this.#last
  }

  /** LMDB has all records up to this number: their files are removed, after those are on the disk. @throws GatewayError */
  async removeUpTo(number: number): Promise<void> {
    await this.synced()
    await this.env.durable()
    try {
      this.#files?.removeUpTo(number)
    } catch (thrown) {
      throw toStoreError(thrown, this.env.dir)
    }
  }

  /** To be called when nothing is appended any more. @param isStored LMDB has all of it, on the disk */
  async close(isStored: boolean): Promise<void> {
    await this.#files?.close(isStored)
    this.#files = undefined
  }

  get #id(): Buffer | undefined {
    const id = this.#table.get(ID)
    return id === undefined ? undefined : Buffer.from(id as Buffer)
  }

  #open(): JournalFiles {
    return new JournalFiles(
      this.env.dir,
      this.#id ?? Buffer.alloc(0),
      this.#last,
      this.#found,
      this.env.break,
      this.env.times?.sync,
    )
  }
}
