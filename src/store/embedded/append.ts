/** Appending to logs in the embedded store: a batch is planned on one snapshot, then written by one commit. */
import { GatewayError } from '../../core/errors.js'
import { saysTheSame } from '../../core/message.js'
import type { NewMessage, UserId } from '../../core/model.js'
import { Serial } from '../../flow/serial.js'
import type { DeletedUsers } from '../deleted.js'
import type { Appended } from '../store.js'
import { Conversations } from './conversations.js'
import type { DedupWindow } from './dedup.js'
import type { Ends } from './ends.js'
import type { EmbeddedEnv } from './env.js'
import { boundedKey } from './keys.js'
import { headOf, MAX_HEAD_BYTES, type Rows } from './rows.js'
import { encoded } from './table.js'
import { userNumber } from './users.js'

interface Added {
  readonly message: NewMessage
  readonly owner: number
  readonly seq: number
  /** Bytes of text that the inbox was given up to and including this message. */
  readonly end: number
  /** Bytes of this message's text. */
  readonly bytes: number
}

/** What one append will do: an answer for each message, the rows to put, the dedupKeys to remember. */
interface Plan {
  readonly results: Appended[]
  readonly added: Added[]
  readonly keys: Map<string, Appended>
  /** The messages with these keys. */
  readonly keyed: Map<string, NewMessage>
}

export class EmbeddedAppend {
  readonly #appending = new Serial()

  constructor(
    private readonly env: EmbeddedEnv,
    private readonly rows: Rows,
    private readonly conversations: Conversations,
    private readonly ends: Ends,
    private readonly dedup: DedupWindow,
    private readonly deleted: DeletedUsers,
  ) {}

  /** One batch after the other, in the order of the calls. */
  run(batch: readonly NewMessage[]): Promise<Appended[]> {
    return this.#appending.run(() => this.#append(batch))
  }

  /** Resolves when every append asked for so far has its answer. */
  idle(): Promise<void> {
    return this.#appending.idle()
  }

  async #append(batch: readonly NewMessage[]): Promise<Appended[]> {
    const now = Date.now()
    this.ends.makeRoom()
    try {
      const { results, added, keys } = this.env.read(() => this.#plan(batch, now))
      if (added.length > 0) {
        await this.env.write(() => {
          this.#put(added)
          this.dedup.put(keys, now)
        })
        this.dedup.committed(now)
      }
      return results
    } catch (thrown) {
      this.ends.forgetAll()
      throw thrown
    }
  }

  #plan(batch: readonly NewMessage[], now: number): Plan {
    const plan: Plan = { results: [], added: [], keys: new Map(), keyed: new Map() }
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
      if (first !== undefined) {
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
      plan.keys.set(dedupKey, result)
      plan.keyed.set(dedupKey, message)
    }
    plan.added.push({ message, owner, seq: end.seq, end: end.bytes, bytes })
    return result
  }

  /** The message that this one repeats, if any. */
  #firstOf(message: NewMessage, owner: number, plan: Plan, now: number): Appended | undefined {
    const { dedupKey, isFirst } = message
    if (dedupKey === undefined || isFirst) return undefined
    const planned = plan.keyed.get(dedupKey)
    if (planned !== undefined) return saysTheSame(planned, message) ? plan.keys.get(dedupKey) : undefined
    const found = this.dedup.find(dedupKey, now)
    const row = found && this.rows.get(owner, found.seq)
    return row !== undefined && row.id === found?.id && saysTheSame(row, message) ? found : undefined
  }

  /** Call it within a write. One buffer holds the values of all rows: lmdb copies what it is given only when it commits. */
  #put(added: readonly Added[]): void {
    const shared = new Map<string, string>()
    let size = 0
    for (const { message, bytes } of added)
      size += MAX_HEAD_BYTES + (message.kind === 'broadcast' ? 0 : bytes + Conversations.PLACE_BYTES)
    const buffer = Buffer.allocUnsafeSlow(size)
    let at = 0
    for (const { message, owner, seq, end } of added) {
      const { id, kind, text, conversation } = message
      const start = at
      at += buffer.write(headOf(message, end), at, 'latin1')
      if (kind === 'broadcast') {
        shared.set(id, text)
        this.rows.putHolder({ id, owner, seq })
      } else at += buffer.write(text, at)
      this.rows.table.put([owner, seq], encoded(buffer.subarray(start, at)))
      if (conversation === undefined) continue
      this.conversations.put(conversation, id, { owner, seq }, buffer, at)
      at += Conversations.PLACE_BYTES
    }
    for (const [id, text] of shared) this.rows.putText(id, text)
  }
}

function ownerNumber(id: UserId): number {
  const owner = userNumber(id)
  if (owner === 0) throw new GatewayError('ERROR_FIND_USER', { field: 'inbox', reason: 'not a user id' })
  return owner
}
