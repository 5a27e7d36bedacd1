/** Files that people sent, in what operators do with a whole store: their bytes are in a folder beside the backup. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config/config.js'
import { bringFiles, measureFiles } from '../files/checks.js'
import { type CopiedFiles, copyFiles, type OnCopied } from '../files/copies.js'
import { DiskStorage } from '../files/disk.js'
import { HeldStorage } from '../files/held.js'
import { FileRows } from '../files/rows.js'
import { type Beside, besideOf } from '../store/contents.js'
import { toStoreError } from '../store/embedded/errors.js'
import type { KeyValue } from '../store/store.js'
import { filesDir } from './files.js'
import { COPIED } from './growing.js'

/** What was done with the files; where they are in a bucket, nothing: that has means of its own. */
export type WholeFiles = CopiedFiles | { readonly bucket: string }

/** Between two notes of how far a copy is, ms. */
const NOTE_MS = 200

export interface FilesBackup {
  readonly beside: Beside
  /** When `beside` has resolved. */
  done(): WholeFiles
}

/** Copies files into a backup. @param held holds what is removed since before the store was copied */
export function filesBackup(config: Config, kv: KeyValue, held: HeldStorage): FilesBackup {
  const { storage, s3 } = config.files
  let done: WholeFiles = { bucket: s3.bucket }
  return {
    beside: async folder => {
      if (storage !== 'disk') return
      done = await copyFiles(held, new FileRows(kv), folder, noting(join(folder, '..', COPIED)))
    },
    done: () => done,
  }
}

/** For a process that only waits: see growing.ts. */
function noting(file: string): OnCopied {
  let at = 0
  return (done, of) => {
    const now = performance.now()
    if (now - at < NOTE_MS) return
    at = now
    writeFileSync(file, JSON.stringify({ done, of }), { mode: 0o600 })
  }
}

/** For a backup that nobody else can remove anything under. */
export const heldFiles = (config: Config): HeldStorage => new HeldStorage(new DiskStorage(filesDir(config)))

export interface FilesRestore {
  /**
   * Before the store counts: a kill leaves nothing that refers to what is missing.
   * @param kv of the backup @throws GatewayError
   */
  bring(kv: KeyValue): Promise<WholeFiles>
  /** Takes back what was brought. */
  undo(): Promise<void>
}

/**
 * Puts the files of a backup where the config has them.
 * @param onCopied bytes so far
 */
export function filesRestore(
  config: Config,
  backup: string,
  onCopied: (bytes: number) => void,
): FilesRestore {
  const { storage, s3 } = config.files
  const from = existsSync(besideOf(backup)) ? new DiskStorage(besideOf(backup)) : undefined
  let undo = () => Promise.resolve()
  return {
    bring: async kv => {
      if (storage !== 'disk') return { bucket: s3.bucket }
      const rows = new FileRows(kv)
      const brought = await bringFiles(rows, filesDir(config), from, onCopied).catch(thrown => {
        throw toStoreError(thrown, config.data.dir)
      })
      undo = brought.undo
      return brought.files
    },
    undo: () => undo(),
  }
}

/** See measureFiles. Nothing is asked of a bucket. */
export async function verifyFiles(
  config: Config,
  kv: KeyValue,
): Promise<{ readonly count: number; readonly faults: readonly string[] }> {
  if (config.files.storage !== 'disk') return { count: 0, faults: [] }
  return measureFiles(new FileRows(kv), new DiskStorage(filesDir(config)))
}
