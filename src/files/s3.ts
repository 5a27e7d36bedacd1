/** Files in a bucket of an S3-compatible service: `<prefix><account>/<random>`. Only loaded where `files.storage` says so. */
import { createReadStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2Output,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { GatewayError } from '../core/errors.js'
import { isUserId, type UserId } from '../core/model.js'
import { isFileId, nameOf, ownerOf } from './ids.js'
import { checkSize } from './rows.js'
import type { ByteRange, Storage } from './storage.js'

export interface S3Options {
  /** '' = Amazon's own for the region. */
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  readonly prefix: string
  /** '' = as the SDK finds them: environment, files of AWS, role of the machine. */
  readonly accessKey: string
  readonly secretKey: string
  readonly pathStyle: boolean
  /** Without an answer, ms. */
  readonly timeoutMs: number
}

/** A body that is a stream cannot be sent a second time; what can, is tried twice. */
const ATTEMPTS = 2
/** Keys of one page. */
const PAGE = 1000

const failing = <T>(work: Promise<T>): Promise<T> =>
  work.catch(thrown => {
    throw new GatewayError('STORE_UNAVAILABLE', null, thrown)
  })

export class S3Storage implements Storage {
  readonly #client: S3Client

  constructor(private readonly options: S3Options) {
    const { endpoint, region, accessKey, secretKey, pathStyle, timeoutMs } = options
    this.#client = new S3Client({
      region,
      forcePathStyle: pathStyle,
      maxAttempts: ATTEMPTS,
      // Many compatible services refuse the newer checksums of Amazon's.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: { connectionTimeout: timeoutMs, socketTimeout: timeoutMs },
      ...(endpoint !== '' && { endpoint }),
      ...(accessKey !== '' && { credentials: { accessKeyId: accessKey, secretAccessKey: secretKey } }),
    })
  }

  async put(id: string, path: string, size: number): Promise<void> {
    const Body = createReadStream(path)
    const to = { ...this.#place(id), Body, ContentLength: size, ContentType: 'application/octet-stream' }
    await failing(this.#client.send(new PutObjectCommand(to)))
    await rm(path, { force: true })
  }

  async read(id: string, { start, end }: ByteRange, size?: number): Promise<Readable> {
    const asked = new GetObjectCommand({ ...this.#place(id), Range: `bytes=${start}-${end}` })
    const { Body, ContentRange } = await failing(this.#client.send(asked))
    const body = Body as Readable
    try {
      const [, whole] = /\/(\d+)$/.exec(ContentRange ?? '') ?? []
      if (whole !== undefined) checkSize(id, Number(whole), size)
      return body
    } catch (thrown) {
      body.destroy()
      throw thrown
    }
  }

  async sizeOf(id: string): Promise<number | undefined> {
    const asked = new HeadObjectCommand(this.#place(id))
    const none = (thrown: { readonly name?: string }) => {
      if (thrown.name === 'NotFound') return undefined
      throw thrown
    }
    return (await failing(this.#client.send(asked).catch(none)))?.ContentLength
  }

  async remove(id: string): Promise<void> {
    await failing(this.#client.send(new DeleteObjectCommand(this.#place(id))))
  }

  async removeAll(owner: UserId): Promise<void> {
    for await (const id of this.list(owner)) await this.remove(id)
  }

  async *owners(): AsyncGenerator<UserId> {
    for await (const { CommonPrefixes = [] } of this.#pages({ Delimiter: '/', Prefix: this.options.prefix }))
      for (const { Prefix = '' } of CommonPrefixes) {
        const owner = Prefix.slice(this.options.prefix.length, -1)
        if (isUserId(owner)) yield owner
      }
  }

  async *list(owner: UserId): AsyncGenerator<string> {
    const Prefix = `${this.options.prefix}${owner}/`
    for await (const { Contents = [] } of this.#pages({ Prefix }))
      for (const { Key = '' } of Contents) {
        const id = `${owner}-${Key.slice(Prefix.length)}`
        if (isFileId(id)) yield id
      }
  }

  async *#pages(what: { Prefix: string; Delimiter?: string }): AsyncGenerator<ListObjectsV2Output> {
    let ContinuationToken: string | undefined
    do {
      const asked = { Bucket: this.options.bucket, MaxKeys: PAGE, ...what }
      const more = ContinuationToken === undefined ? {} : { ContinuationToken }
      const page = await failing(this.#client.send(new ListObjectsV2Command({ ...asked, ...more })))
      yield page
      ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined
    } while (ContinuationToken !== undefined)
  }

  #place(id: string) {
    const { bucket, prefix } = this.options
    return { Bucket: bucket, Key: `${prefix}${ownerOf(id)}/${nameOf(id)}` }
  }
}
