/**
 * Reads a table of an SQLite file that may be anybody's work. SQLite runs as WebAssembly on a copy in memory: whatever the
 * file makes it do, it reaches no file and no other memory of this process, and the file is never written.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from 'node:fs'
import type { Database, Sqlite3Static } from '@sqlite.org/sqlite-wasm'

/** Faults that the operator can act on. */
export class SourceError extends Error {
  override readonly name = 'SourceError'
}

/** A value as it is stored; what is longer than MAX_VALUE_BYTES or has NUL is an empty blob. */
export type Value = string | number | bigint | boolean | Uint8Array | ArrayBuffer | Int8Array | null

/** Far more than accounts of a chat need; WebAssembly has 2 GiB. */
const MAX_FILE_BYTES = 512 << 20
/** The smallest page, which begins with the header. */
const MIN_FILE_BYTES = 512
const MAX_VALUE_BYTES = 8192
const MAGIC = 'SQLite format 3\0'
/** Versions of the format for writers and readers: 1 = a journal, 2 = a WAL (SQLite's "Database File Format", 1.3.3). */
const FORMAT_VERSIONS = [18, 19]

/**
 * @param columns names; one that the table does not have is null in each row
 * @returns the rows in the order of their rowids, values in the order of `columns`
 * @throws SourceError if the file cannot be read, is damaged, or has no such table
 */
export async function readTable(path: string, table: string, columns: readonly string[]): Promise<Value[][]> {
  const bytes = readDatabase(path)
  const sqlite = await load()
  try {
    return rowsOf(sqlite, bytes, table, columns)
  } catch (thrown) {
    if (thrown instanceof sqlite.SQLite3Error) throw new SourceError(`${path}: SQLite: ${thrown.message}`)
    throw thrown instanceof SourceError ? new SourceError(`${path}: ${thrown.message}`) : thrown
  }
}

let loading: Promise<Sqlite3Static> | undefined

/** Once a process: each instance takes 10 GiB of address space, and where none is left, loading never ends. */
function load(): Promise<Sqlite3Static> {
  loading ??= import('@sqlite.org/sqlite-wasm').then(({ default: start }) => start())
  return loading
}

/** A file's bytes. Changes that SQLite has not put into it yet are in files beside it, so with them it is half of the data. */
function readDatabase(path: string): Uint8Array {
  for (const [end, how] of [
    ['-wal', 'PRAGMA wal_checkpoint(TRUNCATE)'],
    ['-journal', 'PRAGMA integrity_check'],
  ])
    if ((statSync(path + end, { throwIfNoEntry: false })?.size ?? 0) > 0)
      throw new SourceError(
        `${path}${end}: holds changes that are not in ${path} yet. Stop the old server; if the file stays: sqlite3 '${path}' '${how}'`,
      )
  const bytes = readWhole(path)
  if (
    !bytes.subarray(0, MAGIC.length).every((byte, at) => byte === MAGIC.charCodeAt(at)) ||
    bytes.length < MIN_FILE_BYTES
  )
    throw new SourceError(`${path}: is not an SQLite database`)
  // A database in memory has no WAL; one whose WAL is empty is the same without.
  for (const at of FORMAT_VERSIONS) if (bytes[at] === 2) bytes[at] = 1
  return bytes
}

/** @throws SourceError for what is not a regular file, is too large, or is written meanwhile; the system's error */
function readWhole(path: string): Uint8Array {
  // Without waiting for whoever writes to a FIFO.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const before = fstatSync(file)
    if (!before.isFile()) throw new SourceError(`${path}: is not a regular file`)
    if (before.size > MAX_FILE_BYTES)
      throw new SourceError(`${path}: is larger than ${MAX_FILE_BYTES >> 20} MiB`)
    const bytes = readFileSync(file)
    if (bytes.length !== before.size || fstatSync(file).mtimeMs !== before.mtimeMs)
      throw new SourceError(`${path}: is written at this moment: stop the old server first`)
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
  } finally {
    closeSync(file)
  }
}

function rowsOf(
  { capi, oo1, wasm }: Sqlite3Static,
  bytes: Uint8Array,
  table: string,
  columns: readonly string[],
): Value[][] {
  const db = new oo1.DB()
  try {
    const flags = capi.SQLITE_DESERIALIZE_FREEONCLOSE | capi.SQLITE_DESERIALIZE_READONLY
    const data = wasm.allocFromTypedArray(bytes)
    db.checkRc(capi.sqlite3_deserialize(db, 'main', data, bytes.length, bytes.length, flags))
    db.exec('PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON')
    const stored = storedColumns(db, table)
    // Damage could make one page many rows, without an end.
    const check = db.selectValue('PRAGMA quick_check(1)')
    if (check !== 'ok') throw new SourceError(`is damaged: ${check}`)
    const read = columns.map(name => (stored.has(name) ? bounded(name) : 'NULL'))
    return db.selectArrays(`SELECT ${read.join(', ')} FROM "${table}" NOT INDEXED`)
  } finally {
    db.close()
  }
}

/** The length of a value is known without reading it. Of a text with NUL, the binding reads what is before it. */
const bounded = (name: string) =>
  `iif(octet_length("${name}") > ${MAX_VALUE_BYTES} OR instr("${name}", char(0)) > 0, x'', "${name}")`

/** Columns whose values are in the file: those of a view or a generated column are what the schema computes. */
function storedColumns(db: Database, table: string): ReadonlySet<string> {
  const isStored = db.selectValue(
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ? AND rootpage > 0",
    [table],
  )
  if (isStored === undefined) throw new SourceError(`has no table ${table}`)
  const columns = db.selectArrays('SELECT lower(name), hidden FROM pragma_table_xinfo(?)', [table])
  return new Set(columns.flatMap(([name, hidden]) => (hidden === 0 ? [String(name)] : [])))
}
