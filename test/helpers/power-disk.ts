/**
 * What a disk may hold of a data file when the power fails. Follows the syncs of this process: what was written before the
 * last completed one is on the disk, and of each later write it may be or not, page by page.
 * To be called before the store is imported, since it replaces functions of node:fs.
 */
import fs, { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import type { Random } from '../../scripts/random.js'
import { bootId } from '../../src/store/embedded/boot-id.js'

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
    const before = ['floor', 'later'].map(name => this.#stateFile(name))
    this.floor = readOr(before[0] ?? '', this.read())
    if (before.every(existsSync)) this.#later = [readFileSync(before[1] ?? ''), this.read()]
    const { fdatasync, fdatasyncSync } = fs
    const settle = (pending: Buffer) => {
      // The first sync of a new file always counts: without a file there is nothing to cut.
      if (!isSynced && this.floor.length > 0) return
      this.floor = pending
      this.#later = []
    }
    const replacements = {
      fdatasync: (file: number, done: (error: NodeJS.ErrnoException | null) => void) => {
        around()
        const pending = this.read()
        fdatasync(file, error => {
          if (error === null) settle(pending)
          around()
          done(error)
        })
      },
      fdatasyncSync: (file: number) => {
        around()
        const pending = this.read()
        fdatasyncSync(file)
        settle(pending)
        around()
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

  /** A disk after a power cut in this moment, and the system started anew. */
  cut(): Buffer {
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
  }

  #stateFile(name: string): string {
    return `${this.dir}.${name}`
  }
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
