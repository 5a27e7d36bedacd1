/** Logs of messages in the embedded store, one a user: what is read of them and what is removed. */

import type { ConversationId, InboxRow, NewMessage, UserId } from '../../core/model.js'
import type { Purgeable } from '../deleted.js'
import type { Appended, ConversationRow, InboxLog } from '../store.js'
import type { InboxParts } from './inbox-parts.js'
import { LAST } from './keys.js'
import { partsOf } from './rows.js'
import { userNumber } from './users.js'

/** Rows of a deleted account removed in one commit: a few milliseconds of the event loop. */
const PURGE_CHUNK = 500

export class EmbeddedInbox implements InboxLog, Purgeable {
  readonly #env: InboxParts['env']
  readonly #rows: InboxParts['rows']
  readonly #ends: InboxParts['ends']
  readonly #conversations: InboxParts['conversations']
  /** The newest rows, which LMDB does not have yet. */
  readonly #pending: InboxParts['pending']
  readonly #journal: InboxParts['journal']
  readonly #apply: InboxParts['apply']
  readonly #append: InboxParts['append']

  constructor({ env, rows, ends, conversations, pending, journal, apply, append }: InboxParts) {
    this.#env = env
    this.#rows = rows
    this.#ends = ends
    this.#conversations = conversations
    this.#pending = pending
    this.#journal = journal
    this.#apply = apply
    this.#append = append
  }

  /** See EmbeddedAppend. */
  recover(): Promise<void> {
    return this.#append.recover()
  }

  /** See EmbeddedAppend. */
  close(): Promise<void> {
    return this.#append.close()
  }

  /** Resolves when LMDB has all rows that were acknowledged by now. @throws GatewayError */
  stored(): Promise<void> {
    return this.#apply.all()
  }

  append(batch: readonly NewMessage[]): Promise<Appended[]> {
    return this.#append.run(batch)
  }

  appendNow(batch: readonly NewMessage[]): Appended[] | undefined {
    return this.#append.runNow(batch)
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

  async inboxBytes(userId: UserId, after = 0): Promise<number> {
    const owner = userNumber(userId)
    const waiting = this.#pending.of(owner).filter(({ seq }) => seq > after)
    return this.#env.read(() => {
      const inLmdb = this.#rows.first(owner, after)
      const first = inLmdb ?? waiting[0]?.text
      const textApart = inLmdb === undefined ? waiting[0]?.textApart : undefined
      const last = waiting.at(-1)?.text ?? this.#rows.last(owner)
      return first === undefined || last === undefined ? 0 : this.#rows.bytesBetween(first, last, textApart)
    })
  }

  async readInbox(userId: UserId, after: number, limit: number, maxChars?: number): Promise<InboxRow[]> {
    return this.#env.read(() => this.#read(userId, after, limit, maxChars))
  }

  #read(userId: UserId, after: number, limit: number, maxChars = Number.MAX_VALUE): InboxRow[] {
    const rows: InboxRow[] = []
    let chars = 0
    for (const row of this.#from(userId, after, limit)) {
      if (rows.length === limit) break
      rows.push(row)
      chars += row.text.length
      if (chars >= maxChars) break
    }
    return rows
  }

  /** At most `limit` of LMDB, then those of the journal behind them. */
  *#from(userId: UserId, after: number, limit: number): Generator<InboxRow> {
    const owner = userNumber(userId)
    let last = after
    for (const { key, value } of this.#rows.table.getRange({
      start: [owner, after + 1],
      end: [owner, LAST],
      limit,
    })) {
      last = Number(key[1])
      const row = this.#rows.row(userId, last, value)
      if (row !== undefined) yield row
    }
    for (const waiting of this.#pending.of(owner)) {
      const row = waiting.seq > last ? this.#rows.rowOf(waiting) : undefined
      if (row !== undefined) yield row
    }
  }

  async trimInbox(userId: UserId, upTo: number, limit: number): Promise<number> {
    await this.#store(userId)
    return this.#env.transaction(() => this.#trim(userId, upTo, limit), 2 * limit)
  }

  /** What is removed is in LMDB, and nowhere else. */
  async #store(userId: UserId): Promise<void> {
    if (this.#pending.of(userNumber(userId)).length > 0) await this.stored()
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
      const ids = new Set<string>()
      for (const waiting of this.#pending.inConversation(conversation)) {
        const row = before === undefined || waiting.id < before ? this.#rows.rowOf(waiting) : undefined
        if (row === undefined || ids.has(row.id)) continue
        ids.add(row.id)
        found.push({ inbox: String(waiting.owner), row })
      }
      for (const { owner, seq } of this.#conversations.range(conversation, limit, before)) {
        const row = this.#rows.get(owner, seq)
        if (row !== undefined && !ids.has(row.id)) found.push({ inbox: String(owner), row })
      }
      return found.slice(0, limit)
    })
  }

  async purge(userId: UserId): Promise<void> {
    // No text of it stays in the journal. What comes meanwhile is in another file.
    const last = this.#journal.renew()
    await this.stored()
    await this.#journal.removeUpTo(last)
    const trim = () => this.#trim(userId, Number.MAX_SAFE_INTEGER, PURGE_CHUNK)
    while ((await this.#env.transaction(trim, 2 * PURGE_CHUNK)) === PURGE_CHUNK);
    await this.#env.transaction(() => this.#ends.remove(userNumber(userId)))
  }
}
