/** Certificate and key from their files, for every listener, and again when the files change. */
import { readFileSync, type Stats, unwatchFile, watchFile } from 'node:fs'
import { createSecureContext, type SecureContextOptions, type SecureVersion, type Server } from 'node:tls'
import type { Logger } from '../log.js'

export interface TlsOptions {
  /** Paths of PEM files: the certificate with what leads to its root, and its key. */
  readonly cert: string
  readonly key: string
  readonly minVersion: SecureVersion
  /** In OpenSSL's form. */
  readonly ciphers: string
  /** How often the files are looked at, ms; 0 = only when `reload` is called. */
  readonly watchMs: number
}

/** A fault that an operator can act on, with the config key that it is about. */
export class TlsError extends Error {
  override readonly name = 'TlsError'
}

export class TlsFiles {
  readonly #servers = new Set<Server>()
  #context: SecureContextOptions

  /** @throws TlsError */
  constructor(
    private readonly options: TlsOptions,
    private readonly log: Logger,
  ) {
    this.#context = loadContext(options)
    if (options.watchMs === 0) return
    // By looking, not by inotify: that misses network file systems and the symbolic links of Kubernetes' secrets.
    for (const path of [options.cert, options.key])
      watchFile(path, { interval: options.watchMs, persistent: false }, this.#changed)
  }

  get context(): SecureContextOptions {
    return this.#context
  }

  /** `server` takes each new certificate for new connections; those that are open go on with theirs. */
  follow(server: Server): void {
    this.#servers.add(server)
  }

  /** What cannot be used is reported, and what was in use stays. */
  reload(): void {
    try {
      this.#context = loadContext(this.options)
      for (const server of this.#servers) server.setSecureContext(this.#context)
      this.log.info({ event: 'tls.reloaded', cert: this.options.cert }, 'certificate loaded')
    } catch (err) {
      this.log.error({ event: 'tls.reload-failed', err }, 'certificate not loaded, the old one stays')
    }
  }

  close(): void {
    for (const path of [this.options.cert, this.options.key]) unwatchFile(path, this.#changed)
  }

  readonly #changed = (now: Stats, before: Stats): void => {
    // Also called at a mere look at the file. Gone for a moment is on its way to being replaced.
    if (now.mtimeMs !== before.mtimeMs && now.mtimeMs !== 0) this.reload()
  }
}

/** @throws TlsError */
export function loadContext(options: Pick<TlsOptions, 'cert' | 'key' | 'minVersion' | 'ciphers'>) {
  const { minVersion, ciphers } = options
  const context = {
    minVersion,
    ciphers,
    cert: read('tls.cert', options.cert),
    key: read('tls.key', options.key),
  }
  try {
    createSecureContext(context)
  } catch (error) {
    throw new TlsError(`tls.cert, tls.key, tls.ciphers: ${error instanceof Error ? error.message : error}`)
  }
  return context
}

function read(key: string, path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new TlsError(`${key}: cannot be read: ${error instanceof Error ? error.message : error}`)
  }
}
