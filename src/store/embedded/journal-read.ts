/** What an earlier process left in the journal. The files and their form: journal-files.ts. */
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { bootId } from './boot-id.js'
import { DamagedRecord, decodeRecords, type JournalRecord } from './journal-record.js'
import { readOpened } from './opened.js'

/**
 * Then the store's id, since a journal belongs to one `data.mdb`, and the id of the start of the system in which the file was
 * made (boot-id.ts).
 */
const MAGIC = Buffer.from('MUMI journal 1\n')
export const STORE_ID_BYTES = 16
const ID_END = MAGIC.length + STORE_ID_BYTES
export const HEADER_BYTES = ID_END + 8
const NAME = /^journal-(\d+)$/
/** Six bytes (journal-record.ts). */
const MAX_NUMBER = 2 ** 48 - 1

/** A file of the journal. */
export interface Segment {
  readonly path: string
  /** Number of its last record. */
  last: number
}

/** A journal that does not belong to the data beside it, or is damaged. */
export class ForeignJournal extends Error {}

export interface Found {
  /** What LMDB does not have, up to the first record that is not there whole. */
  readonly records: readonly JournalRecord[]
  /** The files that they are in, oldest first. */
  readonly segments: readonly Segment[]
}

/**
 * Reads the journal of a folder, and removes files of which nothing can be used.
 * @param id the store's; undefined if it never had a journal
 * @param after number of the last record that LMDB has
 * @throws ForeignJournal, or what the system says
 */
export function readJournal(dir: string, id: Buffer | undefined, after: number): Found {
  const records: JournalRecord[] = []
  const segments: Segment[] = []
  const useless: string[] = []
  let last = after
  /** Of all that is there, also of what LMDB has. */
  let newest = 0
  const files = filesIn(dir)
  for (const { path, first } of files) {
    const all = readSegment(path, first, id)
    const isBehindHole = first > last + 1
    // After a power cut a file may be on the disk and the end of the one before it not: then it is lost, too.
    if (isBehindHole && isOfThisStart(path))
      throw new ForeignJournal(`${path}: ${missing(last + 1, first - 1)} before it`)
    const end = all.at(-1)
    newest = Math.max(newest, end?.number ?? first - 1)
    if (end === undefined || isBehindHole) {
      useless.push(path)
      continue
    }
    for (const record of all) if (record.number > last) records.push(record)
    last = Math.max(last, end.number)
    // Also one of which LMDB has all: that need not be on the disk yet.
    segments.push({ path, last: end.number })
  }
  checkNewest(dir, files, { newest, after })
  // Not before it is known that nothing is missing.
  for (const path of useless) rmSync(path)
  return { records, segments }
}

/**
 * While the system runs, a file that was begun is there with its header, and has at least what LMDB has.
 * @throws ForeignJournal
 */
function checkNewest(
  dir: string,
  files: readonly { readonly path: string; readonly first: number }[],
  { newest, after }: { readonly newest: number; readonly after: number },
): void {
  const begun = readOpened(dir)
  if (begun === undefined) return
  const path = pathOf(dir, begun)
  if (!files.some(({ first }) => first === begun)) throw new ForeignJournal(`${path} is missing`)
  if (statSync(path).size < HEADER_BYTES) throw new ForeignJournal(`${path} was cut short`)
  if (newest < after)
    throw new ForeignJournal(
      `${path} was cut short: it ends with record ${newest}, and data.mdb has ${after}`,
    )
}

/** Their file was removed, or emptied, or belongs to a newer data.mdb. */
const missing = (from: number, to: number): string =>
  from === to ? `record ${from} is missing` : `records ${from} to ${to} are missing`

/** The header of a file that is begun now. */
export const headerOf = (id: Buffer): Buffer => Buffer.concat([MAGIC, id, bootIdBytes()])

const bootIdBytes = (): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(bootId())
  return bytes
}

const isOfThisStart = (path: string): boolean =>
  bootId() !== 0n && readFileSync(path).subarray(ID_END, HEADER_BYTES).equals(bootIdBytes())

/** @param first by its name */
function readSegment(path: string, first: number, id: Buffer | undefined): JournalRecord[] {
  const bytes = readFileSync(path)
  // It had just been made, or the power failed before it was on the disk.
  if (bytes.length < HEADER_BYTES || bytes.subarray(0, HEADER_BYTES).every(byte => byte === 0)) return []
  const isOurs =
    bytes.subarray(0, MAGIC.length).equals(MAGIC) && id?.equals(bytes.subarray(MAGIC.length, ID_END))
  if (!isOurs) throw new ForeignJournal(`${path} belongs to other data than the data.mdb beside it`)
  try {
    const records = decodeRecords(bytes, HEADER_BYTES, isOfThisStart(path))
    const wrong = records.findIndex(({ number }, at) => number !== first + at)
    if (wrong === -1) return records
    throw new ForeignJournal(`${path} has record ${records[wrong]?.number} in the place of ${first + wrong}`)
  } catch (thrown) {
    if (!(thrown instanceof DamagedRecord)) throw thrown
    throw new ForeignJournal(`${path}: ${thrown.message}`)
  }
}

/** Oldest first. `first`: number of the first record that was written to it. @throws ForeignJournal */
function filesIn(dir: string): { readonly path: string; readonly first: number }[] {
  const names = readdirSync(dir).filter(name => NAME.test(name))
  return names.map(name => fileOf(dir, name)).sort((a, b) => a.first - b.first)
}

function fileOf(dir: string, name: string): { readonly path: string; readonly first: number } {
  const path = join(dir, name)
  const first = Number(NAME.exec(name)?.[1])
  const isOurs = first > 0 && first <= MAX_NUMBER && path === pathOf(dir, first)
  if (!isOurs || !statSync(path, { throwIfNoEntry: false })?.isFile())
    throw new ForeignJournal(`${path} is no file of the journal`)
  return { path, first }
}

export const pathOf = (dir: string, first: number): string => join(dir, `journal-${first}`)
