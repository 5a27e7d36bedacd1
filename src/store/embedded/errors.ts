/** What lmdb throws, as the gateway's errors. */
import { statfsSync } from 'node:fs'
import { constants } from 'node:os'
import { getSystemErrorMap } from 'node:util'
import { GatewayError } from '../../core/errors.js'

const { EDQUOT, EFBIG, EIO, ENOSPC } = constants.errno
const MDB_MAP_FULL = -30792
/** Windows: ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL. */
const WINDOWS_FULL = process.platform === 'win32' ? [39, 112] : []
const FULL: readonly number[] = [ENOSPC, EDQUOT, EFBIG, MDB_MAP_FULL, ...WINDOWS_FULL]

/** Below this a disk counts as full, bytes: less than what one large commit writes. */
const FULL_BELOW = 1 << 20

/** An error of LMDB or, positive, of the operating system. */
export class CodedError extends Error {
  constructor(readonly code: number) {
    super(getSystemErrorMap().get(-code)?.join(': ') ?? `LMDB error ${code}`)
  }
}

/** What lmdb rejects a failed commit with. Its promise of the reason is rejected, too, or stays pending for ever. */
export interface CommitFailure extends Error {
  readonly commitError: Promise<never>
}

export function isCommitFailure(thrown: unknown): thrown is CommitFailure {
  return thrown instanceof Error && 'commitError' in thrown && thrown.commitError instanceof Promise
}

/** @param dir the data folder, to see whether its disk is full */
export function toStoreError(thrown: unknown, dir: string): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  const code = isFull(thrown, dir) ? 'STORE_FULL' : 'STORE_UNAVAILABLE'
  return new GatewayError(code, { reason: reasonText(thrown) }, thrown)
}

export function reasonText(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** Of LMDB, whose numbers of the operating system are positive, or of Node.js, whose are negative. */
function codeOf(thrown: unknown): number | undefined {
  if (!(thrown instanceof Error)) return undefined
  const { code, errno } = thrown as Error & { code?: unknown; errno?: unknown }
  if (typeof code === 'number') return code
  return typeof errno === 'number' ? -errno : undefined
}

/** A write that was cut short, which is how a disk fills up, is an EIO for LMDB. */
function isFull(thrown: unknown, dir: string): boolean {
  const code = codeOf(thrown)
  if (code !== EIO) return code !== undefined && FULL.includes(code)
  try {
    const { bavail, bsize } = statfsSync(dir)
    return bavail * bsize < FULL_BELOW
  } catch {
    return false
  }
}
