/**
 * The meta pages of LMDB's file, read without mapping it: what is not as LMDB wrote it ends a process that has it
 * mapped by a signal, which no caller can catch. Source: mdb.c of the LMDB that lmdb 3.5 brings (MDB_meta,
 * mdb_pick_meta).
 */
import { fdatasyncSync, readSync, writeSync } from 'node:fs'

/** What is wrong with the file, in words. */
export class Damage extends Error {}

/** Of one B-tree: MDB_db. */
export interface Tree {
  readonly flags: number
  readonly depth: number
  /** NO_ROOT: empty. */
  readonly root: bigint
}

export interface Meta {
  readonly pageSize: number
  readonly lastPage: number
  readonly txnId: bigint
  readonly flags: number
  readonly bootId: bigint
  /** Pages to be used again, by the transaction that freed them. */
  readonly free: Tree
  /** The databases by name. */
  readonly main: Tree
}

export const PAGE_HEADER = 24
export const TREE_BYTES = 48
export const NO_ROOT = 2n ** 64n - 1n

const META_BYTES = 144
const FLAGS = 28
const TXN_ID = 128
const BOOT_ID = 136
const META_FLAG = 8
const MAGIC = 0xbeefc0de
/**
 * In the middle of the first page LMDB's fork keeps the last synced meta page, without magic; so do we, with a magic of
 * our own ("MUMI") that says: nothing newer counts once the system was started anew.
 */
const SYNCED_MAGIC = 0x494d_554d
const VERSION = 2
/** MDB_OVERLAPPINGSYNC of lmdb's fork: a commit may be in its meta page before it is on the disk. */
const OVERLAPPING_SYNC = 0x1000

export const readTree = (bytes: Buffer, at: number): Tree => ({
  flags: bytes.readUInt16LE(at + 4),
  depth: bytes.readUInt16LE(at + 6),
  root: bytes.readBigUInt64LE(at + 40),
})

/**
 * The snapshot that this file is opened at: the newest; where the system was started anew since, the newest of which it
 * is certain that it had reached the disk.
 * @param bootId of this start of the system; 0n: not known
 * @throws Damage if one of the two pages is not a meta page
 */
export function readMeta(file: number, bootId: bigint): Meta {
  const first = checkedMeta(file, 0, 'the first page')
  const second = checkedMeta(file, first.pageSize, 'the second page')
  if (second.pageSize !== first.pageSize) throw new Damage('the first two pages name different page sizes')
  const page = read(file, first.pageSize / 2)
  const synced = toMeta(page, first.pageSize)
  const newest = first.txnId >= second.txnId ? first : second
  if (page.readUInt32LE(PAGE_HEADER) === SYNCED_MAGIC && newest.bootId !== bootId) return synced
  // As LMDB does where it syncs by itself.
  return pick(pick(first, second, bootId), synced, bootId)
}

/**
 * The meta page of the newest snapshot in the page cache, as bytes.
 * A commit of another thread may be under way: read it twice, and trust it where it is the same.
 */
export function readNewest(file: number, pageSize: number): Buffer {
  const [first, second] = [metaAt(file, 0), metaAt(file, pageSize)]
  return txnIdOf(first) >= txnIdOf(second) ? first : second
}

/** The transaction of a meta page given as bytes. */
export const txnIdOf = (meta: Buffer): bigint => meta.readBigUInt64LE(TXN_ID)

/** Notes the snapshot of `meta` as the one that is on the disk. Safe only while all its pages are there and are not reused. */
export function writeSynced(file: number, pageSize: number, meta: Buffer): void {
  const bytes = Buffer.from(meta)
  bytes.writeUInt32LE(SYNCED_MAGIC, 0)
  writeWhole(file, bytes, pageSize / 2 + PAGE_HEADER)
}

/**
 * Whether the system was started anew since the newest snapshot was written, and an older one is noted by `writeSynced`:
 * what was committed after that is on the disk in part.
 */
export const isAhead = (file: number, bootId: bigint): boolean => snapshotBefore(file, bootId) !== undefined

/**
 * Makes the noted snapshot the newest where the file `isAhead`. To be called while no process writes to the file. If it is
 * interrupted between its two writes, the file is ahead still.
 */
export function restoreSynced(file: number, bootId: bigint): boolean {
  const found = snapshotBefore(file, bootId)
  if (found === undefined) return false
  const { bytes, pageSize } = found
  bytes.writeUInt32LE(MAGIC, 0)
  for (const at of [0, pageSize]) writeWhole(file, bytes, at + PAGE_HEADER)
  fdatasyncSync(file)
  return true
}

/** @returns the noted meta page, if the newest one does not count */
function snapshotBefore(file: number, bootId: bigint): { bytes: Buffer; pageSize: number } | undefined {
  const { txnId, pageSize } = readMeta(file, bootId)
  const newest = readNewest(file, pageSize)
  if (txnIdOf(newest) === txnId || newest.readBigInt64LE(BOOT_ID) === bootId) return undefined
  const bytes = metaAt(file, pageSize / 2)
  return bytes.readUInt32LE(0) === SYNCED_MAGIC && txnIdOf(bytes) === txnId ? { bytes, pageSize } : undefined
}

/** Whether the newest commit was made by an LMDB that syncs by itself, and may not have done so. */
export function isSyncedByLmdb(file: number): boolean {
  const { pageSize } = checkedMeta(file, 0, 'the first page')
  return (readNewest(file, pageSize).readUInt16LE(FLAGS) & OVERLAPPING_SYNC) !== 0
}

/** A meta page as bytes, without the page's header. */
function metaAt(file: number, at: number): Buffer {
  const bytes = Buffer.alloc(META_BYTES)
  readSync(file, bytes, 0, META_BYTES, at + PAGE_HEADER)
  return bytes
}

function writeWhole(file: number, bytes: Buffer, at: number): void {
  if (writeSync(file, bytes, 0, bytes.length, at) !== bytes.length)
    throw new Error('a meta page was cut short')
}

function checkedMeta(file: number, at: number, what: string): Meta {
  const page = read(file, at)
  if (page.length < PAGE_HEADER + META_BYTES) throw new Damage(`it ends within ${what}`)
  if ((page.readUInt16LE(18) & META_FLAG) === 0 || page.readUInt32LE(PAGE_HEADER) !== MAGIC)
    throw new Damage(`${what} is none of this store's`)
  const version = page.readUInt16LE(PAGE_HEADER + 4)
  if (version !== VERSION) throw new Damage(`${what} has version ${version} of the format, not ${VERSION}`)
  const pageSize = page.readUInt32LE(PAGE_HEADER + 24)
  if (pageSize < 512 || pageSize > 65_536 || (pageSize & (pageSize - 1)) !== 0)
    throw new Damage(`${what} names pages of ${pageSize} bytes`)
  return toMeta(page, pageSize)
}

function read(file: number, at: number): Buffer {
  const page = Buffer.alloc(PAGE_HEADER + META_BYTES)
  return page.subarray(0, readSync(file, page, 0, page.length, at))
}

function toMeta(page: Buffer, pageSize: number): Meta {
  const meta = page.subarray(PAGE_HEADER)
  return {
    pageSize,
    flags: meta.readUInt16LE(FLAGS),
    free: readTree(meta, 24),
    main: readTree(meta, 24 + TREE_BYTES),
    lastPage: Number(meta.readBigUInt64LE(120)),
    txnId: txnIdOf(meta),
    bootId: meta.readBigInt64LE(BOOT_ID),
  }
}

function pick(a: Meta, b: Meta, bootId: bigint): Meta {
  if (b.txnId === 0n) return a
  const latest = a.txnId >= b.txnId ? a : b
  const isOfThisBoot = latest.bootId !== 0n && latest.bootId === bootId
  if (isOfThisBoot || (latest.flags & OVERLAPPING_SYNC) === 0) return latest
  return a.txnId > b.txnId ? b : a
}
