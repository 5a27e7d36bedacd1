/** What we keep is for the user that we run as: messages, hashes of passwords, the key of tokens, the audit. */
import { chmodSync, readdirSync, type Stats, statSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** Rights of group and others, which nothing of ours is made with. */
export const PRIVATE_UMASK = 0o077

/** The folder of the store in `data.dir`; all that is in it is ours. */
const STORE = 'store'

export interface Kept {
  /** `data.dir`, where the store is the embedded one. */
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
 * @param isTightening takes that away from what is ours. Not from a `data.dir` in which there is more than the store
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
    const store = join(dataDir, STORE)
    const files = listed(store)
    // Without a store there is nothing to read yet.
    if (files.includes('data.mdb')) {
      look(
        dataDir,
        names.every(name => name === STORE),
      )
      look(store, true)
      for (const file of files) look(join(store, file), true)
    }
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
