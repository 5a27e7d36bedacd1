/** bcrypt with bounded concurrency: a login storm delays logins and not messages. */
import { createHash } from 'node:crypto'
import bcrypt from 'bcrypt'
import pLimit, { type LimitFunction } from 'p-limit'
import { GatewayError } from '../errors.js'

export interface PasswordOptions {
  /** log2 of bcrypt's rounds. */
  readonly cost: number
  /** Hashes at the same time; each keeps one thread busy. */
  readonly concurrency: number
  /** Hashes that may wait; more are refused. */
  readonly queue: number
}

/**
 * bcrypt reads 72 bytes and stops at NUL: SHA-256 before it makes every byte of every password count, and base64
 * keeps NUL out. NFC first, as RFC 8265 (OpaqueString) asks: the same password typed on another keyboard.
 */
const prehash = (password: string) => createHash('sha256').update(password.normalize('NFC')).digest('base64')

export class Passwords {
  readonly #limit: LimitFunction
  readonly #unknown: Promise<string>

  constructor(private readonly options: PasswordOptions) {
    this.#limit = pLimit(options.concurrency)
    this.#unknown = bcrypt.hash(prehash('no account has this password'), options.cost)
  }

  /** @throws GatewayError ERROR_AUTH_FAILED (retry) when too many wait */
  hash(password: string): Promise<string> {
    return this.#bounded(() => bcrypt.hash(prehash(password), this.options.cost))
  }

  /** @throws GatewayError ERROR_AUTH_FAILED (retry) when too many wait */
  matches(password: string, hash: string): Promise<boolean> {
    return this.#bounded(() => bcrypt.compare(prehash(password), hash))
  }

  /** Takes as long as `matches` and is always false: for an account that does not exist. */
  async matchesNobody(password: string): Promise<false> {
    const hash = await this.#unknown
    await this.matches(password, hash)
    return false
  }

  #bounded<T>(work: () => Promise<T>): Promise<T> {
    if (this.#limit.pendingCount >= this.options.queue) {
      throw new GatewayError('ERROR_AUTH_FAILED', { reason: 'too many logins at once, try again' })
    }
    return this.#limit(work)
  }
}
