/** Which messages were appended lately, by their dedupKey. */

import type { OpenTable, Table } from './table.js'

/** Which generation is written to, and since when (ms). */
interface State {
  readonly current: 0 | 1
  readonly since: number
}

/** A message that has a key. */
export interface Holder {
  /** Whose inbox it is in; undefined: the entry was written before owners were noted. */
  readonly owner: number | undefined
  readonly seq: number
  readonly id: string
}

type Entry = readonly [storedAt: number, seq: number, id: string, owner?: number]

/** A message, and its key where it has one. */
interface Keyed {
  readonly dedupKey: string | undefined
  readonly owner: number
  /** ms since the epoch. */
  readonly storedAt: number
  readonly seq: number
  readonly id: string
}

/**
 * Two generations: a look-up asks both, a write goes to the current one, and after one window the older one is
 * emptied and becomes the current one. So expiry costs the same however many keys there are, and a key is kept for
 * one to two windows; its own time decides whether it still counts.
 */
export class DedupWindow {
  readonly #windowMs: number
  readonly #generations: readonly [Table<Entry>, Table<Entry>]
  readonly #meta: Table<State>
  #state: State

  constructor(table: OpenTable, windowMs: number) {
    this.#windowMs = windowMs
    this.#generations = [table('dedup-0'), table('dedup-1')]
    this.#meta = table('dedup-state')
    this.#state = this.#meta.get(['state']) ?? { current: 0, since: 0 }
  }

  /** The first append with this key, where it is no older than the window. */
  find(dedupKey: string, now: number): Holder | undefined {
    const key = [dedupKey]
    const { current } = this.#state
    const entry = this.#generations[current].get(key) ?? this.#generations[other(current)].get(key)
    if (entry === undefined) return undefined
    const [storedAt, seq, id, owner] = entry
    return this.counts(storedAt, now) ? { owner, seq, id } : undefined
  }

  /** Whether a key that was stored then is still within the window. */
  counts(storedAt: number, now: number): boolean {
    return now - storedAt < this.#windowMs
  }

  /** Puts keys; to be called within a write. */
  put(keyed: Iterable<Keyed>, now: number): void {
    const next = this.#stateAt(now)
    if (next !== this.#state) {
      this.#generations[next.current].clearAsync()
      this.#meta.put(['state'], next)
    }
    const generation = this.#generations[next.current]
    for (const { dedupKey, storedAt, seq, id, owner } of keyed)
      if (dedupKey !== undefined) generation.put([dedupKey], [storedAt, seq, id, owner])
  }

  /** To be called when that write was committed, with the same `now`. */
  committed(now: number): void {
    this.#state = this.#stateAt(now)
  }

  #stateAt(now: number): State {
    const { current, since } = this.#state
    if (Math.abs(now - since) < this.#windowMs) return this.#state // a clock that was set back rotates, too
    return { current: other(current), since: now }
  }
}

function other(generation: 0 | 1): 0 | 1 {
  return generation === 0 ? 1 : 0
}
