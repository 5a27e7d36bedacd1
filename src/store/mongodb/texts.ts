/**
 * Texts of broadcasts: stored once, for as long as a row refers to them.
 *
 * Without transactions a text may be found unheld just before a row of it is inserted, since a broadcast to many takes
 * several inserts. So one whose row is removed gets a mark, and is looked at when it is older than any broadcast under way.
 */
import { headerOf, kindOf } from '../../core/message.js'
import type { InboxRow, MessageHeader, NewMessage, UserId } from '../../core/model.js'
import type { MessageDocument } from './documents.js'
import type { MongoEnv } from './env.js'

/** Far longer than a message waits for its insert, ms. */
const YOUNG_MS = 3_600_000
/** Marked ones looked at together. */
const PAGE = 100

export type StoredRow = Pick<
  MessageDocument,
  'inbox' | 'seq' | 'id' | 'kind' | 'sender' | 'conversation' | 'text'
>

/** The header of a row: its own, or, in a row of data format 1, what its text tells. */
export function storedHeader(
  { kind: letter = '', sender = '', conversation }: StoredRow,
  text: string,
): MessageHeader {
  const kind = kindOf(letter)
  return kind === undefined ? headerOf(text) : { kind, sender, conversation }
}

export class MongoTexts {
  constructor(private readonly env: MongoEnv) {}

  /** To be called before rows that refer to them are inserted. */
  async put(messages: Iterable<Pick<NewMessage, 'id' | 'text'>>): Promise<void> {
    const texts = new Map(Array.from(messages, ({ id, text }) => [id, text]))
    if (texts.size === 0) return
    const upserts = Array.from(texts, ([_id, text]) => ({
      updateOne: { filter: { _id }, update: { $setOnInsert: { text } }, upsert: true },
    }))
    await this.env.texts.bulkWrite(upserts, { ordered: false })
  }

  /** Rows with their headers and texts; one whose text is gone counts as removed. */
  async fill(rows: readonly StoredRow[]): Promise<(InboxRow & { inbox: UserId })[]> {
    const texts = await this.textsOf(rows)
    return rows.flatMap(row => {
      const { inbox, seq, id, text = texts.get(id) } = row
      return text === undefined ? [] : [{ inbox, seq, id, ...storedHeader(row, text), text }]
    })
  }

  /** Texts that are stored apart, by message id. */
  async textsOf(rows: readonly Pick<MessageDocument, 'id' | 'text'>[]): Promise<Map<string, string>> {
    const ids = rows.flatMap(({ id, text }) => (text === undefined ? [id] : []))
    const found = ids.length === 0 ? [] : await this.env.texts.find({ _id: { $in: ids } }).toArray()
    return new Map(found.map(({ _id, text }) => [_id, text]))
  }

  /** To be called before rows that refer to these are removed, so that a fault in between leaves the mark. */
  async mark(ids: readonly string[]): Promise<void> {
    if (ids.length > 0)
      await this.env.texts.updateMany({ _id: { $in: [...ids] } }, { $set: { unheld: true } })
  }

  /** Looks at marked ones that are old enough. @param now ms since the epoch */
  async sweep(now: number): Promise<void> {
    const old = { unheld: true as const, _id: { $lt: idAt(now - YOUNG_MS) } }
    for (const { _id } of await this.env.texts
      .find(old, { projection: { _id: 1 } })
      .limit(PAGE)
      .toArray()) {
      const holder = await this.env.messages.findOne({ shared: _id }, { projection: { _id: 1 } })
      if (holder === null) await this.env.texts.deleteOne({ _id })
      else await this.env.texts.updateOne({ _id }, { $unset: { unheld: '' } })
    }
  }
}

/** Below every id that is made from then on (RFC 9562, 5.7). */
function idAt(ms: number): string {
  const hex = Math.max(0, ms).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}`
}
