/** The server for tests of the MongoDB store. Without one, tap reports the tests as skipped. */
import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { dropDatabase, mongoOptions } from '../../scripts/mongodb.js'
import type { MongoOptions } from '../../src/store/mongodb/env.js'
import { MongoStore } from '../../src/store/mongodb/store.js'

/** URL of the test server; each test creates and removes its own databases. */
export const MONGODB_URL = process.env.MUMI_TEST_MONGODB_URL

/** Option of `t.test`: the reason to skip, or false. */
export const skipWithoutMongo = MONGODB_URL === undefined && 'MUMI_TEST_MONGODB_URL names no server'

/** The store of gateways in tests: MUMI_TEST_STORE, default `embedded`. */
export const TEST_STORE = process.env.MUMI_TEST_STORE ?? 'embedded'
if (TEST_STORE === 'mongodb' && MONGODB_URL === undefined)
  throw new Error('MUMI_TEST_STORE is mongodb, and MUMI_TEST_MONGODB_URL names no server')

/** A database for one test; its teardown removes it. */
export function testDatabase(
  t: Test,
  name: string = `mumi-test-${randomUUID()}`,
  url = MONGODB_URL ?? '',
): string {
  t.teardown(() => dropDatabase(url, name).catch(() => undefined))
  return name
}

export function mongoStore(database: string, differing: Partial<MongoOptions> = {}): MongoStore {
  return new MongoStore({ ...mongoOptions(MONGODB_URL ?? '', database), ...differing })
}
