/**
 * Passkeys of accounts, kept with the second factor. A login by one needs neither password nor code: it shows that somebody has
 * the authenticator, and has unlocked it.
 */
import { GatewayError } from '../../core/errors.js'
import { isUserId, type UserId } from '../../core/model.js'
import { CHALLENGE_MS } from './challenges.js'
import type { Passkey } from './record.js'
import { FactorRows, type FactorStore } from './rows.js'
import { refusedPasskey, type WebAuthn } from './webauthn.js'

/** Of an account. */
export const MAX_PASSKEYS = 10

/** An answer of a browser to a login; its form has been checked. */
export interface PasskeyAnswer {
  readonly response: { readonly userHandle?: string }
}

/** Every method may throw GatewayError STORE_UNAVAILABLE, and what changes something STORE_FULL. */
export class Passkeys {
  readonly #rows: FactorRows

  constructor(
    users: FactorStore,
    private readonly webauthn: WebAuthn,
  ) {
    this.#rows = new FactorRows(users)
  }

  async list(userId: UserId): Promise<readonly Passkey[]> {
    return (await this.#rows.read(userId)).passkeys ?? []
  }

  /**
   * Begins one, instead of another that was begun.
   * @param account what the authenticator shows
   * @param check called in the turn in which the challenge is stored; throws if rights were revoked meanwhile
   * @returns PublicKeyCredentialCreationOptionsJSON @throws GatewayError FORBIDDEN, BAD_FIELD if there are too many
   */
  begin(userId: UserId, account: string, check: () => void, now = Date.now()) {
    return this.#rows.change(userId, async factor => {
      const { passkeys = [] } = factor
      refuseMore(passkeys)
      const options = await this.webauthn.registration(userId, account, passkeys)
      check()
      const asked = { challenge: options.challenge, until: now + CHALLENGE_MS }
      return { factor: { ...factor, asked }, result: options }
    })
  }

  /**
   * Stores it, if it answers what `begin` asked, which only whoever showed the password knows.
   * @param response RegistrationResponseJSON, as it came
   * @throws GatewayError ERROR_AUTH {field: 'passkey'}, FORBIDDEN, BAD_FIELD if there are too many
   */
  add(userId: UserId, response: object, name: string, now = Date.now()): Promise<Passkey> {
    return this.#rows.change(userId, async ({ asked, passkeys = [], ...factor }) => {
      if (asked === undefined || asked.until <= now) throw refusedPasskey()
      refuseMore(passkeys)
      const added = await this.webauthn.registered(response, asked.challenge, name, now)
      if (passkeys.some(({ id }) => id === added.id)) throw refusedPasskey()
      return { factor: { ...factor, passkeys: [...passkeys, added] }, result: added }
    })
  }

  /** @returns whether there was one */
  remove(userId: UserId, id: string): Promise<boolean> {
    return this.#rows.change(userId, ({ passkeys = [], ...factor }) => {
      const left = passkeys.filter(one => one.id !== id)
      const kept = left.length === 0 ? {} : { passkeys: left }
      return { factor: { ...factor, ...kept }, result: left.length < passkeys.length }
    })
  }

  /** @returns PublicKeyCredentialRequestOptionsJSON, for whichever account @throws GatewayError FORBIDDEN */
  ask() {
    return this.webauthn.authentication()
  }

  /**
   * Uses an answer up. Its account is what the passkey says (WebAuthn, 7.2 step 6); an unknown one is refused as a wrong answer is.
   * @param answer AuthenticationResponseJSON, as it came
   * @throws GatewayError ERROR_AUTH {field: 'passkey'}, FORBIDDEN
   */
  async use(answer: PasskeyAnswer, now = Date.now()): Promise<UserId> {
    const userId = Buffer.from(answer.response.userHandle ?? '', 'base64url').toString()
    if (!isUserId(userId)) throw refusedPasskey()
    let isFirst: boolean | undefined
    await this.#rows.change(userId, async factor => {
      const { passkeys = [] } = factor
      const { challenge, passkey } = await this.webauthn.authenticated(answer, passkeys, now)
      // Once, however often the row is changed by others meanwhile.
      isFirst ??= this.webauthn.use(challenge)
      if (!isFirst) throw refusedPasskey()
      const after = passkeys.map(one => (one.id === passkey.id ? passkey : one))
      return { factor: { ...factor, passkeys: after }, result: undefined }
    })
    return userId
  }
}

/** @throws GatewayError BAD_FIELD */
function refuseMore(passkeys: readonly Passkey[]): void {
  if (passkeys.length >= MAX_PASSKEYS)
    throw new GatewayError('BAD_FIELD', { reason: `an account has at most ${MAX_PASSKEYS} passkeys` })
}
