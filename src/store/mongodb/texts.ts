/**
 * Texts of broadcasts. Each is stored once and kept while a row refers to it.
 *
 * A broadcast to many users takes several inserts, so without transactions a text may seem unused just before another
 * row of it is inserted. So a text is only marked when one of its rows is removed, and marked texts are checked when
 * they are older than any broadcast in progress.
 */
import { headerOf } from '../../core/message.js'
import { kindOf } from '../../core/message-kinds.js'
import type { InboxRow, MessageHeader, NewMessage, UserId } from '../../core/model.js'
import type { MessageDocument } from './documents.js'
import type { MongoEnv } from './env.js'

/** Age at which a marked text is checked, ms: far longer than a message waits for its insert. */
const YOUNG_MS = 3_600_000
/** Marked texts that are checked together. */
const PAGE = 100

export type StoredRow = Pick<
  MessageDocument,
  'inbox' | 'seq' | 'id' | 'kind' | 'sender' | 'conversation' | 'text' | 'expiresAt'
>

/** The header of a row. In a row of data format 1 it is derived from the text. */
export function storedHeader(
  { kind: letter = '', sender = '', conversation, expiresAt }: StoredRow,
  text: string,
): MessageHeader {
  const kind = kindOf(letter)
  if (kind === undefined) return headerOf(text)
  return { kind, sender, conversation, expiresAt: expiresAt?.getTime() }
}

export class MongoTexts {
  constructor(private readonly env: MongoEnv) {}

  /** Call it before the rows that refer to these texts are inserted. */
  async put(messages: Iterable<Pick<NewMessage, 'id' | 'text'>>): Promise<void> {
    const texts = new Map(Array.from(messages, ({ id, text }) => [id, text]))
    if (texts.size === 0) return
    const upserts = Array.from(texts, ([_id, text]) => ({
      updateOne: { filter: { _id }, update: { $setOnInsert: { text } }, upsert: true },
    }))
    await this.env.texts.bulkWrite(upserts, { ordered: false })
  }

  /** Rows with their headers and texts. A row whose text is missing counts as removed and is omitted. */
  async fill(rows: readonly StoredRow[]): Promise<(InboxRow & { inbox: UserId })[]> {
    const texts = await this.textsOf(rows)
    return rows.flatMap(row => {
      const { inbox, seq, id, text = texts.get(id) } = row
      return text === undefined ? [] : [{ inbox, seq, id, ...storedHeader(row, text), text }]
    })
  }

  /** Message id → text, for the rows that have no text of their own. */
  async textsOf(rows: readonly Pick<MessageDocument, 'id' | 'text'>[]): Promise<Map<string, string>> {
    const ids = rows.flatMap(({ id, text }) => (text === undefined ? [id] : []))
    const found = ids.length === 0 ? [] : await this.env.texts.find({ _id: { $in: ids } }).toArray()
    return new Map(found.map(({ _id, text }) => [_id, text]))
  }

  /** Call it before rows that refer to these texts are removed, so that the mark remains if that fails. */
  async mark(ids: readonly string[]): Promise<void> {
    if (ids.length > 0)
      await this.env.texts.updateMany({ _id: { $in: [...ids] } }, { $set: { unheld: true } })
  }

  /** Checks marked texts that are old enough, and removes those without rows. @param now ms since the epoch */
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

/** A text below every id that is made at `ms` or later (RFC 9562, 5.7). */
function idAt(ms: number): string {
  const hex = Math.max(0, ms).toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}`
}
