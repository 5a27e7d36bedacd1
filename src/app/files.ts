/** Makes the parts that keep files and give them, as the config says. */
import { join } from 'node:path'
import type { Accounts } from '../accounts/accounts.js'
import type { Config } from '../config/config.js'
import { DiskStorage } from '../files/disk.js'
import { type FileLimits, Files } from '../files/files.js'
import { HeldStorage } from '../files/held.js'
import { FileTokens } from '../files/ids.js'
import { Staging } from '../files/staging.js'
import type { Storage } from '../files/storage.js'
import { Thumbnails } from '../files/thumbnails.js'
import type { Pictures } from '../images/pictures.js'
import type { Store } from '../store/store.js'

/** Of an image that gets a thumbnail: all of it is in memory while it is decoded. */
const MAX_IMAGE_BYTES = 10 << 20

const fileLimits = ({ files }: Config): FileLimits => ({
  maxBytes: files.maxSize,
  quotaBytes: files.quota,
  bytesPerDay: files.perDay,
  maxFiles: files.perAccount,
  maxOpen: files.openUploads,
  totalBytes: files.total,
  types: files.types,
  uploadMs: files.uploadTime,
  linkMs: files.linkLifetime,
  orphanMs: files.orphanLifetime,
  keepMs: files.keep,
})

/** Below which folder all of files is that is on the disk. */
export const filesDir = ({ data }: Config): string => join(data.dir, 'files')

/** The client of S3 is loaded only if it is used: it takes 22 MB on the disk. */
export async function storageOf({ files }: Config, dir: string): Promise<Storage> {
  if (files.storage === 'disk') return new DiskStorage(dir)
  const { S3Storage } = await import('../files/s3.js')
  const { timeout, ...rest } = files.s3
  return new S3Storage({ ...rest, timeoutMs: timeout })
}

export interface FilesParts {
  readonly files: Files
  /** The storage of `files`. */
  readonly held: HeldStorage
}

/** @param baseUrl see FilesOptions @throws GatewayError */
export async function composeFiles(
  config: Config,
  store: Store,
  {
    accounts,
    pictures,
    baseUrl,
  }: {
    readonly accounts: Accounts
    readonly pictures: Pictures
    readonly baseUrl: () => string | undefined
  },
): Promise<FilesParts> {
  const dir = filesDir(config)
  const staging = new Staging(join(dir, 'incoming'), config.files.minFree)
  const held = new HeldStorage(await storageOf(config, dir))
  const files = new Files({
    kv: store.kv,
    tokens: await FileTokens.open(store.kv),
    staging,
    storage: held,
    thumbnails: new Thumbnails(
      join(dir, 'thumbnails'),
      { storage: held, staging },
      pictures,
      MAX_IMAGE_BYTES,
    ),
    limits: fileLimits(config),
    scanner: { command: config.files.scan, timeoutMs: config.files.scanTimeout },
    baseUrl,
    isGood: async userId => {
      const user = await accounts.find(userId)
      return user !== undefined && user.disabledAt === undefined
    },
  })
  return { files, held }
}
