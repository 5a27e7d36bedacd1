/** Certificate and key from their files, for every listener, and again when the files change. */
import { readFileSync, type Stats, statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createSecureContext, type SecureContextOptions, type SecureVersion, type Server } from 'node:tls'
import type { Logger } from '../core/log.js'

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
  /** What the files were when they were last read, whatever came of it. */
  #seen: string
  #timer: NodeJS.Timeout | undefined

  /** @throws TlsError */
  constructor(
    private readonly options: TlsOptions,
    private readonly log: Logger,
  ) {
    // Before they are read: what changes in between is found.
    this.#seen = this.#look()
    this.#context = loadContext(options)
    // By looking, not by inotify: that misses network file systems and the symbolic links of Kubernetes' secrets.
    if (options.watchMs > 0) this.#timer = setInterval(() => void this.#check(), options.watchMs).unref()
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
      this.#seen = this.#look()
      this.#context = loadContext(this.options)
      for (const server of this.#servers) server.setSecureContext(this.#context)
      this.log.info({ event: 'tls.reloaded', cert: this.options.cert }, 'certificate loaded')
    } catch (err) {
      this.log.error({ event: 'tls.reload-failed', err }, 'certificate not loaded, the old one stays')
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** A file that is gone for a moment is on its way to being replaced. */
  async #check(): Promise<void> {
    const paths = [this.options.cert, this.options.key]
    const found = await Promise.all(paths.map(path => stat(path))).catch(() => undefined)
    if (found !== undefined && fingerprint(found) !== this.#seen) this.reload()
  }

  #look(): string {
    const paths = [this.options.cert, this.options.key]
    return fingerprint(paths.map(path => statSync(path, { throwIfNoEntry: false })))
  }
}

const fingerprint = (files: readonly (Stats | undefined)[]): string =>
  files.map(file => `${file?.ino} ${file?.size} ${file?.mtimeMs}`).join()

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
