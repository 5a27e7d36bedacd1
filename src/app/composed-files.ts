/** Makes the parts that keep files and give them, as the config says. */
import { join } from 'node:path'
import type { Accounts } from '../accounts/accounts.js'
import type { Config } from '../config/config.js'
import { DiskStorage } from '../files/disk.js'
import { type FileLimits, Files } from '../files/files.js'
import { FileTokens } from '../files/ids.js'
import { Staging } from '../files/staging.js'
import type { Store } from '../store/store.js'

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

/** @param baseUrl see FilesOptions @throws GatewayError */
export async function composeFiles(
  config: Config,
  store: Store,
  { accounts, baseUrl }: { readonly accounts: Accounts; readonly baseUrl: () => string | undefined },
): Promise<Files> {
  const dir = join(config.data.dir, 'files')
  return new Files({
    kv: store.kv,
    tokens: await FileTokens.open(store.kv),
    staging: new Staging(join(dir, 'incoming'), config.files.minFree),
    storage: new DiskStorage(dir),
    limits: fileLimits(config),
    scanner: { command: config.files.scan, timeoutMs: config.files.scanTimeout },
    baseUrl,
    isGood: async userId => {
      const user = await accounts.find(userId)
      return user !== undefined && user.disabledAt === undefined
    },
  })
}
