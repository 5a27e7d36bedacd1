/**
 * Syncs LMDB's file behind its commits, so that a commit costs no wait for the disk and a power cut no more than the last
 * moments.
 *
 * LMDB (opened with `noSync`) writes pages and meta pages in no order that the disk would keep. So one snapshot is always
 * whole on the disk: it is pinned by a read transaction, so that none of its pages is used again, its pages are synced,
 * and then its meta page is noted in the file (meta-page.ts `writeSynced`). When the note itself is on the disk, the
 * snapshot before it is let go. After a power cut the noted snapshot is the one that is opened; after the death of the
 * process alone the newest one, since the system still has all that was written.
 */
import { closeSync, fdatasync, fdatasyncSync, fsyncSync, openSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { RootDatabase } from 'lmdb'
import { bootId } from './boot-id.js'
import { readMeta, readNewest, writeSynced } from './meta-page.js'
import { SyncBehind } from './sync-behind.js'

/** Named at each call: a test holds it up. */
const sync = (file: number): Promise<void> => promisify(fdatasync)(file)

/**
 * Commits of what is safe in the journal wait for a sync together: so many, or this long, ms. A sync costs as much as a few of them.
 * The more wait, the longer no page is used again that they gave up, so that the file grows.
 */
const MOST_WAITING = 8
const WAIT_MS = 1000

interface Snapshot {
  readonly meta: Buffer
  readonly pin: { done(): void }
}

export class DiskSync {
  readonly #file: number
  readonly #pageSize: number
  /** The last is the one noted last; the first may be the one whose note is on the disk. */
  #noted: Snapshot[] = []
  readonly #behind: SyncBehind
  /** Commits of what is in the journal since the last sync began. */
  #waiting = 0
  /** Since then there was a commit of what is not in the journal: its note may not wait either. */
  #hasOther = false

  /**
   * Pins and notes the snapshot that is there. To be called before the first commit, which may use its pages again, and
   * when it is certain that no other process commits.
   * @param failed called when the disk refused a sync: nobody can say what of the file is on it
   * @param took called with how long a sync took, s
   */
  constructor(
    private readonly root: RootDatabase,
    dir: string,
    failed: (cause: unknown) => void,
    took?: (seconds: number) => void,
  ) {
    this.#behind = new SyncBehind(isAwaited => this.#syncOnce(isAwaited), failed, took)
    this.#file = openSync(join(dir, 'data.mdb'), 'r+')
    try {
      this.#pageSize = readMeta(this.#file, bootId()).pageSize
      const snapshot = this.#take()
      fdatasyncSync(this.#file)
      this.#note(snapshot)
      fdatasyncSync(this.#file)
      // Both may have been made just now.
      for (const folder of [dir, dirname(dir)]) syncFolder(folder)
    } catch (thrown) {
      this.#letGo(0)
      closeSync(this.#file)
      throw thrown
    }
  }

  /** There is a new commit. @param isInJournal what it stores survives a power cut without it */
  committed(isInJournal = false): void {
    this.#hasOther ||= !isInJournal
    if (isInJournal && ++this.#waiting < MOST_WAITING) this.#behind.written(WAIT_MS)
    else this.#behind.written()
  }

  /** Resolves when all that is committed by now survives a power cut. Rejects when the disk refuses. */
  synced(): Promise<void> {
    return this.#behind.synced()
  }

  /**
   * Syncs. To be called when nothing is committed any more, and before LMDB closes the file.
   * @throws what the disk refused a sync with, then or before
   */
  async close(): Promise<void> {
    try {
      await this.synced()
    } finally {
      this.#letGo(0)
      closeSync(this.#file)
    }
  }

  /** @param isAwaited whether somebody waits until the note is on the disk, too; else the next sync takes care of it */
  async #syncOnce(isAwaited: boolean): Promise<void> {
    const snapshot = this.#take()
    const hasOther = this.#hasOther
    this.#waiting = 0
    this.#hasOther = false
    await sync(this.#file)
    this.#letGo(1)
    this.#note(snapshot)
    if (this.#behind.isDirty && !isAwaited) {
      if (hasOther) this.#behind.written()
      return
    }
    await sync(this.#file)
    this.#letGo(1)
  }

  /** Pins the newest snapshot. It may pin an older one than the meta page says, which protects more. */
  #take(): Snapshot {
    for (;;) {
      const before = readNewest(this.#file, this.#pageSize)
      this.root.resetReadTxn()
      const pin = this.root.useReadTransaction()
      const meta = readNewest(this.#file, this.#pageSize)
      if (before.equals(meta)) return { meta, pin }
      pin.done()
    }
  }

  #note(snapshot: Snapshot): void {
    this.#noted.push(snapshot)
    writeSynced(this.#file, this.#pageSize, snapshot.meta)
  }

  /** Lets go of all noted snapshots but the last `kept`. */
  #letGo(kept: number): void {
    for (const { pin } of this.#noted.splice(0, this.#noted.length - kept)) pin.done()
  }
}

/** So that the names of its files survive a power cut. A file system that cannot do it says so, and has its own way. */
function syncFolder(path: string): void {
  try {
    const folder = openSync(path, 'r')
    try {
      fsyncSync(folder)
    } finally {
      closeSync(folder)
    }
  } catch {
    // see above
  }
}
