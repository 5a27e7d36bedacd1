/** Backups of the embedded store: whole or not there, and refused where they are damaged. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeBackup, restoreBackup } from '../../src/store/embedded/backup.js'
import { checkWhole } from '../../src/store/embedded/file.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, BOB, message, user } from '../helpers/store-samples.js'

async function opened(t: Test, dir: string): Promise<EmbeddedStore> {
  const store = new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 60_000 })
  await store.open()
  t.teardown(() => store.close())
  return store
}

/** A store with some hundred messages, and a backup of it. */
async function backedUp(t: Test) {
  const dir = dataDir(t)
  const store = await opened(t, join(dir, 'store'))
  await store.users.createUser(user(ANN))
  for (let i = 0; i < 300; i++) await store.inbox.append([message(BOB, ANN)])
  const file = join(dir, 'backup')
  const bytes = await store.backup(file)
  return { dir, store, file, bytes, restored: join(dir, 'restored') }
}

t.test('a backup has what was acknowledged, is private, and does not change with the store', async t => {
  const { dir, store, file, bytes, restored } = await backedUp(t)
  t.equal(statSync(file).size, bytes)
  t.equal(statSync(file).mode & 0o077, 0)
  t.same(readdirSync(dir).sort(), ['backup', 'store'], 'and nothing else is left')
  const before = await store.inbox.readInbox(ANN, 0, 1000)
  await store.inbox.append([message(BOB, ANN)])
  t.equal((await restoreBackup(file, restored)).bytes, bytes)
  const other = await opened(t, restored)
  t.strictSame(await other.inbox.readInbox(ANN, 0, 1000), before)
  t.equal(before.length, 300)
  t.match(await other.users.findUser(ANN), { id: ANN })
  await other.inbox.append([message(BOB, ANN)])
  t.equal(await other.inbox.lastSeq(ANN), 301)
})

t.test('a file that is there, or has no folder, is refused, and left as it is', async t => {
  const { dir, store, file } = await backedUp(t)
  const bytes = readFileSync(file)
  await t.rejects(store.backup(file), ofKind('BAD_FIELD', { info: { field: 'file' } }))
  t.ok(readFileSync(file).equals(bytes))
  await t.rejects(store.backup(join(dir, 'none', 'x')), ofKind('BAD_FIELD', { info: { field: 'file' } }))
})

t.test('a copy that fails leaves nothing; one that loses a race leaves the other file', async t => {
  const dir = dataDir(t)
  const file = join(dir, 'backup')
  const full = Object.assign(new Error('disk full'), { code: 'ENOSPC', errno: -28 })
  await t.rejects(
    makeBackup(file, () => Promise.reject(full)),
    ofKind('STORE_FULL'),
  )
  t.same(readdirSync(dir), [])
  const raced = makeBackup(file, async folder => {
    writeFileSync(join(folder, 'data.mdb'), 'mine')
    writeFileSync(file, 'theirs')
  })
  const taken = (path: string) =>
    ofKind('BAD_FIELD', { info: { field: 'file', reason: `${path} is there already` } })
  await t.rejects(raced, taken(file))
  t.equal(readFileSync(file, 'utf8'), 'theirs')
  t.same(readdirSync(dir), ['backup'])
})

t.test('of two backups at once of one name with files, one is refused by name', async t => {
  const dir = dataDir(t)
  const file = join(dir, 'backup')
  const beside = async (folder: string) => {
    mkdirSync(folder)
    writeFileSync(join(folder, 'x'), '')
  }
  const copy = async (folder: string) => writeFileSync(join(folder, 'data.mdb'), 'x')
  const made = await Promise.allSettled([1, 2].map(() => makeBackup(file, copy, beside)))
  const [refused, ...more] = made.flatMap(one => (one.status === 'rejected' ? [one.reason] : []))
  t.match(refused, {
    kind: 'BAD_FIELD',
    info: { field: 'file', reason: /backup(\.files)? is there already$/ },
  })
  t.same(more, [])
  t.same(readdirSync(dir).sort(), ['backup', 'backup.files'])
})

t.test('a backup is not restored over a store, nor beside a journal', async t => {
  const { dir, file, restored } = await backedUp(t)
  await t.rejects(restoreBackup(file, join(dir, 'store')), ofKind('STORE_UNAVAILABLE'))
  mkdirSync(restored)
  writeFileSync(join(restored, 'journal-1'), '')
  await t.rejects(restoreBackup(file, restored), ofKind('STORE_UNAVAILABLE'))
  t.same(readdirSync(restored), ['journal-1'])
  await t.rejects(restoreBackup(join(dir, 'none'), join(dir, 'x')), ofKind('BAD_FIELD'))
  await t.rejects(restoreBackup(dir, join(dir, 'x')), ofKind('BAD_FIELD'))
  t.notOk(existsSync(join(dir, 'x')))
})

t.test('a truncated or damaged backup is an error that names it, and makes no store', async t => {
  const { dir, file, bytes, restored } = await backedUp(t)
  const damaged = join(dir, 'damaged')
  const refused = async (about: string) => {
    await t.rejects(
      restoreBackup(damaged, restored),
      ofKind('STORE_UNAVAILABLE', { message: new RegExp(damaged) }),
      about,
    )
    t.notOk(existsSync(restored), about)
  }
  for (const size of [0, 1, 4096, 8192, Math.floor(bytes / 2), bytes - 4096]) {
    copyFileSync(file, damaged)
    truncateSync(damaged, size)
    await refused(`${size} bytes`)
  }
  for (const page of [0, 1]) {
    const whole = readFileSync(file)
    whole.fill(0xff, page * 4096, (page + 1) * 4096)
    writeFileSync(damaged, whole)
    await refused(`page ${page}`)
  }
  writeFileSync(damaged, Buffer.alloc(bytes, 'x'))
  await refused('another file')
  t.doesNotThrow(() => checkWhole(file))
})
