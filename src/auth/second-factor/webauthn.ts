/** The ceremonies of passkeys (WebAuthn Level 3, 7.1 and 7.2): what a browser is asked, and whether its answer is right. */
import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server'
import { GatewayError } from '../../core/errors.js'
import type { UserId } from '../../core/model.js'
import { CHALLENGE_MS, Challenges } from './challenges.js'
import type { Passkey } from './record.js'

/** Where browsers find the pages: by the config alone, never by a request. */
export interface RelyingParty {
  readonly id: string
  readonly origin: string
}

/**
 * @param url where browsers reach the gateway, by the config; without that, a port of this machine
 * @returns undefined where no browser would make a passkey: no name, an IP address of elsewhere, or no TLS
 */
export function relyingParty(url: string | undefined): RelyingParty | undefined {
  if (url === undefined) return undefined
  const { hostname, port, protocol, origin } = new URL(url)
  // A browser makes passkeys for `localhost`, and for no address.
  if (/^(127\.[\d.]+|\[::1\])$/.test(hostname))
    return { id: 'localhost', origin: `${protocol}//localhost${port === '' ? '' : `:${port}`}` }
  const isName = /[a-z]/i.test(hostname) && !hostname.startsWith('[')
  const isSecure = protocol === 'https:' || hostname === 'localhost'
  return isName && isSecure ? { id: hostname, origin } : undefined
}

/** Most gateways need it never, and none at its start. */
const library = () => import('@simplewebauthn/server')

/** base64url. A credential id has at most 1023 bytes (WebAuthn, 4), a key of RSA with 4096 bits has some 530. */
const MAX_ID = 1364
const MAX_KEY = 1000

export const refusedPasskey = (cause?: unknown) =>
  new GatewayError('ERROR_AUTH', { field: 'passkey', reason: 'is wrong, or took too long' }, cause)

const refuse = (cause: unknown): never => {
  throw refusedPasskey(cause)
}

export class WebAuthn {
  readonly #challenges = new Challenges()

  /** @param findParty undefined: there are no passkeys here */
  constructor(private readonly findParty: () => RelyingParty | undefined) {}

  /** @throws GatewayError FORBIDDEN */
  get party(): RelyingParty {
    const party = this.findParty()
    if (party !== undefined) return party
    throw new GatewayError('FORBIDDEN', { reason: 'no passkeys here: http.publicUrl is not set for them' })
  }

  /**
   * @param account what the authenticator shows
   * @param known those that the account has: an authenticator makes no second one
   * @throws GatewayError FORBIDDEN
   */
  async registration(userId: UserId, account: string, known: readonly Passkey[]) {
    const { id: rpID } = this.party
    const { generateRegistrationOptions } = await library()
    return generateRegistrationOptions({
      rpName: 'MumiChat',
      rpID,
      userID: Buffer.from(userId),
      userName: account,
      timeout: CHALLENGE_MS,
      attestationType: 'none',
      excludeCredentials: known.map(({ id }) => ({ id })),
      authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    })
  }

  /** @param challenge of `registration` @throws GatewayError ERROR_AUTH {field: 'passkey'}, FORBIDDEN */
  async registered(response: object, challenge: string, name: string, now: number): Promise<Passkey> {
    const { id: rpId, origin } = this.party
    const answer = response as RegistrationResponseJSON
    const { verifyRegistrationResponse } = await library()
    await refuseCertificates(answer).catch(refuse)
    const { verified, registrationInfo } = await verifyRegistrationResponse({
      response: answer,
      expectedChallenge: challenge,
      expectedOrigin: origin,
      expectedRPID: rpId,
      requireUserVerification: true,
    }).catch(refuse)
    if (!verified) throw refusedPasskey()
    const { id, publicKey: bytes, counter } = registrationInfo.credential
    const publicKey = Buffer.from(bytes).toString('base64url')
    if (id.length > MAX_ID || publicKey.length > MAX_KEY) throw refusedPasskey()
    return { id, publicKey, counter, name, createdAt: now }
  }

  /** Of whomever: the passkey names its account. @throws GatewayError FORBIDDEN */
  async authentication() {
    const { id: rpID } = this.party
    const { generateAuthenticationOptions } = await library()
    return generateAuthenticationOptions({
      rpID,
      challenge: Buffer.from(this.#challenges.make(), 'base64url'),
      timeout: CHALLENGE_MS,
      userVerification: 'required',
    })
  }

  /**
   * The counter must rise (7.2 step 22). Nothing may come of it before `use` of the challenge.
   * @param passkeys of the account that the answer names
   * @returns the passkey as it is then @throws GatewayError ERROR_AUTH {field: 'passkey'}, FORBIDDEN
   */
  async authenticated(response: object, passkeys: readonly Passkey[], now: number) {
    const { id: rpId, origin } = this.party
    const answer = response as AuthenticationResponseJSON
    const passkey = passkeys.find(one => one.id === answer.id)
    if (passkey === undefined) throw refusedPasskey()
    const { verifyAuthenticationResponse } = await library()
    let challenge = ''
    const { verified, authenticationInfo } = await verifyAuthenticationResponse({
      response: answer,
      expectedChallenge: answered => {
        challenge = answered
        return this.#challenges.isGood(answered, now)
      },
      expectedOrigin: origin,
      expectedRPID: rpId,
      requireUserVerification: true,
      credential: {
        id: passkey.id,
        publicKey: Uint8Array.from(Buffer.from(passkey.publicKey, 'base64url')),
        counter: passkey.counter,
      },
    }).catch(refuse)
    if (!verified) throw refusedPasskey()
    return { challenge, passkey: { ...passkey, counter: authenticationInfo.newCounter } }
  }

  /** @returns false: it was answered before */
  use(challenge: string): boolean {
    return this.#challenges.use(challenge)
  }
}

/**
 * Attestation is not asked for, so browsers send none, or at most a signature by the new key itself. Certificates could name
 * addresses for their revocation, which the library would ask.
 */
async function refuseCertificates({ response: { attestationObject } }: RegistrationResponseJSON) {
  const { decodeAttestationObject } = await import('@simplewebauthn/server/helpers')
  const decoded = decodeAttestationObject(Uint8Array.from(Buffer.from(attestationObject, 'base64url')))
  const format = decoded.get('fmt')
  if (format !== 'none' && (format !== 'packed' || decoded.get('attStmt').get('x5c') !== undefined))
    throw new Error('attestation was not asked for')
}
