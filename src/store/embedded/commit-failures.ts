/**
 * Why a commit failed: lmdb's promises do not always tell.
 *
 * Nothing here is lmdb's public interface. Where it no longer fits, the listener is not called, and the promises are
 * what is left.
 */
import type { RootDatabase } from 'lmdb'

interface NativeEnv {
  startWriting(address: number, progress: (status: number) => unknown): unknown
}

/** Of lmdb's writer.cpp: the first is the end of a commit, and any other number is why it failed. */
const [WRITTEN, VISIBLE, CALLBACKS] = [0, 1, 2]

/**
 * Tells of each failed commit of `root`, once lmdb has dealt with it.
 * @param failed must not throw. Its argument: an error of LMDB or, positive, of the operating system
 */
export function onCommitFailure(root: RootDatabase, failed: (code: number) => void): void {
  const { env } = root as unknown as { env?: Partial<NativeEnv> }
  const startWriting = env?.startWriting?.bind(env)
  if (env === undefined || startWriting === undefined) return
  const value: NativeEnv['startWriting'] = (address, progress) =>
    startWriting(address, status => {
      const result = progress(status)
      if (status !== WRITTEN && status !== VISIBLE && status !== CALLBACKS) failed(status)
      return result
    })
  Object.defineProperty(env, 'startWriting', { value })
}
