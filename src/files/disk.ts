/**
 * Files in `data.dir`: a folder an account, below one of a hundred. A name in it is the random part of a file's id, so that
 * nothing a client writes is ever part of a path.
 */
import { createReadStream } from 'node:fs'
import { link, lstat, mkdir, open, readdir, rm, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { GatewayError } from '../core/errors.js'
import { isUserId, type UserId } from '../core/model.js'
import { openRegular } from '../core/regular-file.js'
import { isFileId, nameOf, ownerOf } from './ids.js'
import { checkSize } from './rows.js'
import type { ByteRange, Storage } from './storage.js'

/** A full disk, or a full quota of the system's user. */
const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT'])

/** What the system says of a file, as an answer to a client. */
export function toFileError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  const { code } = thrown as NodeJS.ErrnoException
  return new GatewayError(FULL.has(code) ? 'STORE_FULL' : 'STORE_UNAVAILABLE', null, thrown)
}

const failing = <T>(work: Promise<T>): Promise<T> =>
  work.catch(thrown => {
    throw toFileError(thrown)
  })

/** All of a file. */
export const WHOLE: ByteRange = { start: 0, end: Number.POSITIVE_INFINITY }

const folderIn = (dir: string, owner: UserId): string => join(dir, owner.slice(-2), owner)

/** Where a file is below the folder of a storage. */
export const placeIn = (dir: string, id: string): string => join(folderIn(dir, ownerOf(id)), nameOf(id))

export class DiskStorage implements Storage {
  /** @param dir made if it is missing */
  constructor(private readonly dir: string) {}

  /** A link and not a rename, which would replace a file that is there. */
  async put(id: string, path: string): Promise<void> {
    const folder = this.#folderOf(ownerOf(id))
    const place = join(folder, nameOf(id))
    await failing(
      (async () => {
        await mkdir(folder, { recursive: true, mode: 0o700 })
        await link(path, place)
        await unlink(path)
        await syncFolder(folder)
      })(),
    )
  }

  async read(id: string, { start, end }: ByteRange, size?: number): Promise<Readable> {
    // Opened first, so that a file which is not there is an error of this call and not of the stream.
    const opened = await failing(openRegular(this.#placeOf(id)))
    try {
      checkSize(id, opened.size, size)
    } catch (thrown) {
      await opened.file.close()
      throw thrown
    }
    return createReadStream('', { fd: opened.file, start, end })
  }

  async sizeOf(id: string): Promise<number | undefined> {
    const stats = await lstat(this.#placeOf(id)).catch(() => undefined)
    return stats?.isFile() ? stats.size : undefined
  }

  async remove(id: string): Promise<void> {
    await failing(rm(this.#placeOf(id), { force: true }))
  }

  async removeAll(owner: UserId): Promise<void> {
    await failing(rm(this.#folderOf(owner), { recursive: true, force: true }))
  }

  async *owners(): AsyncGenerator<UserId> {
    for (const group of await names(this.dir))
      if (/^\d\d$/.test(group)) yield* (await names(join(this.dir, group))).filter(isUserId)
  }

  async *list(owner: UserId): AsyncGenerator<string> {
    for (const name of await names(this.#folderOf(owner))) {
      const id = `${owner}-${name}`
      if (isFileId(id)) yield id
    }
  }

  #folderOf(owner: UserId): string {
    return folderIn(this.dir, owner)
  }

  #placeOf(id: string): string {
    return placeIn(this.dir, id)
  }
}

async function names(dir: string): Promise<string[]> {
  try {
    return await readdir(dir)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw toFileError(thrown)
  }
}

/** A name in a folder survives a power cut only when the folder is synced, too. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
