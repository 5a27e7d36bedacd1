/** Where the admin socket is, and whether it is the gateway's. */
import { lstatSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { writableFault } from '../core/private-files.js'

/** Its name in `data.dir`. */
export const SOCKET = 'admin.sock'

/** Longest path of a Unix socket, bytes: 108 on Linux, 104 elsewhere, with a NUL at the end. */
const MAX_BYTES = process.platform === 'linux' ? 107 : 103

/** @returns the path as it is short enough for the system: absolute, or from the working directory */
export function socketPath(dataDir: string): string {
  const path = join(resolve(dataDir), SOCKET)
  return Buffer.byteLength(path) <= MAX_BYTES ? path : relative(process.cwd(), path)
}

const ROOT = 0

/**
 * Asked before anything is sent: requests hold passwords, and another user's process could listen here.
 * @param path see `socketPath`
 * @param user the id of who asks; undefined where the system has none
 * @returns why the socket is not to be trusted; undefined if it is, or nothing is there
 * @throws the system's error
 */
export function socketFault(path: string, user = process.getuid?.()): string | undefined {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return undefined
  if (!stats.isSocket()) return `${path}: is not a socket, so nothing is sent there; remove it`
  const dir = dirname(path)
  return writableFault(dir) ?? ownerFault(path, stats.uid, [statSync(dir).uid, user])
}

function ownerFault(
  path: string,
  owner: number,
  [folder, user]: [number, number | undefined],
): string | undefined {
  if (owner === ROOT) return undefined
  if (owner !== folder) return `${path}: is of user ${owner}, who does not own the folder`
  return user === ROOT || user === owner
    ? undefined
    : `${path}: is of user ${owner}: only that user and root may use it`
}
