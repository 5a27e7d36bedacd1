/** Indexes of the MongoDB store. */
import type { Collection, Db } from 'mongodb'
import { SHARED_COLLECTIONS } from '../store.js'

/** Uses only what every compatible server supports: unique, sparse and compound indexes, no partial ones. */
export async function makeIndexes(db: Db): Promise<void> {
  const make = (name: string, indexes: Parameters<Collection['createIndexes']>[0]) =>
    db.collection(name).createIndexes(indexes)
  await make('users', [
    { key: { emailKey: 1 }, unique: true, sparse: true },
    { key: { username: 1 }, unique: true, sparse: true },
    { key: { ordinal: 1 }, unique: true },
    { key: { firstName: 1, ordinal: 1 } },
    { key: { lastName: 1, ordinal: 1 } },
    // For queries by both names: with one of the two indexes above, all users with one of the names would be read.
    { key: { firstName: 1, lastName: 1, ordinal: 1 } },
    { key: { purging: 1 }, sparse: true },
  ])
  await make('messages', [
    { key: { conversation: 1, id: -1 } },
    { key: { dedup: 1 }, sparse: true },
    { key: { shared: 1 }, sparse: true },
  ])
  await make('texts', [{ key: { unheld: 1 }, sparse: true }])
  await make('devices', [{ key: { seenAt: 1 } }])
  for (const name of SHARED_COLLECTIONS) await make(name, [{ key: { user: 1 } }])
}
