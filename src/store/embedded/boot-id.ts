/** Which start of the operating system this is. */
import { readFileSync, statfsSync } from 'node:fs'

const PATH = '/proc/sys/kernel/random/boot_id'
const PROCFS = 0x9fa0

/**
 * @returns 0n where it cannot be told. LMDB writes the same number into its meta pages (mdb.c: the first 8 digits): where
 * a file bears it, all that was ever written to the file is still in the page cache, or on the disk. LMDB trusts only
 * the kernel's own file: a container may have another one in its place, which tells of the container's start.
 */
export function bootId(path = PATH): bigint {
  if (process.platform !== 'linux') return 0n
  try {
    if (statfsSync(path).type !== PROCFS) return 0n
    const digits = /^[0-9a-f]{1,8}/.exec(readFileSync(path, 'ascii'))?.[0]
    return digits === undefined ? 0n : BigInt(`0x${digits}`)
  } catch {
    return 0n
  }
}
