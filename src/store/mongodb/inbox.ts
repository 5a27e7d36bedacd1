/** Inbox logs in the MongoDB store. Conversation and dedupKey are fields of each message. */
import type { Filter } from 'mongodb'
import type { ConversationId, InboxRow, NewMessage, UserId } from '../../core/model.js'
import type { AnswersInOrder } from '../../flow/in-order.js'
import type { DeletedUsers, Purgeable } from '../deleted.js'
import type { Appended, ConversationRow, InboxLog } from '../store.js'
import { MongoAppend } from './append.js'
import type { MessageDocument } from './documents.js'
import { MongoEnds } from './ends.js'
import type { MongoEnv } from './env.js'
import { Group } from './group.js'
import { MAX_SEQ, rowId, rowsBehind } from './keys.js'
import type { MongoTexts, StoredRow } from './texts.js'

const ROW = {
  projection: {
    _id: 0,
    inbox: 1,
    seq: 1,
    id: 1,
    kind: 1,
    sender: 1,
    conversation: 1,
    expiresAt: 1,
    text: 1,
    bytes: 1,
  },
}

/** Rows of a deleted account that one command removes. */
const PURGE_CHUNK = 1000

export class MongoInbox implements InboxLog, Purgeable {
  readonly #env: MongoEnv
  readonly #ends: MongoEnds
  readonly #texts: MongoTexts
  readonly #batches: Group<readonly NewMessage[], Appended[]>

  constructor(
    env: MongoEnv,
    texts: MongoTexts,
    private readonly writes: AnswersInOrder,
    private readonly deleted: DeletedUsers,
  ) {
    this.#env = env
    this.#ends = new MongoEnds(env)
    this.#texts = texts
    const append = new MongoAppend(env, this.#ends, this.#texts)
    this.#batches = new Group({
      write: async batches => [{ value: await this.#append(append, batches.flat()) }],
      timeoutMs: env.options.timeoutMs,
      maxItems: 1,
    })
  }

  append(batch: readonly NewMessage[]): Promise<Appended[]> {
    return this.writes.keep(batch.length === 0 ? Promise.resolve([]) : this.#batches.add(batch))
  }

  async #append(append: MongoAppend, batch: readonly NewMessage[]): Promise<Appended[]> {
    const kept = batch.filter(({ inbox }) => !this.deleted.has(inbox))
    if (kept.length === batch.length) return append.run(batch)
    const results = new Map((await append.run(kept)).map((result, i) => [kept[i], result]))
    return batch.map(one => results.get(one) ?? { seq: 0, id: one.id, repeat: false, isGone: true })
  }

  async idle(): Promise<void> {
    await this.#batches.idle()
  }

  async lastSeq(userId: UserId): Promise<number> {
    return this.#env.run(async () => (await this.#ends.read(userId)).seq)
  }

  async firstSeq(userId: UserId): Promise<number> {
    const [first] = await this.readInbox(userId, 0, 1)
    return first?.seq ?? (await this.lastSeq(userId)) + 1
  }

  async readInbox(userId: UserId, after: number, limit: number, maxChars?: number): Promise<InboxRow[]> {
    // For MongoDB, limit 0 means no limit.
    return limit < 1 ? [] : this.#env.run(() => this.#read(userId, after, limit, maxChars))
  }

  async #read(
    userId: UserId,
    after: number,
    limit: number,
    maxChars = Number.MAX_VALUE,
  ): Promise<InboxRow[]> {
    const rows: StoredRow[] = []
    let chars = 0
    const cursor = this.#env.messages
      .find({ _id: rowsBehind(userId, after) }, ROW)
      .sort({ _id: 1 })
      .limit(limit)
    // Leaving the loop closes the cursor, and the server drops what it has prepared.
    for await (const row of cursor) {
      rows.push(row)
      // The text of a broadcast is not read yet. It has at most as many characters as bytes.
      chars += row.text?.length ?? row.bytes ?? 0
      if (chars >= maxChars) break
    }
    return (await this.#texts.fill(rows)).map(({ inbox: _, ...row }) => row)
  }

  /** `trimmed` is written first. Rows below it may exist for a moment, and no seq up to it is ever used again. */
  async trimInbox(userId: UserId, upTo: number, limit: number): Promise<number> {
    if (limit < 1 || upTo < 1) return 0
    const range = { $gt: rowId(userId, 0), $lte: rowId(userId, Math.min(upTo, MAX_SEQ)) }
    const find = () =>
      this.#env.messages
        .find({ _id: range }, { projection: { seq: 1, shared: 1 } })
        .sort({ _id: 1 })
        .limit(limit)
        .toArray()
    const rows = await this.#env.run(find)
    const last = rows.at(-1)
    if (last === undefined) return 0
    const trimmed = { $max: { trimmed: last.seq } }
    await this.#env.run(() => this.#env.inboxes.updateOne({ _id: userId }, trimmed, { upsert: true }))
    const gone = { _id: { $gt: rowId(userId, 0), $lte: last._id } }
    const shared = rows.flatMap(row => row.shared ?? [])
    await this.#env.run(() => this.#texts.mark(shared))
    const { deletedCount } = await this.#env.run(() => this.#env.messages.deleteMany(gone))
    if (shared.length > 0) await this.#env.run(() => this.#texts.sweep(Date.now()))
    return deletedCount
  }

  async inboxBytes(userId: UserId, after = 0): Promise<number> {
    const end = (order: 1 | -1) =>
      this.#env.messages
        .find({ _id: rowsBehind(userId, after) }, { projection: { bytes: 1, end: 1 } })
        .sort({ _id: order })
        .limit(1)
        .toArray()
    const [[first], [last]] = await this.#env.run(() => Promise.all([end(1), end(-1)]))
    return (last?.end ?? 0) - ((first?.end ?? 0) - (first?.bytes ?? 0))
  }

  async readConversation(
    conversation: ConversationId,
    limit: number,
    before?: string,
  ): Promise<ConversationRow[]> {
    if (limit < 1) return []
    const filter: Filter<MessageDocument> = {
      conversation,
      ...(before !== undefined && { id: { $lt: before } }),
    }
    const find = () => this.#env.messages.find(filter, ROW).sort({ id: -1 }).limit(limit).toArray()
    const rows = await this.#env.run(async () => this.#texts.fill(await find()))
    return rows.map(({ inbox, ...row }) => ({ inbox, row }))
  }

  /** Removes texts that a failure left behind, and texts that were too young when their last row was removed. */
  async sweep(): Promise<void> {
    await this.#env.run(() => this.#texts.sweep(Date.now()))
  }

  async purge(userId: UserId): Promise<void> {
    // Waits for batches that were accepted before the deletion.
    await this.#batches.add([])
    while ((await this.trimInbox(userId, Number.MAX_SAFE_INTEGER, PURGE_CHUNK)) === PURGE_CHUNK);
    this.#ends.forget(userId)
  }
}
