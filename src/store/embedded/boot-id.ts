/** Which start of the operating system this is. */
import { readFileSync } from 'node:fs'

/**
 * @returns 0n where it cannot be told. LMDB writes the same number into its meta pages (mdb.c: the first 8 digits): where
 * a file bears it, all that was ever written to the file is still in the page cache, or on the disk.
 */
export function bootId(): bigint {
  if (process.platform !== 'linux') return 0n
  try {
    const digits = /^[0-9a-f]+/.exec(readFileSync('/proc/sys/kernel/random/boot_id', 'ascii'))?.[0]
    return digits === undefined ? 0n : BigInt(`0x${digits}`)
  } catch {
    return 0n
  }
}
