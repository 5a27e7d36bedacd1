/** What we keep is for the user that we run as: messages, hashes of passwords, the key of tokens, the audit. */
import { chmodSync, readdirSync, type Stats, statSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** Rights of group and others, which nothing of ours is made with. */
export const PRIVATE_UMASK = 0o077

/** What is in a data folder of ours, and nothing else. */
const STORE_FILES: ReadonlySet<string> = new Set(['data.mdb', 'lock.mdb'])

export interface Kept {
  /** Folder of the embedded store. */
  readonly dataDir: string | undefined
  /** '' = none. */
  readonly auditFile: string
}

export interface Exposed {
  readonly path: string
  /** As `ls` and `chmod` say it: 644. */
  readonly mode: string
  /** Its rights were taken from group and others. */
  readonly isTightened: boolean
}

/**
 * Finds what others than its owner may read.
 * @param isTightening takes that away from files that are ours. Not from a folder in which there is more than the store
 *   (`/srv`, somebody's home): whoever set that up meant others to reach what else is there.
 */
export function exposedFiles({ dataDir, auditFile }: Kept, isTightening: boolean): Exposed[] {
  const found: Exposed[] = []
  const look = (path: string, mayTighten: boolean) => {
    const stats = statOf(path)
    if (stats === undefined || (stats.mode & PRIVATE_UMASK) === 0) return
    found.push({
      path: resolve(path),
      mode: (stats.mode & 0o777).toString(8),
      isTightened: isTightening && mayTighten && isOwn(stats) && tighten(path, stats),
    })
  }
  if (dataDir !== undefined) {
    const names = listed(dataDir)
    const isOnlyStore = names.every(name => STORE_FILES.has(name))
    // An empty folder has nothing to read yet; a store will be made in it.
    if (names.includes('data.mdb') || (isTightening && isOnlyStore && statOf(dataDir)?.isDirectory()))
      look(dataDir, isOnlyStore)
    for (const name of names) if (STORE_FILES.has(name)) look(join(dataDir, name), true)
  }
  if (auditFile !== '') look(auditFile, true)
  return found
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined // not there, or nothing that we may look at
  }
}

const isOwn = ({ uid }: Stats): boolean => uid === process.getuid?.()

function listed(dir: string): string[] {
  try {
    return readdirSync(dir)
  } catch {
    return [] // none yet, or one that the store will say why it cannot open
  }
}

function tighten(path: string, { mode }: Stats): boolean {
  try {
    chmodSync(path, mode & 0o777 & ~PRIVATE_UMASK)
    return true
  } catch {
    return false
  }
}
