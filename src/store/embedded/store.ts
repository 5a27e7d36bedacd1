/** The store that needs nothing installed: LMDB in one folder, for one process. */

import { GatewayError } from '../../core/errors.js'
import type { ConversationId, Cursor, InboxRow, NewMessage, User, UserId } from '../../core/model.js'
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
import type { Durability } from './commits.js'
import { EmbeddedContents } from './contents.js'
import { EmbeddedCursors } from './cursors.js'
import { DedupWindow } from './dedup.js'
import { EmbeddedEnv } from './env.js'
import type { FileCheck } from './file.js'
import { DataFormat } from './format.js'
import { EmbeddedInbox } from './inbox.js'
import { EmbeddedKv } from './kv.js'
import { EmbeddedUsers } from './users.js'

export interface EmbeddedOptions {
  /** The data folder; made when it is not there. One process at a time. */
  readonly dir: string
  /** `commit`: what is acknowledged survives the death of the process. `flush`: of the machine. */
  readonly durability: Durability
  /** How long a dedupKey is remembered, ms. */
  readonly dedupWindowMs: number
  /** What is checked of the file before it is opened. */
  readonly check?: FileCheck
  /** false: data of an older format is left as it is. For those who only look at it, or copy it. Default: true. */
  readonly upgrade?: boolean
}

/** For who does not say: what serves at once. */
const DEFAULT_CHECK: FileCheck = { pages: 'unclean', timeoutMs: 30_000 }

/** Rows of a deleted account removed in one go; a few milliseconds of the event loop. */
const PURGE_CHUNK = 500

interface Parts {
  readonly users: EmbeddedUsers
  readonly inbox: EmbeddedInbox
  readonly cursors: EmbeddedCursors
  readonly kv: EmbeddedKv
  readonly contents: EmbeddedContents
  readonly format: DataFormat
}

export class EmbeddedStore implements CopyableStore {
  readonly #env: EmbeddedEnv
  readonly #options: EmbeddedOptions
  readonly #deleted = new DeletedUsers()
  #parts: Parts | undefined
  #upgrade: Upgrade | undefined
  #closing: Promise<void> | undefined

  constructor(options: EmbeddedOptions) {
    this.#options = options
    this.#env = new EmbeddedEnv({ check: DEFAULT_CHECK, ...options })
  }

  async open(): Promise<void> {
    const env = this.#env
    const parts = env.open(table => ({
      users: new EmbeddedUsers(env, table),
      inbox: new EmbeddedInbox(
        env,
        table,
        new DedupWindow(table, this.#options.dedupWindowMs),
        this.#deleted,
      ),
      cursors: new EmbeddedCursors(env, table, this.#deleted),
      kv: new EmbeddedKv(env, table),
      contents: new EmbeddedContents(env, table),
      format: new DataFormat(env, table, this.#options.dir),
    }))
    this.#parts = parts
    this.#closing = undefined
    if (this.#options.upgrade ?? true) {
      await parts.format.begin()
      this.#upgrade = new Upgrade(parts.format)
    }
    await parts.users.indexNames()
    // What a stop interrupted. Nobody waits for it; a failure leaves it to the next open.
    const left = parts.users.toPurge()
    // Before the broker reads its state.
    for (const id of left) await purgeKv(this, id)
    void this.#purgeAll(left).catch(() => undefined)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#upgrade?.stop()
    await this.#parts?.inbox.idle()
    await this.#env.close()
  }

  /** An empty write still puts its mark; and a range, which takes a place among the readers. */
  async ping(): Promise<void> {
    await this.#env.write(() => undefined)
    await this.findUsers({}, 1)
  }

  async createUser(user: NewUser): Promise<void> {
    return this.#open.users.create(user)
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
    await this.#open.users.remove(id)
    this.#deleted.add(id)
    await gone?.()
    await this.#purgeAll([id])
  }

  /** In pieces, each a commit of its own; what a stop leaves is done after the next open. */
  async #purgeAll(ids: readonly UserId[]): Promise<void> {
    const { users, inbox, cursors } = this.#open
    for (const id of ids) {
      await purgeKv(this, id)
      while (await inbox.purge(id, PURGE_CHUNK));
      while (await cursors.purge(id, PURGE_CHUNK));
      await users.purged(id)
    }
  }

  async append(batch: readonly NewMessage[]): Promise<Appended[]> {
    return this.#open.inbox.append(batch)
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
    return this.#open.cursors.moveCursors(moves)
  }

  async slowest(userId: UserId, seenSince = 0): Promise<number | undefined> {
    return this.#open.cursors.slowest(userId, seenSince)
  }

  async forgetDevices(before: number): Promise<number> {
    return this.#open.cursors.forgetDevices(before)
  }

  async kvWrite(writes: readonly KvWrite[]): Promise<void> {
    return this.#open.kv.write(this.#deleted.without(writes))
  }

  async kvGet(collection: KvCollection, key: KvKey): Promise<KvValue | undefined> {
    return this.#open.kv.get(collection, key)
  }

  async *kvRange(
    collection: KvCollection,
    prefix: KvKey,
    between?: readonly [string, string],
  ): AsyncGenerator<{ key: KvKey; value: KvValue }> {
    yield* this.#open.kv.range(collection, prefix, between)
  }

  /** Whether rows of an older data format may be left. */
  get isOldFormat(): boolean {
    return this.#open.format.isOld
  }

  /** Resolves when the upgrade of older data has ended. */
  async upgraded(): Promise<void> {
    await this.#upgrade?.done()
  }

  contents(): Contents {
    return this.#open.contents
  }

  get #open(): Parts {
    if (this.#parts === undefined)
      throw new GatewayError('STORE_UNAVAILABLE', { reason: 'the store is not open' })
    return this.#parts
  }
}
