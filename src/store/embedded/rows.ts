/**
 * Rows of inboxes, and what they hold. A row's value is the message's id, how many bytes the inbox was ever given up to
 * here, and the text. The text of a broadcast is not in its rows: it is stored once, for as long as a row refers to it.
 */
import type { InboxRow } from '../../core/model.js'
import { LAST } from './keys.js'
import type { OpenTable, Table } from './table.js'

/** A UUID as text: the first part of a row's value. */
export const ID_LENGTH = 36

/** One row that refers to a text. */
export interface Holder {
  readonly id: string
  readonly owner: number
  readonly seq: number
}

/** A value in its parts: no `text` where it is stored apart; `end` 0 in rows that were written before it was counted. */
interface Parts {
  readonly id: string
  readonly end: number
  readonly text: string | undefined
}

export class Rows {
  /** [owner, seq] → id, end, text. */
  readonly table: Table<string>
  /** [id] → text. */
  readonly #texts: Table<string>
  /** [id, owner, seq] of each row that refers to it. */
  readonly #holders: Table<number>

  constructor(table: OpenTable) {
    this.table = table('inbox', 'string')
    this.#texts = table('texts', 'string')
    this.#holders = table('text-holders')
  }

  /** undefined where the text is gone. */
  row(seq: number, value: string): InboxRow | undefined {
    const { id, text = this.#texts.get([id]) } = partsOf(value)
    return text === undefined ? undefined : { seq, id, text }
  }

  /** To be called within a write; again in each write that has rows of it, since those before may have been removed. */
  putText(id: string, text: string): void {
    this.#texts.put([id], text)
  }

  /** To be called within a write, beside `putText`. */
  putHolder({ id, owner, seq }: Holder, end: number): string {
    this.#holders.put([id, owner, seq], 0)
    return `${id}${end}`
  }

  /** Bytes of text from the first row to the last, those that were not counted left out. */
  bytesBetween(first: string, last: string): number {
    const { id, end, text = this.#texts.get([id]) ?? '' } = partsOf(first)
    return partsOf(last).end - Math.max(0, end - Buffer.byteLength(text))
  }

  /** Those that nobody will refer to once these rows are gone. */
  unheldWithout(holders: readonly Holder[]): string[] {
    const going = new Map<string, number>()
    for (const { id } of holders) going.set(id, (going.get(id) ?? 0) + 1)
    return [...going].filter(([id, count]) => this.#countHolders(id, count + 1) <= count).map(([id]) => id)
  }

  /** To be called within a write. @param unheld as told by `unheldWithout` */
  release(holders: readonly Holder[], unheld: readonly string[]): void {
    for (const { id, owner, seq } of holders) this.#holders.remove([id, owner, seq])
    for (const id of unheld) this.#texts.remove([id])
  }

  #countHolders(id: string, limit: number): number {
    return [...this.#holders.getRange({ start: [id], end: [id, LAST], limit })].length
  }
}

/** A text is a JSON object, so it begins where the first brace is. */
export function partsOf(value: string): Parts {
  const textAt = value.indexOf('{', ID_LENGTH)
  const id = value.slice(0, ID_LENGTH)
  if (textAt === -1) return { id, end: Number(value.slice(ID_LENGTH)), text: undefined }
  return { id, end: Number(value.slice(ID_LENGTH, textAt)), text: value.slice(textAt) }
}
