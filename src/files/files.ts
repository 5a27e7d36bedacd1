/**
 * Files that messages refer to. A file is announced (`slot`), uploaded, looked at, kept, and read by links that expire. It
 * counts for its owner from the announcement on, so that no upload is ever cut off by a quota.
 */
import type { Readable } from 'node:stream'
import { GatewayError, toGatewayError } from '../core/errors.js'
import type { FileRef, FileUrls } from '../core/message.js'
import type { UserId } from '../core/model.js'
import { KeyedSerial } from '../flow/serial.js'
import type { KeyValue } from '../store/store.js'
import { type FileTokens, isFileId, newFileId, ownerOf } from './ids.js'
import { type Scanner, scan, sniff, TypeRules, UNKNOWN_TYPE } from './inspect.js'
import { type QuotaLimits, Quotas } from './quotas.js'
import { checkSize, FileRows, refOf, type StoredFile } from './rows.js'
import type { ByteRange } from './storage.js'
import { type Kept, sweepStrays } from './strays.js'
import { noFile, type UploadLogin, Uploads } from './uploads.js'

export interface FileLimits extends QuotaLimits {
  readonly maxBytes: number
  readonly types: readonly string[]
  /** How long an announced file may be uploaded. */
  readonly uploadMs: number
  readonly linkMs: number
  /** How long a file is kept that no message refers to. */
  readonly orphanMs: number
  /** How long a file is kept after the last message that refers to it; 0 = for ever. */
  readonly keepMs: number
}

export interface FilesOptions extends Kept {
  readonly kv: KeyValue
  readonly tokens: FileTokens
  readonly limits: FileLimits
  readonly scanner: Scanner
  /** Where browsers reach us, without a slash at its end; undefined: links are paths. */
  readonly baseUrl: () => string | undefined
  /** Whether the account is there and may log in. */
  readonly isGood: (userId: UserId) => Promise<boolean>
}

export interface NewFile {
  readonly name: string
  readonly size: number
  readonly type?: string
}

export interface Slot {
  readonly id: string
  readonly url: string
  readonly token: string
  /** ms since the epoch. */
  readonly expiresAt: number
}

/** Links of one hour have the same end, so that a browser's cache knows a file again. */
const LINK_STEP_MS = 3_600_000

export const badUpload = (reason: string) => new GatewayError('BAD_UPLOAD', { field: 'file', reason })

export class Files {
  readonly rows: FileRows
  readonly #types: TypeRules
  readonly #quotas: Quotas
  /** Announcements and ends of uploads of one account, one after the other. */
  readonly #turns = new KeyedSerial()
  /** A row that was removed does not come back by a note. */
  readonly #ofRow = new KeyedSerial()
  readonly #uploads = new Uploads()

  constructor(readonly options: FilesOptions) {
    this.rows = new FileRows(options.kv)
    this.#quotas = new Quotas(this.rows, options.limits)
    this.#types = new TypeRules(options.limits.types)
  }

  get limits(): FileLimits {
    return this.options.limits
  }

  /**
   * Announces a file.
   * @param login whoever has the token may upload until this login ends; undefined: an upload has a login of its own
   * @throws GatewayError TOO_LARGE, BAD_FIELD, FILE_REFUSED, FILES_FULL, STORE_FULL
   */
  async slot(
    owner: UserId,
    { name, size, type = UNKNOWN_TYPE }: NewFile,
    login?: UploadLogin,
  ): Promise<Slot> {
    const { maxBytes, uploadMs } = this.limits
    if (size > maxBytes)
      throw new GatewayError('TOO_LARGE', { field: 'size', reason: `longer than ${maxBytes} bytes` })
    // What a client says of the type lets it know early; what counts comes with the bytes.
    if (type !== UNKNOWN_TYPE) this.#types.check(type)
    return this.#turns.run(owner, async () => {
      await this.#quotas.check(owner, size)
      // Also for what is announced and still to come.
      await this.options.staging.checkRoom((await this.rows.totals.now()).open + size)
      const createdAt = Date.now()
      const expiresAt = createdAt + uploadMs
      const id = newFileId(owner)
      const by = login && { login: { id: login.id, role: login.role } }
      await this.rows.putNew({ id, name, size, type, createdAt, state: 'open', expiresAt, ...by })
      this.rows.totals.change(size, size)
      const token = this.options.tokens.make('put', id, { userId: owner, expiresAt })
      return { id, url: `${this.#base}/files/${id}`, token, expiresAt }
    })
  }

  /**
   * The file that may be uploaded now. Every `begin` is followed by one `end`.
   * @param token of the announcement; undefined: the caller has checked whose the file is
   * @param login of this request
   * @throws GatewayError NO_FILE, LINK_EXPIRED, BAD_UPLOAD (it is uploaded, or is being uploaded)
   */
  async begin(id: string, token?: string, login?: UploadLogin): Promise<StoredFile> {
    if (!isFileId(id)) throw noFile()
    if (token !== undefined) this.#checkToken('put', id, token)
    if (this.#uploads.has(id)) throw badUpload('is being uploaded already')
    this.#uploads.begin(id, login)
    try {
      const file = await this.rows.find(id)
      if (file === undefined || !(await this.options.isGood(ownerOf(id)))) throw noFile()
      if (file.state !== 'open') throw badUpload('is uploaded already')
      if ((file.expiresAt ?? 0) <= Date.now()) throw expired()
      return file
    } catch (thrown) {
      this.#uploads.end(id)
      throw thrown
    }
  }

  end(id: string): void {
    this.#uploads.end(id)
  }

  /**
   * Takes bytes of a file that `begin` gave, behind those that are there.
   * @param offset bytes that are there; 0 begins anew
   * @param isKept what came is noted as it gets on the disk, so that another request goes on behind it
   * @returns how many came @throws GatewayError NO_FILE (removed meanwhile), ERROR_AUTH (its login ended), and as Staging.append
   */
  async take(
    { id, size }: StoredFile,
    body: AsyncIterable<Buffer>,
    offset = 0,
    isKept = false,
  ): Promise<number> {
    const { staging } = this.options
    const onSynced = (count: number) => this.#note(id, offset + count)
    const all = this.#quotas.count(ownerOf(id), this.#uploads.watch(id, body))
    try {
      return await staging.append(id, all, offset, size - offset, isKept ? onSynced : undefined)
    } catch (thrown) {
      if (toGatewayError(thrown).kind === 'NO_FILE') await staging.remove(id)
      throw thrown
    }
  }

  /** The first `offset` bytes of an upload are good: another request goes on behind them. */
  async keep(id: string, offset: number): Promise<void> {
    await this.options.staging.sync(id)
    await this.#note(id, offset)
  }

  /** Bytes of an upload that another request goes on behind. What a kill left beyond them is not among them. */
  async offsetOf({ id, offset = 0 }: StoredFile): Promise<number> {
    return Math.min(offset, await this.options.staging.sizeOf(id))
  }

  #note(id: string, offset: number): Promise<void> {
    return this.#ofRow.run(id, async () => {
      const file = await this.rows.find(id)
      if (file?.state === 'open') await this.rows.put({ ...file, offset })
    })
  }

  /**
   * All bytes are there: they are looked at, and kept. Whatever goes wrong for good, nothing is left of the file.
   * @throws GatewayError FILE_REFUSED, SCAN_FAILED, NO_FILE (removed meanwhile), STORE_FULL, STORE_UNAVAILABLE; ERROR_AUTH if its login
   *   ended, and then the bytes stay
   */
  async finish(file: StoredFile): Promise<StoredFile> {
    const { staging, storage, scanner } = this.options
    const { id } = file
    const path = staging.pathOf(id)
    try {
      this.#uploads.check(id)
      const type = await sniff(path)
      this.#types.check(type)
      const sha256 = await staging.seal(id)
      await scan(path, scanner)
      return await this.#turns.run(ownerOf(id), async () => {
        this.#uploads.check(id)
        // A deletion may have come meanwhile, or the time be over.
        if ((await this.rows.find(id)) === undefined) throw noFile()
        await storage.put(id, path, file.size)
        const { expiresAt: _, login: _login, offset: _offset, ...rest } = file
        const stored = { ...rest, type, sha256, state: 'stored' as const }
        await this.rows.put(stored)
        this.rows.totals.change(0, -file.size)
        if ((await this.rows.find(id)) === undefined) throw noFile()
        return stored
      })
    } catch (thrown) {
      if (toGatewayError(thrown).kind === 'ERROR_AUTH') throw thrown
      // What fails because the file was removed meanwhile is no fault.
      if (!(await this.#turns.run(ownerOf(id), () => this.#drop(id)))) throw noFile()
      throw thrown
    }
  }

  /** Uploads by these logins end: those under way, and those that were announced and need no login of their own. */
  async endLogins(owner: UserId, isEnded: (login: UploadLogin) => boolean): Promise<void> {
    this.#uploads.stopLogins(owner, isEnded)
    for await (const { id, state, login } of this.rows.all(owner))
      if (state === 'open' && login !== undefined && isEnded(login))
        await this.#turns.run(owner, async () => {
          if ((await this.rows.find(id))?.state === 'open') await this.#drop(id)
        })
  }

  /** Of an upload that failed: the file need not be announced again. */
  async breakOff(id: string): Promise<void> {
    await this.options.staging.remove(id)
  }

  /** @throws GatewayError NO_FILE, LINK_EXPIRED */
  async findByLink(id: string, token: string): Promise<StoredFile> {
    if (!isFileId(id)) throw noFile()
    const { userId } = this.#checkToken('get', id, token)
    const [file, isGood] = await Promise.all([this.rows.find(id), this.options.isGood(userId)])
    if (file?.state !== 'stored' || !isGood) throw noFile()
    return file
  }

  /** @throws GatewayError STORE_UNAVAILABLE also if its bytes are not as many as they were */
  read({ id, size }: StoredFile, range: ByteRange): Promise<Readable> {
    return this.options.storage.read(id, range, size)
  }

  /** As `read`, of what is not read. */
  async checkThere({ id, size }: StoredFile): Promise<void> {
    checkSize(id, await this.options.storage.sizeOf(id), size)
  }

  #checkToken(purpose: 'put' | 'get', id: string, token: string) {
    const grant = this.options.tokens.read(purpose, id, token)
    if (grant === undefined) throw noFile()
    if (grant.expiresAt <= Date.now()) throw expired()
    return grant
  }

  /**
   * Files of `owner` that a message to `reader` refers to; from now on the reader may ask for links.
   * @throws GatewayError NO_FILE
   */
  refer(owner: UserId, ids: readonly string[], reader: UserId): Promise<FileRef[]> {
    return this.#turns.run(owner, async () => {
      const files = await Promise.all([...new Set(ids)].map(id => this.#own(owner, id)))
      await this.rows.refer(files, reader)
      return files.map(refOf)
    })
  }

  /** @throws GatewayError NO_FILE, also if the file is somebody else's or not uploaded yet */
  async #own(owner: UserId, id: string): Promise<StoredFile> {
    const file = isFileId(id) && ownerOf(id) === owner ? await this.rows.find(id) : undefined
    if (file?.state !== 'stored') throw noFile()
    return file
  }

  /** Of a file whose reader is known to be one. */
  urlsFor(file: Pick<FileRef, 'id' | 'type' | 'size'>, reader: UserId, now = Date.now()): FileUrls {
    const { id } = file
    const token = this.options.tokens.make('get', id, { userId: reader, expiresAt: this.linkEnd(now) })
    const url = `${this.#base}/files/${id}/${token}`
    return this.options.thumbnails?.isFor(file) ? { url, thumbnail: `${url}/thumbnail` } : { url }
  }

  /** When links of now expire, ms since the epoch. */
  linkEnd(now = Date.now()): number {
    return Math.ceil((now + this.limits.linkMs) / LINK_STEP_MS) * LINK_STEP_MS
  }

  /** For its owner, or for whom a message with it was sent to. @throws GatewayError NO_FILE */
  async linkFor(userId: UserId, id: string): Promise<FileRef & FileUrls & { readonly expiresAt: number }> {
    const file = isFileId(id) ? await this.rows.find(id) : undefined
    const isReader =
      file?.state === 'stored' && (ownerOf(id) === userId || (await this.rows.isReader(id, userId)))
    if (file === undefined || !isReader) throw noFile()
    return { ...refOf(file), ...this.urlsFor(file, userId), expiresAt: this.linkEnd() }
  }

  async list(owner: UserId): Promise<StoredFile[]> {
    const found: StoredFile[] = []
    for await (const file of this.rows.all(owner)) found.push(file)
    return found
  }

  /** @throws GatewayError NO_FILE if it is none of the owner's */
  remove(owner: UserId, id: string): Promise<void> {
    return this.#turns.run(owner, async () => {
      if (!isFileId(id) || ownerOf(id) !== owner || !(await this.#drop(id))) throw noFile()
    })
  }

  /**
   * The row first: a file without one is found by `sweep`, and a row without a file would be a link that fails. One at a time
   * for each account.
   * @returns whether it was there
   */
  async #drop(id: string): Promise<boolean> {
    const { staging, storage, thumbnails } = this.options
    this.#uploads.stop(id)
    const file = await this.rows.find(id)
    if (file !== undefined) {
      await this.#ofRow.run(id, () => this.rows.remove(id))
      this.rows.totals.change(-file.size, file.state === 'open' ? -file.size : 0)
    }
    await staging.remove(id)
    await storage.remove(id)
    await thumbnails?.kept.remove(id)
    return file !== undefined
  }

  /** Of an account that is deleted; the store removes its rows. */
  async removeAll(owner: UserId): Promise<void> {
    const { staging, storage, thumbnails } = this.options
    this.#uploads.stopAll(owner)
    for (const id of await staging.list()) if (ownerOf(id) === owner) await staging.remove(id)
    await storage.removeAll(owner)
    await thumbnails?.kept.removeAll(owner)
  }

  /** Resolves when what broke off is noted, so that it can go on. To be called when no more bytes come, and before the store closes. */
  idle(): Promise<void> {
    return this.#uploads.idle()
  }

  /** Removes what is due: uploads that did not end, files to which nothing refers, and what deletions left. */
  async sweep(now = Date.now()): Promise<void> {
    for await (const file of this.rows.all())
      if (this.#isDue(file, now) && !this.#uploads.has(file.id))
        await this.#turns.run(ownerOf(file.id), () => this.#drop(file.id))
    // Other gateways announce and remove files, too.
    this.rows.totals.forget()
    await sweepStrays(this.options, this.rows, this.#uploads)
  }

  #isDue({ state, expiresAt = 0, createdAt, referredAt }: StoredFile, now: number): boolean {
    const { orphanMs, keepMs } = this.limits
    if (state === 'open') return expiresAt <= now
    if (referredAt === undefined) return createdAt + orphanMs <= now
    return keepMs > 0 && referredAt + keepMs <= now
  }

  get #base(): string {
    return this.options.baseUrl() ?? ''
  }
}

const expired = () => new GatewayError('LINK_EXPIRED')
