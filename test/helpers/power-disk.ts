/**
 * What a disk may hold of a data folder when the power fails. Follows the syncs of this process: what was written before the
 * last completed one is on the disk, and of each later write it may be or not, page by page.
 * To be called before the store is imported, since it replaces functions of node:fs.
 */
import fs, { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { basename, join } from 'node:path'
import type { Random } from '../../scripts/random.js'
import { bootId } from '../../src/store/embedded/boot-id.js'

/** As in journal-read.ts, which must not be imported before the functions are replaced. */
const STORE_ID_BYTES = 16
const PAGE = 4096
const SECTOR = 512
/** Of the three meta pages: LMDB's two, and the noted one in the middle of the first page. */
const METAS = [0, PAGE / 2, PAGE].map(at => at + 24)
const TXN_ID = 128
const BOOT_ID = 136
/** Versions of the file kept between two syncs. */
const MOST_VERSIONS = 6

export class PowerDisk {
  /** The file when the last completed sync began. */
  floor: Buffer
  #later: Buffer[] = []
  readonly #journal: JournalDisk

  /**
   * @param dir the data folder. If `state` of an earlier process is there, the disk holds what it held then.
   * @param isSynced false plants a fault: syncs do nothing
   * @param around called right before and right after each sync
   */
  constructor(
    private readonly dir: string,
    private readonly random: Random,
    isSynced: boolean,
    around: () => void,
  ) {
    this.#journal = new JournalDisk(dir, random)
    const before = ['floor', 'later'].map(name => this.#stateFile(name))
    this.floor = readOr(before[0] ?? '', this.read())
    if (before.every(existsSync)) this.#later = [readFileSync(before[1] ?? ''), this.read()]
    const { fdatasync, fdatasyncSync, rmSync } = fs
    const settle = (pending: Buffer) => {
      // The first sync of a new file always counts: without a file there is nothing to cut.
      if (!isSynced && this.floor.length > 0) return
      this.floor = pending
      this.#later = []
    }
    /** @returns what has come to be when the sync that begins now is over */
    const begin = (file: number): (() => void) => {
      const path = readlinkSync(`/proc/self/fd/${file}`)
      if (isJournal(basename(path))) return this.#journal.syncing(path, isSynced)
      const pending = this.read()
      return () => settle(pending)
    }
    const replacements = {
      fdatasync: (file: number, done: (error: NodeJS.ErrnoException | null) => void) => {
        around()
        const over = begin(file)
        fdatasync(file, error => {
          if (error === null) over()
          around()
          done(error)
        })
      },
      fdatasyncSync: (file: number) => {
        around()
        const over = begin(file)
        fdatasyncSync(file)
        over()
        around()
      },
      rmSync: (path: string, options?: fs.RmOptions) => {
        if (isJournal(basename(path)) && existsSync(path)) this.#journal.removing(path)
        rmSync(path, options)
      },
    }
    Object.assign(fs, replacements)
    syncBuiltinESMExports()
  }

  /** The file as the system sees it. */
  read(): Buffer {
    return readOr(join(this.dir, 'data.mdb'), Buffer.alloc(0))
  }

  /** Remembers the file as it is now: the disk may hold any page of it. */
  look(): void {
    this.#later.push(this.read())
    if (this.#later.length > MOST_VERSIONS) this.#later.splice(below(this.random, MOST_VERSIONS), 1)
  }

  /** Snapshot that is noted in what is certainly on the disk. */
  get noted(): number {
    return txnAt(this.floor, METAS[1] ?? 0)
  }

  get newest(): number {
    const file = this.read()
    return Math.max(txnAt(file, METAS[0] ?? 0), txnAt(file, METAS[2] ?? 0))
  }

  /** Bytes of the journal that were written, and that are certainly on the disk, since its beginning. */
  get journal(): { readonly written: number; readonly synced: number } {
    return this.#journal.bytes
  }

  /** Makes a folder with what a disk may hold after a power cut in this moment, and the system started anew. */
  cut(folder: string): void {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'data.mdb'), this.#cutData())
    this.#journal.cut(folder)
  }

  #cutData(): Buffer {
    const now = this.read()
    const versions = [this.floor, ...this.#later, now]
    const bias = this.random.between(0, 1)
    const grown = Math.max(0, now.length - this.floor.length) / PAGE
    const image = Buffer.alloc(this.floor.length + below(this.random, grown + 1) * PAGE)
    for (let at = 0; at < image.length; ) {
      const bytes = at < 2 * PAGE ? SECTOR : PAGE
      const version = this.random.chance(bias) ? this.floor : this.random.pick(versions)
      if (at < version.length) version.copy(image, at, at, at + bytes)
      at += bytes
    }
    return startedAnew(image, bootId() + 1n)
  }

  /** For the next process on this folder: this one is about to be killed. */
  save(): void {
    writeFileSync(this.#stateFile('floor'), this.floor)
    writeFileSync(this.#stateFile('later'), this.random.pick([this.floor, ...this.#later]))
    this.#journal.save()
  }

  #stateFile(name: string): string {
    return `${this.dir}.${name}`
  }
}

const isJournal = (name: string) => name.startsWith('journal-')

/**
 * The journal's files are only ever appended to, so what is certainly on the disk is a length of each. Behind it each page
 * may be there or be zeros, and the file may end anywhere. A file that was removed may still be there.
 */
class JournalDisk {
  readonly #floors = new Map<string, number>()
  readonly #removed = new Map<string, Buffer>()
  /** Of files that were removed. */
  #removedBytes = 0

  constructor(
    private readonly dir: string,
    private readonly random: Random,
  ) {
    // Without a state this is what the disk had when the system was started.
    const all = existsSync(dir) ? this.#files.map(path => [path, readFileSync(path).length]) : []
    const state = existsSync(this.#state) ? JSON.parse(readFileSync(this.#state, 'utf8')) : all
    for (const [path, floor] of state) if (existsSync(path)) this.#floors.set(path, floor)
  }

  get #state(): string {
    return `${this.dir}.journal`
  }

  get #files(): string[] {
    return readdirSync(this.dir)
      .filter(isJournal)
      .map(name => join(this.dir, name))
  }

  syncing(path: string, isSynced: boolean): () => void {
    const length = readFileSync(path).length
    return () => {
      if (isSynced && existsSync(path)) this.#floors.set(path, length)
    }
  }

  removing(path: string): void {
    const bytes = readFileSync(path)
    this.#removed.set(path, bytes.subarray(0, this.#floors.get(path) ?? 0))
    this.#removedBytes += bytes.length
    this.#floors.delete(path)
  }

  get bytes() {
    const written = this.#files.reduce((sum, path) => sum + readFileSync(path).length, 0)
    const synced = [...this.#floors.values()].reduce((sum, floor) => sum + floor, 0)
    return { written: this.#removedBytes + written, synced: this.#removedBytes + synced }
  }

  cut(folder: string): void {
    for (const path of this.#files) {
      const floor = this.#floors.get(path)
      if (floor !== undefined || this.random.chance(0.5))
        writeFileSync(
          join(folder, basename(path)),
          ofAnotherStart(this.#torn(readFileSync(path), floor ?? 0)),
        )
    }
    for (const [path, bytes] of this.#removed)
      if (!existsSync(path) && this.random.chance(0.5))
        writeFileSync(join(folder, basename(path)), ofAnotherStart(bytes))
  }

  #torn(bytes: Buffer, floor: number): Buffer {
    const image = Buffer.from(bytes.subarray(0, floor + below(this.random, bytes.length - floor + 1)))
    const bias = this.random.between(0, 1)
    for (let at = floor; at < image.length; ) {
      const end = Math.min(image.length, (Math.floor(at / SECTOR) + 1) * SECTOR)
      if (this.random.chance(bias)) image.fill(0, at, end)
      at = end
    }
    return image
  }

  save(): void {
    writeFileSync(this.#state, JSON.stringify([...this.#floors]))
  }
}

/** The id of the system's start is behind the magic and the store's id. */
function ofAnotherStart(bytes: Buffer): Buffer {
  const at = 15 + STORE_ID_BYTES
  if (bytes.length < at + 8 || bytes.readBigInt64BE(at) === 0n) return bytes
  const image = Buffer.from(bytes)
  image.writeBigInt64BE(bootId() + 1n, at)
  return image
}

/** A whole number from 0 to below `n`. */
export const below = (random: Random, n: number) => Math.floor(random.between(0, n))

const readOr = (path: string, other: Buffer) => (existsSync(path) ? readFileSync(path) : other)
const txnAt = (file: Buffer, at: number) =>
  file.length > at + 144 ? Number(file.readBigUInt64LE(at + TXN_ID)) : 0

/** As the file looks to a system with another boot id. */
export function startedAnew(image: Buffer, id: bigint): Buffer {
  for (const at of METAS)
    if (image.readBigInt64LE(at + BOOT_ID) !== 0n) image.writeBigInt64LE(id, at + BOOT_ID)
  return image
}
