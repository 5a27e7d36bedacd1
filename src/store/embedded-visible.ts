/**
 * When a commit can be read, which is before it is on the disk. lmdb 3.5's promises wait for the disk even so
 * (mdb_txn_commit syncs before it returns), and a commit in the page cache already survives the death of the process:
 * not waiting makes room for half as many messages again. Nothing here is lmdb's public interface: where it no longer
 * fits, nobody is called, and the promises are what is left to wait for.
 */
import { readFileSync } from 'node:fs'
import type { RootDatabase } from 'lmdb'

interface NativeEnv {
  startWriting(address: number, progress: (status: number) => unknown): unknown
}

/** lmdb's writer.cpp: the commit can be read, and is not synced yet. */
const VISIBLE = 1

/** Calls `listener` whenever something that was written has just become readable. It must not throw. */
export function onVisible(root: RootDatabase, listener: () => void): void {
  const { env } = root as unknown as { env?: Partial<NativeEnv> }
  const startWriting = env?.startWriting?.bind(env)
  if (env === undefined || startWriting === undefined) return
  const value: NativeEnv['startWriting'] = (address, progress) =>
    startWriting(address, status => {
      const result = progress(status)
      if (status === VISIBLE) listener()
      return result
    })
  Object.defineProperty(env, 'startWriting', { value })
}

/**
 * Whether LMDB, opened after a process died, takes the last commit rather than the last synced one. It does where
 * it can tell that the system was not started anew meanwhile (mdb.c, boot_id: the first 8 digits, not all 0).
 */
export function survivesUnsynced(): boolean {
  if (process.platform !== 'linux') return false
  try {
    return Number.parseInt(readFileSync('/proc/sys/kernel/random/boot_id', 'ascii'), 16) > 0
  } catch {
    return false
  }
}
