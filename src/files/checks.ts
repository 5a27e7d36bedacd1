/** Whether the bytes are there that rows refer to: after a restore, and for `mumi verify`. */
import { createHash } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type CopiedFiles, copyFile, MAX_FAULTS, syncFolders } from './copies.js'
import { DiskStorage, placeIn, WHOLE } from './disk.js'
import type { FileRows, StoredFile } from './rows.js'

/**
 * Copies the bytes of a backup. What a kill leaves is replaced by the next call.
 * @param onCopied bytes so far
 * @returns takes back what was copied
 * @throws as copyFile
 */
export async function bringFiles(
  from: DiskStorage,
  dir: string,
  onCopied: (bytes: number) => void,
): Promise<() => Promise<void>> {
  const there = new DiskStorage(dir)
  const brought: string[] = []
  const made = await mkdir(dir, { recursive: true, mode: 0o700 })
  const undo = async () => {
    for (const id of brought) await there.remove(id)
    if (made !== undefined) await rm(made, { recursive: true, force: true })
  }
  let bytes = 0
  try {
    for await (const owner of from.owners())
      for await (const id of from.list(owner)) {
        if ((await there.sizeOf(id)) === (await from.sizeOf(id))) continue
        brought.push(id)
        bytes += (await replace(from, dir, id))?.bytes ?? 0
        onCopied(bytes)
      }
    await syncFolders(dir)
    return undo
  } catch (thrown) {
    await undo()
    throw thrown
  }
}

async function replace(from: DiskStorage, dir: string, id: string) {
  const path = placeIn(dir, id)
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await rm(path, { force: true })
  return copyFile(from, id, path)
}

/**
 * Reads all bytes and compares them with what the rows say. What is damaged stays: nobody may have a better copy.
 * @param from where another copy may be; undefined: nowhere
 * @throws GatewayError of the store; as copyFile
 */
export async function checkFiles(
  rows: FileRows,
  dir: string,
  from: DiskStorage | undefined,
): Promise<CopiedFiles> {
  const there = new DiskStorage(dir)
  const faults: string[] = []
  let [count, bytes] = [0, 0]
  const isGood = async ({ id, sha256 }: StoredFile) => (await digestOf(there, id)) === sha256
  for await (const row of rows.all()) {
    if (row.state !== 'stored') continue
    const { id, size } = row
    const isThere = (await there.sizeOf(id)) !== undefined
    if (
      (await isGood(row)) ||
      (from !== undefined && (await replace(from, dir, id)) && (await isGood(row)))
    ) {
      count++
      bytes += size
      continue
    }
    if (faults.length < MAX_FAULTS) faults.push(`file ${id}: is ${isThere ? 'damaged' : 'missing'}`)
  }
  await syncFolders(dir)
  return { count, bytes, faults }
}

/** SHA-256, hex; undefined if it cannot be read. */
async function digestOf(storage: DiskStorage, id: string): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    await pipeline(await storage.read(id, WHOLE), hash)
    return hash.digest('hex')
  } catch {
    return undefined
  }
}

/** Looks at sizes alone. */
export async function measureFiles(
  rows: FileRows,
  storage: DiskStorage,
): Promise<Omit<CopiedFiles, 'bytes'>> {
  const faults: string[] = []
  let count = 0
  for await (const { id, size, state } of rows.all()) {
    if (state !== 'stored') continue
    count++
    const there = await storage.sizeOf(id)
    if (there !== size && faults.length < MAX_FAULTS)
      faults.push(`file ${id}: ${there === undefined ? 'is missing' : `has ${there} of ${size} bytes`}`)
  }
  return { count, faults }
}
