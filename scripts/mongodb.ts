/** Databases for scripts and tests, on the server of MUMI_TEST_MONGODB_URL. */
import { randomUUID } from 'node:crypto'
import { MongoClient } from 'mongodb'
import type { MongoOptions } from '../src/store/mongodb/env.js'

export interface MongoPlace {
  readonly url: string
  readonly database: string
  /** Removes the database. */
  drop(): Promise<void>
}

/** A new, unique database; the first write creates it. @throws Error if MUMI_TEST_MONGODB_URL is not set */
export function mongoPlace(purpose: string): MongoPlace {
  const url = process.env.MUMI_TEST_MONGODB_URL
  if (url === undefined) throw new Error('MUMI_TEST_MONGODB_URL must name a MongoDB server')
  const database = `mumi-${purpose}-${randomUUID().slice(0, 8)}`
  return {
    url,
    database,
    drop: () => dropDatabase(url, database),
  }
}

/** Removes the database, if it exists. @throws the driver's error if the server does not answer */
export async function dropDatabase(url: string, database: string): Promise<void> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 2000 })
  try {
    await client.db(database).dropDatabase()
  } finally {
    await client.close()
  }
}

/** Options for a store without a gateway: the default config with longer deadlines, for a busy test machine. */
export const mongoOptions = (url: string, database: string): MongoOptions => ({
  url,
  database,
  gateway: 'main',
  writeConcern: 'majority',
  journal: true,
  readConcern: 'majority',
  poolSize: 10,
  timeoutMs: 20_000,
  startTimeoutMs: 5000,
  dedupWindowMs: 3_600_000,
})

/** Config keys for a gateway on this database. */
export const mongoSettings = ({ url, database }: MongoPlace): Record<string, string> => ({
  'store.type': 'mongodb',
  'store.mongodb.url': url,
  'store.mongodb.database': database,
})
