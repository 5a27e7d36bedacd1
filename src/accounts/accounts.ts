/** Accounts: register, check a password, look up, delete. */
import { createHash, randomInt } from 'node:crypto'
import { GatewayError, type Locale } from '../core/errors.js'
import { type GrantedRole, isUserId, type User, type UserId } from '../core/model.js'
import { recentMap } from '../core/recent.js'
import { KeyedSerial } from '../flow/serial.js'
import type { UserChange, UserQuery, Users } from '../store/store.js'
import { addressOf, normalizeEmail } from './email.js'
import { MovingIn } from './moving-in.js'
import type { HeldAddresses, UserNames } from './parts.js'
import type { PasswordCheck } from './password-rules.js'
import type { Passwords } from './passwords.js'
import { maybeUserName } from './user-name.js'

export type { HeldAddresses, Invites, PendingDeletions } from './parts.js'

export interface Registration {
  readonly email: string
  readonly password: string
  readonly firstName: string
  readonly lastName: string
  /** Default: none. */
  readonly username?: string
  /** For operators: the user name may be one that the config reserves. */
  readonly mayBeReserved?: boolean
  readonly role?: GrantedRole
  readonly language?: Locale
  /** Whoever registers it vouches for the address. */
  readonly isVerified?: boolean
}

/** What an owner changes of how others see the account. */
export type Profile = Pick<UserChange, 'username' | 'firstName' | 'lastName' | 'language' | 'key'>

export interface PasswordChange {
  readonly password: string
  readonly newPassword: string
  /** Called when the old password is right, before anything else: asks for what else the owner must show. */
  readonly confirm?: () => Promise<unknown>
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
    private readonly names?: UserNames,
  ) {
    this.movingIn = new MovingIn(users, passwords, names)
  }

  /** @throws GatewayError BAD_FIELD (email, password, username), ERROR_EXIST_USER, ERROR_ADD_USER_FAILED */
  async register(registration: Registration): Promise<User> {
    const { password, firstName, lastName, username = '', role, language, isVerified } = registration
    const { email, emailKey } = addressOf(registration.email)
    this.checkNew('password', password)
    const name = username === '' ? undefined : this.names?.read(username, registration.mayBeReserved)
    // An early check, so that a taken email costs no hashing. The store decides.
    await this.checkFree(emailKey)
    const passwordHash = await this.passwords.hash(password)
    const user = {
      email,
      emailKey,
      username: name?.shown ?? username,
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
      const create = () => this.#create(created, passwordHash)
      if (await (name === undefined ? create() : this.names?.take(created.id, name, create))) return created
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
   * @param login email, user id or user name
   * @throws GatewayError ERROR_AUTH
   */
  async authenticate(login: string, password: string): Promise<User> {
    const user = await this.findByName(login)
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

  /** @param name email, user id or user name */
  async findByName(name: string): Promise<User | undefined> {
    return isUserId(name) || name.includes('@') ? this.find(name) : this.names?.find(name)
  }

  /** Whose a user name was a moment ago; undefined: `findIdOfName` must be asked. No store access. */
  idOfName(name: string): UserId | undefined {
    return this.names?.known(name)
  }

  /** @param name any text */
  async findIdOfName(name: string): Promise<UserId | undefined> {
    return this.names?.idOf(name)
  }

  /**
   * The key by which failed logins are counted: the user id, which is the same for all names of one account, or a hash
   * of the name if there is no such account.
   * @param login any text: email, user id, user name or none of them
   */
  async keyOf(login: string): Promise<string> {
    const user = await this.findByName(login)
    const name = normalizeEmail(login) || (maybeUserName(login)?.folded ?? login)
    return user?.id ?? createHash('sha256').update(name).digest('base64url')
  }

  /** @throws GatewayError ERROR_AUTH if the old password is wrong, BAD_FIELD (newPassword) */
  async changePassword(userId: UserId, change: PasswordChange): Promise<void> {
    const { password, newPassword, confirm, check, endSessions } = change
    this.checkNew('newPassword', newPassword)
    await this.#changes.run(userId, async () => {
      await this.confirm(userId, password)
      await confirm?.()
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
   * @param check called before anything is changed; throws if the caller's permissions were revoked meanwhile
   * @param mayBeReserved as for Registration
   * @throws GatewayError BAD_FIELD (username), ERROR_EXIST_USER (username), TOO_MANY_CHANGES, ERROR_FIND_USER
   */
  async changeProfile(
    userId: UserId,
    profile: Profile,
    check?: () => void,
    mayBeReserved = false,
  ): Promise<User> {
    const { username, ...others } = profile
    const name = username ? this.names?.read(username, mayBeReserved) : undefined
    return this.#changes.run(userId, async () => {
      const user = await this.users.findUser(userId)
      if (user === undefined) throw new GatewayError('ERROR_FIND_USER')
      const shown = username === undefined ? user.username : (name?.shown ?? username)
      check?.()
      if (shown === user.username) return this.change(userId, others)
      const rename = async () => {
        await this.names?.hold(user)
        check?.()
        return this.change(userId, { ...others, username: shown })
      }
      return name === undefined || this.names === undefined ? rename() : this.names.take(userId, name, rename)
    })
  }

  /** @throws GatewayError ERROR_AUTH if the password is wrong */
  async confirm(userId: UserId, password: string): Promise<void> {
    if (!(await this.#matches(userId, password))) throw new GatewayError('ERROR_AUTH')
  }

  /**
   * Deletes an account, whoever has been found to be entitled.
   * @param gone called when the account no longer exists and before its other data is removed; ends its connections
   */
  async remove(userId: UserId, gone?: () => Promise<unknown>): Promise<void> {
    this.#known.delete(userId)
    await this.names?.holdDeleted(userId)
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
   * account. A user name that no account has exactly is compared in its folded form.
   */
  async query(
    query: Omit<UserQuery, 'emailKey'> & { email?: string },
    limit: number,
    after?: UserId,
  ): Promise<User[]> {
    const { email, ...rest } = query
    const emailKey = email === undefined ? undefined : normalizeEmail(email)
    if (emailKey === '') return []
    const exact = { ...rest, ...(emailKey !== undefined && { emailKey }) }
    const found = await this.users.findUsers(exact, limit, after)
    const { username, ...others } = exact
    if (found.length > 0 || !username) return found
    const owner = await this.names?.find(username)
    if (owner === undefined || (others.id !== undefined && others.id !== owner.id)) return found
    return this.users.findUsers({ ...others, id: owner.id }, limit, after)
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
