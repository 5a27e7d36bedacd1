/** Small pictures of images that people sent: made when somebody first asks for one, and kept beside the files. */
import { writeFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { GatewayError } from '../core/errors.js'
import type { PictureSize, Pictures } from '../images/pictures.js'
import { DiskStorage, toFileError, WHOLE } from './disk.js'
import { newFileId, ownerOf } from './ids.js'
import type { StoredFile } from './rows.js'
import type { Staging } from './staging.js'
import type { Storage } from './storage.js'

/** Whole, and not larger than this: enough for a list on a telephone. */
const SIZE: PictureSize = { width: 320, height: 320, fit: 'inside' }
/** What can be decoded, by its bytes. */
const TYPES: ReadonlySet<string> = new Set(['image/gif', 'image/jpeg', 'image/png', 'image/webp'])
/** Kept of an image that cannot be decoded, so that nobody makes us try again and again. */
const NONE = Buffer.from('none')
const PNG_FIRST = 0x89

export interface Thumbnail {
  readonly type: 'image/jpeg' | 'image/png'
  readonly bytes: Buffer
}

export class Thumbnails {
  readonly kept: Storage
  /** Being made now, by id. */
  readonly #making = new Map<string, Promise<Buffer>>()

  /** @param maxBytes of an image that is decoded: it is in memory meanwhile */
  constructor(
    dir: string,
    private readonly files: { readonly storage: Storage; readonly staging: Staging },
    private readonly pictures: Pick<Pictures, 'make'>,
    private readonly maxBytes: number,
  ) {
    this.kept = new DiskStorage(dir)
  }

  isFor({ type, size }: Pick<StoredFile, 'type' | 'size'>): boolean {
    return TYPES.has(type) && size <= this.maxBytes
  }

  /** @throws GatewayError NO_FILE if it has none; IMAGES_BUSY, IMAGES_UNAVAILABLE, STORE_UNAVAILABLE, STORE_FULL */
  async of(file: StoredFile): Promise<Thumbnail> {
    const bytes = this.isFor(file) ? ((await this.#find(file.id)) ?? (await this.#makeOnce(file))) : NONE
    if (bytes.equals(NONE)) throw new GatewayError('NO_FILE', { field: 'file', reason: 'has no thumbnail' })
    return { type: bytes[0] === PNG_FIRST ? 'image/png' : 'image/jpeg', bytes }
  }

  async #find(id: string): Promise<Buffer | undefined> {
    return this.kept.read(id, WHOLE).then(buffer, () => undefined)
  }

  #makeOnce(file: StoredFile): Promise<Buffer> {
    const making =
      this.#making.get(file.id) ?? this.#make(file).finally(() => void this.#making.delete(file.id))
    this.#making.set(file.id, making)
    return making
  }

  async #make({ id, size }: StoredFile): Promise<Buffer> {
    const image = async () => buffer(await this.files.storage.read(id, { start: 0, end: size - 1 }, size))
    const [made] = await this.pictures.make(image, [SIZE], ownerOf(id), 'file').catch(thrown => {
      if (thrown instanceof GatewayError && thrown.kind === 'BAD_FIELD') return []
      throw thrown
    })
    const bytes = made?.bytes ?? NONE
    // By the name of a file that is not there: what a kill leaves of it is swept.
    const path = this.files.staging.pathOf(newFileId(ownerOf(id)))
    await writeFile(path, bytes, { flag: 'wx', mode: 0o600 }).catch(thrown => {
      throw toFileError(thrown)
    })
    await this.kept.put(id, path, bytes.length)
    return bytes
  }
}
