/** What lmdb throws, as the gateway's errors. */
import { statfsSync } from 'node:fs'
import { GatewayError } from '../errors.js'

/** An operating system or LMDB says that there is no room. */
const FULL = /No space left|quota exceeded|File too large|not enough space|MDB_MAP_FULL/i

/** A failure before LMDB wrote its meta page: it undoes the whole commit and goes on. */
const UNDONE = /Attempting to write page|MDB_MAP_FULL|MDB_TXN_FULL|MDB_BAD_TXN/

/** Input/output error: also what LMDB makes of a write that was cut short, which is how a disk fills up. */
const EIO = 5

/** Below this a disk counts as full, bytes: less than what one large commit writes. */
const FULL_BELOW = 1 << 20

/** Why a commit failed; lmdb hands it over as a promise, which must be taken, or it ends the process. */
export async function failureOf(thrown: unknown): Promise<unknown> {
  if (!(thrown instanceof Error && 'commitError' in thrown)) return undefined
  try {
    return await thrown.commitError
  } catch (cause) {
    return cause
  }
}

export function toStoreError(thrown: unknown, dir: string): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  const code = isFull(thrown, dir) ? 'STORE_FULL' : 'STORE_UNAVAILABLE'
  return new GatewayError(code, { reason: reasonText(thrown) }, thrown)
}

/**
 * Whether nothing may be written after this failed commit. When the sync or the meta page failed, what is on the disk
 * is unknown, and the next write may wait for ever for a lock that lmdb has not given back.
 */
export function isFatal(failure: unknown, dir: string): boolean {
  return !UNDONE.test(reasonText(failure)) && !isCutShort(failure, dir)
}

export function reasonText(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

function isFull(thrown: unknown, dir: string): boolean {
  return FULL.test(reasonText(thrown)) || isCutShort(thrown, dir)
}

function isCutShort(thrown: unknown, dir: string): boolean {
  if (!(thrown instanceof Error && 'code' in thrown && thrown.code === EIO)) return false
  const { bavail, bsize } = statfsSync(dir)
  return bavail * bsize < FULL_BELOW
}
