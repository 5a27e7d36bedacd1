/**
 * The journal of the embedded store: appends are acknowledged when they are written here, in one sequential write each, and
 * go to LMDB behind that, many in one commit (append.ts). What the system has of a file outlives the process; what is
 * synced, a power cut.
 *
 * Files `journal-<number of its first record>`: the header, then records (journal-record.ts). A new one is begun when one is
 * full, and when the store is opened. One is removed when LMDB has all of its records, on the disk.
 */
import { closeSync, fdatasync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { type Found, HEADER_BYTES, headerOf, pathOf, type Segment } from './journal-read.js'
import { forgetOpened, noteOpened } from './opened.js'
import { SyncBehind } from './sync-behind.js'

/** A file of this size is full. */
const FULL_BYTES = 8 << 20

const sync = promisify(fdatasync)

/** One that this process has written to. */
interface OpenSegment extends Segment {
  readonly file: number
  bytes: number
  /** Its name is on the disk. */
  isNamed: boolean
  /** It is full, and on the disk. */
  isDone: boolean
}

export class JournalFiles {
  /** Of an earlier process. */
  readonly #old: Segment[]
  /** The process may have died before it had synced them. */
  #isOldSynced = false
  /** The last is written to. */
  readonly #open: OpenSegment[] = []
  #last: number
  readonly #behind: SyncBehind

  /**
   * @param last number of the last record, whether or not it is still in the journal
   * @param found from `readJournal`
   * @param failed called when the disk refused a sync, or when it cannot be told what a file has
   * @param took called with how long a sync took, s
   */
  constructor(
    private readonly dir: string,
    private readonly id: Buffer,
    last: number,
    found: Found,
    private readonly failed: (cause: unknown) => void,
    took?: (seconds: number) => void,
  ) {
    this.#last = last
    this.#old = [...found.segments]
    this.#behind = new SyncBehind(() => this.#sync(), failed, took)
  }

  /** Number of the next record. */
  get next(): number {
    return this.#last + 1
  }

  /** Number of the last record in the oldest file that nothing is done with any more; undefined if there is none. */
  get oldest(): number | undefined {
    if (this.#old[0] !== undefined) return this.#old[0].last
    const [first] = this.#open
    return first?.isDone ? first.last : undefined
  }

  /** Opens the file for the next record, while there is a descriptor for it. @throws what the system says */
  prepare(): void {
    if (this.#open.length === 0) this.#begin()
  }

  /** Writes the record that has the number `next`. @throws what the system says; then nothing of it is there */
  append(record: Buffer): void {
    const segment = this.#segment()
    try {
      write(segment.file, record, segment.bytes)
    } catch (thrown) {
      this.#cut(segment)
      throw thrown
    }
    segment.bytes += record.length
    segment.last = ++this.#last
    this.#behind.written()
  }

  /** The file that is written to is written to no more. @throws what the system says */
  renew(): void {
    const current = this.#open.at(-1)
    if (current !== undefined && current.bytes > HEADER_BYTES) this.#begin()
  }

  /** Resolves when all records so far survive a power cut. Rejects when the disk refuses. */
  synced(): Promise<void> {
    return this.#behind.synced()
  }

  /**
   * LMDB has all records up to `number`, on the disk: removes the files that have no others.
   * @throws what the system says, if no other file can be begun
   */
  removeUpTo(number: number): void {
    // The one that the note names goes behind another one.
    this.prepare()
    while (this.oldest !== undefined && this.oldest <= number) {
      const segment = this.#old.shift() ?? this.#shiftOpen()
      if (segment !== undefined) rmSync(segment.path, { force: true })
    }
  }

  /** To be called when nothing is written any more. @param isStored LMDB has all records, on the disk */
  async close(isStored: boolean): Promise<void> {
    const segments = [...this.#old, ...this.#open]
    try {
      if (this.#open.length > 0) await this.synced()
    } finally {
      for (const { file } of this.#open.splice(0)) closeSync(file)
    }
    if (!isStored) return
    forgetOpened(this.dir)
    for (const { path } of segments) rmSync(path, { force: true })
  }

  #shiftOpen(): Segment | undefined {
    const segment = this.#open.shift()
    if (segment !== undefined) closeSync(segment.file)
    return segment
  }

  #segment(): OpenSegment {
    const current = this.#open.at(-1)
    if (current === undefined) return this.#begin()
    if (current.bytes < FULL_BYTES) return current
    try {
      return this.#begin()
    } catch {
      // Without a free descriptor, or room, for another one the full one does.
      return current
    }
  }

  #begin(): OpenSegment {
    const path = pathOf(this.dir, this.next)
    const file = openSync(path, 'w', 0o600)
    try {
      write(file, headerOf(this.id), 0)
      noteOpened(this.dir, this.next)
    } catch (thrown) {
      closeSync(file)
      rmSync(path, { force: true })
      throw thrown
    }
    const segment = { path, file, last: this.#last, bytes: HEADER_BYTES, isNamed: false, isDone: false }
    this.#open.push(segment)
    return segment
  }

  #cut({ file, bytes }: OpenSegment): void {
    try {
      ftruncateSync(file, bytes)
    } catch (cause) {
      this.failed(cause)
    }
  }

  /** In the order of their records: of what is on the disk nothing before is missing. */
  async #sync(): Promise<void> {
    if (!this.#isOldSynced) for (const { path } of this.#old) await syncFile(path)
    this.#isOldSynced = true
    for (const segment of this.#open.filter(({ isDone }) => !isDone)) {
      const isFull = segment !== this.#open.at(-1)
      await sync(segment.file)
      if (!segment.isNamed) await syncNames(this.dir)
      segment.isNamed = true
      segment.isDone = isFull
    }
  }
}

function write(file: number, bytes: Buffer, position: number): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at, position + at)
}

/** Of a file that may have been removed meanwhile: then nothing of it is needed. */
async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r').catch(() => undefined)
  if (file === undefined) return
  try {
    await sync(file.fd)
  } finally {
    await file.close()
  }
}

/** A file system that cannot do it says so, and has its own way. */
async function syncNames(dir: string): Promise<void> {
  const folder = await open(dir, 'r').catch(() => undefined)
  await folder?.sync().catch(() => undefined)
  await folder?.close()
}
