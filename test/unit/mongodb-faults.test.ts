/**
 * What the MongoDB store makes of the driver's faults: which are tried again, which are told, and which mean that the store
 * is gone. Collections are stubs that fail. What the documents are is for the contract, on a server.
 */
import { hostname } from 'node:os'
import { type Db, MongoBulkWriteError, MongoNetworkError, MongoServerError } from 'mongodb'
import t, { type Test } from 'tap'
import { GatewayError } from '../../src/core/errors.js'
import { AnswersInOrder } from '../../src/flow/in-order.js'
import { DeletedUsers, Remains } from '../../src/store/deleted.js'
import { MongoAppend } from '../../src/store/mongodb/append.js'
import { MongoContents } from '../../src/store/mongodb/contents.js'
import { MongoCursors } from '../../src/store/mongodb/cursors.js'
import { MongoEnds } from '../../src/store/mongodb/ends.js'
import { MongoEnv, type MongoOptions } from '../../src/store/mongodb/env.js'
import {
  insertedBefore,
  isDuplicate,
  reasonText,
  toStoreError,
  withoutSecrets,
} from '../../src/store/mongodb/errors.js'
import { MongoFormat } from '../../src/store/mongodb/format.js'
import { bounded, Group } from '../../src/store/mongodb/group.js'
import { MongoInbox } from '../../src/store/mongodb/inbox.js'
import { makeIndexes } from '../../src/store/mongodb/indexes.js'
import { MongoKv } from '../../src/store/mongodb/kv.js'
import { MongoLease } from '../../src/store/mongodb/lease.js'
import { toSharedDocument, toSharedRecord } from '../../src/store/mongodb/shared.js'
import { MongoStore } from '../../src/store/mongodb/store.js'
import { MongoTexts } from '../../src/store/mongodb/texts.js'
import { MongoUsers, toDocument, toUser } from '../../src/store/mongodb/users.js'
import { DATA_FORMAT } from '../../src/store/upgrade.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, BOB, EVE, everyCall, message, move, user } from '../helpers/store-samples.js'

const OPTIONS: MongoOptions = {
  url: 'mongodb://ann:secret@127.0.0.1:1/?appName=x',
  database: 'd',
  gateway: 'main',
  writeConcern: 'majority',
  journal: true,
  readConcern: 'majority',
  poolSize: 1,
  timeoutMs: 10_000,
  startTimeoutMs: 1,
  dedupWindowMs: 60_000,
}

/** An environment whose collections are these stubs. */
function envOf(collections: object, differing: Partial<MongoOptions> = {}): MongoEnv {
  const env = new MongoEnv({ ...OPTIONS, ...differing })
  for (const [name, value] of Object.entries(collections)) Object.defineProperty(env, name, { value })
  return env
}

/** A cursor over rows. */
function cursorOf(rows: readonly object[]) {
  const cursor = {
    sort: () => cursor,
    limit: () => cursor,
    toArray: async () => rows,
    [Symbol.asyncIterator]: () => rows[Symbol.iterator](),
  }
  return cursor
}

const network = () => new MongoNetworkError('connection 1 to 127.0.0.1:27017 closed')
const duplicate = () => new MongoServerError({ message: 'E11000 duplicate key', code: 11000 })

/** What an ordered insert is rejected with that met a taken key at `index`. */
const takenAt = (index: number, code = 11000, writeConcernError?: object) =>
  new MongoBulkWriteError(
    { message: 'E11000 duplicate key', code, writeErrors: [{ code, index }] as never },
    { getWriteConcernError: () => writeConcernError } as never,
  )

const lost = ofKind('STORE_UNAVAILABLE')

// ── errors ────────────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'errors: a full server is STORE_FULL; all else of the driver STORE_UNAVAILABLE, without its documents',
  async t => {
    const full = [
      new MongoServerError({ message: 'x', code: 14031 }),
      new MongoServerError({ message: 'x', code: 12501 }),
      new MongoServerError({ message: 'you are over your space quota', code: 8000 }),
    ]
    for (const one of full) t.match(toStoreError(one), { kind: 'STORE_FULL' })
    for (const one of [network(), takenAt(0), new MongoServerError({ message: 'x', code: 8000 })]) {
      t.match(toStoreError(one), { kind: 'STORE_UNAVAILABLE' })
      t.equal(toStoreError(one).cause, undefined)
    }
    const fault = new TypeError('x')
    t.equal(toStoreError(fault).cause, fault)
    const own = new GatewayError('TOO_LARGE')
    t.equal(toStoreError(own), own)
  },
)

t.test('errors: neither user, password nor a key’s value is in a text', async t => {
  t.equal(
    reasonText(
      new MongoServerError({ message: 'E11000 at mongodb://a:b@h dup key: { email: "x" }', code: 11000 }),
    ),
    'E11000 at mongodb://***@h (code 11000)',
  )
  t.equal(
    withoutSecrets('p@ss p%40ss user token 1', 'mongodb://user:p%40ss@h/?auth=token&w=1'),
    '… … … … 1',
    'as it is and decoded; short values say nothing',
  )
  t.equal(withoutSecrets('text', 'mongodb://%zz:x@h'), 'text', 'what cannot be decoded')
})

t.test('errors: how much of an ordered insert is in, where that is certain', async t => {
  t.equal(insertedBefore(takenAt(3)), 3)
  for (const unsure of [takenAt(3, 50), takenAt(3, 11000, {}), duplicate(), network()])
    t.equal(insertedBefore(unsure), undefined)
  t.ok(isDuplicate(duplicate()))
  t.notOk(isDuplicate(network()))
})

// ── group, env, indexes, store ────────────────────────────────────────────────────────────────────────────

function group(write: (items: readonly string[]) => Promise<readonly { value: string }[]>, differing = {}) {
  const groups: string[][] = []
  const one = new Group<string, string>({
    write: items => {
      groups.push([...items])
      return write(items)
    },
    timeoutMs: 10_000,
    maxItems: 3,
    maxWeight: 5,
    weigh: ({ length }) => length,
    ...differing,
  })
  return { one, groups }
}

const echo = async (items: readonly string[]) => items.map(value => ({ value }))

t.test('group: a turn is a group, up to its items and its weight; one item always goes', async t => {
  const { one, groups } = group(echo)
  const answers = await Promise.all(['a', 'b', 'c', 'dddd', 'ee', 'ffffff', 'g'].map(item => one.add(item)))
  t.same(answers, ['a', 'b', 'c', 'dddd', 'ee', 'ffffff', 'g'])
  t.same(groups, [['a', 'b', 'c'], ['dddd'], ['ee'], ['ffffff'], ['g']])
  await one.idle()
})

t.test('group: a rejection is the outcome of all of it, and of no other', async t => {
  let fails = true
  const { one } = group(async items => {
    if (fails) throw new GatewayError('STORE_FULL')
    return echo(items)
  })
  const both = await Promise.allSettled([one.add('a'), one.add('b')])
  t.same(
    both.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  fails = false
  t.equal(await one.add('c'), 'c')
})

t.test(
  'group: a late item that was not begun is never written; others wait while a late one is being written',
  async t => {
    let answer = (_: { value: string }[]) => {}
    const { one, groups } = group(() => new Promise(resolve => (answer = resolve)), { timeoutMs: 5 })
    const first = one.add('first')
    await new Promise(resolve => setImmediate(resolve))
    const second = one.add('second')
    await t.rejects(first, lost)
    await t.rejects(second, lost)
    const third = one.add('third')
    t.same(groups, [['first']], 'the driver has not given up')
    answer([{ value: 'late' }])
    while (groups.length < 2) await new Promise(resolve => setImmediate(resolve))
    answer([{ value: '3' }])
    t.equal(await third, '3')
    t.same(groups, [['first'], ['third']])
  },
)

t.test('env: a fault has a name and a deadline; what is not open is unavailable', async t => {
  const env = new MongoEnv({ ...OPTIONS, timeoutMs: 5 })
  t.throws(() => env.users, lost)
  await t.rejects(
    env.run(() => Promise.reject(network())),
    lost,
  )
  await t.rejects(
    env.run(() => new Promise(() => undefined)),
    ofKind('STORE_UNAVAILABLE', { message: 'no answer from MongoDB within 5 ms' }),
  )
  t.equal(await bounded(Promise.resolve(1), 10_000), 1)
})

t.test(
  'store: a server that is not there, or a wrong URL, is told with its place and without its secrets',
  async t => {
    const store = new MongoStore(OPTIONS)
    const error = await store.open().catch((thrown: Error) => thrown)
    t.match(error, { kind: 'STORE_UNAVAILABLE', message: /^store\.mongodb\.url: MongoDB at 127\.0\.0\.1:1 / })
    t.notMatch(String(error), 'secret')
    for (const [name, call] of Object.entries(everyCall(store))) await t.rejects(call(), lost, name)
    await t.resolves(store.close())
    const wrong = new MongoStore({ ...OPTIONS, url: 'mongodb://ann:secret@h/?nosuch=1' })
    t.match(await wrong.open().catch((thrown: Error) => thrown), {
      message: /^store\.mongodb\.url: (?!.*secret)/,
    })
  },
)

t.test('indexes: only such as every compatible server has', async t => {
  const made: object[] = []
  const db = { collection: () => ({ createIndexes: async (all: object[]) => made.push(...all) }) }
  await makeIndexes(db as unknown as Db)
  t.ok(made.length > 0)
  for (const one of made)
    t.same(
      Object.keys(one).filter(option => !['key', 'unique', 'sparse'].includes(option)),
      [],
    )
})

// ── append, inbox ─────────────────────────────────────────────────────────────────────────────────────────

/** @param inserts what each insert does, in turn: undefined lets it in */
function appending(inserts: (Error | undefined)[], differing: Partial<MongoOptions> = {}) {
  const rows: { inbox: string; seq: number }[] = []
  const tried: number[][] = []
  const others = { onFault: () => {} }
  const env = envOf(
    {
      messages: {
        find: () => cursorOf(rows.slice(-1)),
        insertMany: async (documents: { inbox: string; seq: number }[]) => {
          tried.push(documents.map(({ seq }) => seq))
          const fault = inserts.length > 1 ? inserts.shift() : inserts[0]
          rows.push(...documents.slice(0, fault === undefined ? undefined : insertedBefore(fault)))
          if (fault === undefined) return
          others.onFault()
          throw fault
        },
      },
      inboxes: { findOne: async () => null, find: () => cursorOf([]) },
    },
    differing,
  )
  return { append: new MongoAppend(env, new MongoEnds(env), new MongoTexts(env)), tried, rows, others, env }
}

t.test('append: where a seq is taken what is before it is stored, and the rest is tried behind', async t => {
  const { append, tried, rows, others } = appending([takenAt(1), undefined])
  rows.push({ inbox: BOB, seq: 4 })
  others.onFault = () => void rows.push({ inbox: BOB, seq: 6 })
  t.match(await append.run([message(ANN, BOB), message(ANN, BOB)]), [{ seq: 5 }, { seq: 7 }])
  t.same(tried, [[5, 6], [7]])
})

t.test('append: any other fault rejects, and what is known of the inbox is asked again', async t => {
  const { append, rows } = appending([undefined, network(), undefined])
  t.match(await append.run([message(ANN, BOB)]), [{ seq: 1 }])
  await t.rejects(append.run([message(ANN, BOB)]), lost)
  rows.push({ inbox: BOB, seq: 9 })
  t.match(await append.run([message(ANN, BOB)]), [{ seq: 10 }])
  await t.rejects(append.run([message(ANN, 'nobody')]), ofKind('ERROR_FIND_USER'))
})

t.test('append: a seq that never can be had is given up', async t => {
  const { append } = appending([takenAt(0)], { timeoutMs: 5 })
  await t.rejects(
    append.run([message(ANN, BOB)]),
    ofKind('STORE_UNAVAILABLE', { message: 'no seq could be had' }),
  )
})

t.test('inbox: a deleted account gets nothing, and its neighbour in the batch its message', async t => {
  const { env, tried } = appending([undefined])
  const deleted = new DeletedUsers()
  deleted.add(EVE)
  const inbox = new MongoInbox(env, new MongoTexts(env), new AnswersInOrder(), deleted)
  t.match(await inbox.append([message(ANN, EVE), message(ANN, BOB)]), [{ seq: 0, isGone: true }, { seq: 1 }])
  t.same(tried, [[1]])
  t.same(await inbox.append([]), [])
  t.same(await inbox.readInbox(BOB, 0, 0), [], 'to the server no limit is 0')
  await inbox.idle()
})

t.test('inbox: a trim marks how far it is before it removes, so that no seq is given again', async t => {
  const calls: string[] = []
  const env = envOf({
    messages: {
      find: () => cursorOf([{ _id: 'x', seq: 7 }]),
      deleteMany: async () => {
        throw network()
      },
    },
    inboxes: {
      updateOne: async (_filter: object, { $max }: { $max: object }) => calls.push(JSON.stringify($max)),
    },
  })
  const inbox = new MongoInbox(env, new MongoTexts(env), new AnswersInOrder(), new DeletedUsers())
  await t.rejects(inbox.trimInbox(BOB, 9, 10), lost)
  t.same(calls, ['{"trimmed":7}'])
  t.equal(await inbox.trimInbox(BOB, 9, 0), 0)
})

// ── cursors, users ────────────────────────────────────────────────────────────────────────────────────────

function cursorsWith(faults: (Error | undefined)[]) {
  let writes = 0
  const bulkWrite = async () => {
    writes++
    const fault = faults.shift()
    if (fault !== undefined) throw fault
  }
  const env = envOf({ devices: { bulkWrite }, inboxes: { bulkWrite: async () => undefined } })
  return { cursors: new MongoCursors(env, new AnswersInOrder(), new DeletedUsers()), writes: () => writes }
}

t.test('cursors: where another gateway was quicker it is tried once more; nothing else is', async t => {
  const once = cursorsWith([duplicate()])
  await t.resolves(once.cursors.moveCursors([move(BOB, 'a')]))
  t.equal(once.writes(), 2)
  const twice = cursorsWith([duplicate(), duplicate()])
  await t.rejects(twice.cursors.moveCursors([move(BOB, 'a')]), lost)
  const other = cursorsWith([network()])
  await t.rejects(other.cursors.moveCursors([move(BOB, 'a')]), lost)
  t.equal(other.writes(), 1)
  await t.resolves(other.cursors.moveCursors([]))
})

/** Accounts with a unique `_id`, `emailKey` and `ordinal`, as an ordered insert meets them. */
function usersWith(faults: Error[] = []) {
  type Document = ReturnType<typeof toDocument>
  const stored: Document[] = []
  const has = (key: keyof Document, value: unknown) => stored.some(one => one[key] === value)
  const env = envOf({
    users: {
      find: () => cursorOf(stored.toSorted((a, b) => b.ordinal - a.ordinal).slice(0, 1)),
      findOne: async (filter: Partial<Document>) =>
        stored.find(one => Object.entries(filter).every(([key, value]) => one[key as '_id'] === value)) ??
        null,
      insertMany: async (documents: Document[]) => {
        const fault = faults.shift()
        if (fault !== undefined) throw fault
        for (const [i, one] of documents.entries()) {
          if ((['_id', 'emailKey', 'ordinal'] as const).some(key => has(key, one[key]))) throw takenAt(i)
          stored.push(one)
        }
      },
    },
  })
  const users = new MongoUsers(env, new AnswersInOrder(), new DeletedUsers(), new Remains({} as never, []))
  return { users, stored }
}

t.test('users: of a group one that is taken is refused, and the others are numbered on', async t => {
  const { users, stored } = usersWith()
  const same = user(EVE, { emailKey: user(ANN).emailKey })
  const outcomes = await Promise.allSettled([user(ANN), same, user(BOB)].map(one => users.createUser(one)))
  t.match(outcomes, [
    { status: 'fulfilled' },
    { reason: { kind: 'ERROR_EXIST_USER', info: { field: 'email' } } },
    { status: 'fulfilled' },
  ])
  t.match(stored, [
    { _id: ANN, ordinal: 1 },
    { _id: BOB, ordinal: 2 },
  ])
  stored.push(toDocument(user('300000000'), 3))
  await users.createUser(user(EVE))
  t.match(stored.at(-1), { _id: EVE, ordinal: 4 }, 'another gateway had taken the number')
  await t.rejects(users.createUser(user('x')), ofKind('BAD_FIELD'))
})

t.test('users: any other fault is the outcome of the whole group', async t => {
  const { users, stored } = usersWith([network()])
  const both = await Promise.allSettled([ANN, BOB].map(id => users.createUser(user(id))))
  for (const one of both) t.match(one, { reason: { kind: 'STORE_UNAVAILABLE' } })
  t.same(stored, [])
  await users.createUser(user(ANN))
  t.match(stored, [{ ordinal: 1 }])
})

t.test('users: a document is read as it was written; of no username there is none', async t => {
  const { passwordHash, ...whole } = user(ANN, { username: 'ann' })
  t.same(toUser(toDocument({ ...whole, passwordHash }, 1)), whole)
  t.notOk('username' in toDocument(user(ANN), 1))
  t.match(toUser({ _id: ANN, ordinal: 1, deleted: true }), { id: ANN, email: '', createdAt: 0 })
})

t.test('shared records: a document is read as it was written', async t => {
  const record = { userId: ANN, value: Buffer.from('v') }
  t.same(toSharedRecord(toSharedDocument('k', record)), { key: 'k', ...record })
})

// ── kv, lease ─────────────────────────────────────────────────────────────────────────────────────────────

function kvWith(t: Test) {
  const calls: string[] = []
  const faults = new Set<string>()
  const call = (name: string) => async () => {
    if (faults.has(name)) throw network()
    calls.push(name)
  }
  const env = envOf({
    journal: { updateOne: call('journal'), deleteOne: call('clear') },
    broker: { bulkWrite: call('put'), deleteMany: call('remove') },
  })
  const state = { isMine: true }
  const lease = {
    check: async () => {
      if (!state.isMine) throw new GatewayError('STORE_UNAVAILABLE')
    },
  }
  const kv = new MongoKv(env, lease as unknown as MongoLease, new AnswersInOrder(), new DeletedUsers())
  t.teardown(() => kv.idle())
  /** @returns what was called for this write */
  const write = async (...keys: string[]) => {
    calls.length = 0
    await kv.kvWrite(keys.map(key => ({ put: 'meta', key: [key], value: Buffer.from(key) })))
    return [...calls]
  }
  return { kv, write, faults, calls, state }
}

t.test('kv: several writes go by the journal, and one write empties it', async t => {
  const { write } = kvWith(t)
  t.same(await write('a', 'b'), ['journal', 'put'])
  t.same(await write('a'), ['clear', 'put'], 'at the next start the journal would undo it')
  t.same(await write('a'), ['put'])
  t.same(await write(), [])
})

t.test('kv: a group that could not be applied is applied before the next one', async t => {
  const { write, faults } = kvWith(t)
  faults.add('put')
  await t.rejects(write('a', 'b'), lost)
  await t.rejects(write('c'), lost)
  faults.clear()
  t.same(await write('d'), ['put', 'clear', 'put'])
})

t.test('kv: a lost lease and a group over the size of a document write nothing', async t => {
  const { kv, write, state, calls } = kvWith(t)
  const value = Buffer.alloc(8 << 20)
  const large = ['a', 'b'].map(key => ({ put: 'meta', key: [key], value: Buffer.from(value) }) as const)
  await t.rejects(kv.kvWrite(large), ofKind('TOO_LARGE'))
  state.isMine = false
  await t.rejects(write('a'), lost)
  t.same(calls, [])
})

function leaseWith(found: object | null, inserts: Error[] = [], matchedCount = 1) {
  const calls: string[] = []
  const state = { matchedCount }
  const env = envOf({
    gateways: {
      findOne: async () => found,
      insertOne: async () => {
        calls.push('insert')
        const fault = inserts.shift()
        if (fault !== undefined) throw fault
      },
      updateOne: async (_filter: object, update: object) => {
        calls.push(Object.keys(update).join())
        return { matchedCount: state.matchedCount, modifiedCount: 1 }
      },
    },
  })
  return { lease: new MongoLease(env), calls, state }
}

t.test(
  'lease: a duplicate key at the insert is tried again; a holder whose process has ended is not watched',
  async t => {
    const { lease, calls } = leaseWith(null, [duplicate()])
    await lease.take()
    t.same(calls, ['insert', 'insert'])
    await lease.release()
    t.same(calls.at(-1), '$unset')
    const dead = { _id: 'main', beat: 3, holder: 'x', host: hostname(), pid: process.pid, process: 'another' }
    const other = leaseWith(dead)
    await other.lease.take()
    t.same(other.calls, ['$set,$inc'], 'with our pid, as in a container')
    await other.lease.release()
    const failing = leaseWith(null, [network()])
    await t.rejects(failing.lease.take(), lost)
  },
)

t.test('lease: a lost lease stays lost; a fresh one is not asked for', async t => {
  const { lease, calls, state } = leaseWith(null)
  await t.resolves(lease.take())
  calls.length = 0
  await lease.check()
  t.same(calls, [])
  state.matchedCount = 0
  await t.rejects(lease.renew(), ofKind('STORE_UNAVAILABLE', { message: /another gateway took over/ }))
  state.matchedCount = 1
  await t.rejects(lease.check(), lost)
  await lease.release()
})

// ── format, contents ──────────────────────────────────────────────────────────────────────────────────────

t.test('format: data of a newer program is refused, and today’s is left alone', async t => {
  const formatOf = (found: object | null) => {
    const updates: object[] = []
    const format = {
      findOne: async () => found,
      updateOne: async (_filter: object, update: object) => void updates.push(update),
    }
    const env = envOf({ format })
    return { format: new MongoFormat(env, new MongoTexts(env)), updates }
  }
  await t.rejects(formatOf({ number: DATA_FORMAT + 1 }).format.begin(), lost)
  const today = formatOf({ number: DATA_FORMAT, isUpgraded: true })
  await today.format.begin()
  t.equal(await today.format.upgradeSome(), false)
  t.same(today.updates, [])
  const old = formatOf(null)
  await old.format.begin()
  t.match(old.updates, [{ $max: { number: DATA_FORMAT } }])
})

t.test('contents: a row whose text is gone ends the copy', async t => {
  const row = { _id: 'x', inbox: BOB, seq: 1, id: 'i', kind: 'b', sender: ANN, shared: 'i' }
  const collections = {
    ...{ users: {}, devices: {}, inboxes: {}, shared: () => ({}) },
    texts: { find: () => cursorOf([]) },
  }
  const contents = new MongoContents(envOf({ ...collections, messages: { find: () => cursorOf([row]) } }))
  await t.rejects(
    contents.read('rows', undefined),
    ofKind('STORE_UNAVAILABLE', { message: 'a text is not there' }),
  )
})
