/** The store in MongoDB or a compatible server. docs/mongodb.md describes its documents and indexes. */
import { GatewayError } from '../../core/errors.js'
import { AnswersInOrder } from '../../flow/in-order.js'
import { BaseStore } from '../base.js'
import { MongoEnv, type MongoOptions } from './env.js'
import { type MongoParts, makeParts } from './parts.js'

export class MongoStore extends BaseStore<MongoParts> {
  protected readonly backupEnding = 'jsonl.gz'
  readonly #env: MongoEnv
  /** All roles share it: their writes are answered in the order of the calls. */
  readonly #writes = new AnswersInOrder()

  constructor(options: MongoOptions) {
    super(options.upgrade)
    this.#env = new MongoEnv(options)
  }

  protected async openParts(): Promise<MongoParts> {
    await this.#env.open()
    const parts = makeParts(this.#env, this.#writes)
    try {
      await parts.lease.take()
      await parts.kv.open()
    } catch (thrown) {
      await this.#release(parts)
      throw thrown
    }
    return parts
  }

  protected async tidy({ users, inbox }: MongoParts): Promise<void> {
    await users.finishDeletions()
    // Texts that a failure left behind, in the background. If it fails, the next open tries again.
    void inbox.sweep().catch(() => undefined)
  }

  protected async closeParts(parts: MongoParts): Promise<void> {
    const { users, inbox, cursors, kv } = parts
    await Promise.all([users, inbox, cursors, kv].map(part => part.idle()))
    await this.#writes.idle()
    await this.#release(parts)
  }

  async #release({ lease }: MongoParts): Promise<void> {
    await lease.release()
    await this.#env.close()
  }

  protected async backupOf(): Promise<number> {
    throw new GatewayError('FORBIDDEN', { field: 'file', reason: 'is no copy that MongoDB makes' })
  }

  /** Indexes are the server's. Texts without rows go by themselves (texts.ts). */
  async *strays(): AsyncGenerator<string> {
    await this.parts.users.deletionsFinished()
    yield* []
  }

  async ping(): Promise<void> {
    await this.parts.lease.renew()
    await this.users.findUsers({}, 1)
  }
}
