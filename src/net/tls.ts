/** Certificate and key of all listeners, read from files, and read again when the files change. */
import { readFileSync, type Stats, statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createSecureContext, type SecureContextOptions, type SecureVersion, type Server } from 'node:tls'
import type { Logger } from '../core/log.js'
import { checkRegular } from '../core/regular-file.js'

export interface TlsOptions {
  /** Paths of PEM files: the certificate followed by its intermediates, and the private key. */
  readonly cert: string
  readonly key: string
  readonly minVersion: SecureVersion
  /** Cipher list in OpenSSL's format. */
  readonly ciphers: string
  /** How often the files are checked for changes, ms; 0 = only `reload` reads them again. */
  readonly watchMs: number
}

/** A fault that the operator can mend. The message names the config key. */
export class TlsError extends Error {
  override readonly name = 'TlsError'
}

export class TlsFiles {
  readonly #servers = new Set<Server>()
  #context: SecureContextOptions
  /** Fingerprint of the files when they were last read, whether or not they were valid. */
  #seen: string
  #timer: NodeJS.Timeout | undefined

  /** @throws TlsError */
  constructor(
    private readonly options: TlsOptions,
    private readonly log: Logger,
  ) {
    // Taken before the files are read, so that a change in between is found later.
    this.#seen = this.#look()
    this.#context = loadContext(options)
    // Polling, since inotify does not see network file systems and the symbolic links of Kubernetes secrets.
    if (options.watchMs > 0) this.#timer = setInterval(() => void this.#check(), options.watchMs).unref()
  }

  get context(): SecureContextOptions {
    return this.#context
  }

  /** `server` gets each new certificate. It applies to new connections; open ones keep theirs. */
  follow(server: Server): void {
    this.#servers.add(server)
  }

  /** Reads the files again. If they are invalid, the fault is logged and the old certificate stays in use. */
  reload(): void {
    try {
      this.#seen = this.#look()
      for (const path of [this.options.cert, this.options.key]) checkRegular(path)
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

  /** A missing file is not a change: it is probably being replaced. */
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
