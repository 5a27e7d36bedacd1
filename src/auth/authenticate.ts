/** Authentication by password, token or device credential, for both front ends. */
import type { Accounts, PendingDeletions } from '../accounts/accounts.js'
import { normalizeEmail } from '../accounts/email.js'
import { isNameOf } from '../accounts/user-name.js'
import { GatewayError } from '../core/errors.js'
import {
  isUserId,
  LENGTHS,
  type Login,
  type LoginKind,
  type Role,
  type User,
  type UserId,
} from '../core/model.js'
import type { ExternalTokens } from './external.js'
import type { StoredLogin } from './login-rows.js'
import { type Logins, newLoginId } from './logins.js'
import type { PasskeyAnswer, Passkeys } from './second-factor/passkeys.js'
import { isAppPassword, isCredential } from './secrets.js'
import { Since } from './since.js'
import { refusedToken, type TokenKeys } from './token-keys.js'

/** An authenticated user and the login. */
export interface Principal {
  readonly user: User
  readonly login: Login
  /** Of a login by password; see Passed. Call it where the login is refused after all. */
  readonly giveBackCode?: () => Promise<void>
}

export interface AuthenticatorOptions {
  readonly accounts: Accounts
  readonly pendingDeletions: Pick<PendingDeletions, 'cancel' | 'at'>
  /** The owner of an account has logged in that was to be removed. */
  readonly onKept: (userId: UserId) => void
  readonly logins: Logins
  /** See SecondFactors. */
  readonly factors: {
    check(userId: UserId, code: string | undefined): Promise<{ readonly giveBack: () => Promise<void> }>
  }
  readonly passkeys: Pick<Passkeys, 'use'>
  readonly keys: TokenKeys
  /** undefined: tokens of other issuers are refused. */
  readonly external: ExternalTokens | undefined
  /** Accounts that are admins by the config. */
  readonly admins: () => ReadonlySet<UserId>
  /** Whether an account whose address was never verified may log in. */
  readonly isUnverifiedLetIn?: () => boolean
}

/** The compact form of RFC 7515 3.1: three parts of base64url. A header begins with `{"`, which is `eyJ`. */
const COMPACT_JWS = /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/

/**
 * Whether a text may be a password, which can be guessed: it has the form of neither a token, nor a device's credential, nor
 * an app password.
 */
export const isPassword = (secret: string): boolean =>
  !COMPACT_JWS.test(secret) && !isCredential(secret) && !isAppPassword(secret)

/** What somebody tells to show that an account is theirs. */
export interface Secrets {
  readonly password: string
  /** Of the second factor, where there is one. */
  readonly code?: string | undefined
}

/**
 * Whether a name can be that of an account, whether or not there is one: it is an email address or a user id. A user name does
 * not count: it may be anything that a device has from its factory.
 */
export const mayBeAccount = (name: string): boolean => isUserId(name) || normalizeEmail(name) !== ''

export class Authenticator {
  constructor(private readonly options: AuthenticatorOptions) {}

  /**
   * @param login email, user id or user name
   * @throws GatewayError ERROR_AUTH, ACCOUNT_DISABLED, EMAIL_UNVERIFIED; where the password is right, see SecondFactors.check
   */
  async byPassword(login: string, secrets: Secrets, device?: string): Promise<Principal> {
    const begunAt = Date.now()
    const found = await this.#confirm(login, secrets, device)
    await this.#keep(found.user.id, begunAt)
    return found
  }

  /**
   * The same for a request, which is no login: it does not keep an account that is to be removed, and so must not change it.
   * @throws GatewayError also FORBIDDEN where it is to be removed
   */
  confirm(login: string, secrets: Secrets): Promise<Principal> {
    return this.#confirm(login, secrets, undefined, async ({ id }) => {
      if (await this.#isLeaving(id))
        throw new GatewayError('FORBIDDEN', {
          reason: 'is to be removed: a login with the password keeps it',
        })
    })
  }

  /** @param check called where the password is right, and before the code is used up */
  async #confirm(
    login: string,
    { password, code }: Secrets,
    device: string | undefined,
    check: (user: User) => Promise<void> = async () => undefined,
  ): Promise<Principal> {
    const user = await this.options.accounts.authenticate(login, password)
    const found = await this.#principal(user, 'password', newLoginId(), device)
    await check(user)
    // Last, since it uses the code up.
    const { giveBack } = await this.options.factors.check(user.id, code)
    return { ...found, giveBackCode: giveBack }
  }

  /**
   * A passkey is both factors: somebody has the authenticator, and has unlocked it.
   * @throws GatewayError ERROR_AUTH {field: 'passkey'}, ACCOUNT_DISABLED, EMAIL_UNVERIFIED, see Passkeys.use
   */
  async byPasskey(answer: PasskeyAnswer, device?: string): Promise<Principal> {
    const begunAt = Date.now()
    const user = await this.options.accounts.find(await this.options.passkeys.use(answer))
    if (user === undefined) throw new GatewayError('ERROR_AUTH', { field: 'passkey', reason: 'is wrong' })
    const found = await this.#principal(user, 'passkey', newLoginId(), device)
    await this.#keep(user.id, begunAt)
    return found
  }

  /** @param login email or user id @param password an app password @throws GatewayError ERROR_AUTH */
  async byApp(login: string, password: string, device?: string): Promise<Principal> {
    const user = await this.options.accounts.findByName(login)
    const { id } = await this.options.logins.verifyApp(user?.id, password)
    // All ended with the deletion; another gateway may have made one at the same moment.
    if (user === undefined || (await this.#isLeaving(user.id))) throw new GatewayError('ERROR_AUTH')
    return this.#principal(user, 'app', id, device)
  }

  /**
   * @param token an access token of this gateway, or a token of the configured issuer
   * @param device the device that logs in; undefined = the account's default device
   * @throws GatewayError ERROR_AUTH {field: 'token'}
   */
  async byToken(token: string, device?: string): Promise<Principal> {
    if (token.length > LENGTHS.token || !COMPACT_JWS.test(token)) throw refusedToken('is not valid')
    if (!this.options.keys.isOwn(token)) return this.#byExternal(token, device)
    const { userId, login } = await this.options.logins.verify(token)
    if (device !== undefined && device !== login.device) throw refusedToken('is of another device')
    return this.#byStored(userId, login, login.device)
  }

  /**
   * @param name email, user id or user name
   * @param password CONNECT's password field: a password, an app password, a token, or the credential of this client id
   * @throws GatewayError ERROR_AUTH
   */
  async byMqtt(name: string, password: string, clientId: string): Promise<Principal> {
    if (isPassword(password)) return this.byPassword(name, { password }, clientId)
    if (isAppPassword(password)) return this.byApp(name, password, clientId)
    const found = COMPACT_JWS.test(password)
      ? await this.#byMqttToken(password, clientId)
      : await this.#byCredential(password, clientId)
    if (!isNameOf(found.user, name)) throw refusedToken('is of another user')
    return found
  }

  /**
   * Runs a login, and refuses it if permissions of the account were revoked before it ended.
   * @param work authenticates, admits the connection, and resolves with the principal; undefined for an anonymous
   *   client
   * @throws GatewayError ERROR_AUTH_FAILED (retry) after a revocation; otherwise what `work` throws
   */
  async guard<T extends Pick<Principal, 'user'> | undefined>(work: (since: Since) => Promise<T>): Promise<T> {
    const since = this.since()
    const done = await work(since)
    if (done !== undefined) since.check(done.user.id)
    return done
  }

  /** The current moment, for work that checks itself whether permissions were revoked since. */
  since(): Since {
    return new Since(this.options.logins.revocations)
  }

  /**
   * A token without a device name belongs to the default device, which is not a client id: any client id may use it.
   */
  async #byMqttToken(token: string, clientId: string): Promise<Principal> {
    const found = await this.byToken(token)
    const { device } = found.login
    if (device !== undefined && device !== clientId) throw refusedToken('is of another device')
    return { ...found, login: { ...found.login, device: clientId } }
  }

  async #byCredential(credential: string, clientId: string): Promise<Principal> {
    const { userId, login } = await this.options.logins.verifyCredential(credential)
    if (login.device !== clientId) throw refusedToken('is of another device')
    return this.#byStored(userId, login, clientId)
  }

  async #byExternal(token: string, device: string | undefined): Promise<Principal> {
    if (this.options.external === undefined) throw refusedToken('is not valid')
    const begunAt = Date.now()
    const user = await this.options.accounts.find(await this.options.external.verify(token))
    if (user === undefined) throw refusedToken('names no user')
    const found = await this.#principal(user, 'external', newLoginId(), device)
    await this.#keep(user.id, begunAt)
    return found
  }

  async #byStored(userId: UserId, stored: StoredLogin, device: string | undefined): Promise<Principal> {
    const user = await this.options.accounts.find(userId)
    if (user === undefined) throw refusedToken('was revoked')
    return this.#principal(user, stored.kind, stored.id, device)
  }

  /** Whether the account's owner has deleted it, and it is there for a while. */
  async #isLeaving(userId: UserId): Promise<boolean> {
    return (await this.options.pendingDeletions.at(userId)) !== undefined
  }

  /** Who logs in anew keeps the account that was to be removed; its own tokens and credentials are void by then. */
  async #keep(userId: UserId, begunAt: number): Promise<void> {
    if (await this.options.pendingDeletions.cancel(userId, begunAt)) this.options.onKept(userId)
  }

  /**
   * Every way in ends here.
   * @throws GatewayError ACCOUNT_DISABLED, EMAIL_UNVERIFIED
   */
  async #principal(user: User, kind: LoginKind, id: string, device: string | undefined): Promise<Principal> {
    if (user.disabledAt !== undefined) throw new GatewayError('ACCOUNT_DISABLED')
    if (user.verifiedAt === undefined && this.options.isUnverifiedLetIn?.() === false)
      throw new GatewayError('EMAIL_UNVERIFIED')
    const role: Role = kind === 'device' || kind === 'app' ? 'device' : this.isAdmin(user) ? 'admin' : 'user'
    return { user, login: { id, kind, role, device, since: Date.now() } }
  }

  /** Whether the account has the role `admin`, by the config or by a grant. */
  isAdmin({ id, role }: User): boolean {
    return role === 'admin' || this.options.admins().has(id)
  }
}
