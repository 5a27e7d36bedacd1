/**
 * Resumable uploads by the protocol tus 1.0, with the extensions creation, creation-with-upload, expiration, termination and
 * checksum. @tus/server speaks the protocol; what an upload may be, and where its bytes go, is files/.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { DataStore, Server, Upload } from '@tus/server'
import { CODES, GatewayError, toGatewayError } from '../core/errors.js'
import type { Files } from '../files/files.js'
import { isFileId, ownerOf } from '../files/ids.js'
import type { StoredFile } from '../files/rows.js'
import { statusOf, tellRetry } from './answers.js'
import type { Uploader } from './exchange.js'
import type { Pace } from './pace.js'
import type { FilesRouteOptions } from './route.js'

/** One request. */
interface Exchange {
  /** undefined: of a preflight. */
  readonly uploader: Uploader | undefined
  readonly pace: Pace
  /** Headers that are set here are in the answer. */
  readonly response: ServerResponse
}

interface Checksum {
  readonly algorithm: string
  readonly digest: Buffer
}

const ALGORITHMS = ['sha256', 'sha1', 'md5']
/** Status of the extension `checksum`. */
const MISMATCH = 460

/** What @tus/server makes an answer of. */
const refusal = (status_code: number, body: string) => ({ status_code, body: `${body}\n` })

export class Tus {
  readonly #server: Server
  readonly #exchange = new AsyncLocalStorage<Exchange & { readonly checksum: Checksum | undefined }>()

  constructor(options: FilesRouteOptions, path: string) {
    const { files } = options
    const store = new TusStore(files, () => this.#now)
    this.#server = new Server({
      path,
      datastore: store,
      // No Host header is looked at.
      relativeLocation: true,
      maxSize: files.limits.maxBytes,
      disableTerminationForFinishedUploads: true,
      allowedOrigins: options.isOrigin,
      allowedHeaders: ['Upload-Checksum'],
      exposedHeaders: ['Retry-After', 'Upload-Expires', 'Tus-Checksum-Algorithm'],
      namingFunction: (request, metadata) => this.#announce(files, request, metadata ?? {}),
      onIncomingRequest: async (_request, id) => {
        if (!isFileId(id) || ownerOf(id) !== this.#now.uploader?.userId) throw refusal(404, 'no such upload')
      },
      onUploadFinish: async (_request, { id }) => {
        await this.#finish(options, id)
        return {}
      },
      onResponseError: (_request, thrown) => {
        if (!(thrown instanceof GatewayError)) return undefined
        if (thrown.kind === 'ERROR') options.onFault('http.uploads', thrown)
        tellRetry(this.#now.response, thrown)
        const { code, en } = CODES[thrown.kind]
        return refusal(statusOf(thrown), JSON.stringify({ code, msg: en, data: thrown.info }))
      },
    })
  }

  /** @param request paused */
  async handle(request: IncomingMessage, exchange: Exchange): Promise<void> {
    const { response } = exchange
    if (request.method === 'OPTIONS') response.setHeader('Tus-Checksum-Algorithm', ALGORITHMS.join(','))
    const checksum = checksumOf(request.headers['upload-checksum'])
    await this.#exchange.run({ ...exchange, checksum }, () => this.#server.handle(request, response))
  }

  get #now() {
    const exchange = this.#exchange.getStore()
    if (exchange === undefined) throw new GatewayError('ERROR')
    return exchange
  }

  /** @returns the id of the upload, which is that of the file */
  async #announce(
    files: Files,
    { headers }: { readonly headers: Headers },
    { filename, filetype }: Record<string, string | null>,
  ): Promise<string> {
    const size = Number(headers.get('upload-length'))
    if (!Number.isSafeInteger(size) || size < 1) throw refusal(400, 'Upload-Length must be at least 1')
    if ((filename?.length ?? 0) > MAX_NAME || (filetype?.length ?? 0) > MAX_NAME)
      throw refusal(400, 'Upload-Metadata is too long')
    const { uploader } = this.#now
    if (uploader === undefined) throw new GatewayError('ERROR_UNAUTHORIZED')
    const type = MEDIA_TYPE.test(filetype ?? '') ? filetype : undefined
    const { id } = await files.slot(uploader.userId, {
      name: (filename ?? '').toWellFormed(),
      size,
      ...(type && { type }),
    })
    return id
  }

  async #finish({ files, metrics, log }: FilesRouteOptions, id: string): Promise<void> {
    const file = await begin(files, this.#now, id)
    try {
      const { size, type } = await this.#now.pace.while(files.finish(file))
      metrics.fileUploads.inc({ outcome: 'stored' })
      log.info({ event: 'file.stored', file: id, bytes: size, type }, 'file stored')
    } catch (thrown) {
      const { kind } = toGatewayError(thrown)
      metrics.fileUploads.inc({ outcome: kind })
      log.info({ event: 'file.refused', file: id, code: kind }, 'upload refused')
      throw toGatewayError(thrown)
    } finally {
      files.end(id)
    }
  }
}

/** UTF-16 units, as in the request `uploadSlot`. */
const MAX_NAME = 255
const MEDIA_TYPE = /^[a-z0-9][a-z0-9.+-]*\/[a-z0-9][a-z0-9.+-]*$/

/** @throws a refusal if it is none that we know */
function checksumOf(header: string | string[] | undefined): Checksum | undefined {
  if (header === undefined) return undefined
  const [algorithm = '', digest = ''] = String(header).split(' ')
  if (!ALGORITHMS.includes(algorithm))
    throw new GatewayError('BAD_FIELD', {
      field: 'upload-checksum',
      reason: `must be ${ALGORITHMS.join(', ')}`,
    })
  return { algorithm, digest: Buffer.from(digest, 'base64') }
}

type Now = () => Exchange & { readonly checksum: Checksum | undefined }

class TusStore extends DataStore {
  override extensions = ['creation', 'creation-with-upload', 'expiration', 'termination', 'checksum']

  constructor(
    private readonly files: Files,
    private readonly now: Now,
  ) {
    super()
  }

  override getExpiration(): number {
    return this.files.limits.uploadMs
  }

  /** Announced already, by its name. */
  override async create(upload: Upload): Promise<Upload> {
    return this.getUpload(upload.id)
  }

  /** Where all bytes are there and a kill came before the end, the end is made now: a client would not send more. */
  override async getUpload(id: string): Promise<Upload> {
    const file = await this.files.rows.find(id)
    if (file === undefined) throw refusal(404, 'no such upload')
    if (file.state === 'stored') return uploadOf(file, file.size)
    const offset = await this.files.offsetOf(file)
    if (offset < file.size) return uploadOf(file, offset)
    await begin(this.files, this.now(), id)
    try {
      return uploadOf(await this.now().pace.while(this.files.finish(file)), file.size)
    } finally {
      this.files.end(id)
    }
  }

  override async write(stream: Readable, id: string, offset: number): Promise<number> {
    const { pace, checksum } = this.now()
    const file = await begin(this.files, this.now(), id)
    const { staging } = this.files.options
    const hash = checksum && createHash(checksum.algorithm)
    try {
      const body = hashed(pace.countUpload(stream), hash)
      const end = offset + (await this.files.take(file, body, offset, hash === undefined))
      if (hash === undefined) return end
      if (hash.digest().equals(checksum?.digest ?? Buffer.alloc(0))) {
        await this.files.keep(id, end)
        return end
      }
      await staging.cut(id, offset)
      throw refusal(MISMATCH, 'Checksum Mismatch')
    } finally {
      this.files.end(id)
    }
  }

  override async remove(id: string): Promise<void> {
    await this.files.remove(ownerOf(id), id)
  }
}

/** In one turn it is seen that the login is good, and its end is heard of from then on. @throws GatewayError as Files.begin */
function begin(files: Files, { uploader }: Exchange, id: string): Promise<StoredFile> {
  uploader?.check()
  return files.begin(id, undefined, uploader?.login)
}

const uploadOf = ({ id, name, type, size, createdAt }: StoredFile, offset: number): Upload =>
  new Upload({
    ...{ id, size, offset },
    metadata: { filename: name, filetype: type },
    creation_date: new Date(createdAt).toISOString(),
  })

async function* hashed(
  body: AsyncIterable<Buffer>,
  hash: ReturnType<typeof createHash> | undefined,
): AsyncGenerator<Buffer> {
  for await (const piece of body) {
    hash?.update(piece)
    yield piece
  }
}
