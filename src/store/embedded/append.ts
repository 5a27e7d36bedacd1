/**
 * Appending to logs in the embedded store: a batch is planned, and written to the journal by one write. Then it is
 * acknowledged, and can be read (pending.ts). LMDB gets it behind that (apply.ts).
 */
import { GatewayError } from '../../core/errors.js'
import type { NewMessage } from '../../core/model.js'
import { Serial } from '../../flow/serial.js'
import type { Appended } from '../store.js'
import type { AppendPlanner } from './append-plan.js'
import type { Apply } from './apply.js'
import type { Ends } from './ends.js'
import type { EmbeddedEnv } from './env.js'
import { toStoreError } from './errors.js'
import type { Journal } from './journal.js'
import { encodeRecord, RecordRoom } from './journal-record.js'
import type { Pending } from './pending.js'

/** Beyond this LMDB is waited for. */
const MAX_PENDING_BYTES = 32 << 20

export interface AppendParts {
  readonly env: EmbeddedEnv
  readonly planner: AppendPlanner
  readonly ends: Ends
  readonly pending: Pending
  readonly journal: Journal
  readonly apply: Apply
}

export class EmbeddedAppend {
  readonly #appending = new Serial()
  readonly #room = new RecordRoom()

  constructor(private readonly parts: AppendParts) {}

  /** One batch after the other, in the order of the calls. */
  run(batch: readonly NewMessage[]): Promise<Appended[]> {
    return this.#appending.run(() => this.#append(batch))
  }

  /** The same, if no batch is under way and nothing else has to be waited for. @throws GatewayError */
  runNow(batch: readonly NewMessage[]): Appended[] | undefined {
    const { env, journal } = this.parts
    const mustWait = env.durability === 'flush' || !journal.isBegun || env.acknowledged !== undefined
    if (mustWait || this.#mustApply || !this.#appending.isIdle) return undefined
    return this.#checkedWrite(batch)
  }

  /**
   * At the opening of the store: what an earlier process left in the journal can be read and goes to LMDB.
   * @throws GatewayError; where the disk is full, it is tried again later
   */
  async recover(): Promise<void> {
    const { pending, journal, apply } = this.parts
    for (const record of journal.read()) pending.add(record)
    apply.added()
    try {
      await apply.all()
      await journal.begin()
    } catch (thrown) {
      if (!(thrown instanceof GatewayError && thrown.kind === 'STORE_FULL')) throw thrown
    }
  }

  /** Waits for every append, and writes all of the journal to LMDB. To be called before the store closes. */
  async close(): Promise<void> {
    const { env, journal, apply } = this.parts
    await this.#appending.idle()
    apply.stop()
    const stored = apply.all().then(() => env.durable())
    await journal.close(
      await stored.then(
        () => true,
        () => false,
      ),
    )
  }

  async #append(batch: readonly NewMessage[]): Promise<Appended[]> {
    const { env, journal, apply } = this.parts
    await journal.begin()
    if (this.#mustApply) await apply.all()
    const results = this.#checkedWrite(batch)
    if (env.durability === 'flush') await journal.synced()
    await env.acknowledged
    return results
  }

  get #mustApply(): boolean {
    const { apply, pending } = this.parts
    return apply.isFailing || pending.bytes > MAX_PENDING_BYTES
  }

  #checkedWrite(batch: readonly NewMessage[]): Appended[] {
    const { env, ends } = this.parts
    ends.makeRoom()
    env.checkLately()
    return this.#write(batch)
  }

  /** All in one turn: what is planned is in the journal before anything else looks. */
  #write(batch: readonly NewMessage[]): Appended[] {
    const { env, planner, ends, pending, journal, apply } = this.parts
    const now = Date.now()
    try {
      const { results, added } = env.read(() => planner.plan(batch, now))
      if (added.length === 0) return results
      const { record, bytes } = encodeRecord(journal.next, now, added, this.#room)
      journal.append(bytes)
      pending.add(record)
      apply.added()
      return results
    } catch (thrown) {
      ends.forgetAll()
      throw toStoreError(thrown, env.dir)
    }
  }
}
