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
   * @returns how many came; fewer than `max` if the client ended or broke off: what came stays
   * @throws GatewayError TOO_LARGE; STORE_FULL, STORE_UNAVAILABLE
   */
  async append(id: string, body: AsyncIterable<Buffer>, offset: number, max: number): Promise<number> {
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
      return await writeAll(file, this.#asRoomLasts(body), offset, max)
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
      const file = await open(path, 'r+')
      await file.sync().finally(() => file.close())
      await syncFolder(this.dir)
      return hash.digest('hex')
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
  offset: number,
  max: number,
): Promise<number> {
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
    }
  } catch (thrown) {
    // A client that broke off: what came of a resumable upload stays.
    if (!isBrokenOff(thrown)) throw thrown
  }
  if (waiting > 0) await flush()
  return count
}

const isBrokenOff = (thrown: unknown): boolean =>
  ['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'ABORT_ERR'].includes(
    String((thrown as NodeJS.ErrnoException).code),
  )
