/** Rows that are in the journal and not yet in LMDB: of each inbox the newest, and of each conversation, too. */
import type { ConversationId } from '../../core/model.js'
import type { JournalRecord } from './journal-record.js'
import type { JournalRow } from './rows.js'

const NONE: readonly JournalRow[] = []

export class Pending {
  /** Rising by number. */
  #records: JournalRecord[] = []
  #byOwner = new Map<number, JournalRow[]>()
  /** Of several rows with one key, the newest. */
  #byKey = new Map<string, JournalRow>()
  #rows = 0
  #bytes = 0

  /** How many there are. */
  get rows(): number {
    return this.#rows
  }

  /** Bytes of their values. */
  get bytes(): number {
    return this.#bytes
  }

  /** Number of the oldest record; undefined if there is none. */
  get first(): number | undefined {
    return this.#records[0]?.number
  }

  add(record: JournalRecord): void {
    this.#records.push(record)
    for (const row of record.rows) {
      this.#rows++
      this.#bytes += row.length
      const ofOwner = this.#byOwner.get(row.owner)
      if (ofOwner === undefined) this.#byOwner.set(row.owner, [row])
      else ofOwner.push(row)
      if (row.dedupKey !== undefined) this.#byKey.set(row.dedupKey, row)
    }
  }

  /** The oldest records, whole ones, until they have at least `rows` rows. */
  oldest(rows: number): readonly JournalRecord[] {
    let count = 0
    const enough = this.#records.findIndex(record => {
      count += record.rows.length
      return count >= rows
    })
    return enough === -1 ? [...this.#records] : this.#records.slice(0, enough + 1)
  }

  /** These, which `oldest` gave, are in LMDB now. */
  applied(records: readonly JournalRecord[]): void {
    let count = 0
    for (const { rows } of records) count += rows.length
    if (2 * count >= this.#rows) this.#begin(this.#records.slice(records.length))
    else this.#drop(records)
  }

  /** New maps, for few: tables that the old ones have outgrown would keep rows that are gone (inbox/window.ts says why). */
  #begin(left: JournalRecord[]): void {
    this.#records = []
    this.#byOwner = new Map()
    this.#byKey = new Map()
    this.#rows = 0
    this.#bytes = 0
    for (const record of left) this.add(record)
  }

  #drop(records: readonly JournalRecord[]): void {
    this.#records = this.#records.slice(records.length)
    const counts = new Map<number, number>()
    for (const { rows } of records)
      for (const row of rows) {
        this.#rows--
        this.#bytes -= row.length
        counts.set(row.owner, (counts.get(row.owner) ?? 0) + 1)
        if (row.dedupKey !== undefined && this.#byKey.get(row.dedupKey) === row)
          this.#byKey.delete(row.dedupKey)
      }
    for (const [owner, count] of counts) {
      const rows = this.#byOwner.get(owner) ?? []
      if (rows.length === count) this.#byOwner.delete(owner)
      else rows.splice(0, count)
    }
  }

  /** Rows of an inbox, rising, without holes: all that LMDB has of it comes before the first of them. */
  of(owner: number): readonly JournalRow[] {
    return this.#byOwner.get(owner) ?? NONE
  }

  /** The newest row with this dedup key. */
  byKey(dedupKey: string): JournalRow | undefined {
    return this.#byKey.get(dedupKey)
  }

  /** Newest first. */
  inConversation(conversation: ConversationId): JournalRow[] {
    const found: JournalRow[] = []
    for (const { rows } of this.#records)
      for (const row of rows) if (row.conversation === conversation) found.push(row)
    return found.sort((a, b) => (a.id < b.id ? 1 : -1))
  }
}
