/**
 * Uploads that are under way, in a folder on the local disk whichever storage there is: here they are counted, hashed and
 * looked at before anybody can get them.
 */
import { createHash } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rm, stat, statfs, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { GatewayError } from '../core/errors.js'
import { syncFolder, toFileError } from './disk.js'
import { isFileId } from './ids.js'

/** Bytes of one upload after which it is looked again whether there is room. */
const LOOK = 1_048_576
/** Bytes of one upload that wait to be written together. */
const CHUNK = 262_144

/** Bytes of one upload that a power cut may take, where it can go on. */
const SYNC = 8_388_608

/** @param count bytes since the upload was gone on with */
export type OnSynced = (count: number) => Promise<void>

export class Staging {
  constructor(
    private readonly dir: string,
    /** Bytes that must stay free on the disk: the store needs them. */
    private readonly minFreeBytes: number,
    /** Bytes that are free on the disk of a folder. */
    private readonly freeOf = freeOnDisk,
  ) {}

  /** @throws GatewayError STORE_FULL if so many bytes more would leave too little room */
  async checkRoom(bytes: number): Promise<void> {
    const free = await this.#make()
      .then(() => this.freeOf(this.dir))
      .catch(thrown => {
        throw toFileError(thrown)
      })
    if (free - bytes < this.minFreeBytes) throw new GatewayError('STORE_FULL')
  }

  async #make(): Promise<void> {
    await mkdir(this.dir, { recursive: true, mode: 0o700 })
  }

  pathOf(id: string): string {
    return join(this.dir, id)
  }

  /** Bytes that are there of an upload. */
  async sizeOf(id: string): Promise<number> {
    const stats = await stat(this.pathOf(id)).catch(() => undefined)
    return stats?.size ?? 0
  }

  /**
   * Writes what comes behind what is there.
   * @param offset bytes that are there; 0 begins anew
   * @param max the most that may come
   * @param onSynced told now and then, and at the end, how many of them survive a power cut
   * @returns how many came; fewer than `max` if the client ended or broke off: what came stays, as it does with ERROR_AUTH of the body
   * @throws GatewayError TOO_LARGE; STORE_FULL, STORE_UNAVAILABLE
   */
  async append(
    id: string,
    body: AsyncIterable<Buffer>,
    offset: number,
    max: number,
    onSynced?: OnSynced,
  ): Promise<number> {
    const path = this.pathOf(id)
    if (offset === 0) {
      await this.#make()
      await rm(path, { force: true })
    }
    // Never through a link that somebody else put there.
    const how = offset === 0 ? constants.O_CREAT | constants.O_EXCL : constants.O_NOFOLLOW
    const file = await open(path, constants.O_WRONLY | how, 0o600).catch(thrown => {
      throw toFileError(thrown)
    })
    try {
      // What a kill left behind it was not acknowledged.
      if (offset > 0) await file.truncate(offset)
      const onDisk =
        onSynced &&
        (async (count: number) => {
          await file.sync()
          if (offset === 0) await syncFolder(this.dir)
          await onSynced(count)
        })
      return await writeAll(file, this.#asRoomLasts(body), { offset, max, onDisk })
    } catch (thrown) {
      throw toFileError(thrown)
    } finally {
      await file.close()
    }
  }

  /** Others write to the disk, too. @throws GatewayError STORE_FULL */
  async *#asRoomLasts(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let left = 0
    for await (const piece of body) {
      left -= piece.length
      if (left < 0) {
        left = LOOK
        await this.checkRoom(piece.length)
      }
      yield piece
    }
  }

  /** The whole file is on the disk when it resolves. @returns SHA-256, hex */
  async seal(id: string): Promise<string> {
    const path = this.pathOf(id)
    try {
      const hash = createHash('sha256')
      await pipeline(createReadStream(path, { highWaterMark: CHUNK }), hash)
      await this.sync(id)
      return hash.digest('hex')
    } catch (thrown) {
      throw toFileError(thrown)
    }
  }

  /** What is there survives a power cut when it resolves. */
  async sync(id: string): Promise<void> {
    try {
      const file = await open(this.pathOf(id), 'r+')
      await file.sync().finally(() => file.close())
      await syncFolder(this.dir)
    } catch (thrown) {
      throw toFileError(thrown)
    }
  }

  /** Takes back what came behind the first `size` bytes. */
  async cut(id: string, size: number): Promise<void> {
    await truncate(this.pathOf(id), size).catch(thrown => {
      throw toFileError(thrown)
    })
  }

  async remove(id: string): Promise<void> {
    await rm(this.pathOf(id), { force: true })
  }

  /** Ids of which something is there. */
  async list(): Promise<string[]> {
    return (await readdir(this.dir).catch(() => [])).filter(isFileId)
  }
}

async function freeOnDisk(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dir)
  return bavail * bsize
}

async function writeAll(
  file: FileHandle,
  body: AsyncIterable<Buffer>,
  {
    offset,
    max,
    onDisk,
  }: { readonly offset: number; readonly max: number; readonly onDisk: OnSynced | undefined },
): Promise<number> {
  let ended: GatewayError | undefined
  let synced = 0
  let pieces: Buffer[] = []
  let waiting = 0
  let count = 0
  const flush = async () => {
    const bytes = Buffer.concat(pieces)
    const at = offset + count - waiting
    pieces = []
    waiting = 0
    // A disk that is about to be full takes a part.
    for (let done = 0; done < bytes.length; )
      done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten
  }
  try {
    for await (const piece of body) {
      count += piece.length
      if (count > max)
        throw new GatewayError('TOO_LARGE', { field: 'body', reason: `longer than ${max} bytes` })
      pieces.push(piece)
      waiting += piece.length
      if (waiting >= CHUNK) await flush()
      if (onDisk === undefined || count - waiting - synced < SYNC) continue
      synced = count - waiting
      await onDisk(synced)
    }
  } catch (thrown) {
    // A client that broke off, or whose login ended: what came of a resumable upload stays.
    if (thrown instanceof GatewayError && thrown.kind === 'ERROR_AUTH') ended = thrown
    else if (!isBrokenOff(thrown)) throw thrown
  }
  if (waiting > 0) await flush()
  await onDisk?.(count)
  if (ended !== undefined) throw ended
  return count
}

const isBrokenOff = (thrown: unknown): boolean =>
  ['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'ABORT_ERR'].includes(
    String((thrown as NodeJS.ErrnoException).code),
  )
