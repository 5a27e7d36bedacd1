import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { pairConversation } from '../../src/core/model.js'
import type { CopyableStore } from '../../src/store/contents.js'
import { copyStore } from '../../src/store/copy.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from '../helpers/gateway.js'
import { MONGODB_URL, mongoStore, skipWithoutMongo, testDatabase } from '../helpers/mongodb.js'
import { plainNode } from '../helpers/plain-node.js'
import { ANN, BOB, broadcast, EVE, message, messages, move, user } from '../helpers/store-samples.js'

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

async function open<S extends CopyableStore>(t: Test, store: S): Promise<S> {
  await store.open()
  t.teardown(() => store.close())
  return store
}

const embedded = (t: Test, dir = join(dataDir(t), 'store')) =>
  open(t, new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 1000 }))
const mongodb = (t: Test) => open(t, mongoStore(testDatabase(t)))

/** Data of every kind, with more than one page of messages. */
async function fill(store: CopyableStore): Promise<void> {
  await store.users.createUser(user(BOB, { username: 'bob', createdAt: 5 }))
  await store.users.createUser(user(EVE))
  await store.users.createUser(user(ANN, { email: 'Ann@Example.org', emailKey: 'ann@example.org' }))
  await store.users.replaceFactor(ANN, undefined, 'a factor')
  await store.inbox.append([...messages(1200), message(BOB, ANN), broadcast(EVE, ANN)])
  await store.inbox.append([message(EVE, BOB, { expiresAt: 1_800_000_000_000 })])
  await store.inbox.append(messages(20, ANN, EVE))
  await store.inbox.trimInbox(BOB, 100, 1000)
  await store.inbox.trimInbox(EVE, 20, 1000)
  await store.shared.sharedSwap('names', 'n', undefined, { userId: BOB, value: Buffer.from('{}') })
  await store.shared.sharedSwap('names', 'held n', undefined, { userId: '', value: Buffer.from('{}') })
  await store.shared.sharedSwap('images', 'i', undefined, { userId: ANN, value: Buffer.alloc(70_000, 7) })
  await store.cursors.moveCursors([
    move(BOB, '', { confirmed: 150 }),
    move(BOB, 'phone', {
      confirmed: 300,
      sent: 310,
      released: [305, 307],
      settled: [[303, 304]],
      seenAt: 77,
    }),
    move(ANN, 'a\u0000 手機', { confirmed: 1 }),
  ])
  await store.users.deleteUser(EVE)
  await store.kv.kvWrite([
    { put: 'meta', key: ['session', 'phone'], value: Buffer.from('s') },
    { put: 'retained', key: ['a', '', '中'], value: new Uint8Array(2_000_000).fill(7) },
    { put: 'queue', key: ['phone', 17], value: Buffer.from('q') },
  ])
}

/** Everything that a store returns about it. */
async function view(store: CopyableStore) {
  const state: unknown[] = []
  for (const collection of ['retained', 'queue', 'meta'] as const) {
    for await (const { key, value } of store.kv.kvRange(collection, []))
      state.push([collection, key, Buffer.from(value).toString('base64').slice(0, 50), value.byteLength])
  }
  const ids = [ANN, BOB, EVE]
  const each = <T>(read: (id: string) => Promise<T>) => Promise.all(ids.map(read))
  return {
    users: await store.users.findUsers({}, 10),
    named: await store.users.findUsers({ firstName: 'First', lastName: 'Last' }, 10),
    hashes: await each(id => store.users.checkPassword(id, async hash => hash === `hash of ${id}`)),
    factors: await each(id => store.users.findFactor(id)),
    rows: await each(id => store.inbox.readInbox(id, 0, 10_000)),
    seqs: await each(async id => [await store.inbox.firstSeq(id), await store.inbox.lastSeq(id)]),
    cursors: await each(id => store.cursors.cursor(id, 'phone')),
    odd: await store.cursors.cursor(ANN, 'a\u0000 手機'),
    furthest: await each(id => store.cursors.furthest(id)),
    slowest: await each(id => store.cursors.slowest(id)),
    talk: await store.inbox.readConversation(pairConversation(ANN, BOB), 30),
    state,
  }
}

const silent = () => undefined
const PAIRS = [
  ['embedded to embedded', embedded, embedded, false],
  ['embedded to MongoDB', embedded, mongodb, skipWithoutMongo],
  ['MongoDB to embedded', mongodb, embedded, skipWithoutMongo],
] as const

for (const [name, openSource, openTarget, skip] of PAIRS) {
  t.test(`${name}: the copy has all data, and continues like the original`, { skip }, async t => {
    const [source, target] = [await openSource(t), await openTarget(t)]
    await fill(source)
    const lines: string[] = []
    await copyStore(source, target, line => lines.push(line))
    t.match(lines, /rows: 1103, the same in both/)
    t.same(await view(target), await view(source))
    t.match(await target.inbox.append(messages(1, ANN, BOB)), [{ seq: 1202 }])
    await t.rejects(target.users.createUser(user(EVE, { emailKey: 'x@example.org' })), {
      name: 'GatewayError',
      info: { field: 'id' },
    })
    await target.users.createUser(user('222222222'))
    t.match((await target.users.findUsers({}, 10)).at(-1), { id: '222222222' }, 'the youngest')
  })

  t.test(`${name}: an interrupted copy continues`, { skip }, async t => {
    const [source, target] = [await openSource(t), await openTarget(t)]
    await fill(source)
    const contents = target.contents()
    const pages: string[] = []
    target.contents = () => ({
      read: (...args) => contents.read(...args),
      async write(section, entries) {
        if (section === 'rows' && pages.length === 3) throw new Error('cut')
        pages.push(section)
        return contents.write(section, entries)
      },
    })
    await t.rejects(copyStore(source, target, silent), { message: 'cut' })
    const before = pages.splice(0)
    target.contents = () => contents
    const lines: string[] = []
    await copyStore(source, target, line => lines.push(line))
    t.ok(before.includes('rows'))
    t.match(lines[0], /going on with rows/)
    t.same(await view(target), await view(source))
  })

  t.test(`${name}: a target with data is refused`, { skip }, async t => {
    const [source, target] = [await openSource(t), await openTarget(t)]
    await target.inbox.append(messages(1))
    await t.rejects(copyStore(source, target, silent), {
      name: 'GatewayError',
      info: { reason: /not empty/ },
    })
  })
}

t.test('a copy that differs from its source fails', async t => {
  const [source, target] = [await embedded(t), await embedded(t)]
  await fill(source)
  const contents = target.contents()
  target.contents = () => ({
    read: (...args) => contents.read(...args),
    write: (section, entries) => contents.write(section, section === 'rows' ? entries.slice(1) : entries),
  })
  await t.rejects(copyStore(source, target, silent), {
    name: 'GatewayError',
    info: { reason: /differs in rows: 1103 in the source/ },
  })
})

const mumi = (args: string[]) =>
  new Promise<{ code: number; output: string }>(resolve => {
    execFile(...plainNode([MAIN, ...args]), { env: {} }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), output: stdout + stderr }),
    )
  })

t.test('mumi copy copies to MongoDB and back', { skip: skipWithoutMongo }, async t => {
  const [dir, back] = [dataDir(t), dataDir(t)]
  const source = await embedded(t, join(dir, 'store'))
  await fill(source)
  const before = await view(source)
  await source.close()
  const server = ['--store.mongodb.url', MONGODB_URL ?? '', '--store.mongodb.database', testDatabase(t)]
  const there = await mumi(['copy', '--from', 'embedded', '--to', 'mongodb', '--data.dir', dir, ...server])
  t.match(there, { code: 0, output: /\ncopied\n$/ })
  const again = await mumi(['copy', '--to', 'embedded', '--from', 'mongodb', '--data.dir', back, ...server])
  t.match(again, { code: 0, output: /accounts: 3, the same in both/ })
  t.same(await view(await embedded(t, join(back, 'store'))), before)
})

t.test('mumi copy reports missing options', async t => {
  t.match(await mumi(['copy', '--from', 'embedded']), {
    code: 1,
    output: /--to: must be one of embedded, mongodb/,
  })
  t.match(await mumi(['copy', '--from', 'embedded', '--to', 'embedded']), { code: 1, output: /must differ/ })
})
