/** Whether the bytes are there that rows refer to: after a restore, and for `mumi verify`. */
import { createHash } from 'node:crypto'
import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { type CopiedFiles, copyFile, MAX_FAULTS, syncFolders } from './copies.js'
import { DiskStorage, placeIn, WHOLE } from './disk.js'
import { isFileId, newFileId, ownerOf } from './ids.js'
import type { FileRows, StoredFile } from './rows.js'

export interface Brought {
  readonly files: CopiedFiles
  /** Takes back what was copied. */
  undo(): Promise<void>
}

/**
 * Brings the files of a backup to where they belong: each that is there and good stays, each other one is copied, and gets its name
 * when its bytes are those that its row says. Nothing else in the backup is touched, and no link in it followed.
 * @param from undefined: nothing is beside the backup
 * @param onCopied bytes so far
 * @throws GatewayError of the store; as copyFile; and then what was copied is taken back
 */
export async function bringFiles(
  rows: FileRows,
  dir: string,
  from: DiskStorage | undefined,
  onCopied: (bytes: number) => void,
): Promise<Brought> {
  const there = new DiskStorage(dir)
  const brought: string[] = []
  const made = await mkdir(dir, { recursive: true, mode: 0o700 })
  const undo = async () => {
    for (const id of brought) await there.remove(id)
    if (made !== undefined) await rm(made, { recursive: true, force: true })
  }
  const faults: string[] = []
  let [count, bytes] = [0, 0]
  try {
    for await (const row of rows.all()) {
      const { id, size, sha256, state } = row
      if (state !== 'stored') continue
      const isBrought = (await digestOf(there, id)) !== sha256
      if (!isBrought || (from !== undefined && (await bring(from, dir, row)))) {
        if (isBrought) brought.push(id)
        count++
        bytes += size
        onCopied(bytes)
      } else if (faults.length < MAX_FAULTS) {
        const isAnywhere = (await there.sizeOf(id)) ?? (await from?.sizeOf(id))
        faults.push(`file ${id}: is ${isAnywhere === undefined ? 'missing' : 'damaged'}`)
      }
    }
    if (brought.length === 0 && made !== undefined) await rm(made, { recursive: true, force: true })
    else await syncFolders(dir)
    return { files: { count, bytes, faults }, undo }
  } catch (thrown) {
    await undo()
    throw thrown
  }
}

/** @returns whether the backup has its bytes */
async function bring(from: DiskStorage, dir: string, { id, sha256 }: StoredFile): Promise<boolean> {
  // Nobody has looked at what the backup calls a file; its id is about to be a path.
  if (!isFileId(id)) return false
  // By the name of a file that is not there: what a kill leaves of it is swept.
  const part = placeIn(dir, newFileId(ownerOf(id)))
  await mkdir(dirname(part), { recursive: true, mode: 0o700 })
  const copied = await copyFile(from, id, part)
  if (copied === undefined) return false
  if (copied.sha256 === sha256) await rename(part, placeIn(dir, id))
  else await rm(part, { force: true })
  return copied.sha256 === sha256
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
