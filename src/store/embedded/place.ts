/** Whether the files that are open are still those in the data folder. */
import { type BigIntStats, statSync } from 'node:fs'
import { join } from 'node:path'
import { GatewayError } from '../../core/errors.js'

/** A file that was removed or replaced stays open in this process; what is written to it is lost when the process ends. */
export class Place {
  readonly #files: readonly { readonly path: string; readonly was: string }[]
  /** performance.now() of the last look, if it found them. */
  #lookedAt = Number.NEGATIVE_INFINITY

  /** Call it when the files are open. */
  constructor(dir: string) {
    const paths = ['data.mdb', 'lock.mdb'].map(name => join(dir, name))
    this.#files = paths.map(path => ({ path, was: identity(path) }))
  }

  /**
   * Costs two system calls. @param maxAgeMs a look that is no older will do
   * @throws GatewayError STORE_UNAVAILABLE if a file was removed or replaced
   */
  check(maxAgeMs = 0): void {
    const now = performance.now()
    if (now - this.#lookedAt < maxAgeMs) return
    this.#lookedAt = Number.NEGATIVE_INFINITY
    for (const { path, was } of this.#files) {
      if (identity(path) === was) continue
      const reason = `${path} was removed or replaced while it was open; put it back, or start the gateway anew`
      throw new GatewayError('STORE_UNAVAILABLE', { reason })
    }
    this.#lookedAt = now
  }

  get isThere(): boolean {
    return this.#files.every(({ path, was }) => identity(path) === was)
  }
}

/** Which file is `data.mdb` of a folder; '' if there is none. */
export const dataFileOf = (dir: string): string => identity(join(dir, 'data.mdb'))

/** '' if there is no such file or it cannot be read. */
function identity(path: string): string {
  try {
    const found: BigIntStats | undefined = statSync(path, { bigint: true, throwIfNoEntry: false })
    return found === undefined ? '' : `${found.dev} ${found.ino}`
  } catch {
    return ''
  }
}
