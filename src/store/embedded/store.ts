/** The store that needs nothing installed: LMDB in one folder, for one process. */
import { GatewayError } from '../../core/errors.js'
import type { Contents, CopyableStore } from '../contents.js'
import { DeletedUsers, Remains } from '../deleted.js'
import type { CursorStore, InboxLog, KeyValue, Users } from '../store.js'
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
import type { OpenTable } from './table.js'
import { EmbeddedUsers } from './users.js'

export interface EmbeddedOptions {
  /** The data folder; made if it is not there. One process at a time. */
  readonly dir: string
  /** `commit`: what is acknowledged survives the death of the process. `flush`: of the machine. */
  readonly durability: Durability
  /** How long a dedupKey is remembered, ms. */
  readonly dedupWindowMs: number
  /** What is checked of the file before it is opened. Default: what a gateway checks at its start. */
  readonly check?: FileCheck
  /** false: data of an older format is left as it is, to look at it or to copy it. Default: true. */
  readonly upgrade?: boolean
}

const DEFAULT_CHECK: FileCheck = { pages: 'unclean', timeoutMs: 30_000 }

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
  #parts: Parts | undefined
  #upgrade: Upgrade | undefined
  #closing: Promise<void> | undefined

  constructor(options: EmbeddedOptions) {
    this.#options = options
    this.#env = new EmbeddedEnv({ check: DEFAULT_CHECK, ...options })
  }

  async open(): Promise<void> {
    const parts = this.#env.open(table => makeParts(this.#env, table, this.#options))
    this.#parts = parts
    this.#closing = undefined
    if (this.#options.upgrade ?? true) {
      await parts.format.begin()
      this.#upgrade = new Upgrade(parts.format)
    }
    await parts.users.indexNames()
    await parts.users.finishDeletions()
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

  /** Makes a commit (an empty write still puts its mark), and a range, which takes a place among LMDB's readers. */
  async ping(): Promise<void> {
    await this.#env.write(() => undefined)
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
    return this.#open.contents
  }

  /** Whether rows of an older data format may be left. */
  get isOldFormat(): boolean {
    return this.#open.format.isOld
  }

  /** Resolves when the upgrade of older data has ended. */
  async upgraded(): Promise<void> {
    await this.#upgrade?.done()
  }

  get #open(): Parts {
    if (this.#parts === undefined)
      throw new GatewayError('STORE_UNAVAILABLE', { reason: 'the store is not open' })
    return this.#parts
  }
}

function makeParts(env: EmbeddedEnv, table: OpenTable, { dir, dedupWindowMs }: EmbeddedOptions): Parts {
  const deleted = new DeletedUsers()
  const inbox = new EmbeddedInbox(env, table, new DedupWindow(table, dedupWindowMs), deleted)
  const cursors = new EmbeddedCursors(env, table, deleted)
  const kv = new EmbeddedKv(env, table, deleted)
  return {
    users: new EmbeddedUsers(env, table, deleted, new Remains(kv, [inbox, cursors])),
    inbox,
    cursors,
    kv,
    contents: new EmbeddedContents(env, table),
    format: new DataFormat(env, table, dir),
  }
}
