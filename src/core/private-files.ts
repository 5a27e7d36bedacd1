/**
 * File permissions. Messages, password hashes, token keys and the audit are private to the user that the process runs
 * as.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  type Stats,
  statSync,
} from 'node:fs'
import { join, resolve } from 'node:path'

/** The umask of the process: no permissions for group and others. */
export const PRIVATE_UMASK = 0o077

/** The folder of the store in `data.dir`. Every file in it belongs to the gateway. */
const STORE = 'store'
/** What the gateway has in `data.dir`: the store, the admin socket, letters, and files that people sent. */
const OWN: ReadonlySet<string> = new Set([STORE, 'admin.sock', 'mail', 'files'])

export interface Kept {
  /** `data.dir`; undefined if the store is not the embedded one. */
  readonly dataDir: string | undefined
  /** Paths of the audit and of the log; '' = none. */
  readonly lineFiles: readonly string[]
}

export interface Exposed {
  readonly path: string
  /** Octal, as `ls` and `chmod` use it: `644`. */
  readonly mode: string
  /** Whether the permissions of group and others were removed. */
  readonly isTightened: boolean
}

/**
 * Finds files and folders of the gateway that group or others may access.
 * @param isTightening removes these permissions where this process owns the file. A `data.dir` that holds more than the
 *   store (`/srv`, a home folder) is left as it is, because others may need what else is in it. So is what a symbolic link
 *   leads to: whoever may write here could name any file of this user by one.
 */
export function exposedFiles({ dataDir, lineFiles }: Kept, isTightening: boolean): Exposed[] {
  const found: Exposed[] = []
  const look = (path: string, is: Kind, mayTighten = true) => {
    const stats = statOf(path)
    if (stats === undefined || !is(stats) || (stats.mode & PRIVATE_UMASK) === 0) return
    found.push({
      path: resolve(path),
      mode: (stats.mode & 0o777).toString(8),
      isTightened: isTightening && mayTighten && tighten(path, is),
    })
  }
  if (dataDir !== undefined) {
    const names = listed(dataDir)
    const store = join(dataDir, STORE)
    const files = listed(store)
    // Before the first start there is no data to protect.
    if (files.includes('data.mdb')) {
      look(
        dataDir,
        isFolder,
        names.every(name => OWN.has(name)),
      )
      look(store, isFolder)
      for (const file of files) look(join(store, file), isFile)
    }
  }
  for (const file of lineFiles) if (file !== '') look(file, isFile)
  return found
}

/** By these permissions others than the owner put files of their own into a folder. */
const FOREIGN_WRITE = 0o022

/**
 * @param dir symbolic links are followed
 * @returns what is wrong with a folder into which group or others may write; undefined if nothing, or if it is not there
 */
export function writableFault(dir: string): string | undefined {
  const stats = statOf(dir)
  if (stats === undefined || (stats.mode & FOREIGN_WRITE) === 0) return undefined
  const mode = (stats.mode & 0o777).toString(8)
  return `${dir}: group or others may write to this folder (mode ${mode}), so the files in it may be theirs; chmod go-w it`
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined // not there, or nothing that we may look at
  }
}

const isOwn = ({ uid }: Stats): boolean => uid === process.getuid?.()

/** Devices, FIFOs and sockets are others' too: `/dev/null` must stay as it is. */
type Kind = (stats: Stats) => boolean
const isFile: Kind = stats => stats.isFile()
const isFolder: Kind = stats => stats.isDirectory()

function listed(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch {
    return [] // none yet, or one that the store will say why it cannot open
  }
}

/** By a descriptor: what is at the path may be another file by now. Without waiting for whoever writes to a FIFO. */
const AS_IT_IS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

function tighten(path: string, is: Kind): boolean {
  let file: number | undefined
  try {
    if (lstatSync(path).isSymbolicLink()) return false
    file = openSync(path, AS_IT_IS)
    const stats = fstatSync(file)
    if (!is(stats) || !isOwn(stats)) return false
    fchmodSync(file, stats.mode & 0o777 & ~PRIVATE_UMASK)
    return true
  } catch {
    return false // a link after all, or nothing that we may open
  } finally {
    if (file !== undefined) closeSync(file)
  }
}
