/** What an append to logs will do: which messages are new, their seqs, and the answers. Nothing is written here. */
import { GatewayError } from '../../core/errors.js'
import { saysTheSame } from '../../core/message.js'
import type { NewMessage, UserId } from '../../core/model.js'
import type { DeletedUsers } from '../deleted.js'
import type { Appended } from '../store.js'
import type { DedupWindow } from './dedup.js'
import type { Ends } from './ends.js'
import { boundedKey } from './keys.js'
import type { Pending } from './pending.js'
import type { Added, JournalRow, Rows } from './rows.js'
import { userNumber } from './users.js'

/** What one append will do: an answer for each message, and the rows to put. */
export interface Plan {
  readonly results: Appended[]
  readonly added: Added[]
  /** By dedupKey; made when the first is to be remembered. */
  keyed: Map<string, Keyed> | undefined
}

/** A message that has a dedupKey, and its answer. */
interface Keyed {
  readonly message: NewMessage
  readonly result: Appended
}

export class AppendPlanner {
  constructor(
    private readonly rows: Rows,
    private readonly ends: Ends,
    private readonly dedup: DedupWindow,
    private readonly pending: Pending,
    private readonly deleted: DeletedUsers,
  ) {}

  /** Call it within a read: all that it looks up is of one snapshot. */
  plan(batch: readonly NewMessage[], now: number): Plan {
    const plan: Plan = { results: [], added: [], keyed: undefined }
    for (const message of batch) {
      const { dedupKey, id } = message
      if (dedupKey !== undefined) boundedKey([dedupKey])
      const owner = ownerNumber(message.inbox)
      // What was planned before the account was deleted is queued before the purge, which removes it.
      if (this.deleted.has(message.inbox)) {
        plan.results.push({ seq: 0, id, repeat: false, isGone: true })
        continue
      }
      const first = this.#firstOf(message, owner, plan, now)
      if (first === 'other' && message.isKeyExact) {
        plan.results.push({ seq: 0, id, repeat: false, isOther: true })
        continue
      }
      if (typeof first === 'object') {
        plan.results.push({ ...first, repeat: true })
        continue
      }
      if (message.mustRepeat) {
        plan.results.push({ seq: 0, id, repeat: false, isFull: true })
        continue
      }
      plan.results.push(this.#add(message, owner, plan))
    }
    return plan
  }

  #add(message: NewMessage, owner: number, plan: Plan): Appended {
    const { dedupKey, id } = message
    const bytes = Buffer.byteLength(message.text)
    const end = this.ends.of(owner)
    end.seq++
    end.bytes += bytes
    const result = { seq: end.seq, id, repeat: false }
    if (dedupKey !== undefined) {
      plan.keyed ??= new Map()
      plan.keyed.set(dedupKey, { message, result })
    }
    plan.added.push({ message, owner, seq: end.seq, end: end.bytes, bytes })
    return result
  }

  /** The message that this one repeats; `other`: another one has its key; undefined: none has, or it was removed since. */
  #firstOf(message: NewMessage, owner: number, plan: Plan, now: number): Appended | 'other' | undefined {
    const { dedupKey, isFirst } = message
    if (dedupKey === undefined || isFirst) return undefined
    const planned = plan.keyed?.get(dedupKey)
    if (planned !== undefined) return saysTheSame(planned.message, message) ? planned.result : 'other'
    const waiting = this.pending.byKey(dedupKey)
    if (waiting !== undefined) return this.#repeats(message, waiting, now)
    const found = this.dedup.find(dedupKey, now)
    if (found === undefined) return undefined
    // Of a key from before owners were noted, the row tells whether it is in this inbox.
    if (found.owner !== undefined && found.owner !== owner) return 'other'
    const row = this.rows.get(owner, found.seq)
    if (row === undefined) return undefined
    const { seq, id } = found
    return row.id === id && saysTheSame(row, message) ? { seq, id, repeat: true } : 'other'
  }

  #repeats(message: NewMessage, waiting: JournalRow, now: number): Appended | 'other' | undefined {
    const { owner, seq, id, storedAt } = waiting
    if (!this.dedup.counts(storedAt, now)) return undefined
    if (owner !== Number(message.inbox)) return 'other'
    const row = this.rows.rowOf(waiting)
    if (row === undefined) return undefined
    return saysTheSame(row, message) ? { seq, id, repeat: true } : 'other'
  }
}

function ownerNumber(id: UserId): number {
  const owner = userNumber(id)
  if (owner === 0) throw new GatewayError('ERROR_FIND_USER', { field: 'inbox', reason: 'not a user id' })
  return owner
}
