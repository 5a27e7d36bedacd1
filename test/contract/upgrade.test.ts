/** Data of older versions, kept in test/fixtures: readable immediately, and upgraded in the background behind a backup. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { BSON, MongoClient } from 'mongodb'
import t, { type Test } from 'tap'
import { pairConversation } from '../../src/core/model.js'
import type { CopyableStore } from '../../src/store/contents.js'
import { copyStore } from '../../src/store/copy.js'
import { restoreBackup } from '../../src/store/embedded/backup.js'
import { EmbeddedEnv } from '../../src/store/embedded/env.js'
import { LAST } from '../../src/store/embedded/keys.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import type { OpenTable } from '../../src/store/embedded/table.js'
import { DATA_FORMAT, type UpgradeBegun } from '../../src/store/upgrade.js'
import { Verification } from '../../src/store/verify.js'
import { dataDir } from '../helpers/gateway.js'
import { view as keptView } from '../helpers/keep-store.js'
import { ofKind } from '../helpers/kind.js'
import { MONGODB_URL, mongoStore, skipWithoutMongo, testDatabase } from '../helpers/mongodb.js'
import { ANN, BOB, EVE, keysOf, message, user } from '../helpers/store-samples.js'

const kept = (name: string) => readFileSync(new URL(`../fixtures/store-0.1.0.${name}`, import.meta.url))
const expected = JSON.parse(kept('expected.json').toString())
/** Longer ago than the kept messages were stored. */
const DEDUP_MS = 10 * 365 * 86_400_000
const KEYED = { dedupKey: `${ANN} 1`, id: 'another' }

type Upgradable = CopyableStore & { upgraded(): Promise<void> }

function keptFolder(t: Test): string {
  const dir = join(t.testdir(), 'db')
  mkdirSync(dir)
  writeFileSync(join(dir, 'data.mdb'), gunzipSync(kept('mdb.gz')))
  return dir
}

async function keptDatabase(t: Test): Promise<string> {
  const database = testDatabase(t)
  const client = await MongoClient.connect(MONGODB_URL ?? '')
  t.teardown(() => client.close())
  const collections = BSON.EJSON.parse(kept('mongodb.json').toString()) as Record<string, object[]>
  for (const [name, documents] of Object.entries(collections))
    await client.db(database).collection(name).insertMany(documents)
  return database
}

const embedded = (dir: string, upgrade = true) =>
  new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: DEDUP_MS, upgrade })
const mongodb = (database: string, upgrade = true) =>
  mongoStore(database, { dedupWindowMs: DEDUP_MS, upgrade })

/** What the old version said of it; rows without the header, which it did not know. */
async function view(store: CopyableStore) {
  const rows = async (id: string) =>
    (await store.inbox.readInbox(id, 0, 100)).map(({ seq, id, text }) => ({ seq, id, text }))
  const places = async (a: string, b: string) =>
    (await store.inbox.readConversation(pairConversation(a, b), 100)).map(({ inbox, row }) => [
      inbox,
      row.seq,
    ])
  return {
    users: await store.users.findUsers({}, 10),
    rows: { ann: await rows(ANN), bob: await rows(BOB) },
    bytes: { ann: await store.inbox.inboxBytes(ANN), bob: await store.inbox.inboxBytes(BOB) },
    seqs: { first: await store.inbox.firstSeq(BOB), last: await store.inbox.lastSeq(BOB) },
    talk: await places(ANN, BOB),
    self: await places(ANN, ANN),
    cursors: [
      await store.cursors.cursor(BOB, ''),
      await store.cursors.cursor(BOB, 'phone'),
      await store.cursors.furthest(BOB),
    ],
  }
}

/** Header of each of Bob's rows. */
const headers = async (store: CopyableStore) =>
  (await store.inbox.readInbox(BOB, 0, 100)).map(({ kind, sender, conversation }) => [
    kind,
    sender,
    conversation,
  ])

const HEADERS = [
  ['message', ANN, pairConversation(ANN, BOB)],
  ['message', ANN, pairConversation(ANN, BOB)],
  ['message', EVE, pairConversation(EVE, BOB)],
  ['broadcast', ANN, undefined],
  ['message', ANN, pairConversation(ANN, BOB)],
]

const STORES = [
  ['embedded', keptFolder, embedded, false],
  ['MongoDB', keptDatabase, mongodb, skipWithoutMongo],
] as const

for (const [name, prepare, make, skip] of STORES) {
  const opened = async (t: Test, place: string, upgrade?: boolean): Promise<Upgradable> => {
    const store = make(place, upgrade)
    await store.open()
    t.teardown(() => store.close())
    return store
  }

  t.test(`${name}: all data is readable before, during and after the upgrade`, { skip }, async t => {
    const place = await prepare(t)
    for (const upgrade of [false, true, true]) {
      const store = await opened(t, place, upgrade)
      for (const state of ['at once', 'afterwards']) {
        t.same(await view(store), expected, `upgrade: ${upgrade}, ${state}`)
        t.same(await headers(store), HEADERS)
        await store.upgraded()
      }
      t.same(await keysOf(store, 'sessions'), [[BOB, 'token']])
      t.same(await keysOf(store, 'retained'), [['a', '中']])
      t.ok(await store.users.checkPassword(ANN, async hash => hash === `hash of ${ANN}`))
      await store.close()
    }
  })

  t.test(`${name}: continues like the old version`, { skip }, async t => {
    const store = await opened(t, await prepare(t))
    const { text = '' } = expected.rows.bob[1]
    t.match(await store.inbox.append([message(ANN, BOB, { ...KEYED, text })]), [{ seq: 3, repeat: true }])
    t.match(await store.inbox.append([message(ANN, BOB, { text })]), [{ seq: 7, repeat: false }])
    t.equal(await store.inbox.inboxBytes(BOB), expected.bytes.bob + Buffer.byteLength(text))
    t.equal(await store.inbox.trimInbox(BOB, 5, 10), 4)
    t.same(
      (await store.inbox.readConversation(pairConversation(ANN, BOB), 10)).map(({ row }) => row.seq),
      [7, 6, 1],
      'with their entries',
    )
    await t.rejects(store.users.createUser(user(EVE)), ofKind('ERROR_EXIST_USER'))
    await store.users.deleteUser(ANN)
    t.same(await store.inbox.readInbox(ANN, 0, 10), [])
  })

  t.test(`${name}: data of a newer version is refused and not changed`, { skip }, async t => {
    const place = await prepare(t)
    await (name === 'embedded' ? setFolderFormat : setDatabaseFormat)(t, place, DATA_FORMAT + 1)
    for (const upgrade of [true, false])
      await t.rejects(
        opened(t, place, upgrade),
        ofKind('STORE_UNAVAILABLE', {
          info: {
            reason: /written by a newer version.* its data format is 3, and this version knows up to 2/,
          },
        }),
      )
    await (name === 'embedded' ? setFolderFormat : setDatabaseFormat)(t, place, DATA_FORMAT)
    t.same(await view(await opened(t, place)), expected)
  })

  t.test(`${name}: data of both formats can be copied`, { skip }, async t => {
    const source = await opened(t, await prepare(t), false)
    const target = embedded(join(dataDir(t), 'copy'))
    await target.open()
    t.teardown(() => target.close())
    await source.inbox.append([message(BOB, ANN)])
    await copyStore(source, target, () => undefined)
    t.same(await headers(target), HEADERS)
    t.equal((await target.inbox.readInbox(ANN, 0, 10)).length, 4)
  })
}

/** A folder of test/fixtures/, which a killed process left: see test/helpers/keep-store.ts. */
function unpacked(t: Test, name: string): string {
  const [from, dir] = [new URL(`../fixtures/${name}/`, import.meta.url), join(dataDir(t), 'store')]
  mkdirSync(dir)
  for (const file of readdirSync(from).filter(one => one.endsWith('.gz')))
    writeFileSync(join(dir, file.slice(0, -3)), gunzipSync(readFileSync(new URL(file, from))))
  return dir
}

const KEPT = readdirSync(new URL('../fixtures/', import.meta.url)).filter(name =>
  /^store-format-\d+$/.test(name),
)

t.test(
  'the folder that is kept of each format, with its journal, is read as its version read it',
  async t => {
    t.ok(KEPT.includes(`store-format-${DATA_FORMAT}`), 'one of the newest format, too')
    for (const name of KEPT) {
      const path = new URL(`../fixtures/${name}/expected.json`, import.meta.url)
      const seen = JSON.parse(readFileSync(path, 'utf8'))
      const store = embedded(unpacked(t, name))
      await store.open()
      await store.upgraded()
      t.same(JSON.parse(JSON.stringify(await keptView(store))), seen, name)
      t.same((await new Verification(store).run()).faults, [], name)
      await store.close()
    }
  },
)

t.test('an upgrade begins with a backup, which is as the old version left its data', async t => {
  const dir = keptFolder(t)
  const backupDir = dataDir(t)
  // As a kill during the copy leaves it.
  mkdirSync(join(backupDir, 'backup-format-1-x.mdb.part-y'))
  const begun: UpgradeBegun[] = []
  const said: unknown[] = []
  const upgrade = {
    backupDir,
    onBegin: (one: UpgradeBegun) => void begun.push(one),
    onBackUp: (file: string | undefined) => void said.push(file),
  }
  const make = (place: string) =>
    new EmbeddedStore({ dir: place, durability: 'commit', dedupWindowMs: DEDUP_MS, upgrade })
  for (let starts = 0; starts < 2; starts++) {
    const store = make(dir)
    await store.open()
    await store.upgraded()
    await store.close()
  }
  const files = readdirSync(backupDir)
  t.match(files, [/^backup-format-1-.*\.mdb$/], 'one, and nothing else')
  const file = join(backupDir, files[0] ?? '')
  t.same(begun, [{ from: 1, to: DATA_FORMAT, backup: file }])
  t.same(said, [file, undefined], 'told before it is made, and when it is')
  const restored = join(dataDir(t), 'restored')
  await restoreBackup(file, restored)
  t.equal(await withFolder(restored, kindsIn), '........', 'all of format 1')
  const again = make(restored)
  await again.open()
  t.same(await view(again), expected)
  await again.close()
  const empty = make(join(dataDir(t), 'new'))
  await empty.open()
  await empty.close()
  t.equal(begun.length, 2, 'a new store has nothing to back up')
})

t.test('data are left as they are where no backup can be made, and what can be done is said', async t => {
  const dir = keptFolder(t)
  const backupDir = join(dataDir(t), 'none')
  const store = new EmbeddedStore({
    ...{ dir, durability: 'commit', dedupWindowMs: DEDUP_MS },
    upgrade: { backupDir, onBackUp: file => void said.push(file) },
  })
  const said: unknown[] = []
  const refusal = { info: { reason: /no backup of them could be written to .*; make room, or / } }
  await t.rejects(store.open(), ofKind('STORE_UNAVAILABLE', refusal))
  t.same(said, [undefined], 'nobody waits for it')
  t.equal(await withFolder(dir, kindsIn), '........', 'all of format 1')
})

const setFolderFormat = (_t: Test, dir: string, number: number) =>
  withFolder(dir, (table, env) =>
    env.write(() => void table<object>('format').put(['state'], { number, isUpgraded: false })),
  )

async function setDatabaseFormat(t: Test, database: string, number: number): Promise<void> {
  const client = await MongoClient.connect(MONGODB_URL ?? '')
  t.teardown(() => client.close())
  const format = client.db(database).collection<{ _id: string; number: number }>('format')
  await format.updateOne({ _id: 'data' }, { $set: { number } }, { upsert: true })
}

t.test('an interrupted upgrade continues where it was', async t => {
  const dir = keptFolder(t)
  t.equal(await withFolder(dir, kindsIn), '........', 'all of format 1')
  // As a kill between two steps leaves it: Ann's three rows were looked at.
  const state = { number: DATA_FORMAT, isUpgraded: false, upTo: [Number(ANN), 3] }
  await withFolder(dir, (table, env) => env.write(() => void table<object>('format').put(['state'], state)))
  const store = embedded(dir)
  await store.open()
  await store.upgraded()
  t.same(await view(store), expected)
  await store.close()
  t.equal(await withFolder(dir, kindsIn), '...mmmbm', 'only what lies behind')
})

/** A letter for each row: its kind, or a dot in a row of data format 1. */
const kindsIn = (table: OpenTable) =>
  Array.from(table<string>('inbox', 'string').getRange({ start: [0], end: [LAST] }), ({ value }) =>
    (value[36] ?? '').replace(/\d/, '.'),
  ).join('')

async function withFolder<T>(dir: string, work: (table: OpenTable, env: EmbeddedEnv) => T): Promise<T> {
  const env = new EmbeddedEnv({ dir, durability: 'commit', check: { pages: 'unclean', timeoutMs: 1000 } })
  const table = await env.open(table => table)
  try {
    return await work(table, env)
  } finally {
    await env.close()
  }
}
