/** The data file made small again: a copy without free pages takes its place. */
import { chmodSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { syncPath } from './backup.js'
import { toStoreError } from './errors.js'
import { checkWhole, noteClosed, RESTORE_PART, RESTORE_READ } from './file.js'

/** A folder beside the file, in which its copy is made. */
export const COMPACT_PART = 'compact.part-'

export interface Compacted {
  /** Bytes of the file. */
  readonly before: number
  readonly after: number
}

/**
 * The new file is whole, checked and on the disk before it gets the name of the old one. To be called by who has the store
 * open and writes nothing any more: this goes on with the old file, which has no name then.
 * @param copy writes `data.mdb` into a folder
 * @throws GatewayError STORE_FULL, STORE_UNAVAILABLE; then the old file is as it was
 */
export async function compactFile(dir: string, copy: (folder: string) => Promise<void>): Promise<Compacted> {
  const path = join(dir, 'data.mdb')
  let folder: string | undefined
  try {
    const before = statSync(path).size
    folder = mkdtempSync(join(dir, COMPACT_PART))
    await copy(folder)
    const made = join(folder, 'data.mdb')
    checkWhole(made)
    chmodSync(made, 0o600)
    syncPath(made)
    const after = statSync(made).size
    renameSync(made, path)
    syncPath(dir)
    noteClosed(dir)
    return { before, after }
  } catch (thrown) {
    throw toStoreError(thrown, dir)
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  }
}

/** Removes what a process that was killed while it compacted or restored left. To be called by who has the lock. */
export function removeParts(dir: string): void {
  for (const name of readdirSync(dir))
    if (name.startsWith(COMPACT_PART) || name === RESTORE_PART || name === RESTORE_READ)
      rmSync(join(dir, name), { recursive: true, force: true })
}
