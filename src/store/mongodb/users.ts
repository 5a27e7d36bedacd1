/** Accounts in the MongoDB store. */
import { GatewayError } from '../../core/errors.js'
import { isUserId, type User, type UserId } from '../../core/model.js'
import type { AnswersInOrder } from '../../flow/in-order.js'
import { type DeletedUsers, Deletions, type Remains } from '../deleted.js'
import type { NewUser, UserChange, UserQuery, Users } from '../store.js'
import type { UserDocument } from './documents.js'
import type { MongoEnv } from './env.js'
import { insertedBefore, isDuplicate, toStoreError } from './errors.js'
import { Group, type Outcome } from './group.js'

const REGISTRATIONS_PER_WRITE = 1000
const WITHOUT_SECRETS = { projection: { passwordHash: 0, factor: 0 } }
const OF_ACCOUNT = [
  'email',
  'emailKey',
  'username',
  'firstName',
  'lastName',
  'profileImage',
  'key',
  'createdAt',
  'disabledAt',
  'role',
  'verifiedAt',
  'language',
  'passwordHash',
  'factor',
]
const NOTHING_LEFT = Object.fromEntries(OF_ACCOUNT.map(field => [field, '' as const]))

export class MongoUsers implements Users {
  readonly #env: MongoEnv
  readonly #deletions: Deletions
  readonly #registrations: Group<NewUser, void>
  /** Highest ordinal known here. Another gateway may have used higher ones. */
  #lastOrdinal: number | undefined

  constructor(
    env: MongoEnv,
    private readonly writes: AnswersInOrder,
    deleted: DeletedUsers,
    remains: Remains,
  ) {
    this.#env = env
    this.#deletions = new Deletions(
      { remove: id => this.#remove(id), toPurge: () => this.#toPurge(), purged: id => this.#purged(id) },
      deleted,
      remains,
    )
    this.#registrations = new Group({
      write: users => this.#insert(users),
      timeoutMs: env.options.timeoutMs,
      maxItems: REGISTRATIONS_PER_WRITE,
    })
  }

  createUser(user: NewUser): Promise<void> {
    return this.writes.keep(this.#create(user))
  }

  async #create(user: NewUser): Promise<void> {
    if (!isUserId(user.id))
      throw new GatewayError('BAD_FIELD', { field: 'id', reason: 'must be nine digits' })
    await this.#registrations.add(user)
  }

  async idle(): Promise<void> {
    await this.#registrations.idle()
  }

  /**
   * The unique indexes decide. A user that is refused gets an error, or a new ordinal; then the insert goes on with the
   * rest.
   */
  async #insert(users: readonly NewUser[]): Promise<Outcome<void>[]> {
    const outcomes: Outcome<void>[] = []
    while (outcomes.length < users.length) {
      const rest = users.slice(outcomes.length)
      try {
        const last = this.#lastOrdinal ?? (await this.#readLastOrdinal())
        await this.#env.users.insertMany(
          rest.map((user, i) => toDocument(user, last + 1 + i)),
          { ordered: true },
        )
        this.#lastOrdinal = last + rest.length
        outcomes.push(...rest.map(done))
      } catch (thrown) {
        this.#lastOrdinal = undefined
        const inserted = insertedBefore(thrown)
        if (inserted === undefined) throw toStoreError(thrown)
        outcomes.push(...rest.slice(0, inserted).map(done))
        const refused = rest[inserted]
        const error = refused && (await this.#whatIsTaken(refused))
        if (error !== undefined) outcomes.push({ error })
      }
    }
    return outcomes
  }

  async #readLastOrdinal(): Promise<number> {
    const [last] = await this.#env.users
      .find({}, { projection: { ordinal: 1 } })
      .sort({ ordinal: -1 })
      .limit(1)
      .toArray()
    return last?.ordinal ?? 0
  }

  /** Found by queries, since each server words the error differently. Undefined if only the ordinal was taken. */
  async #whatIsTaken({ id, emailKey, username }: NewUser): Promise<GatewayError | undefined> {
    const fields = [
      ['email', { emailKey }],
      ...(username === '' ? [] : [['username', { username }] as const]),
      ['id', { _id: id }],
    ] as const
    for (const [field, filter] of fields) {
      if ((await this.#env.users.findOne(filter, { projection: { _id: 1 } })) !== null)
        return new GatewayError('ERROR_EXIST_USER', { field, reason: 'taken' })
    }
    return undefined
  }

  async findUser(id: UserId): Promise<User | undefined> {
    return this.#findOne({ _id: id })
  }

  async findUserByEmail(emailKey: string): Promise<User | undefined> {
    return this.#findOne({ emailKey })
  }

  async #findOne(filter: { _id: string } | { emailKey: string }): Promise<User | undefined> {
    const found = await this.#env.run(() => this.#env.users.findOne(filter, WITHOUT_SECRETS))
    return found === null || found.deleted ? undefined : toUser(found)
  }

  async findUsers(query: UserQuery, limit: number, after?: UserId): Promise<User[]> {
    const from = after === undefined ? 0 : await this.#ordinalOf(after)
    if (from === undefined) throw new GatewayError('BAD_FIELD', { field: 'after', reason: 'no such user' })
    if (limit < 1) return []
    const { id, username, ...others } = query
    const filter = {
      ...others,
      ...(id !== undefined && { _id: id }),
      ...(username !== undefined && { username: username === '' ? { $exists: false } : username }),
      ordinal: { $gt: from },
      deleted: { $exists: false },
    }
    const find = () =>
      this.#env.users.find(filter, WITHOUT_SECRETS).sort({ ordinal: 1 }).limit(limit).toArray()
    return (await this.#env.run(find)).map(toUser)
  }

  async #ordinalOf(id: UserId): Promise<number | undefined> {
    const find = () => this.#env.users.findOne({ _id: id }, { projection: { ordinal: 1 } })
    return (await this.#env.run(find))?.ordinal
  }

  async checkPassword(id: UserId, compare: (hash: string) => Promise<boolean>): Promise<boolean> {
    const find = () => this.#env.users.findOne({ _id: id }, { projection: { passwordHash: 1 } })
    const hash = (await this.#env.run(find))?.passwordHash
    return hash === undefined ? false : compare(hash)
  }

  async setPasswordHash(id: UserId, passwordHash: string): Promise<void> {
    const filter = { _id: id, deleted: { $exists: false } }
    await this.#env.run(() => this.#env.users.updateOne(filter, { $set: { passwordHash } }))
  }

  async findFactor(id: UserId): Promise<string | undefined> {
    const find = () => this.#env.users.findOne({ _id: id }, { projection: { factor: 1 } })
    return (await this.#env.run(find))?.factor
  }

  async replaceFactor(id: UserId, before: string | undefined, after: string | undefined): Promise<boolean> {
    const filter = { _id: id, deleted: { $exists: false }, factor: before ?? { $exists: false } } as const
    const change = after === undefined ? { $unset: { factor: '' } as const } : { $set: { factor: after } }
    return (await this.#env.run(() => this.#env.users.updateOne(filter, change))).matchedCount === 1
  }

  async changeUser(
    id: UserId,
    { address, username, disabledAt, verifiedAt, ...rest }: UserChange,
  ): Promise<User | undefined> {
    const times = Object.entries({ disabledAt, verifiedAt }).map(([field, at]) => [field, at && new Date(at)])
    // A name that is not set is not in the document, since the index of names is unique.
    const name = username === undefined ? {} : { username: username === '' ? null : username }
    const fields = [...times, ...Object.entries({ ...rest, ...name, ...address })]
    const set = Object.fromEntries(fields.filter(([, value]) => value !== undefined && value !== null))
    const unset = Object.fromEntries(
      fields.flatMap(([field, value]) => (value === null ? [[field, '']] : [])),
    )
    const change = { ...(!isEmpty(set) && { $set: set }), ...(!isEmpty(unset) && { $unset: unset }) }
    const filter = { _id: id, deleted: { $exists: false } } as const
    const update = () => this.#env.users.updateOne(filter, change)
    if (!isEmpty(change))
      await this.#env.run(() =>
        address || username ? unlessTaken(update(), address ? 'email' : 'username') : update(),
      )
    return this.findUser(id)
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

  /** Resolves when the account is deleted and marked as one whose data may remain. */
  async #remove(id: UserId): Promise<void> {
    const filter = { _id: id, deleted: { $exists: false } } as const
    const tombstone = { $unset: NOTHING_LEFT, $set: { deleted: true, purging: true } } as const
    await this.#env.run(() => this.#env.users.updateOne(filter, tombstone))
  }

  /** Deleted users whose data may remain. */
  async #toPurge(): Promise<UserId[]> {
    const find = () => this.#env.users.find({ purging: true }, { projection: { _id: 1 } }).toArray()
    return (await this.#env.run(find)).map(({ _id }) => _id)
  }

  async #purged(id: UserId): Promise<void> {
    await this.#env.run(() => this.#env.users.updateOne({ _id: id }, { $unset: { purging: '' } }))
  }
}

/** A unique index refuses the update of an address or user name that another account has. */
async function unlessTaken<T>(update: Promise<T>, field: 'email' | 'username'): Promise<T> {
  try {
    return await update
  } catch (thrown) {
    if (!isDuplicate(thrown)) throw thrown
    throw new GatewayError('ERROR_EXIST_USER', { field, reason: 'taken' })
  }
}

const isEmpty = (object: object): boolean => Object.keys(object).length === 0

const done = (): Outcome<void> => ({ value: undefined })

export function toDocument(
  { id, username, createdAt, disabledAt, verifiedAt, ...user }: NewUser,
  ordinal: number,
): UserDocument {
  const times = {
    createdAt: new Date(createdAt),
    ...(disabledAt !== undefined && { disabledAt: new Date(disabledAt) }),
    ...(verifiedAt !== undefined && { verifiedAt: new Date(verifiedAt) }),
  }
  return { _id: id, ordinal, ...user, ...(username !== '' && { username }), ...times }
}

export function toUser(document: UserDocument): User {
  const {
    email = '',
    emailKey = '',
    username = '',
    firstName = '',
    lastName = '',
    profileImage = '',
    key = '',
  } = document
  const createdAt = document.createdAt?.getTime() ?? 0
  const { disabledAt, role, verifiedAt, language } = document
  return {
    ...{ id: document._id, email, emailKey, username, firstName, lastName, profileImage, key, createdAt },
    ...(disabledAt !== undefined && { disabledAt: disabledAt.getTime() }),
    ...(verifiedAt !== undefined && { verifiedAt: verifiedAt.getTime() }),
    ...(language !== undefined && { language }),
    ...(role !== undefined && { role }),
  }
}
