/**
 * Appending to logs that other gateways append to as well, without transactions.
 *
 * The next seq is tried: last known + 1. Where somebody else has it already the unique `_id` refuses the row, and the
 * rest of the batch is planned anew. Rows go in by one ordered insert, so a row is there only when the one before it
 * is: whatever fails, of a batch a prefix is stored, and no reader ever sees a hole that is filled later.
 *
 * What is a repeat is looked up after the last seq is known and before it is counted on. A row that came meanwhile,
 * be it of an older insert of ours that we had given up on, takes the seq that we try: then we look again. So a
 * resend finds what it repeats.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { GatewayError } from '../../core/errors.js'
import { letterOf, saysTheSame } from '../../core/message.js'
import { isUserId, type NewMessage, type UserId } from '../../core/model.js'
import type { Appended } from '../store.js'
import type { MessageDocument } from './documents.js'
import type { MongoEnv } from './env.js'
import { insertedBefore, toStoreError } from './errors.js'
import { rowId } from './keys.js'
import { type MongoLasts, NOTHING } from './lasts.js'
import type { MongoTexts } from './texts.js'

/** A seq that is taken by a row that cannot be read yet (not confirmed by a majority): the pause before the next try, ms. */
const MAX_PAUSE_MS = 100

/** A message with its key that this one may repeat. */
interface Holder {
  readonly seq: number
  readonly id: string
  readonly text: string
}

interface Planned {
  /** Results of the messages in their order. */
  readonly results: Appended[]
  /** What is to be inserted, and which of the messages it is. */
  readonly rows: { readonly document: MessageDocument; readonly index: number }[]
}

export class MongoAppend {
  readonly #env: MongoEnv
  readonly #lasts: MongoLasts
  readonly #texts: MongoTexts
  #storedAt = 0

  constructor(env: MongoEnv, lasts: MongoLasts, texts: MongoTexts) {
    this.#env = env
    this.#lasts = lasts
    this.#texts = texts
  }

  /** @throws GatewayError; a prefix of the batch may be stored then */
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

  /** @returns results of the messages at the front that are stored, all of them unless a seq was taken */
  async #try(messages: readonly NewMessage[]): Promise<Appended[]> {
    const inboxes = new Set(messages.map(({ inbox }) => inbox))
    try {
      const { results, rows } = await this.#plan(messages, inboxes)
      await this.#texts.put(rows.flatMap(({ index }) => messages[index] ?? []).filter(isShared))
      const inserted = await this.#insert(rows.map(({ document }) => document))
      for (const { document } of rows.slice(0, inserted)) this.#lasts.remember(document)
      const refused = rows[inserted]
      if (refused === undefined) return results
      this.#lasts.forget(refused.document.inbox)
      return results.slice(0, refused.index)
    } catch (thrown) {
      // Who knows what is there now.
      for (const inbox of inboxes) this.#lasts.forget(inbox)
      throw toStoreError(thrown)
    }
  }

  /** @returns how many went in: all, or those before the first whose seq was taken */
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
    const lasts = await this.#lasts.load(inboxes)
    const holders = await this.#holders(messages)
    const storedAt = new Date(this.#now())
    const plan: Planned = { results: [], rows: [] }
    /** The row that has the key now, where this batch has it. */
    const keyed = new Map<string, number>()
    for (const [index, message] of messages.entries()) {
      const { dedupKey, inbox } = message
      const holder = message.isFirst || dedupKey === undefined ? undefined : holders.get(dedupKey)
      if (holder !== undefined && saysTheSame(holder, message)) {
        plan.results.push({ seq: holder.seq, id: holder.id, repeat: true })
        continue
      }
      if (message.mustRepeat) {
        plan.results.push({ seq: 0, id: message.id, repeat: false, isFull: true })
        continue
      }
      const last = lasts.get(inbox) ?? NOTHING
      const seq = last.seq + 1
      const bytes = Buffer.byteLength(message.text)
      const end = last.end + bytes
      lasts.set(inbox, { seq, end })
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

  /** A later row of the same batch has its key now. */
  #release({ rows }: Planned, at: number | undefined): void {
    const row = at === undefined ? undefined : rows[at]
    if (at === undefined || row === undefined) return
    const { dedup: _, ...document } = row.document
    rows[at] = { ...row, document }
  }

  /** Of each key the newest message within the window. */
  async #holders(messages: readonly NewMessage[]): Promise<Map<string, Holder>> {
    const asked = messages.flatMap(({ dedupKey, isFirst }) =>
      dedupKey === undefined || isFirst ? [] : [dedupKey],
    )
    const keys = new Map(asked.map(key => [dedupText(key), key]))
    if (keys.size === 0) return new Map()
    const since = new Date(Date.now() - this.#env.options.dedupWindowMs)
    // Without the text at first: a client that counts its ids from 1 again and again has many that it does not repeat.
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

  /** Rises with every batch: of two rows with one key, the key belongs to the later. */
  #now(): number {
    this.#storedAt = Math.max(Date.now(), this.#storedAt + 1)
    return this.#storedAt
  }
}

/** A broadcast: its text is stored once. */
const isShared = ({ kind }: NewMessage): boolean => kind === 'broadcast'

/** As JSON: text that is ill-formed would share the replacement character, and not every server takes NUL. */
const dedupText = (key: string): string => JSON.stringify(key)

function toDocument(message: NewMessage, seq: number, storedAt: Date): MessageDocument {
  const { inbox, id, kind, text, sender, conversation, dedupKey } = message
  return {
    _id: rowId(inbox, seq),
    inbox,
    seq,
    id,
    kind: letterOf(kind),
    sender,
    ...(isShared(message) ? { shared: id } : { text }),
    storedAt,
    ...(conversation !== undefined && { conversation }),
    ...(dedupKey !== undefined && { dedup: dedupText(dedupKey) }),
  }
}
