/** A copy of the store in one file, made while the store is used; and a store made of such a file. */
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { GatewayError } from '../../core/errors.js'
import { type Beside, besideOf } from '../contents.js'
import { reasonText, toStoreError } from './errors.js'
import { checkWhole, RESTORE_PART, RESTORE_READ } from './file.js'
import { OPENED } from './opened.js'

/** What is wrong with the name of a file, not with a disk. */
const OF_NAME: ReadonlySet<unknown> = new Set([
  'EACCES',
  'EEXIST',
  'EISDIR',
  'ENOENT',
  'ENOTDIR',
  'EPERM',
  'EROFS',
])

/** What the system says of a name that a file, or a folder with something in it, has. */
const TAKEN: ReadonlySet<unknown> = new Set(['EEXIST', 'ENOTEMPTY'])

/** In the folder of a backup that is made: what becomes `besideOf` it. */
export const BESIDE = 'beside'

/**
 * Makes a backup. The file gets its name when it is whole and on the disk, so that there is a whole backup or none. What is beside it gets
 * its name before: a kill in between leaves that alone.
 * @param copy writes `data.mdb` into a folder
 * @returns its bytes
 * @throws GatewayError BAD_FIELD {field: 'file'} if it is there already or cannot be made; STORE_FULL, STORE_UNAVAILABLE
 */
export async function makeBackup(
  file: string,
  copy: (folder: string) => Promise<void>,
  beside?: Beside,
): Promise<number> {
  let folder: string | undefined
  const folderBeside = besideOf(file)
  try {
    // Also where nothing comes beside it: a restore would take what is there for this backup's.
    for (const path of [file, folderBeside]) if (existsSync(path)) throw badFile(`${path} is there already`)
    // Beside the file, to be on the same file system.
    folder = mkdtempSync(`${resolve(file)}.part-`)
    await copy(folder)
    const data = join(folder, 'data.mdb')
    // It holds what is private, whatever the umask.
    chmodSync(data, 0o600)
    syncPath(data)
    const made = join(folder, BESIDE)
    await beside?.(made)
    const isBeside = existsSync(made)
    if (isBeside) takingName(folderBeside, () => renameSync(made, folderBeside))
    try {
      takingName(file, () => linkSync(data, file))
    } catch (thrown) {
      if (isBeside) rmSync(folderBeside, { recursive: true, force: true })
      throw thrown
    }
    syncPath(dirname(resolve(file)))
    return statSync(file).size
  } catch (thrown) {
    throw ofFile(thrown, dirname(resolve(file)))
  } finally {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  }
}

/** Another backup may have taken the name meanwhile. @throws GatewayError BAD_FIELD {field: 'file'} then */
function takingName(path: string, take: () => void): void {
  try {
    take()
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    throw TAKEN.has(code) ? badFile(`${path} is there already`, thrown) : thrown
  }
}

export interface Restored {
  readonly bytes: number
  /** Takes it back: the folder is as it was. */
  undo(): void
}

/**
 * Makes the store of a backup. The store is there when it is whole, and on the disk.
 * @param dir of the store; made if it is not there
 * @param read called with a folder in which `store` is that of the backup, before the store is there: after a kill no gateway begins an
 *   empty one beside what it brings
 * @throws GatewayError, and then the folder is as it was: STORE_UNAVAILABLE if there is a store, or the file is damaged or no backup; BAD_FIELD {field: 'file'}
 */
export async function restoreBackup(
  file: string,
  dir: string,
  read?: (folder: string) => Promise<void>,
): Promise<Restored> {
  refuseRestore(file, dir)
  const undo = undoIn(dir)
  const part = join(dir, RESTORE_PART)
  try {
    if (!existsSync(dir)) makeMarked(dir)
    await copyFile(file, part, constants.COPYFILE_FICLONE)
    checkWhole(part, file)
    chmodSync(part, 0o600)
    if (read !== undefined) await readPart(part, dir, read)
    syncPath(part)
    linkSync(part, join(dir, 'data.mdb'))
    // Of an earlier store.
    for (const name of ['closed', OPENED]) rmSync(join(dir, name), { force: true })
    syncPath(dir)
    return { bytes: statSync(part).size, undo }
  } catch (thrown) {
    undo()
    throw toStoreError(thrown, dir)
  } finally {
    rmSync(part, { force: true })
  }
}

/** What is opened is the part itself, by another name: a copy would take the room of the store again. */
async function readPart(part: string, dir: string, read: (folder: string) => Promise<void>): Promise<void> {
  const folder = join(dir, RESTORE_READ)
  rmSync(folder, { recursive: true, force: true })
  try {
    mkdirSync(join(folder, 'store'), { recursive: true, mode: 0o700 })
    linkSync(part, join(folder, 'store', 'data.mdb'))
    await read(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Before anything is copied: a wrong name should not cost the time of a copy. @throws GatewayError as restoreBackup */
function refuseRestore(file: string, dir: string): void {
  if (hasData(dir))
    throw new GatewayError('STORE_UNAVAILABLE', { reason: `${dir} has a store already: move it away first` })
  if (!statOf(file).isFile()) throw badFile(`${file} is no file`)
}

/** Makes the folder with the part in it, at once: an empty one, which a kill would leave, would be taken for that of a new store. */
function makeMarked(dir: string): void {
  const above = dirname(dir)
  const prefix = `${basename(dir)}.part-`
  mkdirSync(above, { recursive: true, mode: 0o700 })
  for (const name of readdirSync(above))
    if (name.startsWith(prefix)) rmSync(join(above, name), { recursive: true, force: true })
  const folder = mkdtempSync(join(above, prefix))
  try {
    writeFileSync(join(folder, RESTORE_PART), '', { mode: 0o600 })
    renameSync(folder, dir)
  } catch (thrown) {
    rmSync(folder, { recursive: true, force: true })
    throw thrown
  }
}

/** @returns what removes all that is made in the folder from now on, and the folders above it that are made */
function undoIn(dir: string): () => void {
  const before: ReadonlySet<string> = new Set(existsSync(dir) ? readdirSync(dir) : [])
  const made: string[] = []
  for (let at = dir; !existsSync(at); at = dirname(at)) made.push(at)
  return () => {
    try {
      for (const name of readdirSync(dir))
        if (name === RESTORE_PART || !before.has(name)) rmSync(join(dir, name), { recursive: true })
      for (const folder of made) rmdirSync(folder)
    } catch {
      // Somebody has put something into it, or the disk fails: what is wrong with the backup is said, not this.
    }
  }
}

/** Whether a folder has the data of a store, or a journal, which would be taken for that of another one. */
const hasData = (dir: string): boolean =>
  existsSync(dir) && readdirSync(dir).some(name => name === 'data.mdb' || name.startsWith('journal-'))

function statOf(file: string) {
  try {
    return statSync(file)
  } catch (thrown) {
    throw badFile(reasonText(thrown), thrown)
  }
}

const badFile = (reason: string, cause?: unknown): GatewayError =>
  new GatewayError('BAD_FIELD', { field: 'file', reason }, cause)

function ofFile(thrown: unknown, dir: string): GatewayError {
  const { code }: NodeJS.ErrnoException = thrown instanceof Error ? thrown : ({} as Error)
  return OF_NAME.has(code) ? badFile(reasonText(thrown), thrown) : toStoreError(thrown, dir)
}

/** Of a file or folder. */
export function syncPath(path: string): void {
  const file = openSync(path, 'r')
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
