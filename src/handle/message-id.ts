/** UUIDv7 of messages (RFC 9562, 5.7), rising within this process. */
import { randomFillSync } from 'node:crypto'
import { v7 } from 'uuid'

const RANDOM_BYTES = 16
/** uuid asks the system for 16 random bytes a call, an eighth of a message's cost; a pool asks once in 1,024. */
const pool = Buffer.alloc(RANDOM_BYTES * 1024)
let used = pool.length

/** As uuid's own v7 counts: a random start in each millisecond, with room above it, then one more each (6.2, method 1). */
let lastMs = 0
let seq = 0

/** @param now ms since the epoch; ids keep rising when the clock does not */
export function newMessageId(now: number): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const random = pool.subarray(used, used + RANDOM_BYTES)
  used += RANDOM_BYTES
  if (now > lastMs) {
    lastMs = now
    seq = random.readUInt32BE(6) & 0x7fff_ffff
  } else {
    seq = (seq + 1) >>> 0
    if (seq === 0) lastMs++
  }
  return v7({ random, msecs: lastMs, seq })
}
