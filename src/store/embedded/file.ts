/** The data file before LMDB maps it: what would end the process by a signal is refused with a word. */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { GatewayError } from '../../core/errors.js'
import { bootId } from './boot-id.js'
import { reasonText } from './errors.js'
import { Damage, isAhead, isSyncedByLmdb, type Meta, readMeta, restoreSynced } from './meta-page.js'
import { OPENED } from './opened.js'
import { checkPages } from './pages.js'

/** Notes how the data file was when it was last closed: where it still is so, its pages need not be read. */
const NOTE = 'closed'

/** A backup that is being copied: `restore` takes it away again, unless it is killed. */
export const RESTORE_PART = 'restore.part'

/** A folder through which it is read meanwhile. */
export const RESTORE_READ = 'restore-read'

export interface FileCheck {
  /** `unclean`: read all pages where the store was not closed, or the file is another one since. */
  readonly pages: 'unclean' | 'always'
  /** Longest time for that, ms; what is not read by then stays unchecked. */
  readonly timeoutMs: number
}

/**
 * To be called before the folder is opened. Another process may have it open: what that writes meanwhile is no damage.
 * @throws GatewayError STORE_UNAVAILABLE when `data.mdb` is there and cannot be this store's
 */
export function checkFile(dir: string, { pages, timeoutMs }: FileCheck): void {
  const path = join(dir, 'data.mdb')
  if (fileAt(path) === undefined) {
    refuseRemains(dir, path)
    return
  }
  try {
    withFile(path, 'r', file => {
      const meta = readMeta(file, bootId())
      if (pages === 'always' || readNote(dir) !== stateOf(file, meta))
        checkQuiet(file, meta, performance.now() + timeoutMs)
    })
  } catch (thrown) {
    if (!(thrown instanceof Damage)) throw thrown
    throw refusal(
      `${path} is damaged, or no file of this store: ${thrown.message}; put a backup in its place`,
    )
  }
}

/** LMDB would make a new file, and nobody would be told that all accounts are gone. */
function refuseRemains(dir: string, path: string): void {
  const names = existsSync(dir) ? readdirSync(dir) : []
  const remains = names.find(name => name === RESTORE_PART) ?? names.find(isRemains)
  if (remains === undefined) return
  if (remains === RESTORE_PART)
    throw refusal(
      `${path} is missing, and ${remains} beside it is of a restore that did not end: restore again, or remove ${dir} to begin anew`,
    )
  throw refusal(
    `${path} is missing, and ${remains} beside it is of a store: put a backup in its place, or remove ${dir} to begin anew`,
  )
}

const isRemains = (name: string): boolean => name === NOTE || name === OPENED || name.startsWith('journal-')

/**
 * Reads all of a file that nobody has open.
 * @param name what the error calls it
 * @throws GatewayError STORE_UNAVAILABLE if it is not whole, or no file of this store
 */
export function checkWhole(path: string, name = path): void {
  try {
    withFile(path, 'r', file => checkQuiet(file, readMeta(file, bootId()), Number.POSITIVE_INFINITY))
  } catch (thrown) {
    if (!(thrown instanceof Damage)) throw thrown
    throw refusal(`${name} is damaged, or no backup of this store: ${thrown.message}`)
  }
}

/**
 * What is to be done with the file before the store opens it.
 * `ahead`: the system was started anew, and the newest snapshot may be on the disk in part: see `restoreFile`.
 * `synced by lmdb`: an older version of this store wrote it, and may not have synced its newest snapshot.
 */
export type FileState = 'none' | 'ahead' | 'synced by lmdb' | 'whole'

export function fileState(dir: string): FileState {
  const path = join(dir, 'data.mdb')
  if (fileAt(path) === undefined) return 'none'
  return withFile(path, 'r', file => {
    if (isAhead(file, bootId())) return 'ahead'
    return isSyncedByLmdb(file) ? 'synced by lmdb' : 'whole'
  })
}

/** Sets the file back to the snapshot that is known to be on the disk: see disk-sync.ts. No other process may have it open. */
export function restoreFile(dir: string): void {
  withFile(join(dir, 'data.mdb'), 'r+', file => restoreSynced(file, bootId()))
}

function withFile<T>(path: string, flags: 'r' | 'r+', work: (file: number) => T): T {
  const file = openSync(path, flags)
  try {
    return work(file)
  } finally {
    closeSync(file)
  }
}

/** Pages in use are never written to, so that while nobody commits what is found is there. */
function checkQuiet(file: number, meta: Meta, deadline: number): void {
  // Which start of the system this is, and so which meta page counts, is known here as LMDB knows it.
  if (process.platform === 'darwin') return
  try {
    checkPages(file, meta, deadline)
  } catch (thrown) {
    if (thrown instanceof Damage && readMeta(file, bootId()).txnId !== meta.txnId) return
    throw thrown
  }
}

/** To be called when nothing is written any more. A note that cannot be written costs time at the next start. */
export function noteClosed(dir: string): void {
  try {
    withFile(join(dir, 'data.mdb'), 'r', file => {
      writeFileSync(join(dir, NOTE), stateOf(file, readMeta(file, bootId())), { mode: 0o600 })
    })
  } catch {
    // see above
  }
}

function readNote(dir: string): string | undefined {
  try {
    return readFileSync(join(dir, NOTE), 'utf8')
  } catch {
    return undefined
  }
}

/** The time alone does not tell: a sync of the data writes it only where the size has changed, and a power cut drops it. */
function stateOf(file: number, { txnId }: Meta): string {
  const { size, mtimeNs } = fstatSync(file, { bigint: true })
  return `${size} ${mtimeNs} ${txnId}`
}

/** @returns undefined if there is none. @throws GatewayError for what is no file, or empty */
function fileAt(path: string): Stats | undefined {
  let found: Stats | undefined
  try {
    found = statSync(path, { throwIfNoEntry: false })
  } catch (thrown) {
    throw refusal(`cannot open ${path}: ${reasonText(thrown)}`)
  }
  if (found === undefined) return undefined
  if (!found.isFile()) throw refusal(`${path} is not a file`)
  // LMDB would fill it, and nobody would be told that all accounts are gone.
  if (found.size === 0)
    throw refusal(
      `${path} is damaged: it is empty; put a backup in its place, or remove ${dirname(path)} to begin anew`,
    )
  return found
}

const refusal = (reason: string) => new GatewayError('STORE_UNAVAILABLE', { reason })
