/** Copies the bytes of one person's files into a folder: for `mumi export`. */
import { mkdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Config } from '../config/config.js'
import { copyFile } from '../files/copies.js'
import { nameOf } from '../files/ids.js'
import { cleanName } from '../files/names.js'
import type { StoredFile } from '../files/rows.js'
import type { Storage } from '../files/storage.js'
import { filesDir, storageOf } from './files.js'

export class ExportFiles {
  #storage: Promise<Storage> | undefined
  /** Of files that are missing or damaged. */
  faults = 0

  /** @param dir made with the first file */
  constructor(
    private readonly config: Config,
    private readonly dir: string,
  ) {}

  /** @param entry a line of an export @returns the line, with where its file is, or what is wrong with it */
  async with(entry: object): Promise<object> {
    const { section, state, id, name, sha256 } = entry as Partial<StoredFile> & { readonly section?: string }
    if (section !== 'file' || state !== 'stored' || id === undefined) return entry
    this.#storage ??= storageOf(this.config, filesDir(this.config))
    await mkdir(this.dir, { recursive: true, mode: 0o700 })
    // Its owner may have given one name twice; the name is no path (cleanName).
    const path = `${nameOf(id)}-${cleanName(name ?? '')}`
    const copied = await copyFile(await this.#storage, id, join(this.dir, path))
    if (copied?.sha256 !== sha256) this.faults++
    if (copied === undefined) return { ...entry, fault: 'is missing' }
    const found = { ...entry, path: join(basename(this.dir), path) }
    return copied.sha256 === sha256 ? found : { ...found, fault: 'is damaged' }
  }
}
