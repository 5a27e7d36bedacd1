/**
 * The note `opened` beside the data, while a process has them open: which file of the journal it writes to. So a
 * journal whose newest file was removed, emptied or cut short by hand is told from one that was closed. LMDB cannot keep it: a
 * copy of its file would say that a journal belongs to it.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bootId } from './boot-id.js'

export const OPENED = 'opened'

/** @param first number of the first record of the file. @throws what the system says; then the note is as it was */
export function noteOpened(dir: string, first: number): void {
  const path = join(dir, OPENED)
  writeFileSync(`${path}.part`, `${bootId()} ${first}\n`, { mode: 0o600 })
  renameSync(`${path}.part`, path)
}

/** To be called before the files of the journal are removed. */
export function forgetOpened(dir: string): void {
  rmSync(join(dir, OPENED), { force: true })
}

/**
 * @returns number of the first record of the file that was written to last; undefined if the store was closed, or the
 *   system was started anew since, and may have lost what was not synced
 */
export function readOpened(dir: string): number | undefined {
  let text: string
  try {
    text = readFileSync(join(dir, OPENED), 'utf8')
  } catch {
    return undefined
  }
  const [, boot, first] = /^(-?\d+) (\d+)\n$/.exec(text) ?? []
  return boot === undefined || bootId() === 0n || BigInt(boot) !== bootId() ? undefined : Number(first)
}
