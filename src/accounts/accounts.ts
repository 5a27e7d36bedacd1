/** Accounts: register, check a password, look up, delete. */
import { createHash, randomInt } from 'node:crypto'
import { GatewayError, type Locale } from '../core/errors.js'
import { type GrantedRole, isUserId, type User, type UserId } from '../core/model.js'
import { recentMap } from '../core/recent.js'
import { KeyedSerial } from '../flow/serial.js'
import type { UserChange, UserQuery, Users } from '../store/store.js'
import { addressOf, normalizeEmail } from './email.js'
import type { HeldAddresses } from './held-addresses.js'
import { MovingIn } from './moving-in.js'
import type { PasswordCheck } from './password-rules.js'
import type { Passwords } from './passwords.js'

export type { HeldAddresses } from './held-addresses.js'
export type { Invites } from './invites.js'
export type { PendingDeletions } from './pending-deletions.js'

export interface Registration {
  readonly email: string
  readonly password: string
  readonly firstName: string
  readonly lastName: string
  readonly username?: string
  readonly role?: GrantedRole
  readonly language?: Locale
  /** Whoever registers it vouches for the address. */
  readonly isVerified?: boolean
}

export interface PasswordChange {
  readonly password: string
  readonly newPassword: string
  /** Called before anything is changed; throws if the caller's permissions were revoked meanwhile. */
  readonly check?: () => void
  readonly endSessions: () => Promise<unknown>
}

/** There are 900 million ids. Even if half are taken, all draws collide with a probability below one in a million. */
const ID_DRAWS = 20
const KNOWN_USERS = 100_000

export class Accounts {
  /** Ids of existing accounts, so that sending a message need not ask the store. Deletion removes them. */
  readonly #known = recentMap<UserId, true>(KNOWN_USERS)
  /** At most one store look-up per id at a time. Concurrent callers share its answer, which keeps their order. */
  readonly #lookups = new Map<UserId, Promise<boolean>>()
  /** Changes of a password, one at a time per account. */
  readonly #changes = new KeyedSerial()
  #deletions = 0
  /** Accounts of the old server. */
  readonly movingIn: MovingIn
  #onDeleted: (userId: UserId) => void = () => undefined
  #onNewPassword: (userId: UserId) => Promise<unknown> = async () => undefined

  constructor(
    private readonly users: Users,
    private readonly passwords: Passwords,
    private readonly checkNew: PasswordCheck = () => undefined,
    private readonly held?: Pick<HeldAddresses, 'find'>,
  ) {
    this.movingIn = new MovingIn(users, passwords)
  }

  /** @throws GatewayError BAD_FIELD (email, password), ERROR_EXIST_USER, ERROR_ADD_USER_FAILED */
  async register(registration: Registration): Promise<User> {
    const { password, firstName, lastName, username = '', role, language, isVerified } = registration
    const { email, emailKey } = addressOf(registration.email)
    this.checkNew('password', password)
    // An early check, so that a taken email costs no hashing. The store decides.
    await this.checkFree(emailKey)
    const passwordHash = await this.passwords.hash(password)
    const user = {
      email,
      emailKey,
      username,
      firstName,
      lastName,
      profileImage: '',
      key: '',
      createdAt: Date.now(),
      ...(role && { role }),
      ...(language && { language }),
      ...(isVerified && { verifiedAt: Date.now() }),
    }
    for (let draw = 0; draw < ID_DRAWS; draw++) {
      const created = { id: String(randomInt(100_000_000, 1_000_000_000)), ...user }
      if (await this.#create(created, passwordHash)) return created
    }
    throw new GatewayError('ERROR_ADD_USER_FAILED', { reason: 'no free user id found' })
  }

  /**
   * @param userId the account that is to have the address
   * @throws GatewayError ERROR_EXIST_USER if another account has it, or had it and may take it back
   */
  async checkFree(emailKey: string, userId?: UserId): Promise<void> {
    const [user, held] = await Promise.all([this.users.findUserByEmail(emailKey), this.held?.find(emailKey)])
    if (user !== undefined || (held !== undefined && held.userId !== userId))
      throw new GatewayError('ERROR_EXIST_USER', { field: 'email', reason: 'taken' })
  }

  /**
   * Checks a password. It takes the same time whether or not the account exists.
   * @param login email or user id
   * @throws GatewayError ERROR_AUTH
   */
  async authenticate(login: string, password: string): Promise<User> {
    const user = await this.find(login)
    let isOutdated = false
    const compare = (hash: string) => {
      isOutdated = this.passwords.isOutdated(hash)
      return this.passwords.matches(password, hash)
    }
    const matches = user
      ? await this.users.checkPassword(user.id, compare)
      : await this.passwords.matchesNobody(password)
    if (user === undefined || !matches) throw new GatewayError('ERROR_AUTH')
    // In the background. If it fails, the next login tries again.
    if (isOutdated) this.#rehash(user.id, password).catch(() => undefined)
    return user
  }

  /** @param login email or user id */
  async find(login: string): Promise<User | undefined> {
    return isUserId(login) ? this.users.findUser(login) : this.users.findUserByEmail(normalizeEmail(login))
  }

  /**
   * The key by which failed logins are counted: the user id, which is the same for all names of one account, or a hash
   * of the name if there is no such account.
   * @param login any text: email, user id or neither
   */
  async keyOf(login: string): Promise<string> {
    const user = await this.find(login)
    const name = normalizeEmail(login) || login
    return user?.id ?? createHash('sha256').update(name).digest('base64url')
  }

  /** @throws GatewayError ERROR_AUTH if the old password is wrong, BAD_FIELD (newPassword) */
  async changePassword(userId: UserId, change: PasswordChange): Promise<void> {
    const { password, newPassword, check, endSessions } = change
    this.checkNew('newPassword', newPassword)
    await this.#changes.run(userId, async () => {
      if (!(await this.#matches(userId, password))) throw new GatewayError('ERROR_AUTH')
      await this.#setPassword(userId, newPassword, endSessions, check)
    })
  }

  /**
   * Without the old password: for an operator, and for whoever reads the account's mail.
   * @param endSessions called twice, first when all is ready and nothing is changed; see #setPassword
   * @throws GatewayError BAD_FIELD (`field`)
   */
  async resetPassword(
    userId: UserId,
    password: string,
    endSessions: () => Promise<unknown>,
    field = 'password',
  ): Promise<void> {
    this.checkNew(field, password)
    await this.#changes.run(userId, () => this.#setPassword(userId, password, endSessions))
  }

  async #setPassword(
    userId: UserId,
    password: string,
    endSessions: () => Promise<unknown>,
    check?: () => void,
  ): Promise<void> {
    const hash = await this.passwords.hash(password)
    check?.()
    // Called before, in case of a crash between the two, and after, for logins with the old password in between.
    await endSessions()
    await this.users.setPasswordHash(userId, hash)
    await endSessions()
    await this.#onNewPassword(userId)
  }

  /** `listener` is called when an account has a new password, whoever set it, and is waited for. */
  onNewPassword(listener: (userId: UserId) => Promise<unknown>): void {
    this.#onNewPassword = listener
  }

  /** @throws GatewayError ERROR_FIND_USER */
  async change(userId: UserId, change: UserChange): Promise<User> {
    const changed = await this.users.changeUser(userId, change)
    if (changed === undefined) throw new GatewayError('ERROR_FIND_USER')
    return changed
  }

  /**
   * @param gone called when the account no longer exists and before its other data is removed; ends its connections
   * @throws GatewayError ERROR_AUTH if the password is wrong
   */
  async delete(userId: UserId, password: string, gone?: () => Promise<unknown>): Promise<void> {
    await this.confirm(userId, password)
    await this.remove(userId, gone)
  }

  /** @throws GatewayError ERROR_AUTH if the password is wrong */
  async confirm(userId: UserId, password: string): Promise<void> {
    if (!(await this.#matches(userId, password))) throw new GatewayError('ERROR_AUTH')
  }

  /** Deletes an account without its password: for an operator. @param gone as for `delete` */
  async remove(userId: UserId, gone?: () => Promise<unknown>): Promise<void> {
    this.#known.delete(userId)
    await this.#remove(userId, gone).finally(() => this.#onDeleted(userId))
  }

  /** `listener` is called when an account's data has been removed from the store, or its removal has failed. */
  onDeleted(listener: (userId: UserId) => void): void {
    this.#onDeleted = listener
  }

  async #remove(userId: UserId, gone?: () => Promise<unknown>): Promise<void> {
    await this.users.deleteUser(userId, () => {
      // A look-up may have found the account just before it was deleted.
      this.#deletions++
      this.#known.delete(userId)
      return gone?.() ?? Promise.resolve()
    })
  }

  /** Whether the account is known to exist. No store access; false may also mean "not looked up yet". */
  isKnown(userId: UserId): boolean {
    return this.#known.has(userId)
  }

  async exists(userId: UserId): Promise<boolean> {
    if (!isUserId(userId)) return false
    let lookup = this.#lookups.get(userId)
    if (lookup === undefined) {
      lookup = this.#look(userId).finally(() => this.#lookups.delete(userId))
      this.#lookups.set(userId, lookup)
    }
    return lookup
  }

  /**
   * Oldest account first. Emails are compared in their normalised form; a text that is not an address matches no
   * account.
   */
  async query(
    query: Omit<UserQuery, 'emailKey'> & { email?: string },
    limit: number,
    after?: UserId,
  ): Promise<User[]> {
    const { email, ...rest } = query
    if (email === undefined) return this.users.findUsers(rest, limit, after)
    const emailKey = normalizeEmail(email)
    return emailKey === '' ? [] : this.users.findUsers({ ...rest, emailKey }, limit, after)
  }

  #matches(userId: UserId, password: string): Promise<boolean> {
    return this.users.checkPassword(userId, hash => this.passwords.matches(password, hash))
  }

  /** Hashes the password again after `cost` was raised or it came from the old server, unless it has been changed meanwhile. */
  async #rehash(userId: UserId, password: string): Promise<void> {
    await this.#changes.run(userId, async () => {
      if (await this.#matches(userId, password))
        await this.users.setPasswordHash(userId, await this.passwords.hash(password))
    })
  }

  async #look(userId: UserId): Promise<boolean> {
    const deletions = this.#deletions
    const user = await this.users.findUser(userId)
    if (user !== undefined && deletions === this.#deletions) this.#known.set(userId, true)
    return user !== undefined
  }

  async #create(user: User, passwordHash: string): Promise<boolean> {
    try {
      await this.users.createUser({ ...user, passwordHash })
      return true
    } catch (error) {
      if (error instanceof GatewayError && error.info?.field === 'id') return false
      throw error
    }
  }
}
