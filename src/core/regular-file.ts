/** What may be read while the gateway runs. */
import { statSync } from 'node:fs'

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
