/**
 * The end of each inbox log, cached so that an append need not read it, and validated against other gateways' writes.
 */
import type { UserId } from '../../core/model.js'
import type { MessageDocument } from './documents.js'
import type { MongoEnv } from './env.js'
import { rowsBehind } from './keys.js'

/** Most inboxes in the cache. */
const MAX_KNOWN = 100_000
/**
 * Age at which an entry is validated. Another gateway may have appended rows, which the next insert detects. But these
 * rows may have been removed by a limit since, which no insert detects.
 */
const FRESH_MS = 1000

/** The end of a log: its highest seq, and the bytes of all texts that were ever appended. */
export interface End {
  readonly seq: number
  readonly end: number
}

export const NOTHING: End = { seq: 0, end: 0 }

interface Known extends End {
  /** By performance.now(). */
  readonly since: number
}

export class MongoEnds {
  readonly #env: MongoEnv
  readonly #known = new Map<UserId, Known>()

  constructor(env: MongoEnv) {
    this.#env = env
  }

  /** Reads the highest seq ever used from the server. Rows up to `trimmed` count as removed. */
  async read(userId: UserId): Promise<End> {
    const newest = this.#env.messages.find({ _id: rowsBehind(userId, 0) }, { projection: { seq: 1, end: 1 } })
    const [[row], inbox] = await Promise.all([
      newest.sort({ _id: -1 }).limit(1).toArray(),
      this.#env.inboxes.findOne({ _id: userId }, { projection: { trimmed: 1 } }),
    ])
    return { seq: Math.max(row?.seq ?? 0, inbox?.trimmed ?? 0), end: row?.end ?? 0 }
  }

  /** Loads the ends of these logs. Entries older than FRESH_MS are validated first. */
  async load(userIds: Iterable<UserId>): Promise<Map<UserId, End>> {
    if (this.#known.size >= MAX_KNOWN) this.#known.clear()
    const wanted = new Set(userIds)
    const stale = performance.now() - FRESH_MS
    const old = [...wanted].filter(id => (this.#known.get(id)?.since ?? stale) < stale)
    if (old.length > 0) await this.#forgetTrimmed(old)
    const unknown = [...wanted].filter(id => !this.#known.has(id))
    await Promise.all(unknown.map(async id => this.remember({ inbox: id, ...(await this.read(id)) })))
    return new Map(Array.from(wanted, id => [id, this.#known.get(id) ?? NOTHING]))
  }

  async #forgetTrimmed(userIds: readonly UserId[]): Promise<void> {
    const projection = { trimmed: 1 }
    for (const { _id, trimmed = 0 } of await this.#env.inboxes
      .find({ _id: { $in: userIds } }, { projection })
      .toArray()) {
      if (trimmed > (this.#known.get(_id)?.seq ?? 0)) this.#known.delete(_id)
    }
  }

  /** Records an acknowledged row. */
  remember({ inbox, seq, end = 0 }: Pick<MessageDocument, 'inbox' | 'seq' | 'end'>): void {
    this.#known.set(inbox, { seq, end, since: performance.now() })
  }

  forget(userId: UserId): void {
    this.#known.delete(userId)
  }
}
