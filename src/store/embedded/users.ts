/** Accounts in the embedded store. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { GatewayError } from '../../core/errors.js'
import { isUserId, type User, type UserId } from '../../core/model.js'
import { type DeletedUsers, Deletions, type Remains } from '../deleted.js'
import type { NewUser, UserChange, UserQuery, Users } from '../store.js'
import type { EmbeddedEnv } from './env.js'
import { boundedKey, LAST } from './keys.js'
import { NameIndex } from './names.js'
import type { OpenTable, Table } from './table.js'

/** Accounts looked at, or indexed, without a pause. */
const CHUNK = 1000

/** `user` is undefined if the account was deleted since the index was read, or by a version without the index. */
interface Row {
  readonly ordinal: number
  readonly user: User | undefined
}

/** A user id as the number that keys hold; 0, which no user has, for anything else. */
export function userNumber(id: UserId): number {
  return isUserId(id) ? Number(id) : 0
}

export class EmbeddedUsers implements Users {
  readonly #env: EmbeddedEnv
  readonly #deletions: Deletions
  /** [ordinal] → account; ordinals rise, so that their order is the order of age. */
  readonly #accounts: Table<User>
  /** [user] → ordinal; kept when the account is deleted, so that no id is given twice. */
  readonly #ordinals: Table<number>
  /** [emailKey] → ordinal. */
  readonly #emails: Table<number>
  /** [username] → ordinal. */
  readonly #usernames: Table<number>
  readonly #names: NameIndex
  /** [user] → hash, apart from the account, so that reading one never reads the other. */
  readonly #hashes: Table<string>
  /** [user] → what it has for a second factor. */
  readonly #factors: Table<string>
  /** [user]: deleted, and something of it may remain elsewhere. */
  readonly #purges: Table<true>

  constructor(env: EmbeddedEnv, table: OpenTable, deleted: DeletedUsers, remains: Remains) {
    this.#env = env
    this.#deletions = new Deletions(
      {
        remove: id => this.#remove(id),
        toPurge: async () => this.#toPurge(),
        purged: id => this.#purged(id),
      },
      deleted,
      remains,
    )
    this.#accounts = table('accounts')
    this.#ordinals = table('ordinals')
    this.#emails = table('emails')
    this.#usernames = table('usernames')
    this.#names = new NameIndex(table)
    this.#hashes = table('hashes')
    this.#factors = table('factors')
    this.#purges = table('purges')
  }

  /**
   * Puts into the index of names who is not in it: all, in a store of a version without it. A piece and how far it
   * reaches are one commit, so that after a stop in between the next open goes on there. Call it before `createUser`.
   */
  async indexNames(): Promise<void> {
    for (;;) {
      const page = this.#env.read(() => this.#page({}, this.#names.indexedUpTo, CHUNK))
      const last = page.at(-1)
      if (last === undefined) return
      await this.#env.write(() => {
        for (const { ordinal, user } of page) if (user !== undefined) this.#names.put(user, ordinal)
        this.#names.putIndexedUpTo(last.ordinal)
      }, 3 * page.length)
    }
  }

  async createUser({ passwordHash, ...user }: NewUser): Promise<void> {
    const number = userNumber(user.id)
    if (number === 0) throw new GatewayError('BAD_FIELD', { field: 'id', reason: 'must be nine digits' })
    const emailKey = boundedKey([user.emailKey])
    const username = boundedKey([user.username])
    await this.#env.transaction(() => {
      if (this.#emails.get(emailKey) !== undefined) throw taken('email')
      if (user.username !== '' && this.#usernames.get(username) !== undefined) throw taken('username')
      if (this.#ordinals.get([number]) !== undefined) throw taken('id')
      const ordinal = this.#nextOrdinal()
      this.#accounts.put([ordinal], user)
      this.#ordinals.put([number], ordinal)
      this.#emails.put(emailKey, ordinal)
      if (user.username !== '') this.#usernames.put(username, ordinal)
      this.#names.put(user, ordinal)
      this.#names.putIndexedUpTo(ordinal)
      this.#hashes.put([number], passwordHash)
    })
  }

  /** Ids are never removed, so their number rises with every account; a copy of another store may be further on. */
  #nextOrdinal(): number {
    const [last] = this.#accounts.getRange({ start: [LAST], end: [0], reverse: true, limit: 1 })
    return Math.max(this.#ordinals.getStats().entryCount, Number(last?.key[0] ?? 0)) + 1
  }

  async findUser(id: UserId): Promise<User | undefined> {
    return this.#env.read(() => this.#find(id))
  }

  async findUserByEmail(emailKey: string): Promise<User | undefined> {
    return this.#env.read(() => this.#at(this.#emails.get([emailKey])))
  }

  #find(id: UserId): User | undefined {
    return this.#at(this.#ordinals.get([userNumber(id)]))
  }

  #at(ordinal: number | undefined): User | undefined {
    return ordinal === undefined ? undefined : this.#accounts.get([ordinal])
  }

  async findUsers(query: UserQuery, limit: number, after?: UserId): Promise<User[]> {
    const from = after === undefined ? 0 : this.#env.read(() => this.#ordinals.get([userNumber(after)]))
    if (from === undefined) throw new GatewayError('BAD_FIELD', { field: 'after', reason: 'no such user' })
    if (limit < 1) return []
    if (query.id !== undefined || query.emailKey !== undefined || query.username) {
      return this.#env.read(() => this.#findOne(query, from))
    }
    return this.#walk(query, limit, from)
  }

  #findOne(query: UserQuery, after: number): User[] {
    const ordinal =
      query.id !== undefined
        ? this.#ordinals.get([userNumber(query.id)])
        : query.emailKey !== undefined
          ? this.#emails.get([query.emailKey])
          : this.#usernames.get([query.username ?? ''])
    const user = this.#at(ordinal)
    return user !== undefined && (ordinal ?? 0) > after && matches(user, query) ? [user] : []
  }

  async #walk(query: UserQuery, limit: number, after: number): Promise<User[]> {
    const found: User[] = []
    let from = after
    for (;;) {
      const wanted = Math.min(limit - found.length, CHUNK)
      const page = this.#env.read(() => this.#page(query, from, wanted))
      for (const { user } of page) if (user !== undefined && matches(user, query)) found.push(user)
      const last = page.at(-1)
      if (found.length === limit || page.length < wanted || last === undefined) return found
      from = last.ordinal
      await nextTurn()
    }
  }

  /** Accounts behind `after` that have the names asked for, oldest first. */
  #page(query: UserQuery, after: number, limit: number): Row[] {
    if (query.firstName === undefined && query.lastName === undefined) {
      const bounds = { start: [after + 1], end: [LAST], limit }
      return Array.from(this.#accounts.getRange(bounds), ({ key, value }) => ({
        ordinal: Number(key[0]),
        user: value,
      }))
    }
    return this.#names.find(query, after, limit).map(ordinal => ({ ordinal, user: this.#at(ordinal) }))
  }

  async checkPassword(id: UserId, compare: (hash: string) => Promise<boolean>): Promise<boolean> {
    const hash = this.#env.read(() => this.#hashes.get([userNumber(id)]))
    return hash === undefined ? false : compare(hash)
  }

  async setPasswordHash(id: UserId, hash: string): Promise<void> {
    await this.#env.transaction(() => {
      if (this.#find(id) !== undefined) this.#hashes.put([userNumber(id)], hash)
    })
  }

  async findFactor(id: UserId): Promise<string | undefined> {
    return this.#env.read(() => this.#factors.get([userNumber(id)]))
  }

  async replaceFactor(id: UserId, before: string | undefined, after: string | undefined): Promise<boolean> {
    const key = [userNumber(id)]
    return this.#env.transaction(() => {
      if (this.#find(id) === undefined || this.#factors.get(key) !== before) return false
      if (after === undefined) this.#factors.remove(key)
      else this.#factors.put(key, after)
      return true
    })
  }

  async changeUser(id: UserId, change: UserChange): Promise<User | undefined> {
    return this.#env.transaction(() => {
      const ordinal = this.#ordinals.get([userNumber(id)])
      const user = this.#at(ordinal)
      if (ordinal === undefined || user === undefined) return undefined
      const changed = withChange(user, change)
      if (changed.emailKey !== user.emailKey) {
        const emailKey = boundedKey([changed.emailKey])
        if (this.#emails.get(emailKey) !== undefined) throw taken('email')
        this.#emails.remove([user.emailKey])
        this.#emails.put(emailKey, ordinal)
      }
      if (changed.username !== user.username) {
        const username = boundedKey([changed.username])
        if (changed.username !== '' && this.#usernames.get(username) !== undefined) throw taken('username')
        if (user.username !== '') this.#usernames.remove([user.username])
        if (changed.username !== '') this.#usernames.put(username, ordinal)
      }
      if (changed.firstName !== user.firstName || changed.lastName !== user.lastName) {
        this.#names.remove(user, ordinal)
        this.#names.put(changed, ordinal)
      }
      this.#accounts.put([ordinal], changed)
      return changed
    })
  }

  deleteUser(id: UserId, gone?: () => Promise<unknown>): Promise<void> {
    return this.#deletions.run(id, gone)
  }

  /** See Deletions.finish. */
  finishDeletions(): Promise<void> {
    return this.#deletions.finish()
  }

  /** See Deletions.finished. */
  deletionsFinished(): Promise<void> {
    return this.#deletions.finished()
  }

  /** The account itself is gone when this resolves, and noted as one of which something may remain. */
  async #remove(id: UserId): Promise<void> {
    const number = userNumber(id)
    await this.#env.transaction(() => {
      const ordinal = this.#ordinals.get([number])
      const user = this.#at(ordinal)
      if (ordinal === undefined || user === undefined) return
      this.#accounts.remove([ordinal])
      this.#emails.remove([user.emailKey])
      if (user.username !== '') this.#usernames.remove([user.username])
      this.#names.remove(user, ordinal)
      this.#hashes.remove([number])
      this.#factors.remove([number])
      this.#purges.put([number], true)
    })
  }

  /** Deleted users of whom something may remain. */
  #toPurge(): UserId[] {
    const bounds = { start: [0], end: [LAST] }
    return this.#env.read(() => Array.from(this.#purges.getRange(bounds), ({ key }) => String(key[0])))
  }

  async #purged(id: UserId): Promise<void> {
    await this.#env.transaction(() => this.#purges.remove([userNumber(id)]))
  }
}

/** A member with null is left out. */
function withChange(user: User, { address, ...change }: UserChange): User {
  const changed = Object.entries({ ...user, ...change, ...address }).filter(([, value]) => value !== null)
  return Object.fromEntries(changed) as unknown as User
}

function taken(field: 'email' | 'username' | 'id'): GatewayError {
  return new GatewayError('ERROR_EXIST_USER', { field, reason: 'taken' })
}

/** An empty username is one that nobody asks for: "not set" is no user's name. */
function matches(user: User, query: UserQuery): boolean {
  return (Object.keys(query) as (keyof UserQuery)[]).every(
    field => query[field] === undefined || user[field] === query[field],
  )
}
