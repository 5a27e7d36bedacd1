/** Logs of messages in the embedded store, one a user. */

import { GatewayError } from '../../core/errors.js'
import { type InboxRow, type NewMessage, saysTheSame, type UserId } from '../../core/model.js'
import { Serial } from '../../flow/serial.js'
import { partiesOf } from '../contents.js'
import type { DeletedUsers } from '../deleted.js'
import type { Appended, ConversationRow } from '../store.js'
import { Conversations } from './conversations.js'
import type { DedupWindow } from './dedup.js'
import type { EmbeddedEnv } from './env.js'
import { boundedKey, type Key, LAST } from './keys.js'
import { type Holder, ID_LENGTH, partsOf, Rows } from './rows.js'
import { encoded, type OpenTable, type Table } from './table.js'
import { userNumber } from './users.js'

/** Inboxes whose end is remembered, so that appending to one reads nothing. */
const REMEMBERED_INBOXES = 100_000

/** Before the text: id, and the digits of what the inbox was given so far. */
const HEAD_BYTES = ID_LENGTH + 16

/** Where an inbox ends: its last seq, and the bytes of text that it was ever given. */
interface End {
  seq: number
  bytes: number
}

interface Added {
  readonly message: NewMessage
  readonly owner: number
  readonly seq: number
  readonly end: number
  /** Of its text. */
  readonly bytes: number
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
  readonly #rows: Rows
  /** [owner] → highest seq that was ever trimmed. */
  readonly #trimmed: Table<number>
  readonly #conversations: Conversations
  readonly #ends = new Map<number, End>()
  readonly #appending = new Serial()

  constructor(
    env: EmbeddedEnv,
    table: OpenTable,
    dedup: DedupWindow,
    private readonly deleted: DeletedUsers,
  ) {
    this.#env = env
    this.#dedup = dedup
    this.#rows = new Rows(table)
    this.#trimmed = table('trimmed')
    this.#conversations = new Conversations(table)
  }

  append(batch: readonly NewMessage[]): Promise<Appended[]> {
    return this.#appending.run(() => this.#append(batch))
  }

  /** Resolves when every append asked for so far has its answer. */
  idle(): Promise<void> {
    return this.#appending.idle()
  }

  async #append(batch: readonly NewMessage[]): Promise<Appended[]> {
    const now = Date.now()
    // Only here: within a batch it holds seqs that no row has yet.
    if (this.#ends.size >= REMEMBERED_INBOXES) this.#ends.clear()
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
      this.#ends.clear() // none of the seqs was used
      throw thrown
    }
  }

  #plan(batch: readonly NewMessage[], now: number): Plan {
    const plan: Plan = { results: [], added: [], keys: new Map(), keyed: new Map() }
    for (const message of batch) {
      const { dedupKey, id } = message
      if (dedupKey !== undefined) boundedKey([dedupKey])
      const owner = ownerNumber(message.inbox)
      // Whatever was planned before it was deleted is queued before the purge, which removes it.
      if (this.deleted.has(message.inbox)) {
        plan.results.push({ seq: 0, id, repeat: false, isGone: true })
        continue
      }
      const first = this.#firstOf(message, owner, plan, now)
      if (first !== undefined) {
        plan.results.push({ ...first, repeat: true })
        continue
      }
      if (message.mustRepeat) {
        plan.results.push({ seq: 0, id, repeat: false, isFull: true })
        continue
      }
      const bytes = Buffer.byteLength(message.text)
      const end = this.#endOf(owner)
      end.seq++
      end.bytes += bytes
      const result = { seq: end.seq, id, repeat: false }
      if (dedupKey !== undefined) {
        plan.keys.set(dedupKey, result)
        plan.keyed.set(dedupKey, message)
      }
      plan.added.push({ message, owner, seq: end.seq, end: end.bytes, bytes })
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
    const row = found && this.#rowAt(owner, found.seq)
    return row !== undefined && row.id === found?.id && saysTheSame(row, message) ? found : undefined
  }

  /** One buffer for the values of all: lmdb copies what it is given only when it commits. */
  #put(added: readonly Added[]): void {
    const shared = new Map<string, string>()
    let size = 0
    for (const { message, bytes } of added)
      size += HEAD_BYTES + (message.recipient === undefined ? 0 : bytes + Conversations.PLACE_BYTES)
    const buffer = Buffer.allocUnsafeSlow(size)
    let at = 0
    for (const { message, owner, seq, end } of added) {
      const { id, text, sender, recipient } = message
      const start = at
      if (recipient === undefined) {
        shared.set(id, text)
        at += buffer.write(this.#rows.putHolder({ id, owner, seq }, end), at, 'latin1')
      } else {
        at += buffer.write(id, at, 'latin1')
        at += buffer.write(String(end), at, 'latin1')
        at += buffer.write(text, at)
      }
      this.#rows.table.put([owner, seq], encoded(buffer.subarray(start, at)))
      if (recipient === undefined) continue
      this.#conversations.put(Number(sender), Number(recipient), id, { owner, seq }, buffer, at)
      at += Conversations.PLACE_BYTES
    }
    for (const [id, text] of shared) this.#rows.putText(id, text)
  }

  #endOf(owner: number): End {
    const known = this.#ends.get(owner)
    if (known !== undefined) return known
    const end = this.#readEnd(owner)
    this.#ends.set(owner, end)
    return end
  }

  #readEnd(owner: number): End {
    const bounds = { start: [owner, LAST], end: [owner], reverse: true, limit: 1 }
    for (const { key, value } of this.#rows.table.getRange(bounds))
      return { seq: Number(key[1]), bytes: partsOf(value).end }
    return { seq: this.#trimmed.get([owner]) ?? 0, bytes: 0 }
  }

  async lastSeq(userId: UserId): Promise<number> {
    return this.#env.read(() => this.#readEnd(userNumber(userId)).seq)
  }

  async firstSeq(userId: UserId): Promise<number> {
    const owner = userNumber(userId)
    return this.#env.read(() => {
      const [first] = this.#read(owner, 0, 1)
      return first?.seq ?? (this.#trimmed.get([owner]) ?? 0) + 1
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
    return this.#env.read(() => this.#read(userNumber(userId), after, limit, maxChars))
  }

  #read(owner: number, after: number, limit: number, maxChars = Number.MAX_VALUE): InboxRow[] {
    const rows: InboxRow[] = []
    let chars = 0
    for (const { key, value } of this.#rows.table.getRange({
      start: [owner, after + 1],
      end: [owner, LAST],
      limit,
    })) {
      const row = this.#rows.row(Number(key[1]), value)
      if (row === undefined) continue
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
    const rows = Array.from(this.#rows.table.getRange(bounds), ({ key, value }) => ({
      seq: Number(key[1]),
      ...partsOf(value),
    }))
    const holders = rows.flatMap(({ id, seq, text }) => (text === undefined ? [{ id, owner, seq }] : []))
    const entries = rows.flatMap(row => this.#conversationEntry({ ...row, owner }, row.text))
    const unheld = this.#rows.unheldWithout(holders)
    for (const { seq } of rows) this.#rows.table.remove([owner, seq])
    for (const entry of entries) this.#conversations.remove(...entry)
    this.#rows.release(holders, unheld)
    const last = rows.at(-1)
    if (last !== undefined) this.#trimmed.put([owner], last.seq)
    return rows.length
  }

  /** The key that leads to this row; none where it leads to a copy of the message in another inbox. */
  #conversationEntry({ id, owner, seq }: Holder, text: string | undefined): [number, number, string][] {
    const parties = text === undefined ? undefined : partiesOf({ text })
    if (parties === undefined) return []
    const entry: [number, number, string] = [userNumber(parties[0]), userNumber(parties[1]), id]
    const place = this.#conversations.get(...entry)
    return place?.owner === owner && place.seq === seq ? [entry] : []
  }

  #rowAt(owner: number, seq: number): InboxRow | undefined {
    const value = this.#rows.table.get([owner, seq])
    return value === undefined ? undefined : this.#rows.row(seq, value)
  }

  async readConversation(a: UserId, b: UserId, limit: number, before?: string): Promise<ConversationRow[]> {
    return this.#env.read(() => {
      const found: ConversationRow[] = []
      const places = this.#conversations.range(userNumber(a), userNumber(b), limit, before)
      for (const { owner, seq } of places) {
        const row = this.#rowAt(owner, seq)
        if (row !== undefined) found.push({ inbox: String(owner), row })
      }
      return found
    })
  }

  /** Removes what is left of a deleted user's inbox, at most `limit` rows. @returns whether anything remains */
  async purge(userId: UserId, limit: number): Promise<boolean> {
    const owner = userNumber(userId)
    const removed = await this.#env.transaction(() => this.#trim(owner, Number.MAX_SAFE_INTEGER, limit))
    if (removed === limit) return true
    this.#ends.delete(owner)
    await this.#env.transaction(() => this.#trimmed.remove([owner]))
    return false
  }
}

function ownerNumber(id: UserId): number {
  const owner = userNumber(id)
  if (owner === 0) throw new GatewayError('ERROR_FIND_USER', { field: 'inbox', reason: 'not a user id' })
  return owner
}
