/** Checks of the config that need neither the gateway nor a store. */
import { type Config, ConfigError } from '../config/config.js'
import { type Exposed, exposedFiles } from '../core/private-files.js'
import { fileLimit } from '../net/file-limit.js'
import { loadContext, TlsError } from '../net/tls.js'

export { checkLineFiles, prepareLineFiles } from './line-files.js'
export { risks } from './risks.js'

/** @returns a warning where this process may open fewer files than `limits.connections` */
export function fileLimitFault({ limits }: Config): string | undefined {
  const files = fileLimit()
  if (files === undefined || files >= limits.connections) return undefined
  return `limits.connections: ${limits.connections} is more than the ${files} files that this process may open (ulimit -n, LimitNOFILE)`
}

/** Files named by the config that other users may read; see exposedFiles. */
export function exposedBy({ store, data, audit, log }: Config, isTightening: boolean): Exposed[] {
  const dataDir = store.type === 'embedded' ? data.dir : undefined
  return exposedFiles({ dataDir, lineFiles: [audit.file, log.file] }, isTightening)
}

/** @throws ConfigError where certificate and key cannot be used */
export function checkTls({ tls }: Config): void {
  try {
    if (tls.cert !== '') loadContext(tls)
  } catch (error) {
    nameTlsFault(error)
  }
}

/** @throws ConfigError for a TlsError, whose text names the key; otherwise `error` itself */
export function nameTlsFault(error: unknown): never {
  throw error instanceof TlsError ? new ConfigError([error.message]) : error
}
