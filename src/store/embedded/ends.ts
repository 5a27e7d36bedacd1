/** Where each inbox ends. Kept in memory, so that an append reads nothing. */
import { LAST } from './keys.js'
import type { Pending } from './pending.js'
import { partsOf, type Rows } from './rows.js'
import type { OpenTable, Table } from './table.js'

/** Inboxes kept in memory. */
const MAX_KNOWN = 100_000

export interface End {
  /** Highest seq ever given in this inbox. */
  seq: number
  /** Bytes of text that the inbox was ever given. */
  bytes: number
}

export class Ends {
  readonly #rows: Rows
  /** [owner] → highest seq that was ever trimmed. */
  readonly #trimmed: Table<number>
  readonly #known = new Map<number, End>()

  constructor(
    table: OpenTable,
    rows: Rows,
    private readonly pending: Pending,
  ) {
    this.#rows = rows
    this.#trimmed = table('trimmed')
  }

  /** The end in memory, which the caller moves on. It is ahead of the rows until they are in the journal. */
  of(owner: number): End {
    const known = this.#known.get(owner)
    if (known !== undefined) return known
    const end = this.read(owner)
    this.#known.set(owner, end)
    return end
  }

  /** The end as the rows tell it. */
  read(owner: number): End {
    const newest = this.pending.of(owner).at(-1)
    if (newest !== undefined) return { seq: newest.seq, bytes: partsOf('', newest.text).end }
    const bounds = { start: [owner, LAST], end: [owner], reverse: true, limit: 1 }
    for (const { key, value } of this.#rows.table.getRange(bounds))
      return { seq: Number(key[1]), bytes: partsOf('', value).end }
    return { seq: this.trimmed(owner), bytes: 0 }
  }

  /** Highest seq that was removed, 0 for none. */
  trimmed(owner: number): number {
    return this.#trimmed.get([owner]) ?? 0
  }

  /** Call it within a write. */
  putTrimmed(owner: number, seq: number): void {
    this.#trimmed.put([owner], seq)
  }

  /** The inbox is gone. Call it within a write. */
  remove(owner: number): void {
    this.#trimmed.remove([owner])
    this.#known.delete(owner)
  }

  /** Call it between two appends: during one, memory holds seqs that no row has yet. */
  makeRoom(): void {
    if (this.#known.size >= MAX_KNOWN) this.#known.clear()
  }

  /** An append failed: none of its seqs was used. */
  forgetAll(): void {
    this.#known.clear()
  }
}
