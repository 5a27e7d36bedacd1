/** What lines may be appended to: a file, a device, or this process's own output. */
import { closeSync, constants, fstatSync, openSync, type Stats, statSync } from 'node:fs'

/**
 * To be asked before it is opened, also anew: the open of a FIFO waits for whoever reads it, and the process with it.
 * @param path symbolic links are followed; nothing at it passes
 * @returns why no lines can be appended; undefined if they can
 */
export function lineFileFault(path: string): string | undefined {
  try {
    const stats = statSync(path, { throwIfNoEntry: false })
    const isGood =
      stats === undefined || stats.isFile() || stats.isCharacterDevice() || isReadOutput(path, stats)
    return isGood ? undefined : `${path} is ${kindOf(stats)}; lines are appended to files only`
  } catch (thrown) {
    return (thrown as Error).message
  }
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a folder'
  if (stats.isFIFO()) return 'a FIFO'
  return stats.isSocket() ? 'a socket' : 'a device'
}

/** Whether it is the pipe at this process's stdout or stderr (`/dev/stdout`), and still has a reader. */
function isReadOutput(path: string, { dev, ino }: Stats): boolean {
  const isOutput = [1, 2].some(output => {
    const own = fstatSync(output)
    return own.isFIFO() && own.dev === dev && own.ino === ino
  })
  if (isOutput) closeSync(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK))
  return isOutput
}
