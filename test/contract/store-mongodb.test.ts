import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Collection, MongoClient } from 'mongodb'
import t, { type Test } from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { ofKind } from '../helpers/kind.js'
import { MONGODB_URL, mongoStore, skipWithoutMongo, testDatabase } from '../helpers/mongodb.js'
import { plainNode } from '../helpers/plain-node.js'
import { TYPESCRIPT } from '../helpers/script.js'
import {
  ANN,
  BOB,
  broadcast,
  EVE,
  everyCall,
  keysOf,
  message,
  messages,
  type StoreOptions,
  type StoreUnderTest,
  user,
} from '../helpers/store-samples.js'
import { storeContract } from './store.contract.js'

const skip = { skip: skipWithoutMongo }

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

async function opened(t: Test, database: string, gateway: string) {
  const store = mongoStore(database, { gateway })
  await store.open()
  t.teardown(() => store.close())
  return store
}

async function rawClient(t: Test): Promise<MongoClient> {
  const client = new MongoClient(MONGODB_URL ?? '')
  t.teardown(() => client.close())
  return client
}

if (skipWithoutMongo) t.test('the MongoDB store', skip, () => undefined)
else storeContract(t, open)

t.test('two gateways append to the same inboxes: no gap, no duplicate, each in its order', skip, async t => {
  const database = testDatabase(t)
  const writers = await Promise.all(['one', 'two', 'three'].map(name => opened(t, database, name)))
  const sent = writers.map(() => [...messages(150), ...messages(150, ANN, EVE)])
  await Promise.all(
    writers.map(async (writer, w) => {
      const own = sent[w] ?? []
      for (let i = 0; i < own.length; i += 7) {
        const batch = own.slice(i, i + 7)
        const results = await writer.inbox.append(batch)
        t.same(
          results.map(({ id, repeat }) => [id, repeat]),
          batch.map(({ id }) => [id, false]),
        )
      }
    }),
  )
  for (const inbox of [BOB, EVE]) {
    const rows = (await writers[0]?.inbox.readInbox(inbox, 0, 1000)) ?? []
    t.same(
      rows.map(({ seq }) => seq),
      Array.from({ length: 450 }, (_, i) => i + 1),
    )
    for (const own of sent) {
      const ids = own.filter(one => one.inbox === inbox).map(({ id }) => id)
      t.same(
        rows.map(({ id }) => id).filter(id => ids.includes(id)),
        ids,
      )
    }
  }
})

t.test('if two gateways register the same address and user name, one succeeds', skip, async t => {
  const database = testDatabase(t)
  const [one, two] = [await opened(t, database, 'one'), await opened(t, database, 'two')]
  for (let i = 0; i < 10; i++) {
    const emailKey = `same${i}@example.org`
    const outcomes = await Promise.allSettled([
      one.users.createUser(user(String(200000000 + i), { emailKey })),
      two.users.createUser(user(String(300000000 + i), { emailKey })),
    ])
    t.same(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  }
  const ids = (await one.users.findUsers({}, 100)).map(({ id }) => id)
  t.equal(ids.length, 10)
  t.same(
    (await two.users.findUsers({}, 3, ids[4])).map(({ id }) => id),
    ids.slice(5, 8),
    'one order for both',
  )
})

t.test('a resend to another gateway is recognised as a repeat', skip, async t => {
  const database = testDatabase(t)
  const [one, two] = [await opened(t, database, 'one'), await opened(t, database, 'two')]
  const first = message(ANN, BOB, { dedupKey: 'a 1' })
  await one.inbox.append([first])
  t.match(await two.inbox.append([{ ...first, id: 'another' }]), [{ seq: 1, id: first.id, repeat: true }])
})

t.test('a seq that another gateway has used and a limit has removed is not reused', skip, async t => {
  const database = testDatabase(t)
  const [one, two] = [await opened(t, database, 'one'), await opened(t, database, 'two')]
  await one.inbox.append(messages(3))
  await two.inbox.append(messages(5))
  await two.inbox.trimInbox(BOB, 8, 100)
  // What `one` remembers is 3; after a second it looks again. Not a pause: no event tells.
  const begun = performance.now()
  while (performance.now() - begun < 1100) await one.ping()
  t.match(await one.inbox.append(messages(1)), [{ seq: 9 }])
})

t.test('a name belongs to one running gateway, and to the next one after that has closed', skip, async t => {
  const database = testDatabase(t)
  const first = await opened(t, database, 'main')
  const second = mongoStore(database)
  await t.rejects(
    second.open(),
    ofKind('STORE_UNAVAILABLE', { info: { reason: /'main' is the gateway at/ } }),
  )
  await first.kv.kvWrite([{ put: 'meta', key: ['k'], value: Buffer.from('v') }])
  const other = await opened(t, database, 'other')
  t.same(await keysOf(other, 'meta'), [], 'each has its own state')
  await first.close()
  t.same(await keysOf(await opened(t, database, 'main'), 'meta'), [['k']])
})

t.test('the journal is applied at the next start', skip, async t => {
  const database = testDatabase(t)
  const db = (await rawClient(t)).db(database)
  const store = await opened(t, database, 'main')
  await store.kv.kvWrite([
    { put: 'meta', key: ['a'], value: Buffer.from('1') },
    { put: 'queue', key: ['b', 1], value: Buffer.from('2') },
    { remove: 'wills', key: ['c'] },
  ])
  await store.close()
  // As if the process had died between the journal and what it stands for.
  await db.collection('broker').deleteMany({})
  const again = await opened(t, database, 'main')
  t.same(await again.kv.kvGet('meta', ['a']), Buffer.from('1'))
  t.same(await keysOf(again, 'queue'), [['b', 1]])
  await again.kv.kvWrite([{ remove: 'meta', key: ['a'] }])
  await again.close()
  t.same(
    await keysOf(await opened(t, database, 'main'), 'meta'),
    [],
    'a later single write is not undone by it',
  )
})

/** A process with a store on `database`, and what it tells line by line. */
function child(t: Test, database: string, task: string): [ChildProcess, AsyncIterator<string>] {
  const script = join(import.meta.dirname, '../helpers/store-child.ts')
  const running = spawn(...plainNode(['--import', TYPESCRIPT, script, database, task]), {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { ...process.env, MUMI_TEST_STORE: 'mongodb' },
  })
  t.teardown(() => running.kill('SIGKILL'))
  return [running, createInterface({ input: running.stdout })[Symbol.asyncIterator]()]
}

for (const task of ['append', 'group'] as const) {
  t.test(
    `acknowledged writes survive SIGKILL of the gateway, and no group is stored in part: ${task}`,
    skip,
    async t => {
      const database = testDatabase(t)
      let acknowledged = 0
      for (const batches of [1, 7, 40]) {
        const [running, lines] = child(t, database, task)
        for (let i = 0; i < batches; i++)
          acknowledged = Number(JSON.parse((await lines.next()).value ?? 'null'))
        const gone = once(running, 'exit')
        running.kill('SIGKILL')
        await gone
        const store = mongoStore(database)
        await store.open()
        if (task === 'append') {
          const rows = await store.inbox.readInbox(BOB, 0, 1_000_000)
          t.ok(rows.length >= acknowledged, `${rows.length} of at least ${acknowledged}`)
          t.same(
            rows.map(({ seq }) => seq),
            rows.map((_, i) => i + 1),
          )
        } else {
          const values = new Set<number>()
          for await (const { value } of store.kv.kvRange('meta', ['group']))
            values.add(Number(Buffer.from(value)))
          t.equal(values.size, 1, 'all of a group or nothing')
          t.ok([...values].every(value => value >= acknowledged))
        }
        await store.close()
      }
    },
  )
}

/** `_id`, and the first field of each index. */
const INDEXED: Readonly<Record<string, readonly string[]>> = {
  users: ['_id', 'emailKey', 'username', 'ordinal', 'purging'],
  messages: ['_id', 'conversation', 'dedup', 'shared'],
  texts: ['_id', 'unheld'],
  devices: ['_id', 'seenAt'],
  inboxes: ['_id'],
  broker: ['_id'],
  journal: ['_id'],
  gateways: ['_id'],
  names: ['_id', 'user'],
  // The upgrade behind an opening asks for it.
  format: ['_id'],
  images: ['_id', 'user'],
}

t.test('the text of a broadcast is stored once, and removed an hour after its last row', skip, async t => {
  const database = testDatabase(t)
  const store = await opened(t, database, 'one')
  const texts = (await rawClient(t)).db(database).collection('texts')
  const appended = async (ageMs: number) => {
    const one = { ...broadcast(ANN, BOB), id: uuidv7({ msecs: Date.now() - ageMs }) }
    await store.inbox.append([ANN, BOB, EVE].map(inbox => ({ ...one, inbox })))
  }
  const trim = async (ids: readonly string[]) => {
    for (const id of ids) await store.inbox.trimInbox(id, 100, 100)
    return texts.countDocuments()
  }
  await appended(7_200_000)
  t.equal(await texts.countDocuments(), 1)
  t.equal(await trim([ANN, BOB]), 1)
  t.equal(await trim([EVE]), 0)
  await appended(0)
  t.equal(await trim([ANN, BOB, EVE]), 1, 'other rows of it may be on their way')
  t.equal(await texts.countDocuments({ unheld: true }), 1)
})

t.test('no call scans a collection', skip, async t => {
  const { store } = await open(t)
  await store.users.createUser(user(ANN, { username: 'ann' }))
  const asked: [string, string[]][] = []
  for (const name of ['find', 'findOne', 'updateOne', 'deleteOne', 'deleteMany', 'countDocuments'] as const) {
    const original: (...args: never[]) => unknown = Collection.prototype[name]
    Object.assign(Collection.prototype, {
      [name](this: Collection, ...args: never[]) {
        asked.push([this.collectionName, Object.keys(args[0] ?? {})])
        return original.apply(this, args)
      },
    })
    t.teardown(() => Object.assign(Collection.prototype, { [name]: original }))
  }
  for (const call of Object.values(everyCall(store))) await call()
  for (const query of [{ firstName: 'First' }, { lastName: 'Last' }, { username: '' }])
    await store.users.findUsers(query, 10, ANN)
  await store.inbox.append([message(ANN, BOB, { dedupKey: 'k' }), message(ANN, BOB, { dedupKey: 'k' })])
  t.ok(asked.length > 25)
  for (const [collection, fields] of asked) {
    // Empty: the highest ordinal, by its index.
    const isIndexed = fields.length === 0 || fields.some(field => INDEXED[collection]?.includes(field))
    t.ok(isIndexed, `${collection} by ${fields.join(', ')}`)
  }
})

t.test('every index exists', skip, async t => {
  const database = testDatabase(t)
  await opened(t, database, 'main')
  const db = (await rawClient(t)).db(database)
  for (const [collection, fields] of Object.entries(INDEXED)) {
    if (fields.length === 1) continue
    const firsts = (await db.collection(collection).indexes()).map(({ key }) => Object.keys(key)[0])
    for (const field of fields) t.ok(firsts.includes(field), `${collection}.${field}`)
  }
})

t.test('a query for names has an index with these names and the order of the result', skip, async t => {
  const database = testDatabase(t)
  await opened(t, database, 'main')
  const users = (await rawClient(t)).db(database).collection('users')
  const indexes = (await users.indexes()).map(({ key }) => Object.keys(key).join())
  for (const names of ['firstName', 'lastName', 'firstName,lastName'])
    t.ok(indexes.includes(`${names},ordinal`), names)
})

t.test('an error contains neither the password nor a document', skip, async t => {
  for (const url of [
    'mongodb://ann:s3cret@',
    'mongodb://ann:s3cret@127.0.0.1:1/?bad=1&x',
    'mongodb://ann:s3cret@[::1',
  ]) {
    const store = mongoStore('x', { url, startTimeoutMs: 200 })
    const error: unknown = await store.open().catch((thrown: unknown) => thrown)
    t.match(error, { name: 'GatewayError', kind: 'STORE_UNAVAILABLE' })
    t.notMatch(JSON.stringify(error) + String(error) + String(Object(error).cause?.stack), /s3cret/)
    await store.close()
  }
})
