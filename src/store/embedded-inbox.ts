/** Logs of messages in the embedded store, one a user, with their index by conversation. */
import { GatewayError } from '../errors.js'
import type { InboxRow, NewMessage, UserId } from '../model.js'
import type { DedupWindow } from './embedded-dedup.js'
import type { EmbeddedEnv, Table } from './embedded-env.js'
import { boundedKey, LAST } from './embedded-keys.js'
import { userNumber } from './embedded-users.js'
import type { Appended, ConversationRow } from './store.js'

/** A UUID as text: the first part of a row's value, before its fields. */
const ID_LENGTH = 36

/** Inboxes whose last seq is remembered, so that appending to one reads nothing. */
const REMEMBERED_INBOXES = 100_000

export class EmbeddedInbox {
  readonly #env: EmbeddedEnv
  readonly #dedup: DedupWindow
  /** [owner, seq] → id and fields. */
  readonly #rows: Table<string>
  /** [owner] → highest seq that was ever trimmed. */
  readonly #trimmed: Table<number>
  /** [lower user, higher user, message id] → [owner, seq]. */
  readonly #conversations: Table<[number, number]>
  readonly #lastSeqs = new Map<number, number>()
  #appending: Promise<unknown> = Promise.resolve()

  constructor(env: EmbeddedEnv, dedup: DedupWindow) {
    this.#env = env
    this.#dedup = dedup
    this.#rows = env.table('inbox', 'string')
    this.#trimmed = env.table('trimmed')
    this.#conversations = env.table('conversations')
  }

  append(batch: readonly NewMessage[]): Promise<Appended[]> {
    const appended = this.#appending.then(() => this.#append(batch))
    this.#appending = appended.catch(() => undefined)
    return appended
  }

  async #append(batch: readonly NewMessage[]): Promise<Appended[]> {
    const now = Date.now()
    const results: Appended[] = []
    const added: { message: NewMessage; owner: number; seq: number }[] = []
    const keys = new Map<string, Appended>()
    try {
      for (const message of batch) {
        const first = this.#env.read(() => this.#repeated(message, keys, now))
        if (first !== undefined) {
          results.push({ ...first, repeat: true })
          continue
        }
        const owner = owned(message.inbox)
        const seq = this.#nextSeq(owner)
        const result = { seq, id: message.id, repeat: false }
        if (message.dedupKey !== undefined) keys.set(message.dedupKey, result)
        added.push({ message, owner, seq })
        results.push(result)
      }
      if (added.length > 0) {
        await this.#env.write(() => {
          for (const row of added) this.#put(row.message, row.owner, row.seq)
          this.#dedup.put(keys, now)
        })
        this.#dedup.committed(now)
      }
      return results
    } catch (thrown) {
      this.#lastSeqs.clear() // none of the seqs was used
      throw thrown
    }
  }

  #repeated(message: NewMessage, inBatch: ReadonlyMap<string, Appended>, now: number): Appended | undefined {
    const key = message.dedupKey
    return key === undefined ? undefined : (inBatch.get(key) ?? this.#dedup.find(key, now))
  }

  #put(message: NewMessage, owner: number, seq: number): void {
    this.#rows.put([owner, seq], message.id + message.fields)
    if (message.recipient !== undefined) {
      this.#conversations.put(conversationKey(message.sender, message.recipient, message.id), [owner, seq])
    }
  }

  #nextSeq(owner: number): number {
    const seq = (this.#lastSeqs.get(owner) ?? this.#readLastSeq(owner)) + 1
    if (this.#lastSeqs.size >= REMEMBERED_INBOXES) this.#lastSeqs.clear()
    this.#lastSeqs.set(owner, seq)
    return seq
  }

  #readLastSeq(owner: number): number {
    return this.#env.read(() => {
      const bounds = { start: [owner, LAST], end: [owner], reverse: true, limit: 1 }
      for (const { key } of this.#rows.getRange(bounds)) return Number(key[1])
      return this.#trimmed.get([owner]) ?? 0
    })
  }

  async lastSeq(userId: UserId): Promise<number> {
    return this.#readLastSeq(userNumber(userId))
  }

  async firstSeq(userId: UserId): Promise<number> {
    const owner = userNumber(userId)
    return this.#env.read(() => {
      for (const { key } of this.#rows.getRange({ start: [owner], end: [owner, LAST], limit: 1 }))
        return Number(key[1])
      return (this.#trimmed.get([owner]) ?? 0) + 1
    })
  }

  async readInbox(userId: UserId, after: number, limit: number): Promise<InboxRow[]> {
    return this.#env.read(() => this.#read(userNumber(userId), after, limit))
  }

  #read(owner: number, after: number, limit: number): InboxRow[] {
    const rows: InboxRow[] = []
    for (const { key, value } of this.#rows.getRange({
      start: [owner, after + 1],
      end: [owner, LAST],
      limit,
    })) {
      rows.push(toRow(Number(key[1]), value))
    }
    return rows
  }

  async trimInbox(userId: UserId, upTo: number, limit: number): Promise<number> {
    const owner = userNumber(userId)
    return this.#env.transaction(() => this.#trim(owner, upTo, limit))
  }

  #trim(owner: number, upTo: number, limit: number): number {
    const bounds = { start: [owner], end: [owner, upTo], inclusiveEnd: true, limit }
    const rows = Array.from(this.#rows.getRange(bounds), ({ key, value }) => toRow(Number(key[1]), value))
    for (const row of rows) {
      this.#rows.remove([owner, row.seq])
      this.#removeFromConversation(owner, row)
    }
    const last = rows.at(-1)
    if (last !== undefined) this.#trimmed.put([owner], last.seq)
    return rows.length
  }

  /** The entry stays where it names another row: a copy of the same message in another inbox. */
  #removeFromConversation(owner: number, row: InboxRow): void {
    const { sender, recipient } = parties(row.fields)
    if (sender === undefined || recipient === undefined) return
    const key = conversationKey(sender, recipient, row.id)
    const [inbox, seq] = this.#conversations.get(key) ?? []
    if (inbox === owner && seq === row.seq) this.#conversations.remove(key)
  }

  async readConversation(a: UserId, b: UserId, limit: number, before?: string): Promise<ConversationRow[]> {
    const pair = [Math.min(userNumber(a), userNumber(b)), Math.max(userNumber(a), userNumber(b))]
    const start = before === undefined ? [...pair, LAST] : boundedKey([...pair, before])
    return this.#env.read(() => {
      const found: ConversationRow[] = []
      const bounds = { start, end: pair, reverse: true, exclusiveStart: before !== undefined, limit }
      for (const { value } of this.#conversations.getRange(bounds)) {
        const [owner, seq] = value
        const text = this.#rows.get([owner, seq])
        if (text !== undefined) found.push({ inbox: String(owner), row: toRow(seq, text) })
      }
      return found
    })
  }

  /** Removes what is left of a deleted user's inbox, at most `limit` rows. @returns whether anything remains */
  async purge(userId: UserId, limit: number): Promise<boolean> {
    const owner = userNumber(userId)
    const removed = await this.#env.transaction(() => this.#trim(owner, Number.MAX_SAFE_INTEGER, limit))
    if (removed === limit) return true
    this.#lastSeqs.delete(owner)
    await this.#env.transaction(() => this.#trimmed.remove([owner]))
    return false
  }
}

function owned(id: UserId): number {
  const owner = userNumber(id)
  if (owner === 0) throw new GatewayError('ERROR_FIND_USER', { field: 'inbox', reason: 'not a user id' })
  return owner
}

function toRow(seq: number, value: string): InboxRow {
  return { seq, id: value.slice(0, ID_LENGTH), fields: value.slice(ID_LENGTH) }
}

function conversationKey(a: UserId, b: UserId, id: string): [number, number, string] {
  const [x, y] = [Number(a), Number(b)]
  return x < y ? [x, y, id] : [y, x, id]
}

function parties(fields: string): { sender?: UserId; recipient?: UserId } {
  return JSON.parse(`{${fields}}`) as { sender?: UserId; recipient?: UserId }
}
