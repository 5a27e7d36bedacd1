/** Where the admin socket is. */
import { join, relative, resolve } from 'node:path'

/** Its name in `data.dir`. */
export const SOCKET = 'admin.sock'

/** Longest path of a Unix socket, bytes: 108 on Linux, 104 elsewhere, with a NUL at the end. */
const MAX_BYTES = process.platform === 'linux' ? 107 : 103

/** @returns the path as it is short enough for the system: absolute, or from the working directory */
export function socketPath(dataDir: string): string {
  const path = join(resolve(dataDir), SOCKET)
  return Buffer.byteLength(path) <= MAX_BYTES ? path : relative(process.cwd(), path)
}
