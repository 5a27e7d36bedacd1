/** Tokens of another issuer: JWTs (RFC 7519) whose keys are in a file or at a JWKS URL (RFC 7517). */

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
  /** Which claim names the user. */
  readonly claim: string
  /** What that claim is. */
  readonly user: 'id' | 'email'
  /** How far the issuer's clock may be from ours, ms: for `nbf` and `exp`. */
  readonly leeway: number
}

/** Signatures that only the issuer can make. HMAC is not among them: its key would be the public one. */
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
/** Accounts are found by id and by email. A claim for ids that its user may choose must not name an email, unchecked. */
const isOfKind = (name: string, user: 'id' | 'email'): boolean =>
  name !== '' && isUserId(name) === (user === 'id')

const FETCH_TIMEOUT_MS = 5000
/** The issuer's keys could not be fetched: the token may be good. */
const UNREACHABLE = new Set(['ERR_JWKS_TIMEOUT', 'ERR_JOSE_GENERIC'])

export class ExternalTokens {
  readonly #getKey: JWTVerifyGetKey

  /** @throws the system's error where the key file cannot be read, or is none */
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
   * @returns the user's id or email, as `user` says
   * @throws GatewayError ERROR_AUTH {field: 'token'}; ERROR_AUTH_FAILED (retry) when the issuer's keys are out of reach
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
      // Without `email_verified` the address is whatever its user typed (OpenID Connect Core, 5.7).
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
