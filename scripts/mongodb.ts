/** Databases for scripts that start gateways on MongoDB: on the server that MUMI_TEST_MONGODB_URL names. */
import { randomUUID } from 'node:crypto'
import { MongoClient } from 'mongodb'

export interface MongoPlace {
  readonly url: string
  readonly database: string
  /** Removes the database. */
  drop(): Promise<void>
}

/** A database of its own, made by whoever writes to it first. @throws where no server is named */
export function mongoPlace(purpose: string): MongoPlace {
  const url = process.env.MUMI_TEST_MONGODB_URL
  if (url === undefined) throw new Error('MUMI_TEST_MONGODB_URL must name a MongoDB server')
  const database = `mumi-${purpose}-${randomUUID().slice(0, 8)}`
  return {
    url,
    database,
    async drop() {
      const client = new MongoClient(url)
      await client.db(database).dropDatabase()
      await client.close()
    },
  }
}

/** Config keys for a gateway there. */
export const mongoSettings = ({ url, database }: MongoPlace): Record<string, string> => ({
  'store.type': 'mongodb',
  'store.mongodb.url': url,
  'store.mongodb.database': database,
})
