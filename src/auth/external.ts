/** Tokens of another issuer: JWTs (RFC 7519) whose keys come from a file or a JWKS URL (RFC 7517). */

import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { JOSEError, JWTExpired } from 'jose/errors'
import { createRemoteJWKSet } from 'jose/jwks/remote'
import { type JWTVerifyGetKey, jwtVerify } from 'jose/jwt/verify'
import { GatewayError } from '../core/errors.js'
import { isUserId } from '../core/model.js'
import { refusedToken } from './token-keys.js'

export interface ExternalTokenOptions {
  /** '': none. */
  readonly jwksUrl: string
  /** PEM of a public key or certificate; '': none. */
  readonly publicKeyFile: string
  readonly issuer: string
  readonly audience: string
  /** The claim that names the user. */
  readonly claim: string
  /** Whether this claim is a user id or an email. */
  readonly user: 'id' | 'email'
  /** Tolerated difference between the issuer's clock and ours, for `nbf` and `exp`, ms. */
  readonly leeway: number
}

/** Asymmetric algorithms only: with HMAC, the key that verifies could also sign. */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
]
/**
 * Whether the name has the configured form. An id claim whose value users may choose must not be taken for an email.
 */
const isOfKind = (name: string, user: 'id' | 'email'): boolean =>
  name !== '' && isUserId(name) === (user === 'id')

const FETCH_TIMEOUT_MS = 5000
/** Codes of jose for keys that could not be fetched: the token may be valid. */
const UNREACHABLE = new Set(['ERR_JWKS_TIMEOUT', 'ERR_JOSE_GENERIC'])

export class ExternalTokens {
  readonly #getKey: JWTVerifyGetKey

  /** @throws the system's error if the key file cannot be read, or Node's if it holds no key */
  constructor(private readonly options: ExternalTokenOptions) {
    const { jwksUrl, publicKeyFile } = options
    if (jwksUrl !== '')
      this.#getKey = createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: FETCH_TIMEOUT_MS })
    else {
      const key = createPublicKey(readFileSync(publicKeyFile))
      this.#getKey = async () => key
    }
  }

  static isConfigured({ jwksUrl, publicKeyFile }: ExternalTokenOptions): boolean {
    return jwksUrl !== '' || publicKeyFile !== ''
  }

  /**
   * @returns the user's id or email, as `user` is configured
   * @throws GatewayError ERROR_AUTH {field: 'token'}; ERROR_AUTH_FAILED (retry) if the issuer's keys cannot be fetched
   */
  async verify(token: string): Promise<string> {
    const { issuer, audience, claim, user, leeway } = this.options
    try {
      const { payload } = await jwtVerify(token, this.#getKey, {
        algorithms: ALGORITHMS,
        issuer,
        audience,
        clockTolerance: leeway / 1000,
        requiredClaims: ['exp', claim],
      })
      const name = payload[claim]
      // Without `email_verified` it is any address that its user entered (OpenID Connect Core, 5.7).
      const isChecked = user === 'id' || payload.email_verified === true
      if (typeof name === 'string' && isOfKind(name, user) && isChecked) return name
    } catch (cause) {
      throw this.#refusal(cause)
    }
    throw refusedToken('names no user')
  }

  #refusal(cause: unknown): GatewayError {
    if (cause instanceof JWTExpired) return refusedToken('has expired')
    const isUnknown = !(cause instanceof JOSEError) || UNREACHABLE.has(cause.code)
    if (isUnknown)
      return new GatewayError('ERROR_AUTH_FAILED', { reason: 'the issuer does not answer' }, cause)
    return refusedToken('is not valid')
  }
}
