/** What may be read while the gateway runs. */
import { constants, statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

/**
 * Reading a FIFO or a device waits for whoever writes to it, and the whole process with it. At the start that may be
 * meant (`--config <(…)`). A missing file passes: whoever reads it says so.
 * @param path symbolic links are followed
 * @throws Error with the path, unless a regular file is there; the system's error if the path cannot be looked at
 */
export function checkRegular(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() === false)
    throw new Error(`${path} is not a regular file, and is not read while the gateway runs`)
}

/** For reading, through no link, and without waiting for whoever writes to a FIFO. Windows has neither. */
const READ_ONLY = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0)

/**
 * Opens what a program has put into a folder, where somebody else may have put something else in its place.
 * @throws Error with the path, unless a regular file is there: a symbolic link is none; the system's error if it cannot be opened
 */
export async function openRegular(
  path: string,
): Promise<{ readonly file: FileHandle; readonly size: number }> {
  const file = await open(path, READ_ONLY)
  try {
    const stats = await file.stat()
    if (!stats.isFile()) throw new Error(`${path} is not a regular file`)
    return { file, size: stats.size }
  } catch (thrown) {
    await file.close()
    throw thrown
  }
}
