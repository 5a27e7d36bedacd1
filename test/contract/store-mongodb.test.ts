import t, { type Test } from 'tap'
import { mongoStore, skipWithoutMongo, testDatabase } from '../helpers/mongodb.js'
import type { StoreOptions, StoreUnderTest } from '../helpers/store-samples.js'
import { storeContract } from './store.contract.js'

async function open(t: Test, { dedupWindowMs = 3_600_000 }: StoreOptions = {}): Promise<StoreUnderTest> {
  const database = testDatabase(t)
  let store = mongoStore(database, { dedupWindowMs })
  await store.open()
  t.teardown(() => store.close())
  const reopen = async () => {
    await store.close()
    store = mongoStore(database, { dedupWindowMs })
    await store.open()
    return store
  }
  return { store, reopen }
}

if (skipWithoutMongo) t.test('the MongoDB store', { skip: skipWithoutMongo }, () => undefined)
else storeContract(t, open)
