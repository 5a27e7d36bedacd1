/** Writes what the journal has to LMDB: many rows a commit, in the order of their keys, so that few pages change. */
import { Conversations } from './conversations.js'
import type { DedupWindow } from './dedup.js'
import type { EmbeddedEnv } from './env.js'
import type { Journal } from './journal.js'
import type { JournalRecord } from './journal-record.js'
import type { Pending } from './pending.js'
import type { JournalRow, Rows } from './rows.js'
import { encoded } from './table.js'

/** Longest time from an append to the beginning of its commit, ms. */
const DELAY_MS = 1000
/** After a commit that failed, ms. */
const RETRY_MS = 1000
/** Rows of one commit, as far as appends can be split: putting them stops this thread for about 3 ms. */
const ROWS = 1000
/** Its row, its place in the conversation, its dedup key. */
const PUTS_PER_ROW = 3

export interface ApplyParts {
  readonly env: EmbeddedEnv
  readonly rows: Rows
  readonly conversations: Conversations
  readonly dedup: DedupWindow
  readonly pending: Pending
  readonly journal: Journal
}

export class Apply {
  #commit: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #isFailing = false

  constructor(private readonly parts: ApplyParts) {}

  /** The last commit failed. The next append waits for another one. */
  get isFailing(): boolean {
    return this.#isFailing
  }

  /** There is more to write. */
  added(): void {
    if (this.parts.pending.rows >= ROWS && this.#commit === undefined && !this.#isFailing) this.#begin()
    else this.#beginIn(DELAY_MS)
  }

  /** Resolves when LMDB has all that is in the journal now. @throws GatewayError */
  async all(): Promise<void> {
    const { pending, journal } = this.parts
    const last = journal.next - 1
    while (pending.first !== undefined && pending.first <= last) await this.#next()
  }

  /** No commit begins any more by itself. */
  stop(): void {
    clearTimeout(this.#timer)
  }

  #beginIn(ms: number): void {
    this.#timer ??= setTimeout(() => this.#begin(), ms)
  }

  #begin(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.all().catch(() => this.#beginIn(RETRY_MS))
  }

  #next(): Promise<void> {
    this.#commit ??= this.#write(this.parts.pending.oldest(ROWS)).finally(() => {
      this.#commit = undefined
    })
    return this.#commit
  }

  async #write(records: readonly JournalRecord[]): Promise<void> {
    const { env, pending, journal, dedup } = this.parts
    const last = records.at(-1)?.number
    if (last === undefined) return
    const rows = records.flatMap(record => record.rows)
    const now = Date.now()
    const work = () => {
      this.#put(rows)
      dedup.put(rows, now)
      journal.putApplied(last)
    }
    try {
      await env.writeBehind(work, PUTS_PER_ROW * rows.length)
      this.#isFailing = false
    } catch (thrown) {
      this.#isFailing = true
      throw thrown
    }
    dedup.committed(now)
    pending.applied(records)
    journal.applied(last)
  }

  /** Call it within a write. */
  #put(rows: readonly JournalRow[]): void {
    const { rows: stored, conversations } = this.parts
    const texts = new Map<string, string>()
    const places = Buffer.allocUnsafeSlow(Conversations.PLACE_BYTES * rows.length)
    const sorted = [...rows].sort((a, b) => a.owner - b.owner || a.seq - b.seq)
    for (const { owner, seq, id, value, textApart } of sorted) {
      stored.table.put([owner, seq], encoded(value))
      if (textApart === undefined) continue
      texts.set(id, textApart)
      stored.putHolder({ id, owner, seq })
    }
    for (const [i, { owner, seq, id, conversation }] of sorted.entries())
      if (conversation !== undefined)
        conversations.put(conversation, id, { owner, seq }, places, i * Conversations.PLACE_BYTES)
    for (const [id, text] of texts) stored.putText(id, text)
  }
}
