/** Records of accounts in the MongoDB store. */
import { Binary, type Filter } from 'mongodb'
import type { UserId } from '../../core/model.js'
import type { AnswersInOrder } from '../../flow/in-order.js'
import type { DeletedUsers, Purgeable } from '../deleted.js'
import { SHARED_COLLECTIONS, type SharedCollection, type SharedRecord, type SharedRecords } from '../store.js'
import type { SharedDocument } from './documents.js'
import type { MongoEnv } from './env.js'
import { isDuplicate, toStoreError } from './errors.js'
import { bounded } from './group.js'

type Stored = Pick<SharedRecord, 'userId' | 'value'>

export const toSharedDocument = (key: string, { userId, value }: Stored): SharedDocument => ({
  _id: key,
  user: userId,
  value: Buffer.from(value),
})

export const toSharedRecord = ({ _id, user, value }: SharedDocument): SharedRecord => ({
  key: _id,
  userId: user,
  value,
})

export class MongoShared implements SharedRecords, Purgeable {
  constructor(
    private readonly env: MongoEnv,
    private readonly writes: AnswersInOrder,
    private readonly deleted: DeletedUsers,
  ) {}

  async sharedGet(collection: SharedCollection, key: string): Promise<SharedRecord | undefined> {
    const found = await this.env.run(() => this.env.shared(collection).findOne({ _id: key }))
    return found === null ? undefined : toSharedRecord(found)
  }

  async sharedOf(collection: SharedCollection, userId: UserId | ''): Promise<string[]> {
    const find = () =>
      this.env
        .shared(collection)
        .find({ user: userId }, { projection: { _id: 1 } })
        .sort({ _id: 1 })
        .toArray()
    return (await this.env.run(find)).map(({ _id }) => _id)
  }

  sharedSwap(
    collection: SharedCollection,
    key: string,
    before: Stored | undefined,
    after: Stored | undefined,
  ): Promise<boolean> {
    return this.writes.keep(this.#swap(collection, key, before, after))
  }

  /** One document each, which the server changes as a whole. */
  async #swap(
    name: SharedCollection,
    key: string,
    before: Stored | undefined,
    after: Stored | undefined,
  ): Promise<boolean> {
    if (after !== undefined && this.deleted.has(after.userId)) return false
    const collection = this.env.shared(name)
    const as: Filter<SharedDocument> | undefined = before && {
      ...{ _id: key, user: before.userId, value: new Binary(Buffer.from(before.value)) as never },
    }
    const work = async () => {
      if (after === undefined) {
        if (as === undefined) return (await collection.findOne({ _id: key })) === null
        return (await collection.deleteOne(as)).deletedCount === 1
      }
      const document = toSharedDocument(key, after)
      if (as !== undefined) return (await collection.replaceOne(as, document)).matchedCount === 1
      await collection.insertOne(document)
      return true
    }
    try {
      return await bounded(work(), this.env.options.timeoutMs)
    } catch (thrown) {
      if (isDuplicate(thrown)) return false
      throw toStoreError(thrown)
    }
  }

  async purge(id: UserId): Promise<void> {
    for (const collection of SHARED_COLLECTIONS)
      await this.env.run(() => this.env.shared(collection).deleteMany({ user: id }))
  }
}
