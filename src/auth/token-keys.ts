/**
 * The keys that sign access tokens, kept in the store. The newest one signs. Older ones verify until the last token
 * that they signed has expired. HS256, since only this server verifies: it takes 17–28 µs, Ed25519 120 µs.
 */
import { randomBytes, webcrypto } from 'node:crypto'
import type { JWTPayload } from 'jose'
import { JWKSNoMatchingKey, JWTExpired } from 'jose/errors'
import { SignJWT } from 'jose/jwt/sign'
import { jwtVerify } from 'jose/jwt/verify'
import { GatewayError } from '../core/errors.js'
import { recentMap } from '../core/recent.js'
import type { KeyValue } from '../store/store.js'

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
  readonly crypto: webcrypto.CryptoKey
}

const PLACE = ['token-keys'] as const
/** `iss` of our tokens, so that no token of another issuer is taken for ours. */
const ISSUER = 'mumi'
const TYPE = 'at+jwt'
/** Cache of verified tokens: clients reconnect often, and after an outage all at once. */
const REMEMBERED = 10_000

export class TokenKeys {
  /** Newest first. */
  #keys: readonly Key[] = []
  readonly #verified = recentMap<string, JWTPayload>(REMEMBERED)

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
    await this.kv.kvWrite([{ put: 'meta', key: PLACE, value: Buffer.from(JSON.stringify(keys)) }])
    await this.#load()
  }

  /** @returns the token, and when it expires, ms since the epoch */
  async sign(claims: JWTPayload, now = Date.now()): Promise<{ token: string; expiresAt: number }> {
    const [key] = this.#keys
    if (key === undefined) throw new GatewayError('STORE_UNAVAILABLE', { reason: 'no key to sign with' })
    const issued = Math.floor(now / 1000)
    const expires = issued + Math.floor(this.options.accessLifetimeMs / 1000)
    const token = await new SignJWT({ ...claims, iss: ISSUER, iat: issued, exp: expires })
      .setProtectedHeader({ alg: 'HS256', kid: key.kid, typ: TYPE })
      .sign(key.crypto)
    return { token, expiresAt: expires * 1000 }
  }

  /** Whether `kid` names one of our keys. Whether the token is valid is checked by `verify`. */
  isOwn(kid: string | undefined): boolean {
    return kid !== undefined && this.#find(kid) !== undefined
  }

  /** @throws GatewayError ERROR_AUTH {field: 'token'} */
  async verify(token: string, now = Date.now()): Promise<JWTPayload> {
    const known = this.#verified.get(token)
    if (known?.exp !== undefined && known.exp * 1000 > now) return known
    try {
      const options = { algorithms: ['HS256'], issuer: ISSUER, typ: TYPE }
      const { payload } = await jwtVerify(token, ({ kid = '' }) => this.#cryptoKey(kid), {
        ...options,
        requiredClaims: ['exp', 'sub'],
        currentDate: new Date(now),
      })
      this.#verified.set(token, payload)
      return payload
    } catch (cause) {
      throw refusedToken(cause instanceof JWTExpired ? 'has expired' : 'is not valid')
    }
  }

  #find(kid: string): Key | undefined {
    return this.#keys.find(key => key.kid === kid)
  }

  #cryptoKey(kid: string): webcrypto.CryptoKey {
    const key = this.#find(kid)
    if (key === undefined) throw new JWKSNoMatchingKey()
    return key.crypto
  }

  async #load(): Promise<void> {
    const value = await this.kv.kvGet('meta', PLACE)
    if (value === undefined) return
    const stored: StoredKey[] = JSON.parse(Buffer.from(value).toString())
    this.#verified.clear()
    this.#keys = await Promise.all(stored.map(async key => ({ ...key, crypto: await importKey(key.secret) })))
  }
}

const importKey = (secret: string): Promise<webcrypto.CryptoKey> =>
  webcrypto.subtle.importKey(
    'raw',
    Buffer.from(secret, 'base64url'),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign', 'verify'],
  )

/** The refusal of a token. A client that reads 'has expired' refreshes it. */
export const refusedToken = (reason: string): GatewayError =>
  new GatewayError('ERROR_AUTH', { field: 'token', reason })
