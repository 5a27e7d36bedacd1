/** A look at the data file before LMDB maps it: what is no LMDB file at all would end the process without a word. */
import { closeSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { GatewayError } from '../../errors.js'

/** lmdb.h of the LMDB that lmdb 3.5 brings: MDB_MAGIC, behind the header of each of the two meta pages. */
const MAGIC = 0xbeefc0de
const MAGIC_AT = 24
const PAGE_SIZE_AT = 48

/** @throws GatewayError STORE_UNAVAILABLE when `data.mdb` is there and is no LMDB file. Damage behind its meta pages is not seen. */
export function refuseForeignFile(dir: string): void {
  const path = join(dir, 'data.mdb')
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return // none yet, or one that LMDB will say why it cannot open
  }
  try {
    const head = Buffer.alloc(PAGE_SIZE_AT + 4)
    // LMDB fills an empty file itself.
    if (readSync(file, head, 0, head.length, 0) === 0) return
    const second = Buffer.alloc(4)
    readSync(file, second, 0, 4, head.readUInt32LE(PAGE_SIZE_AT) + MAGIC_AT)
    if (head.readUInt32LE(MAGIC_AT) === MAGIC && second.readUInt32LE(0) === MAGIC) return
    throw new GatewayError('STORE_UNAVAILABLE', { reason: `${path} is damaged, or no file of this store` })
  } finally {
    closeSync(file)
  }
}
