/** The store for those who run MongoDB, or what speaks its protocol: documents and indexes in docs/mongodb.md. */
import type { ConversationId, Cursor, InboxRow, NewMessage, User, UserId } from '../../core/model.js'
import { AnswersInOrder } from '../../flow/in-order.js'
import type { Contents, CopyableStore } from '../contents.js'
import { DeletedUsers, purgeKv } from '../deleted.js'
import type {
  Appended,
  ConversationRow,
  CursorMove,
  KvCollection,
  KvKey,
  KvValue,
  KvWrite,
  NewUser,
  UserQuery,
} from '../store.js'
import { Upgrade } from '../upgrade.js'
import { MongoContents } from './contents.js'
import { MongoCursors } from './cursors.js'
import { MongoEnv, type MongoOptions, unavailable } from './env.js'
import { MongoFormat } from './format.js'
import { MongoInbox } from './inbox.js'
import { MongoKv } from './kv.js'
import { MongoLease } from './lease.js'
import { MongoTexts } from './texts.js'
import { MongoUsers } from './users.js'

/** Rows of a deleted account removed by one command. */
const PURGE_CHUNK = 1000

interface Parts {
  readonly lease: MongoLease
  readonly users: MongoUsers
  readonly inbox: MongoInbox
  readonly cursors: MongoCursors
  readonly kv: MongoKv
}

export class MongoStore implements CopyableStore {
  readonly #env: MongoEnv
  readonly #writes = new AnswersInOrder()
  readonly #deleted = new DeletedUsers()
  readonly #gets = new AnswersInOrder()
  #parts: Parts | undefined
  #upgrade: Upgrade | undefined
  #closing: Promise<void> | undefined

  constructor(options: MongoOptions) {
    this.#env = new MongoEnv(options)
  }

  async open(): Promise<void> {
    const env = this.#env
    this.#closing = undefined
    await env.open()
    const lease = new MongoLease(env)
    const texts = new MongoTexts(env)
    const format = new MongoFormat(env, texts)
    const parts: Parts = {
      lease,
      users: new MongoUsers(env),
      inbox: new MongoInbox(env, texts, this.#deleted),
      cursors: new MongoCursors(env, this.#deleted),
      kv: new MongoKv(env, lease),
    }
    try {
      await lease.take()
      await parts.kv.open()
      if (env.options.upgrade ?? true) await format.begin()
    } catch (thrown) {
      await lease.release()
      await env.close()
      throw thrown
    }
    this.#parts = parts
    if (env.options.upgrade ?? true) this.#upgrade = new Upgrade(format)
    // Before the broker reads its state.
    for (const id of await parts.users.toPurge()) await purgeKv(this, id)
    // What a stop interrupted. Nobody waits for it; a failure leaves it to the next open.
    void this.#purgeLeft(parts).catch(() => undefined)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const parts = this.#parts
    this.#parts = undefined
    await this.#upgrade?.stop()
    if (parts !== undefined) {
      const { users, inbox, cursors, kv, lease } = parts
      await Promise.all([users, inbox, cursors, kv].map(part => part.idle()))
      await this.#writes.idle()
      await lease.release()
    }
    await this.#env.close()
  }

  async ping(): Promise<void> {
    await this.#open.lease.renew()
    await this.findUsers({}, 1)
  }

  async createUser(user: NewUser): Promise<void> {
    return this.#writes.keep(this.#open.users.create(user))
  }

  async findUser(id: UserId): Promise<User | undefined> {
    return this.#open.users.find(id)
  }

  async findUserByEmail(emailKey: string): Promise<User | undefined> {
    return this.#open.users.findByEmail(emailKey)
  }

  async findUsers(query: UserQuery, limit: number, after?: UserId): Promise<User[]> {
    return this.#open.users.findAll(query, limit, after)
  }

  async countUsers(): Promise<number> {
    return this.#open.users.count()
  }

  async checkPassword(id: UserId, compare: (hash: string) => Promise<boolean>): Promise<boolean> {
    return this.#open.users.checkPassword(id, compare)
  }

  async setPasswordHash(id: UserId, hash: string): Promise<void> {
    return this.#open.users.setPasswordHash(id, hash)
  }

  async deleteUser(id: UserId, gone?: () => Promise<unknown>): Promise<void> {
    const parts = this.#open
    await parts.users.remove(id)
    this.#deleted.add(id)
    await gone?.()
    await this.#purge(parts, id)
  }

  /** In pieces; what a stop leaves is done after the next open. */
  async #purge({ users, inbox, cursors }: Parts, id: UserId): Promise<void> {
    await purgeKv(this, id)
    await inbox.purge(id, PURGE_CHUNK)
    await cursors.purge(id)
    await users.purged(id)
  }

  async #purgeLeft(parts: Parts): Promise<void> {
    for (const id of await parts.users.toPurge()) await this.#purge(parts, id)
    await parts.inbox.sweep()
  }

  async append(batch: readonly NewMessage[]): Promise<Appended[]> {
    return this.#writes.keep(this.#open.inbox.append(batch))
  }

  async readInbox(userId: UserId, after: number, limit: number, maxChars?: number): Promise<InboxRow[]> {
    return this.#open.inbox.readInbox(userId, after, limit, maxChars)
  }

  async lastSeq(userId: UserId): Promise<number> {
    return this.#open.inbox.lastSeq(userId)
  }

  async firstSeq(userId: UserId): Promise<number> {
    return this.#open.inbox.firstSeq(userId)
  }

  async inboxBytes(userId: UserId): Promise<number> {
    return this.#open.inbox.inboxBytes(userId)
  }

  async trimInbox(userId: UserId, upTo: number, limit: number): Promise<number> {
    return this.#open.inbox.trimInbox(userId, upTo, limit)
  }

  async readConversation(
    conversation: ConversationId,
    limit: number,
    before?: string,
  ): Promise<ConversationRow[]> {
    return this.#open.inbox.readConversation(conversation, limit, before)
  }

  async cursor(userId: UserId, device: string): Promise<Cursor | undefined> {
    return this.#open.cursors.cursor(userId, device)
  }

  async furthest(userId: UserId): Promise<number> {
    return this.#open.cursors.furthest(userId)
  }

  async moveCursors(moves: readonly CursorMove[]): Promise<void> {
    return this.#writes.keep(this.#open.cursors.moveCursors(moves))
  }

  async slowest(userId: UserId, seenSince = 0): Promise<number | undefined> {
    return this.#open.cursors.slowest(userId, seenSince)
  }

  async forgetDevices(before: number): Promise<number> {
    return this.#open.cursors.forgetDevices(before)
  }

  async kvWrite(writes: readonly KvWrite[]): Promise<void> {
    return this.#writes.keep(this.#open.kv.write(this.#deleted.without(writes)))
  }

  async kvGet(collection: KvCollection, key: KvKey): Promise<KvValue | undefined> {
    return this.#gets.keep(this.#open.kv.get(collection, key))
  }

  async *kvRange(
    collection: KvCollection,
    prefix: KvKey,
    between?: readonly [string, string],
  ): AsyncGenerator<{ key: KvKey; value: KvValue }> {
    yield* this.#open.kv.range(collection, prefix, between)
  }

  /** Resolves when the upgrade of older data has ended. */
  async upgraded(): Promise<void> {
    await this.#upgrade?.done()
  }

  contents(): Contents {
    void this.#open
    return new MongoContents(this.#env)
  }

  get #open(): Parts {
    if (this.#parts === undefined) throw unavailable('the store is not open')
    return this.#parts
  }
}
