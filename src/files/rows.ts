/** What the store knows of files: a row a file by owner, a row a reader of it, and what an account uploaded today. */
import { GatewayError } from '../core/errors.js'
import type { FileRef } from '../core/message.js'
import type { UserId } from '../core/model.js'
import { decodeRecord, encodeRecord } from '../core/record.js'
import type { KeyValue, KvKey, KvWrite } from '../store/store.js'
import { nameOf, ownerOf } from './ids.js'
import { cleanName } from './names.js'
import { Totals } from './totals.js'
import type { UploadLogin } from './uploads.js'

/** Times are ms since the epoch. */
export interface FileRow {
  readonly name: string
  readonly size: number
  /** Until it is stored, as the client says; then, by its bytes. */
  readonly type: string
  readonly createdAt: number
  /** `open`: it may be uploaded until `expiresAt`. */
  readonly state: 'open' | 'stored'
  readonly expiresAt?: number
  /** Bytes of a resumable upload that are on the disk for good, and had their checksum if there is one. */
  readonly offset?: number
  /** The login that announced it, where an upload needs none of its own: it ends with that. */
  readonly login?: UploadLogin
  /** SHA-256 of its bytes, hex. */
  readonly sha256?: string
  /** When a message last referred to it. */
  readonly referredAt?: number
}

export interface StoredFile extends FileRow {
  readonly id: string
}

export interface Usage {
  readonly files: number
  /** Of those that are not uploaded yet, too. */
  readonly bytes: number
  /** How many are not uploaded yet. */
  readonly open: number
  /** What is still to come of these. */
  readonly openBytes: number
}

const DAY_MS = 86_400_000
/** Removals of one commit. */
const CHUNK = 500

const keyOf = (id: string): KvKey => ['file', ownerOf(id), nameOf(id)]
const readersKey = (id: string): KvKey => ['file-reader', ownerOf(id), nameOf(id)]

export const refOf = ({ id, name, size, type }: StoredFile): FileRef => ({ id, name, size, type })

/** Every method may throw GatewayError STORE_UNAVAILABLE, and a write STORE_FULL. */
export class FileRows {
  readonly totals = new Totals(() => this.all())

  constructor(private readonly kv: KeyValue) {}

  async find(id: string): Promise<StoredFile | undefined> {
    const value = await this.kv.kvGet('meta', keyOf(id))
    return value && { id, ...decodeRecord<FileRow>(value) }
  }

  put(file: StoredFile): Promise<void> {
    return this.kv.kvWrite([putting(file)])
  }

  /** As its owner calls it. */
  putNew(file: StoredFile): Promise<void> {
    return this.put({ ...file, name: cleanName(file.name) })
  }

  /** So many bytes more came today. One at a time for each account. */
  async addToday(owner: UserId, more: number): Promise<void> {
    const value = { day: today(), bytes: (await this.uploadedToday(owner)) + more }
    await this.kv.kvWrite([{ put: 'meta', key: ['file-day', owner], value: encodeRecord(value) }])
  }

  async uploadedToday(owner: UserId): Promise<number> {
    const value = await this.kv.kvGet('meta', ['file-day', owner])
    if (value === undefined) return 0
    const { day, bytes } = decodeRecord<{ day: number; bytes: number }>(value)
    return day === today() ? bytes : 0
  }

  /** Also its readers. */
  async remove(id: string): Promise<void> {
    let removals: KvWrite[] = [{ remove: 'meta', key: keyOf(id) }]
    for await (const { key } of this.kv.kvRange('meta', readersKey(id))) {
      removals.push({ remove: 'meta', key })
      if (removals.length < CHUNK) continue
      await this.kv.kvWrite(removals)
      removals = []
    }
    await this.kv.kvWrite(removals)
  }

  /** Messages to this reader refer to these files from now on. */
  async refer(files: readonly StoredFile[], reader: UserId): Promise<void> {
    const writes = files.flatMap((file): KvWrite[] => [
      putting({ ...file, referredAt: Date.now() }),
      { put: 'meta', key: [...readersKey(file.id), reader], value: new Uint8Array() },
    ])
    await this.kv.kvWrite(writes)
  }

  async isReader(id: string, userId: UserId): Promise<boolean> {
    return (await this.kv.kvGet('meta', [...readersKey(id), userId])) !== undefined
  }

  /** Of one owner, or of all; in the order of their ids. */
  async *all(owner?: UserId): AsyncGenerator<StoredFile> {
    const entries = this.kv.kvRange('meta', owner === undefined ? ['file'] : ['file', owner])
    for await (const { key, value } of entries)
      yield { id: `${key[1]}-${key[2]}`, ...decodeRecord<FileRow>(value) }
  }

  async usage(owner: UserId): Promise<Usage> {
    let [files, bytes, open, openBytes] = [0, 0, 0, 0]
    for await (const { size, state, offset = 0 } of this.all(owner)) {
      files++
      bytes += size
      if (state === 'stored') continue
      open++
      openBytes += size - offset
    }
    return { files, bytes, open, openBytes }
  }
}

const today = (): number => Math.floor(Date.now() / DAY_MS)

/** Until the next day begins (UTC), rounded up. */
export const secondsOfToday = (): number => Math.ceil((DAY_MS - (Date.now() % DAY_MS)) / 1000)

function putting({ id, ...row }: StoredFile): KvWrite {
  return { put: 'meta', key: keyOf(id), value: encodeRecord(row) }
}

/**
 * Of bytes that are kept. An answer that says one size and has another breaks off, and a cache or client may take it for whole.
 * @throws GatewayError STORE_UNAVAILABLE if there are not as many as a row says
 */
export function checkSize(id: string, found: number | undefined, size: number | undefined): void {
  if (size === undefined || found === size) return
  const what = found === undefined ? 'is missing' : `has ${found} of ${size} bytes`
  throw new GatewayError('STORE_UNAVAILABLE', null, new Error(`file ${id}: ${what}`))
}
