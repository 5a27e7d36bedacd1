/**
 * Appends to inbox logs without transactions, while other gateways may append to the same logs.
 *
 * The seq of a new row is the last known one + 1. If another gateway has used it, the unique `_id` refuses the row, and
 * the rest of the batch is planned again. Rows are inserted by one ordered insert, so a row exists only if the one
 * before it does: after any failure a prefix of the batch is stored, and no reader sees a gap that is filled later.
 *
 * Repeats are looked up after the last seq has been read. If another row has been inserted since, even by an older
 * insert of this gateway that has timed out, it has the seq that this insert tries, the insert is refused, and repeats
 * are looked up again. So a message that is sent again is always recognised.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { GatewayError } from '../../core/errors.js'
import { saysTheSame } from '../../core/message.js'
import { MESSAGE_KINDS } from '../../core/message-kinds.js'
import { isUserId, type NewMessage, type UserId } from '../../core/model.js'
import type { Appended } from '../store.js'
import type { MessageDocument } from './documents.js'
import { type MongoEnds, NOTHING } from './ends.js'
import type { MongoEnv } from './env.js'
import { insertedBefore, toStoreError } from './errors.js'
import { rowId } from './keys.js'
import type { MongoTexts } from './texts.js'

/** Longest pause before the next try, ms, if the seq is taken by a row that cannot be read yet (no majority has it). */
const MAX_PAUSE_MS = 100

/** The message that has a key now, which a new message with this key may repeat. */
interface Holder {
  readonly seq: number
  readonly id: string
  readonly text: string
}

interface Planned {
  /** Results in the order of the messages. */
  readonly results: Appended[]
  /** The documents to insert, each with the index of its message. */
  readonly rows: { readonly document: MessageDocument; readonly index: number }[]
}

export class MongoAppend {
  readonly #env: MongoEnv
  readonly #ends: MongoEnds
  readonly #texts: MongoTexts
  #storedAt = 0

  constructor(env: MongoEnv, ends: MongoEnds, texts: MongoTexts) {
    this.#env = env
    this.#ends = ends
    this.#texts = texts
  }

  /** @throws GatewayError; a prefix of the batch may be stored nevertheless */
  async run(batch: readonly NewMessage[]): Promise<Appended[]> {
    for (const { inbox } of batch) {
      if (!isUserId(inbox))
        throw new GatewayError('ERROR_FIND_USER', { field: 'inbox', reason: 'not a user id' })
    }
    const giveUpAt = performance.now() + this.#env.options.timeoutMs
    const results: Appended[] = []
    for (let tries = 0; results.length < batch.length; tries++) {
      if (performance.now() > giveUpAt)
        throw new GatewayError('STORE_UNAVAILABLE', { reason: 'no seq could be had' })
      if (tries > 1) await delay(Math.min(MAX_PAUSE_MS, 2 ** tries))
      const before = results.length
      results.push(...(await this.#try(batch.slice(before))))
      if (results.length > before) tries = 0
    }
    return results
  }

  /** @returns results of the leading messages that were stored: all, unless a seq was taken */
  async #try(messages: readonly NewMessage[]): Promise<Appended[]> {
    const inboxes = new Set(messages.map(({ inbox }) => inbox))
    try {
      const { results, rows } = await this.#plan(messages, inboxes)
      await this.#texts.put(rows.flatMap(({ index }) => messages[index] ?? []).filter(isShared))
      const inserted = await this.#insert(rows.map(({ document }) => document))
      for (const { document } of rows.slice(0, inserted)) this.#ends.remember(document)
      const refused = rows[inserted]
      if (refused === undefined) return results
      this.#ends.forget(refused.document.inbox)
      return results.slice(0, refused.index)
    } catch (thrown) {
      // It is unknown what was stored.
      for (const inbox of inboxes) this.#ends.forget(inbox)
      throw toStoreError(thrown)
    }
  }

  /** @returns how many were inserted: all, or those before the first whose seq was taken */
  async #insert(documents: readonly MessageDocument[]): Promise<number> {
    try {
      if (documents.length > 0) await this.#env.messages.insertMany(documents, { ordered: true })
      return documents.length
    } catch (thrown) {
      const inserted = insertedBefore(thrown)
      if (inserted === undefined) throw thrown
      return inserted
    }
  }

  async #plan(messages: readonly NewMessage[], inboxes: ReadonlySet<UserId>): Promise<Planned> {
    const ends = await this.#ends.load(inboxes)
    const holders = await this.#holders(messages)
    const storedAt = new Date(this.#now())
    const plan: Planned = { results: [], rows: [] }
    /** Key → index in `rows` of the row of this batch that has the key. */
    const keyed = new Map<string, number>()
    for (const [index, message] of messages.entries()) {
      const { dedupKey, inbox } = message
      const holder = message.isFirst || dedupKey === undefined ? undefined : holders.get(dedupKey)
      if (holder !== undefined && saysTheSame(holder, message)) {
        plan.results.push({ seq: holder.seq, id: holder.id, repeat: true })
        continue
      }
      if (holder !== undefined && message.isKeyExact) {
        plan.results.push({ seq: 0, id: message.id, repeat: false, isOther: true })
        continue
      }
      if (message.mustRepeat) {
        plan.results.push({ seq: 0, id: message.id, repeat: false, isFull: true })
        continue
      }
      const old = ends.get(inbox) ?? NOTHING
      const seq = old.seq + 1
      const bytes = Buffer.byteLength(message.text)
      const end = old.end + bytes
      ends.set(inbox, { seq, end })
      plan.results.push({ seq, id: message.id, repeat: false })
      if (dedupKey !== undefined) {
        holders.set(dedupKey, { seq, id: message.id, text: message.text })
        this.#release(plan, keyed.get(dedupKey))
        keyed.set(dedupKey, plan.rows.length)
      }
      plan.rows.push({ document: { ...toDocument(message, seq, storedAt), bytes, end }, index })
    }
    return plan
  }

  /** Removes the key of a row, since a later row of the same batch takes it over. */
  #release({ rows }: Planned, at: number | undefined): void {
    const row = at === undefined ? undefined : rows[at]
    if (at === undefined || row === undefined) return
    const { dedup: _, ...document } = row.document
    rows[at] = { ...row, document }
  }

  /** Key → the newest message with it within the dedup window. */
  async #holders(messages: readonly NewMessage[]): Promise<Map<string, Holder>> {
    const asked = messages.flatMap(({ dedupKey, isFirst }) =>
      dedupKey === undefined || isFirst ? [] : [dedupKey],
    )
    const keys = new Map(asked.map(key => [dedupText(key), key]))
    if (keys.size === 0) return new Map()
    const since = new Date(Date.now() - this.#env.options.dedupWindowMs)
    // First without the texts: a client that counts its ids from 1 on every connection has many rows with the same key.
    const found = await this.#env.messages
      .find(
        { dedup: { $in: [...keys.keys()] }, storedAt: { $gt: since } },
        { projection: { dedup: 1, storedAt: 1 } },
      )
      .sort({ storedAt: 1 })
      .toArray()
    const newest = new Map(found.map(({ _id, dedup = '' }) => [dedup, _id]))
    if (newest.size === 0) return new Map()
    const rows = await this.#env.messages.find({ _id: { $in: [...newest.values()] } }).toArray()
    const dedups = new Map(
      rows.map(({ inbox, seq, dedup = '' }) => [rowId(inbox, seq), keys.get(dedup) ?? '']),
    )
    const filled = await this.#texts.fill(rows)
    return new Map(filled.map(row => [dedups.get(rowId(row.inbox, row.seq)) ?? '', row]))
  }

  /** Strictly increasing from batch to batch: of two rows with one key, the later one has the key. */
  #now(): number {
    this.#storedAt = Math.max(Date.now(), this.#storedAt + 1)
    return this.#storedAt
  }
}

/** Whether the text is stored once for all rows: true for a broadcast. */
const isShared = ({ kind }: NewMessage): boolean => MESSAGE_KINDS[kind].isShared

/** In JSON, since ill-formed texts would become equal in UTF-8 (U+FFFD), and not every server accepts NUL. */
const dedupText = (key: string): string => JSON.stringify(key)

function toDocument(message: NewMessage, seq: number, storedAt: Date): MessageDocument {
  const { inbox, id, kind, text, sender, conversation, dedupKey, expiresAt } = message
  return {
    _id: rowId(inbox, seq),
    inbox,
    seq,
    id,
    kind: MESSAGE_KINDS[kind].letter,
    sender,
    ...(isShared(message) ? { shared: id } : { text }),
    storedAt,
    ...(conversation !== undefined && { conversation }),
    ...(expiresAt !== undefined && { expiresAt: new Date(expiresAt) }),
    ...(dedupKey !== undefined && { dedup: dedupText(dedupKey) }),
  }
}
