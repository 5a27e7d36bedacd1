/**
 * The keys that sign access tokens, kept in the store. The newest one signs. Older ones verify until the last token
 * that they signed has expired. HS256, since only this server verifies: it takes 3 µs, Ed25519 82 µs.
 */

import { randomBytes } from 'node:crypto'
import { GatewayError } from '../core/errors.js'
import { decodeRecord, encodeRecord } from '../core/record.js'
import type { KeyValue } from '../store/store.js'
import { type Claims, JwtKey } from './own-jwt.js'

export interface TokenKeyOptions {
  /** Age at which a key stops signing, ms; 0 = never. */
  readonly keyLifetimeMs: number
  /** Lifetime of a token, ms. A key that has stopped signing is kept for that long. */
  readonly accessLifetimeMs: number
}

interface StoredKey {
  readonly kid: string
  /** 32 bytes, base64url. */
  readonly secret: string
  readonly createdAt: number
}

interface Key extends StoredKey {
  readonly jwt: JwtKey
}

const PLACE = ['token-keys'] as const
/** `iss` of our tokens, so that no token of another issuer is taken for ours. */
const ISSUER = 'mumi'
const TYPE = 'at+jwt'

export class TokenKeys {
  /** Newest first. */
  #keys: readonly Key[] = []

  constructor(
    private readonly kv: KeyValue,
    private readonly options: TokenKeyOptions,
  ) {}

  /** Loads the keys, or makes the first one. @returns whether a new key replaced an old one @throws GatewayError */
  async open(): Promise<boolean> {
    await this.#load()
    const isFirst = this.#keys.length === 0
    return (await this.rotateIfDue()) && !isFirst
  }

  /** @returns whether a new key was made */
  async rotateIfDue(now = Date.now()): Promise<boolean> {
    const { keyLifetimeMs } = this.options
    const [newest] = this.#keys
    if (newest !== undefined && (keyLifetimeMs === 0 || now - newest.createdAt < keyLifetimeMs)) return false
    await this.rotate(now)
    return true
  }

  /** Makes a new key that signs from now on. @param old `refuse`: tokens signed by older keys become invalid at once */
  async rotate(now = Date.now(), old: 'verify' | 'refuse' = 'verify'): Promise<void> {
    const made = {
      kid: randomBytes(9).toString('base64url'),
      secret: randomBytes(32).toString('base64url'),
      createdAt: now,
    }
    // A key signed until the next one was made. Its last token expires one token lifetime after that.
    const { accessLifetimeMs } = this.options
    const before = old === 'verify' ? this.#keys : []
    const kept = before.filter((_, i, all) => now - (all[i - 1]?.createdAt ?? now) <= accessLifetimeMs)
    const keys = [made, ...kept.map(({ kid, secret, createdAt }) => ({ kid, secret, createdAt }))]
    await this.kv.kvWrite([{ put: 'meta', key: PLACE, value: encodeRecord(keys) }])
    await this.#load()
  }

  /** @returns the token, and when it expires, ms since the epoch */
  sign(claims: { sub: string; sid: string }, now = Date.now()): { token: string; expiresAt: number } {
    const [key] = this.#keys
    if (key === undefined) throw new GatewayError('STORE_UNAVAILABLE', { reason: 'no key to sign with' })
    const issued = Math.floor(now / 1000)
    const expires = issued + Math.floor(this.options.accessLifetimeMs / 1000)
    const token = key.jwt.sign({ ...claims, iss: ISSUER, iat: issued, exp: expires })
    return { token, expiresAt: expires * 1000 }
  }

  /** Whether a token names one of our keys. Whether it is valid is checked by `verify`. */
  isOwn(token: string): boolean {
    return this.#keyOf(token) !== undefined
  }

  /** @throws GatewayError ERROR_AUTH {field: 'token'} */
  verify(token: string, now = Date.now()): Claims {
    const claims = this.#keyOf(token)?.jwt.verify(token)
    if (claims?.iss !== ISSUER || typeof claims.sub !== 'string') throw refusedToken('is not valid')
    if (!(claims.exp * 1000 > now)) throw refusedToken('has expired')
    return claims
  }

  #keyOf(token: string): Key | undefined {
    return this.#keys.find(({ jwt }) => jwt.isNamedBy(token))
  }

  async #load(): Promise<void> {
    const value = await this.kv.kvGet('meta', PLACE)
    if (value === undefined) return
    const stored = decodeRecord<StoredKey[]>(value)
    this.#keys = stored.map(key => ({ ...key, jwt: new JwtKey(key.kid, key.secret, TYPE) }))
  }
}

/** The refusal of a token. A client that reads 'has expired' refreshes it. */
export const refusedToken = (reason: string): GatewayError =>
  new GatewayError('ERROR_AUTH', { field: 'token', reason })
