/** Logs of messages in the embedded store, one a user. */
import { GatewayError } from '../../errors.js'
import { type InboxRow, type NewMessage, saysTheSame, type UserId } from '../../model.js'
import { partiesOf } from '../contents.js'
import type { Appended, ConversationRow } from '../store.js'
import { Conversations } from './conversations.js'
import type { DedupWindow } from './dedup.js'
import type { EmbeddedEnv } from './env.js'
import { boundedKey, LAST } from './keys.js'
import { encoded, type OpenTable, type Table } from './table.js'
import { userNumber } from './users.js'

/** A UUID as text: the first part of a row's value, before its text. */
const ID_LENGTH = 36

/** Inboxes whose last seq is remembered, so that appending to one reads nothing. */
const REMEMBERED_INBOXES = 100_000

interface Added {
  readonly message: NewMessage
  readonly owner: number
  readonly seq: number
}

/** What one append will do: an answer for each message, the rows to put, the dedupKeys to remember. */
interface Plan {
  readonly results: Appended[]
  readonly added: Added[]
  readonly keys: Map<string, Appended>
  /** The messages behind the keys. */
  readonly keyed: Map<string, NewMessage>
}

export class EmbeddedInbox {
  readonly #env: EmbeddedEnv
  readonly #dedup: DedupWindow
  /** [owner, seq] → id and text. */
  readonly #rows: Table<string>
  /** [owner] → highest seq that was ever trimmed. */
  readonly #trimmed: Table<number>
  readonly #conversations: Conversations
  readonly #lastSeqs = new Map<number, number>()
  #appending: Promise<unknown> = Promise.resolve()

  constructor(env: EmbeddedEnv, table: OpenTable, dedup: DedupWindow) {
    this.#env = env
    this.#dedup = dedup
    this.#rows = table('inbox', 'string')
    this.#trimmed = table('trimmed')
    this.#conversations = new Conversations(table)
  }

  append(batch: readonly NewMessage[]): Promise<Appended[]> {
    const appended = this.#appending.then(() => this.#append(batch))
    this.#appending = appended.catch(() => undefined)
    return appended
  }

  /** Resolves when every append asked for so far has its answer. */
  async idle(): Promise<void> {
    await this.#appending
  }

  async #append(batch: readonly NewMessage[]): Promise<Appended[]> {
    const now = Date.now()
    // Only here: within a batch it holds seqs that no row has yet.
    if (this.#lastSeqs.size >= REMEMBERED_INBOXES) this.#lastSeqs.clear()
    try {
      const { results, added, keys } = this.#env.read(() => this.#plan(batch, now))
      if (added.length > 0) {
        await this.#env.write(() => {
          this.#put(added)
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

  #plan(batch: readonly NewMessage[], now: number): Plan {
    const plan: Plan = { results: [], added: [], keys: new Map(), keyed: new Map() }
    for (const message of batch) {
      const { dedupKey, id } = message
      if (dedupKey !== undefined) boundedKey([dedupKey])
      const owner = ownerNumber(message.inbox)
      const first = this.#firstOf(message, owner, plan, now)
      if (first !== undefined) {
        plan.results.push({ ...first, repeat: true })
        continue
      }
      const result = { seq: this.#nextSeq(owner), id, repeat: false }
      if (dedupKey !== undefined) {
        plan.keys.set(dedupKey, result)
        plan.keyed.set(dedupKey, message)
      }
      plan.added.push({ message, owner, seq: result.seq })
      plan.results.push(result)
    }
    return plan
  }

  /** What this message repeats, if anything. */
  #firstOf(message: NewMessage, owner: number, plan: Plan, now: number): Appended | undefined {
    const { dedupKey, isFirst } = message
    if (dedupKey === undefined || isFirst) return undefined
    const planned = plan.keyed.get(dedupKey)
    if (planned !== undefined) return saysTheSame(planned, message) ? plan.keys.get(dedupKey) : undefined
    const found = this.#dedup.find(dedupKey, now)
    const text = found && this.#rows.get([owner, found.seq])
    if (found === undefined || text === undefined) return undefined
    const row = toRow(found.seq, text)
    return row.id === found.id && saysTheSame(row, message) ? found : undefined
  }

  /** One buffer for the values of all: lmdb copies what it is given only when it commits. */
  #put(added: readonly Added[]): void {
    let size = 0
    for (const { message } of added)
      size += ID_LENGTH + Buffer.byteLength(message.text) + Conversations.PLACE_BYTES
    const buffer = Buffer.allocUnsafeSlow(size)
    let at = 0
    for (const { message, owner, seq } of added) {
      const { id, text, sender, recipient } = message
      const start = at
      at += buffer.write(id, at, 'latin1')
      at += buffer.write(text, at)
      this.#rows.put([owner, seq], encoded(buffer.subarray(start, at)))
      if (recipient === undefined) continue
      this.#conversations.put(Number(sender), Number(recipient), id, { owner, seq }, buffer, at)
      at += Conversations.PLACE_BYTES
    }
  }

  #nextSeq(owner: number): number {
    const seq = (this.#lastSeqs.get(owner) ?? this.#readLastSeq(owner)) + 1
    this.#lastSeqs.set(owner, seq)
    return seq
  }

  #readLastSeq(owner: number): number {
    const bounds = { start: [owner, LAST], end: [owner], reverse: true, limit: 1 }
    for (const { key } of this.#rows.getRange(bounds)) return Number(key[1])
    return this.#trimmed.get([owner]) ?? 0
  }

  async lastSeq(userId: UserId): Promise<number> {
    return this.#env.read(() => this.#readLastSeq(userNumber(userId)))
  }

  async firstSeq(userId: UserId): Promise<number> {
    const owner = userNumber(userId)
    return this.#env.read(() => {
      const [first] = this.#read(owner, 0, 1)
      return first?.seq ?? (this.#trimmed.get([owner]) ?? 0) + 1
    })
  }

  async readInbox(userId: UserId, after: number, limit: number, maxChars?: number): Promise<InboxRow[]> {
    return this.#env.read(() => this.#read(userNumber(userId), after, limit, maxChars))
  }

  #read(owner: number, after: number, limit: number, maxChars = Number.MAX_VALUE): InboxRow[] {
    const rows: InboxRow[] = []
    let chars = 0
    for (const { key, value } of this.#rows.getRange({
      start: [owner, after + 1],
      end: [owner, LAST],
      limit,
    })) {
      const row = toRow(Number(key[1]), value)
      rows.push(row)
      chars += row.text.length
      if (chars >= maxChars) break
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
    const entries = rows.flatMap(row => this.#conversationEntry(owner, row))
    for (const { seq } of rows) this.#rows.remove([owner, seq])
    for (const entry of entries) this.#conversations.remove(...entry)
    const last = rows.at(-1)
    if (last !== undefined) this.#trimmed.put([owner], last.seq)
    return rows.length
  }

  /** The key that leads to this row; none where it leads to a copy of the message in another inbox. */
  #conversationEntry(owner: number, { seq, id, text }: InboxRow): [number, number, string][] {
    const parties = partiesOf({ text })
    if (parties === undefined) return []
    const entry: [number, number, string] = [userNumber(parties[0]), userNumber(parties[1]), id]
    const place = this.#conversations.get(...entry)
    return place?.owner === owner && place.seq === seq ? [entry] : []
  }

  async readConversation(a: UserId, b: UserId, limit: number, before?: string): Promise<ConversationRow[]> {
    return this.#env.read(() => {
      const found: ConversationRow[] = []
      const places = this.#conversations.range(userNumber(a), userNumber(b), limit, before)
      for (const { owner, seq } of places) {
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

function ownerNumber(id: UserId): number {
  const owner = userNumber(id)
  if (owner === 0) throw new GatewayError('ERROR_FIND_USER', { field: 'inbox', reason: 'not a user id' })
  return owner
}

export function toRow(seq: number, value: string): InboxRow {
  return { seq, id: value.slice(0, ID_LENGTH), text: value.slice(ID_LENGTH) }
}
