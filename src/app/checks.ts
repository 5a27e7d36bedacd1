/** What of the config can be checked before a start, without loading the gateway. */
import { type Config, ConfigError } from '../config/config.js'
import { type Exposed, exposedFiles } from '../core/private-files.js'
import { fileLimit } from '../net/file-limit.js'
import { loadContext, TlsError } from '../net/tls.js'

/** @returns what to say where this process may not open as many sockets as the config lets in */
export function fileLimitFault({ limits }: Config): string | undefined {
  const files = fileLimit()
  if (files === undefined || files >= limits.connections) return undefined
  return `limits.connections: ${limits.connections} is more than the ${files} files that this process may open (ulimit -n, LimitNOFILE)`
}

/** What of the files that the config names others may read; see exposedFiles. */
export function exposedBy({ store, data, audit }: Config, isTightening: boolean): Exposed[] {
  const dataDir = store.type === 'embedded' ? data.dir : undefined
  return exposedFiles({ dataDir, auditFile: audit.file }, isTightening)
}

/** @throws ConfigError where certificate and key cannot be used */
export function checkTls({ tls }: Config): void {
  try {
    if (tls.cert !== '') loadContext(tls)
  } catch (error) {
    nameTlsFault(error)
  }
}

/** @throws ConfigError where TLS cannot be had as the config says */
export function nameTlsFault(error: unknown): never {
  throw error instanceof TlsError ? new ConfigError([error.message]) : error
}
