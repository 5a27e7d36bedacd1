/** The sizes of files that a backup, a restore or a compaction writes, for whoever waits. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Config } from '../config/config.js'
import { COMPACT_PART } from '../store/embedded/compact.js'
import { RESTORE_PART } from '../store/embedded/file.js'

/** Of a file that grows, and of the one that is copied: a copy without free pages ends below it. */
export interface Growing {
  readonly done: number
  readonly of: number
  /** What is copied, if that is not the store. */
  readonly detail?: string
}

/** In the folder of a backup that is made: how many bytes of files are copied. */
export const COPIED = 'copied'

const storeDir = ({ data }: Config): string => join(data.dir, 'store')

/** @returns undefined while there is nothing to see, as where another machine makes it */
export const backupSize = (config: Config, file: string): Growing | undefined =>
  sizeIn(dirname(file), `${basename(file)}.part-`, config)

/** As backupSize. */
export const compactSize = (config: Config): Growing | undefined =>
  sizeIn(storeDir(config), COMPACT_PART, config)

/** As backupSize. */
export function restoreSize(config: Config, file: string): Growing | undefined {
  try {
    return { done: statSync(join(storeDir(config), RESTORE_PART)).size, of: statSync(file).size }
  } catch {
    return undefined
  }
}

function sizeIn(dir: string, prefix: string, config: Config): Growing | undefined {
  try {
    // One that was killed may have left another one, which does not grow.
    const made = readdirSync(dir)
      .filter(name => name.startsWith(prefix))
      .map(name => ({ folder: join(dir, name), ...sizeOf(join(dir, name, 'data.mdb')) }))
      .sort((a, b) => b.mtimeMs - a.mtimeMs)
    const [newest] = made
    if (newest === undefined) return undefined
    const files = join(newest.folder, COPIED)
    if (existsSync(files)) return { ...(JSON.parse(readFileSync(files, 'utf8')) as Growing), detail: 'files' }
    return { done: newest.size, of: statSync(join(storeDir(config), 'data.mdb')).size }
  } catch {
    return undefined
  }
}

const sizeOf = (file: string) => {
  const { size, mtimeMs } = statSync(file)
  return { size, mtimeMs }
}
