/** Appending to logs in the embedded store: a batch is planned on one snapshot, then written by one commit. */
import { MESSAGE_KINDS } from '../../core/message-kinds.js'
import type { NewMessage } from '../../core/model.js'
import { Serial } from '../../flow/serial.js'
import type { DeletedUsers } from '../deleted.js'
import type { Appended } from '../store.js'
import { type Added, AppendPlanner } from './append-plan.js'
import { Conversations } from './conversations.js'
import type { DedupWindow } from './dedup.js'
import type { Ends } from './ends.js'
import type { EmbeddedEnv } from './env.js'
import { headOf, MAX_HEAD_BYTES, type Rows } from './rows.js'
import { encoded } from './table.js'

/** Its row, its place in the conversation, its dedup key. */
const PUTS_PER_MESSAGE = 3

export class EmbeddedAppend {
  readonly #appending = new Serial()
  readonly #planner: AppendPlanner

  constructor(
    private readonly env: EmbeddedEnv,
    private readonly rows: Rows,
    private readonly conversations: Conversations,
    private readonly ends: Ends,
    private readonly dedup: DedupWindow,
    deleted: DeletedUsers,
  ) {
    this.#planner = new AppendPlanner(rows, ends, dedup, deleted)
  }

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
      const { results, added, keys } = this.env.read(() => this.#planner.plan(batch, now))
      if (added.length > 0) {
        await this.env.write(() => {
          this.#put(added)
          this.dedup.put(keys, now)
        }, PUTS_PER_MESSAGE * added.length)
        this.dedup.committed(now)
      }
      return results
    } catch (thrown) {
      this.ends.forgetAll()
      throw thrown
    }
  }

  /** Call it within a write. One buffer holds the values of all rows: lmdb copies what it is given only when it commits. */
  #put(added: readonly Added[]): void {
    const shared = new Map<string, string>()
    let size = 0
    for (const { message, bytes } of added)
      size +=
        MAX_HEAD_BYTES +
        (MESSAGE_KINDS[message.kind].isShared ? 0 : bytes) +
        (message.conversation === undefined ? 0 : Conversations.PLACE_BYTES)
    const buffer = Buffer.allocUnsafeSlow(size)
    let at = 0
    for (const { message, owner, seq, end } of added) {
      const { id, kind, text, conversation } = message
      const start = at
      at += buffer.write(headOf(message, end), at, 'latin1')
      if (MESSAGE_KINDS[kind].isShared) {
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
