/** The server that tests of the MongoDB store use. Without one they are skipped, aloud. */
import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { dropDatabase, mongoOptions } from '../../scripts/mongodb.js'
import type { MongoOptions } from '../../src/store/mongodb/env.js'
import { MongoStore } from '../../src/store/mongodb/store.js'

/** A server for tests: each makes databases of its own there, and removes them. */
export const MONGODB_URL = process.env.MUMI_TEST_MONGODB_URL

/** For the options of `t.test`: why it is skipped, false where it is not. */
export const skipWithoutMongo = MONGODB_URL === undefined && 'MUMI_TEST_MONGODB_URL names no server'

/** The store of whole gateways that tests start: `embedded`, or what MUMI_TEST_STORE says. */
export const TEST_STORE = process.env.MUMI_TEST_STORE ?? 'embedded'
if (TEST_STORE === 'mongodb' && MONGODB_URL === undefined)
  throw new Error('MUMI_TEST_STORE is mongodb, and MUMI_TEST_MONGODB_URL names no server')

/** A database that no other test has, gone with the test. */
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
