/** Bytes without a row: a kill came between the two, or an account was deleted. */
import type { FileRows } from './rows.js'
import type { Staging } from './staging.js'
import type { Storage } from './storage.js'
import type { Thumbnails } from './thumbnails.js'
import type { Uploads } from './uploads.js'

/** What has bytes of files. */
export interface Kept {
  readonly staging: Staging
  readonly storage: Storage
  /** undefined: images have none. */
  readonly thumbnails?: Thumbnails | undefined
}

/** Removes them, but for what is being uploaded now. */
export async function sweepStrays(
  { staging, storage, thumbnails }: Kept,
  rows: Pick<FileRows, 'find'>,
  uploads: Pick<Uploads, 'has'>,
): Promise<void> {
  const isStray = async (id: string) => !uploads.has(id) && (await rows.find(id)) === undefined
  for (const id of await staging.list()) if (await isStray(id)) await staging.remove(id)
  for (const kept of thumbnails === undefined ? [storage] : [storage, thumbnails.kept])
    for await (const owner of kept.owners())
      for await (const id of kept.list(owner)) if (await isStray(id)) await kept.remove(id)
}
