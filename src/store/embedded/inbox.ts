/** Logs of messages in the embedded store, one a user: what is read of them and what is removed. */
import type { ConversationId, InboxRow, NewMessage, UserId } from '../../core/model.js'
import type { DeletedUsers, Purgeable } from '../deleted.js'
import type { Appended, ConversationRow, InboxLog } from '../store.js'
import { EmbeddedAppend } from './append.js'
import { Conversations } from './conversations.js'
import type { DedupWindow } from './dedup.js'
import { Ends } from './ends.js'
import type { EmbeddedEnv } from './env.js'
import { type Key, LAST } from './keys.js'
import { partsOf, Rows } from './rows.js'
import type { OpenTable } from './table.js'
import { userNumber } from './users.js'

/** Rows of a deleted account removed in one commit: a few milliseconds of the event loop. */
const PURGE_CHUNK = 500

export class EmbeddedInbox implements InboxLog, Purgeable {
  readonly #env: EmbeddedEnv
  readonly #rows: Rows
  readonly #ends: Ends
  readonly #conversations: Conversations
  readonly #append: EmbeddedAppend

  constructor(env: EmbeddedEnv, table: OpenTable, dedup: DedupWindow, deleted: DeletedUsers) {
    this.#env = env
    this.#rows = new Rows(table)
    this.#ends = new Ends(table, this.#rows)
    this.#conversations = new Conversations(table)
    this.#append = new EmbeddedAppend(env, this.#rows, this.#conversations, this.#ends, dedup, deleted)
  }

  append(batch: readonly NewMessage[]): Promise<Appended[]> {
    return this.#append.run(batch)
  }

  /** Resolves when every append asked for so far has its answer. */
  async idle(): Promise<void> {
    await this.#append.idle()
  }

  async lastSeq(userId: UserId): Promise<number> {
    return this.#env.read(() => this.#ends.read(userNumber(userId)).seq)
  }

  async firstSeq(userId: UserId): Promise<number> {
    return this.#env.read(() => {
      const [first] = this.#read(userId, 0, 1)
      return first?.seq ?? this.#ends.trimmed(userNumber(userId)) + 1
    })
  }

  async inboxBytes(userId: UserId): Promise<number> {
    const owner = userNumber(userId)
    const value = (bounds: { start: Key; end: Key; reverse?: boolean }) =>
      Array.from(this.#rows.table.getRange({ ...bounds, limit: 1 }), row => row.value)[0]
    return this.#env.read(() => {
      const first = value({ start: [owner], end: [owner, LAST] })
      const last = value({ start: [owner, LAST], end: [owner], reverse: true })
      return first === undefined || last === undefined ? 0 : this.#rows.bytesBetween(first, last)
    })
  }

  async readInbox(userId: UserId, after: number, limit: number, maxChars?: number): Promise<InboxRow[]> {
    return this.#env.read(() => this.#read(userId, after, limit, maxChars))
  }

  #read(userId: UserId, after: number, limit: number, maxChars = Number.MAX_VALUE): InboxRow[] {
    const owner = userNumber(userId)
    const rows: InboxRow[] = []
    let chars = 0
    for (const { key, value } of this.#rows.table.getRange({
      start: [owner, after + 1],
      end: [owner, LAST],
      limit,
    })) {
      const row = this.#rows.row(userId, Number(key[1]), value)
      if (row === undefined) continue
      rows.push(row)
      chars += row.text.length
      if (chars >= maxChars) break
    }
    return rows
  }

  async trimInbox(userId: UserId, upTo: number, limit: number): Promise<number> {
    return this.#env.transaction(() => this.#trim(userId, upTo, limit), 2 * limit)
  }

  #trim(userId: UserId, upTo: number, limit: number): number {
    const owner = userNumber(userId)
    const bounds = { start: [owner], end: [owner, upTo], inclusiveEnd: true, limit }
    const rows = Array.from(this.#rows.table.getRange(bounds), ({ key, value }) => ({
      seq: Number(key[1]),
      ...partsOf(userId, value),
    }))
    const holders = rows.flatMap(({ id, seq, text }) => (text === undefined ? [{ id, owner, seq }] : []))
    const entries = rows.flatMap(({ id, seq, header }) =>
      this.#conversationEntry(header?.conversation, id, owner, seq),
    )
    const unheld = this.#rows.unheldWithout(holders)
    for (const { seq } of rows) this.#rows.table.remove([owner, seq])
    for (const entry of entries) this.#conversations.remove(...entry)
    this.#rows.release(holders, unheld)
    const last = rows.at(-1)
    if (last !== undefined) this.#ends.putTrimmed(owner, last.seq)
    return rows.length
  }

  /** The key of the entry that leads to this row; none if the entry leads to a copy of the message in another inbox. */
  #conversationEntry(
    conversation: ConversationId | undefined,
    id: string,
    owner: number,
    seq: number,
  ): [ConversationId, string][] {
    if (conversation === undefined) return []
    const place = this.#conversations.get(conversation, id)
    return place?.owner === owner && place.seq === seq ? [[conversation, id]] : []
  }

  async readConversation(
    conversation: ConversationId,
    limit: number,
    before?: string,
  ): Promise<ConversationRow[]> {
    return this.#env.read(() => {
      const found: ConversationRow[] = []
      for (const { owner, seq } of this.#conversations.range(conversation, limit, before)) {
        const row = this.#rows.get(owner, seq)
        if (row !== undefined) found.push({ inbox: String(owner), row })
      }
      return found
    })
  }

  async purge(userId: UserId): Promise<void> {
    const trim = () => this.#trim(userId, Number.MAX_SAFE_INTEGER, PURGE_CHUNK)
    while ((await this.#env.transaction(trim, 2 * PURGE_CHUNK)) === PURGE_CHUNK);
    await this.#env.transaction(() => this.#ends.remove(userNumber(userId)))
  }
}
