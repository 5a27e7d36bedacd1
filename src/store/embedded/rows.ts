/**
 * Rows of inboxes. The value of a row is text:
 *
 *     <message id, 36><kind, 1><sender, 9><end>[ <conversation>][!<expires at>][<JSON text>]
 *
 * `end` is the number of bytes of text that the inbox was given up to and including this row. The conversation is left
 * out where it is that of the inbox's owner and the sender, as nearly always; the time in ms where the message does not
 * expire. A broadcast has no JSON text in its rows:
 * its text is stored once, for as long as a row refers to it. Data format 1 had `<message id><end>[<JSON text>]`; rows
 * of both formats are read, and only those of format 2 are written (format.ts).
 */
import { headerOf } from '../../core/message.js'
import { kindOf, MESSAGE_KINDS } from '../../core/message-kinds.js'
import {
  type ConversationId,
  type InboxRow,
  type MessageHeader,
  type NewMessage,
  pairConversation,
  type UserId,
} from '../../core/model.js'
import { LAST } from './keys.js'
import type { Bounds, OpenTable, Table } from './table.js'

/** A UUID as text. */
const ID_LENGTH = 36
const SENDER_AT = ID_LENGTH + 1
const END_AT = SENDER_AT + 9

/** Most bytes of a row before its JSON text, for messages between two users. */
export const MAX_HEAD_BYTES = END_AT + 16 + 20 + 17

/** A row whose text is stored apart. */
export interface Holder {
  readonly id: string
  readonly owner: number
  readonly seq: number
}

/** A message that is to be stored, and its place. */
export interface Added {
  readonly message: NewMessage
  readonly owner: number
  readonly seq: number
  /** Bytes of text that the inbox was given up to and including this message. */
  readonly end: number
  /** Bytes of this message's text. */
  readonly bytes: number
}

/** A row that the journal has and LMDB need not have. Many have their bytes in one buffer, which is there while one of them is. */
export class JournalRow {
  /**
   * @param id the message's
   * @param conversation undefined: it is in no conversation
   * @param storedAt ms since the epoch
   * @param bytes its value is from `at` to `end`
   * @param textApart a text that is stored once for all rows of the message
   */
  constructor(
    readonly owner: number,
    readonly seq: number,
    readonly id: string,
    readonly conversation: ConversationId | undefined,
    readonly dedupKey: string | undefined,
    readonly storedAt: number,
    private readonly bytes: Buffer,
    private readonly at: number,
    private readonly end: number,
    readonly textApart: string | undefined,
  ) {}

  get length(): number {
    return this.end - this.at
  }

  /** As in rows.ts, without a text that is stored apart. A view: made when it is needed, and not kept. */
  get value(): Buffer {
    return this.bytes.subarray(this.at, this.end)
  }

  /** The same as text. */
  get text(): string {
    return this.bytes.toString('utf8', this.at, this.end)
  }
}

/** What a value says. */
interface Parts {
  readonly id: string
  /** 0 in rows from before it was counted. */
  readonly end: number
  /** undefined in a row of data format 1 whose text is stored apart. */
  readonly header: MessageHeader | undefined
  /** undefined if the text is stored apart. */
  readonly text: string | undefined
}

export class Rows {
  /** [owner, seq] → value. */
  readonly table: Table<string>
  /** [message id] → text. */
  readonly #texts: Table<string>
  /** [message id, owner, seq] of each row that refers to a text. */
  readonly #holders: Table<number>

  constructor(table: OpenTable) {
    this.table = table('inbox', 'string')
    this.#texts = table('texts', 'string')
    this.#holders = table('text-holders')
  }

  /** @param textApart the text that is stored apart, where it is known. @returns undefined if the text is gone */
  row(inbox: UserId, seq: number, value: string, textApart?: string): InboxRow | undefined {
    const { id, header, text = textApart ?? this.#texts.get([id]) } = partsOf(inbox, value)
    if (text === undefined) return undefined
    const { kind, sender, conversation, expiresAt } = header ?? headerOf(text)
    return { seq, id, kind, sender, conversation, text, expiresAt }
  }

  /** A row that is still in the journal. */
  rowOf(row: JournalRow): InboxRow | undefined {
    return this.row(String(row.owner), row.seq, row.text, row.textApart)
  }

  get(owner: number, seq: number): InboxRow | undefined {
    const value = this.table.get([owner, seq])
    return value === undefined ? undefined : this.row(String(owner), seq, value)
  }

  /** Value of the first row of an inbox in LMDB with a seq above `after`. */
  first(owner: number, after: number): string | undefined {
    return this.#one({ start: [owner, after + 1], end: [owner, LAST], limit: 1 })
  }

  last(owner: number): string | undefined {
    return this.#one({ start: [owner, LAST], end: [owner], reverse: true, limit: 1 })
  }

  #one(bounds: Bounds): string | undefined {
    return Array.from(this.table.getRange(bounds), ({ value }) => value)[0]
  }

  /** The value of a row of data format 1 in today's format; undefined if it needs no change, or its text is gone. */
  upgraded(inbox: UserId, value: string): string | undefined {
    if (!isOld(value)) return undefined
    const parts = partsOf(inbox, value)
    const text = parts.text ?? this.#texts.get([parts.id])
    if (text === undefined) return undefined
    return headOf({ inbox, id: parts.id, ...headerOf(text) }, parts.end) + (parts.text ?? '')
  }

  /**
   * Call it within a write, and in each write that has rows of this text: an earlier row may have been removed since.
   */
  putText(id: string, text: string): void {
    this.#texts.put([id], text)
  }

  /** Call it within the write that puts the row. */
  putHolder({ id, owner, seq }: Holder): void {
    this.#holders.put([id, owner, seq], 0)
  }

  /**
   * Bytes of text from the first row to the last, without rows from before they were counted.
   * @param textApart of the first, where it is in the journal alone
   */
  bytesBetween(first: string, last: string, textApart?: string): number {
    const { id, end, text = textApart ?? this.#texts.get([id]) ?? '' } = partsOf('', first)
    return partsOf('', last).end - Math.max(0, end - Buffer.byteLength(text))
  }

  /** Ids of texts that no row will refer to once these rows are gone. */
  unheldWithout(holders: readonly Holder[]): string[] {
    const going = new Map<string, number>()
    for (const { id } of holders) going.set(id, (going.get(id) ?? 0) + 1)
    return [...going].filter(([id, count]) => this.#countHolders(id, count + 1) <= count).map(([id]) => id)
  }

  /** Call it within a write. @param unheld from `unheldWithout` */
  release(holders: readonly Holder[], unheld: readonly string[]): void {
    for (const { id, owner, seq } of holders) this.#holders.remove([id, owner, seq])
    for (const id of unheld) this.#texts.remove([id])
  }

  /** Whether a row refers to a text. @param by this one; default: any */
  isHeld(id: string, by?: { readonly owner: number; readonly seq: number }): boolean {
    return by === undefined
      ? this.#countHolders(id, 1) > 0
      : this.#holders.get([id, by.owner, by.seq]) !== undefined
  }

  #countHolders(id: string, limit: number): number {
    return [...this.#holders.getRange({ start: [id], end: [id, LAST], limit })].length
  }
}

/** The value of a row up to its JSON text. */
export function headOf(
  message: MessageHeader & { readonly inbox: UserId; readonly id: string },
  end: number,
): string {
  const { inbox, id, kind, sender, conversation, expiresAt } = message
  const head = `${id}${MESSAGE_KINDS[kind].letter}${sender}${end}`
  const isUsual = conversation === undefined || conversation === pairConversation(inbox, sender)
  const whole = isUsual ? head : `${head} ${conversation}`
  return expiresAt === undefined ? whole : `${whole}!${expiresAt}`
}

/** The message id in a value. */
export const idOf = (value: string): string => value.slice(0, ID_LENGTH)

const isOld = (value: string): boolean => kindOf(value.charAt(ID_LENGTH)) === undefined

/** A JSON text is an object, so it begins at the first brace. */
export function partsOf(inbox: UserId, value: string): Parts {
  const id = idOf(value)
  const brace = value.indexOf('{', ID_LENGTH)
  const headEnd = brace === -1 ? value.length : brace
  const text = brace === -1 ? undefined : value.slice(brace)
  const kind = kindOf(value.charAt(ID_LENGTH))
  if (kind === undefined) {
    const header = text === undefined ? undefined : headerOf(text)
    return { id, end: Number(value.slice(ID_LENGTH, headEnd)), header, text }
  }
  const sender = value.slice(SENDER_AT, END_AT)
  const { end, conversation, expiresAt } = splitHead(value.slice(END_AT, headEnd))
  const usual = MESSAGE_KINDS[kind].conversation === 'pair' ? pairConversation(inbox, sender) : undefined
  return { id, end, header: { kind, sender, conversation: conversation ?? usual, expiresAt }, text }
}

interface HeadEnd {
  readonly end: number
  readonly conversation: ConversationId | undefined
  readonly expiresAt: number | undefined
}

/** @param rest of a head, behind the sender */
function splitHead(rest: string): HeadEnd {
  const mark = rest.indexOf('!')
  const whole = mark === -1 ? rest : rest.slice(0, mark)
  const expiresAt = mark === -1 ? undefined : Number(rest.slice(mark + 1))
  const space = whole.indexOf(' ')
  if (space === -1) return { end: Number(whole), conversation: undefined, expiresAt }
  const conversation = whole.slice(space + 1) as ConversationId
  return { end: Number(whole.slice(0, space)), conversation, expiresAt }
}
