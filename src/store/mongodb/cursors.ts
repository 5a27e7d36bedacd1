/** Cursors of devices in the MongoDB store. */
import type { AnyBulkWriteOperation } from 'mongodb'
import type { Cursor, UserId } from '../../core/model.js'
import type { AnswersInOrder } from '../../flow/in-order.js'
import type { DeletedUsers, Purgeable } from '../deleted.js'
import type { CursorMove, CursorStore, StoredDevice } from '../store.js'
import type { DeviceDocument, InboxDocument } from './documents.js'
import type { MongoEnv } from './env.js'
import { isDuplicate, toStoreError } from './errors.js'
import { Group, type Outcome } from './group.js'
import { keysUnder, textKey } from './keys.js'

/** Most calls in one write. */
const CALLS_PER_WRITE = 1000

type Moves = readonly CursorMove[]

export class MongoCursors implements CursorStore, Purgeable {
  readonly #env: MongoEnv
  readonly #moves: Group<Moves, void>

  constructor(
    env: MongoEnv,
    private readonly writes: AnswersInOrder,
    private readonly deleted: DeletedUsers,
  ) {
    this.#env = env
    this.#moves = new Group({
      write: calls => this.#write(calls),
      timeoutMs: env.options.timeoutMs,
      maxItems: CALLS_PER_WRITE,
    })
  }

  moveCursors(moves: Moves): Promise<void> {
    return this.writes.keep(moves.length === 0 ? Promise.resolve() : this.#moves.add(moves))
  }

  async idle(): Promise<void> {
    await this.#moves.idle()
  }

  async #write(calls: readonly Moves[]): Promise<Outcome<void>[]> {
    const moves = calls.flat().filter(({ userId }) => !this.deleted.has(userId))
    if (moves.length === 0) return calls.map(() => ({ value: undefined }))
    try {
      await this.#upsert(moves)
    } catch (thrown) {
      // Another gateway inserted a document that both had found missing. It exists now, so the second try succeeds.
      if (!isDuplicate(thrown)) throw toStoreError(thrown)
      await this.#upsert(moves).catch(again => {
        throw toStoreError(again)
      })
    }
    return calls.map(() => ({ value: undefined }))
  }

  /** Idempotent and independent writes: one of each device's cursor, one of the highest seq confirmed by any device. */
  async #upsert(moves: Moves): Promise<void> {
    const unordered = { ordered: false }
    await Promise.all([
      this.#env.devices.bulkWrite(deviceWrites(moves), unordered),
      this.#env.inboxes.bulkWrite(furthestWrites(moves), unordered),
    ])
  }

  async cursor(userId: UserId, device: string): Promise<Cursor | undefined> {
    const found = await this.#env.run(() => this.#env.devices.findOne({ _id: textKey([userId, device]) }))
    if (found === null) return undefined
    return placeOf(found)
  }

  async devices(userId: UserId, limit: number): Promise<StoredDevice[]> {
    const all = this.#env.devices
      .find({ _id: keysUnder([userId]) })
      .sort({ _id: 1 })
      .limit(limit)
    const found = await this.#env.run(() => all.toArray())
    return found.map(one => ({ ...placeOf(one), device: one.device, seenAt: one.seenAt.getTime() }))
  }

  async furthest(userId: UserId): Promise<number> {
    const found = await this.#env.run(() => this.#env.inboxes.findOne({ _id: userId }))
    return found?.furthest ?? 0
  }

  async slowest(userId: UserId, seenSince = 0): Promise<number | undefined> {
    const filter = { _id: keysUnder([userId]), seenAt: { $gte: new Date(seenSince) } }
    const all = this.#env.devices.find(filter, { projection: { confirmed: 1 } })
    const places = (await this.#env.run(() => all.toArray())).map(({ confirmed }) => confirmed)
    return places.length === 0 ? undefined : places.reduce((a, b) => Math.min(a, b))
  }

  async forgetDevices(before: number): Promise<number> {
    const old = { seenAt: { $lt: new Date(before) }, device: { $ne: '' } }
    return (await this.#env.run(() => this.#env.devices.deleteMany(old))).deletedCount
  }

  /** Removes the devices and the document of the inbox. */
  async purge(userId: UserId): Promise<void> {
    // Waits for moves that were accepted before the deletion.
    await this.#moves.add([])
    await this.#env.run(() => this.#env.devices.deleteMany({ _id: keysUnder([userId]) }))
    await this.#env.run(() => this.#env.inboxes.deleteOne({ _id: userId }))
  }
}

const placeOf = ({ confirmed, sent, released, settled }: DeviceDocument): Cursor => ({
  ...{ confirmed, sent, released },
  ...(settled && { settled }),
})

/** One write per device: its last move, with the highest `confirmed` of all its moves. */
function deviceWrites(moves: Moves): AnyBulkWriteOperation<DeviceDocument>[] {
  const latest = new Map<string, CursorMove>()
  for (const move of moves) {
    const key = textKey([move.userId, move.device])
    const confirmed = Math.max(move.confirmed, latest.get(key)?.confirmed ?? 0)
    latest.set(key, { ...move, confirmed })
  }
  return Array.from(latest, ([_id, { userId, device, confirmed, sent, released, settled, seenAt }]) => ({
    updateOne: {
      filter: { _id },
      update: {
        $max: { confirmed },
        $set: { user: userId, device, sent, released, ...(settled && { settled }), seenAt: new Date(seenAt) },
        ...(settled === undefined && { $unset: { settled: '' as const } }),
      },
      upsert: true,
    },
  }))
}

function furthestWrites(moves: Moves): AnyBulkWriteOperation<InboxDocument>[] {
  const furthest = new Map<UserId, number>()
  for (const { userId, confirmed } of moves)
    furthest.set(userId, Math.max(confirmed, furthest.get(userId) ?? 0))
  return Array.from(furthest, ([_id, confirmed]) => ({
    updateOne: { filter: { _id }, update: { $max: { furthest: confirmed } }, upsert: true },
  }))
}
