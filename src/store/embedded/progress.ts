/**
 * What happens to a commit before lmdb's promise tells. lmdb 3.5's promises wait for the disk (mdb_txn_commit syncs
 * before it returns), though a commit in the page cache survives the death of the process: not to wait makes room for
 * half as many messages again. And they do not always tell why a commit failed.
 *
 * Nothing here is lmdb's public interface. Where it no longer fits, the listener is not called, and the promises are
 * what is left to wait for.
 */
import { readFileSync } from 'node:fs'
import type { RootDatabase } from 'lmdb'

interface NativeEnv {
  startWriting(address: number, progress: (status: number) => unknown): unknown
}

export interface ProgressListener {
  /** A commit can be read, and is not synced yet. */
  visible(): void
  /** @param code an error of LMDB or, positive, of the operating system */
  failed(code: number): void
}

/** Of lmdb's writer.cpp: the first is the end of a commit, and any other number is why it failed. */
const [WRITTEN, VISIBLE, CALLBACKS] = [0, 1, 2]

/** Tells of each commit of `root` what has become of it, once lmdb has dealt with that. The listener must not throw. */
export function onProgress(root: RootDatabase, listener: ProgressListener): void {
  const { env } = root as unknown as { env?: Partial<NativeEnv> }
  const startWriting = env?.startWriting?.bind(env)
  if (env === undefined || startWriting === undefined) return
  const value: NativeEnv['startWriting'] = (address, progress) =>
    startWriting(address, status => {
      const result = progress(status)
      if (status === VISIBLE) listener.visible()
      else if (status !== WRITTEN && status !== CALLBACKS) listener.failed(status)
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
