/** Copies of the bytes of files, in a folder of the same form as that of DiskStorage: for backups and what is made of them. */
import { createHash } from 'node:crypto'
import { createWriteStream, existsSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { placeIn, syncFolder, WHOLE } from './disk.js'
import type { HeldStorage } from './held.js'
import type { FileRows, StoredFile } from './rows.js'
import type { Storage } from './storage.js'

export interface CopiedFiles {
  readonly count: number
  readonly bytes: number
  /** A line for each file that is missing or damaged: 1,000 at most. */
  readonly faults: readonly string[]
}

/** @param done, of bytes */
export type OnCopied = (done: number, of: number) => void

export const MAX_FAULTS = 1000

/**
 * Copies one file, onto the disk.
 * @param path is not there yet
 * @returns undefined if it cannot be read
 * @throws the system's error if the copy cannot be written
 */
export async function copyFile(
  from: Pick<Storage, 'read'>,
  id: string,
  path: string,
): Promise<{ readonly bytes: number; readonly sha256: string } | undefined> {
  const source = await from.read(id, WHOLE).catch(() => undefined)
  if (source === undefined) return undefined
  let isUnread = false
  source.once('error', () => {
    isUnread = true
  })
  const hash = createHash('sha256')
  let bytes = 0
  async function* counted(pieces: AsyncIterable<Buffer>) {
    for await (const piece of pieces) {
      hash.update(piece)
      bytes += piece.length
      yield piece
    }
  }
  try {
    await pipeline(source, counted, createWriteStream(path, { flags: 'wx', mode: 0o600, flush: true }))
    return { bytes, sha256: hash.digest('hex') }
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') await rm(path, { force: true })
    if (isUnread) return undefined
    throw thrown
  }
}

/**
 * Of every file that has a row, or had one when `from` began to be held.
 * @param dir made, if there are any
 * @throws GatewayError of the store; as copyFile
 */
export async function copyFiles(
  from: HeldStorage,
  rows: FileRows,
  dir: string,
  onCopied: OnCopied,
): Promise<CopiedFiles> {
  const totals = await rows.totals.now()
  const of = totals.bytes - totals.open
  const faults: string[] = []
  let [count, bytes] = [0, 0]
  const copy = async (id: string, row: StoredFile | undefined) => {
    const path = placeIn(dir, id)
    if (existsSync(path)) return
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const copied = await copyFile(from, id, path)
    if (copied !== undefined) {
      count++
      bytes += copied.bytes
      onCopied(bytes, of)
    }
    if (row !== undefined && copied?.sha256 !== row.sha256 && faults.length < MAX_FAULTS)
      faults.push(`file ${id}: ${copied === undefined ? 'is missing' : 'is damaged'}`)
  }
  for await (const row of rows.all()) if (row.state === 'stored') await copy(row.id, row)
  for await (const id of from.removed()) await copy(id, undefined)
  await syncFolders(dir)
  return { count, bytes, faults }
}

/** The folder, and those in it. */
export async function syncFolders(dir: string): Promise<void> {
  if (!existsSync(dir)) return
  for (const entry of await readdir(dir, { withFileTypes: true }))
    if (entry.isDirectory()) await syncFolders(join(dir, entry.name))
  await syncFolder(dir)
}
