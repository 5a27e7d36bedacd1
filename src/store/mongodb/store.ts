/** The store in MongoDB or a compatible server. docs/mongodb.md describes its documents and indexes. */
import { AnswersInOrder } from '../../flow/in-order.js'
import type { Contents, CopyableStore } from '../contents.js'
import { DeletedUsers, Remains } from '../deleted.js'
import type { CursorStore, InboxLog, KeyValue, Users } from '../store.js'
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

interface Parts {
  readonly lease: MongoLease
  readonly users: MongoUsers
  readonly inbox: MongoInbox
  readonly cursors: MongoCursors
  readonly kv: MongoKv
  readonly format: MongoFormat
}

export class MongoStore implements CopyableStore {
  readonly #env: MongoEnv
  /** All roles share it: their writes are answered in the order of the calls. */
  readonly #writes = new AnswersInOrder()
  #parts: Parts | undefined
  #upgrade: Upgrade | undefined
  #closing: Promise<void> | undefined

  constructor(options: MongoOptions) {
    this.#env = new MongoEnv(options)
  }

  async open(): Promise<void> {
    const upgrade = this.#env.options.upgrade ?? true
    this.#closing = undefined
    await this.#env.open()
    const parts = makeParts(this.#env, this.#writes)
    try {
      await parts.lease.take()
      await parts.kv.open()
      if (upgrade) await parts.format.begin()
    } catch (thrown) {
      await parts.lease.release()
      await this.#env.close()
      throw thrown
    }
    this.#parts = parts
    if (upgrade) this.#upgrade = new Upgrade(parts.format)
    await parts.users.finishDeletions()
    // Texts that a failure left behind, in the background. If it fails, the next open tries again.
    void parts.inbox.sweep().catch(() => undefined)
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
    await this.users.findUsers({}, 1)
  }

  get users(): Users {
    return this.#open.users
  }

  get inbox(): InboxLog {
    return this.#open.inbox
  }

  get cursors(): CursorStore {
    return this.#open.cursors
  }

  get kv(): KeyValue {
    return this.#open.kv
  }

  contents(): Contents {
    void this.#open
    return new MongoContents(this.#env)
  }

  /** Resolves when the upgrade of older data has ended. */
  async upgraded(): Promise<void> {
    await this.#upgrade?.done()
  }

  get #open(): Parts {
    if (this.#parts === undefined) throw unavailable('the store is not open')
    return this.#parts
  }
}

function makeParts(env: MongoEnv, writes: AnswersInOrder): Parts {
  const deleted = new DeletedUsers()
  const lease = new MongoLease(env)
  const texts = new MongoTexts(env)
  const inbox = new MongoInbox(env, texts, writes, deleted)
  const cursors = new MongoCursors(env, writes, deleted)
  const kv = new MongoKv(env, lease, writes, deleted)
  return {
    lease,
    users: new MongoUsers(env, writes, deleted, new Remains(kv, [inbox, cursors])),
    inbox,
    cursors,
    kv,
    format: new MongoFormat(env, texts),
  }
}
