/** Who somebody is, by password, token or device credential: both front ends' one way in. */
import { decodeProtectedHeader } from 'jose/decode/protected_header'
import { type Accounts, normalizeEmail } from '../accounts/accounts.js'
import { LENGTHS, type LoginKind, type Role, type Session, type User, type UserId } from '../core/model.js'
import type { ExternalTokens } from './external.js'
import { isCredential, newSessionId, type Sessions, type StoredSession } from './logins.js'
import { LoginRights } from './permissions.js'
import { refusedToken, type TokenKeys } from './token-keys.js'

/** Somebody who has proved who they are. */
export interface Identified {
  readonly user: User
  readonly session: Session
}

export interface IdentityOptions {
  readonly accounts: Accounts
  readonly sessions: Sessions
  readonly keys: TokenKeys
  /** Where tokens of another issuer are taken. */
  readonly external: ExternalTokens | undefined
  readonly admins: ReadonlySet<UserId>
}

/** RFC 7515, 3.1: three parts of base64url; a header begins with `{"`. */
const COMPACT_JWS = /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/

/** What somebody might guess: neither a token nor a device's credential. @param secret CONNECT's password */
export const isPassword = (secret: string): boolean => !COMPACT_JWS.test(secret) && !isCredential(secret)

export class Identity {
  constructor(private readonly options: IdentityOptions) {}

  /** @param login email or user id @throws GatewayError ERROR_AUTH */
  async byPassword(login: string, password: string, device?: string): Promise<Identified> {
    const user = await this.options.accounts.authenticate(login, password)
    return { user, session: this.#session(user.id, 'password', newSessionId(), device) }
  }

  /**
   * An access token of ours, or a token of the configured issuer.
   * @param device the one that logs in; undefined = the default one
   * @throws GatewayError ERROR_AUTH {field: 'token'}
   */
  async byToken(token: string, device?: string): Promise<Identified> {
    // jose passes over blanks between the characters: one token would be remembered in as many forms as one likes.
    if (token.length > LENGTHS.token || !COMPACT_JWS.test(token)) throw refusedToken('is not valid')
    if (!this.options.keys.isOwn(keyIdOf(token))) return this.#byExternal(token, device)
    const { userId, session } = await this.options.sessions.verify(token)
    if (device !== undefined && device !== session.device) throw refusedToken('is of another device')
    return this.#bySession(userId, session, session.device)
  }

  /**
   * CONNECT: the password is a password, a token, or the credential of this client id.
   * @throws GatewayError ERROR_AUTH
   */
  async byMqtt(name: string, password: string, clientId: string): Promise<Identified> {
    if (isPassword(password)) return this.byPassword(name, password, clientId)
    const found = COMPACT_JWS.test(password)
      ? await this.#byMqttToken(password, clientId)
      : await this.#byCredential(password, clientId)
    const isNamed = found.user.id === name || found.user.emailKey === normalizeEmail(name)
    if (!isNamed) throw refusedToken('is of another user')
    return found
  }

  /** To be taken before anything is checked; see isStillGood. */
  get mark(): number {
    return this.options.sessions.revocations.mark
  }

  /** False when rights of the account were taken away since `mark`, perhaps those that let it in. */
  isStillGood(userId: UserId, mark: number): boolean {
    return !this.options.sessions.revocations.hasSince(userId, mark)
  }

  /** @param mark from before what let it in was checked; now, for one that is in already */
  rights(userId: UserId, mark = this.mark): LoginRights {
    return new LoginRights(this.options.sessions.revocations, userId, mark)
  }

  /** A token without a device name is of the default device, which is no client id: any may use it. */
  async #byMqttToken(token: string, clientId: string): Promise<Identified> {
    const found = await this.byToken(token)
    const { device } = found.session
    if (device !== undefined && device !== clientId) throw refusedToken('is of another device')
    return { ...found, session: { ...found.session, device: clientId } }
  }

  async #byCredential(credential: string, clientId: string): Promise<Identified> {
    const { userId, session } = await this.options.sessions.verifyCredential(credential)
    if (session.device !== clientId) throw refusedToken('is of another device')
    return this.#bySession(userId, session, clientId)
  }

  async #byExternal(token: string, device: string | undefined): Promise<Identified> {
    if (this.options.external === undefined) throw refusedToken('is not valid')
    const user = await this.options.accounts.find(await this.options.external.verify(token))
    if (user === undefined) throw refusedToken('names no user')
    return { user, session: this.#session(user.id, 'external', newSessionId(), device) }
  }

  async #bySession(userId: UserId, session: StoredSession, device: string | undefined): Promise<Identified> {
    const user = await this.options.accounts.find(userId)
    if (user === undefined) throw refusedToken('was revoked')
    return { user, session: this.#session(userId, session.kind, session.id, device) }
  }

  #session(userId: UserId, kind: LoginKind, id: string, device: string | undefined): Session {
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
