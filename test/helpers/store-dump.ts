/** The whole content of a closed store as text: all LMDB databases or all MongoDB collections. */
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { open } from 'lmdb'
import { BSON, MongoClient } from 'mongodb'
import { MONGODB_URL, TEST_STORE } from './mongodb.js'

export async function dump({ dir }: { readonly dir: string }): Promise<string> {
  return TEST_STORE === 'mongodb' ? dumpMongo(basename(dir)) : dumpLmdb(dir)
}

async function dumpLmdb(dir: string): Promise<string> {
  const path = [dir, join(dir, 'store'), join(dir, 'db')].find(one => existsSync(join(one, 'data.mdb')))
  const root = open({ path: path ?? dir, readOnly: true, maxDbs: 64, encoding: 'binary' })
  const parts: string[] = []
  // Read all names first: opening a database ends the transaction that reads the names.
  for (const name of [...root.getKeys()]) {
    const table = root.openDB(String(name), { encoding: 'binary', keyEncoding: 'binary' })
    for (const { key, value } of table.getRange())
      parts.push(
        `${String(name)} ${Buffer.from(key as Uint8Array).toString('latin1')} ${(value as Buffer).toString('latin1')}`,
      )
  }
  await root.close()
  return parts.join('\n')
}

async function dumpMongo(database: string): Promise<string> {
  const client = await MongoClient.connect(MONGODB_URL ?? '')
  try {
    const db = client.db(database)
    const parts: string[] = []
    for (const { name } of await db.listCollections().toArray())
      for await (const document of db.collection(name).find()) parts.push(`${name} ${text(document)}`)
    return parts.join('\n')
  } finally {
    await client.close()
  }
}

/** BSON keeps text readable, also in binary values. */
const text = (document: object): string => Buffer.from(BSON.serialize(document)).toString('latin1')
