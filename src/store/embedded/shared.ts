/** Records of accounts in the embedded store. */
import type { UserId } from '../../core/model.js'
import type { DeletedUsers, Purgeable } from '../deleted.js'
import {
  isSameRecord,
  SHARED_COLLECTIONS,
  type SharedCollection,
  type SharedRecord,
  type SharedRecords,
} from '../store.js'
import type { EmbeddedEnv } from './env.js'
import { boundedKey, LAST } from './keys.js'
import type { OpenTable, Table } from './table.js'
import { userNumber } from './users.js'

export type { SharedCollection, SharedRecord } from '../store.js'

/** Records that one commit removes. */
const CHUNK = 100

export type StoredRecord = Pick<SharedRecord, 'userId' | 'value'>

/** Table of a collection's records: [key] → record. */
export const sharedTable = (table: OpenTable, name: SharedCollection): Table<StoredRecord> =>
  table(`shared-${name}`)

/** [owner, collection, key]. */
export const ownersTable = (table: OpenTable): Table<number> => table('shared-owners')

export class EmbeddedShared implements SharedRecords, Purgeable {
  readonly #env: EmbeddedEnv
  readonly #records: Readonly<Record<SharedCollection, Table<StoredRecord>>>
  readonly #owners: Table<number>

  constructor(
    env: EmbeddedEnv,
    table: OpenTable,
    private readonly deleted: DeletedUsers,
  ) {
    this.#env = env
    this.#records = { names: sharedTable(table, 'names'), images: sharedTable(table, 'images') }
    this.#owners = ownersTable(table)
  }

  async sharedGet(collection: SharedCollection, key: string): Promise<SharedRecord | undefined> {
    return this.#env.read(() => this.#get(collection, key))
  }

  async sharedOf(collection: SharedCollection, userId: UserId | ''): Promise<string[]> {
    const owner = [userNumber(userId), collection]
    return this.#env.read(() =>
      Array.from(this.#owners.getKeys({ start: owner, end: [...owner, LAST] }), key => String(key[2])),
    )
  }

  async sharedSwap(
    collection: SharedCollection,
    key: string,
    before: StoredRecord | undefined,
    after: StoredRecord | undefined,
  ): Promise<boolean> {
    if (after !== undefined && this.deleted.has(after.userId)) return false
    boundedKey([key])
    return this.#env.transaction(() => {
      const found = this.#get(collection, key)
      if (!isSameRecord(found, before)) return false
      if (found !== undefined) this.#owners.remove([userNumber(found.userId), collection, key])
      if (after === undefined) this.#records[collection].remove([key])
      else {
        const { userId, value } = after
        this.#records[collection].put([key], { userId, value: Buffer.from(value) })
        this.#owners.put([userNumber(userId), collection, key], 0)
      }
      return true
    })
  }

  async purge(id: UserId): Promise<void> {
    const owner = userNumber(id)
    for (const collection of SHARED_COLLECTIONS)
      for (;;) {
        const keys = (await this.sharedOf(collection, id)).slice(0, CHUNK)
        if (keys.length === 0) break
        await this.#env.write(() => {
          for (const key of keys) {
            this.#records[collection].remove([key])
            this.#owners.remove([owner, collection, key])
          }
        }, 2 * keys.length)
      }
  }

  #get(collection: SharedCollection, key: string): SharedRecord | undefined {
    const found = this.#records[collection].get([key])
    return found && { key, ...found }
  }
}
