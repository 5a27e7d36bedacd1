/** Who somebody is, by password, token or device credential: both front ends' one way in. */
import { decodeProtectedHeader } from 'jose/decode/protected_header'
import { type Accounts, normalizeEmail } from '../accounts/accounts.js'
import { LENGTHS, type Login, type LoginKind, type Role, type User, type UserId } from '../core/model.js'
import type { ExternalTokens } from './external.js'
import { isCredential, type Logins, newLoginId, type StoredLogin } from './logins.js'
import { Since } from './since.js'
import { refusedToken, type TokenKeys } from './token-keys.js'

/** Somebody who has proved who they are. */
export interface Principal {
  readonly user: User
  readonly login: Login
}

export interface AuthenticatorOptions {
  readonly accounts: Accounts
  readonly logins: Logins
  readonly keys: TokenKeys
  /** Where tokens of another issuer are taken. */
  readonly external: ExternalTokens | undefined
  readonly admins: ReadonlySet<UserId>
}

/** RFC 7515, 3.1: three parts of base64url; a header begins with `{"`. */
const COMPACT_JWS = /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/

/** What somebody might guess: neither a token nor a device's credential. @param secret CONNECT's password */
export const isPassword = (secret: string): boolean => !COMPACT_JWS.test(secret) && !isCredential(secret)

export class Authenticator {
  constructor(private readonly options: AuthenticatorOptions) {}

  /** @param login email or user id @throws GatewayError ERROR_AUTH */
  async byPassword(login: string, password: string, device?: string): Promise<Principal> {
    const user = await this.options.accounts.authenticate(login, password)
    return { user, login: this.#session(user.id, 'password', newLoginId(), device) }
  }

  /**
   * An access token of ours, or a token of the configured issuer.
   * @param device the one that logs in; undefined = the default one
   * @throws GatewayError ERROR_AUTH {field: 'token'}
   */
  async byToken(token: string, device?: string): Promise<Principal> {
    // jose passes over blanks between the characters: one token would be remembered in as many forms as one likes.
    if (token.length > LENGTHS.token || !COMPACT_JWS.test(token)) throw refusedToken('is not valid')
    if (!this.options.keys.isOwn(keyIdOf(token))) return this.#byExternal(token, device)
    const { userId, session } = await this.options.logins.verify(token)
    if (device !== undefined && device !== session.device) throw refusedToken('is of another device')
    return this.#bySession(userId, session, session.device)
  }

  /**
   * CONNECT: the password is a password, a token, or the credential of this client id.
   * @throws GatewayError ERROR_AUTH
   */
  async byMqtt(name: string, password: string, clientId: string): Promise<Principal> {
    if (isPassword(password)) return this.byPassword(name, password, clientId)
    const found = COMPACT_JWS.test(password)
      ? await this.#byMqttToken(password, clientId)
      : await this.#byCredential(password, clientId)
    const isNamed = found.user.id === name || found.user.emailKey === normalizeEmail(name)
    if (!isNamed) throw refusedToken('is of another user')
    return found
  }

  /**
   * Runs a login, and refuses it where rights of its account were revoked before it ended.
   * @param work checks who it is, lets them in, and resolves with them; undefined for an anonymous client
   * @throws GatewayError ERROR_AUTH_FAILED (retry) after a revocation; otherwise what `work` throws
   */
  async guard<T extends Pick<Principal, 'user'> | undefined>(work: (since: Since) => Promise<T>): Promise<T> {
    const since = this.since()
    const done = await work(since)
    if (done !== undefined) since.check(done.user.id)
    return done
  }

  /** This moment, for work that checks by itself whether rights were revoked since. */
  since(): Since {
    return new Since(this.options.logins.revocations)
  }

  /** A token without a device name is of the default device, which is no client id: any may use it. */
  async #byMqttToken(token: string, clientId: string): Promise<Principal> {
    const found = await this.byToken(token)
    const { device } = found.login
    if (device !== undefined && device !== clientId) throw refusedToken('is of another device')
    return { ...found, login: { ...found.login, device: clientId } }
  }

  async #byCredential(credential: string, clientId: string): Promise<Principal> {
    const { userId, session } = await this.options.logins.verifyCredential(credential)
    if (session.device !== clientId) throw refusedToken('is of another device')
    return this.#bySession(userId, session, clientId)
  }

  async #byExternal(token: string, device: string | undefined): Promise<Principal> {
    if (this.options.external === undefined) throw refusedToken('is not valid')
    const user = await this.options.accounts.find(await this.options.external.verify(token))
    if (user === undefined) throw refusedToken('names no user')
    return { user, login: this.#session(user.id, 'external', newLoginId(), device) }
  }

  async #bySession(userId: UserId, session: StoredLogin, device: string | undefined): Promise<Principal> {
    const user = await this.options.accounts.find(userId)
    if (user === undefined) throw refusedToken('was revoked')
    return { user, login: this.#session(userId, session.kind, session.id, device) }
  }

  #session(userId: UserId, kind: LoginKind, id: string, device: string | undefined): Login {
    const role: Role = kind === 'device' ? 'device' : this.options.admins.has(userId) ? 'admin' : 'user'
    return { id, kind, role, device, since: Date.now() }
  }
}

/** The `kid` of a JWT, unchecked; undefined for a text that is none. */
function keyIdOf(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).kid
  } catch {
    return undefined
  }
}
