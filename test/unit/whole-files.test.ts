/** Files that people sent, in backups, restores, checks and exports, by their functions; test/process has the commands. */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { ExportFiles } from '../../src/app/export-files.js'
import { backupSize } from '../../src/app/growing.js'
import { makeStore } from '../../src/app/stores.js'
import { heldFiles } from '../../src/app/whole-files.js'
import { backupStore, restoreStore, verifyStore } from '../../src/app/whole-store.js'
import { loadConfig } from '../../src/config/config.js'
import { measureFiles } from '../../src/files/checks.js'
import { copyFile, copyFiles } from '../../src/files/copies.js'
import { DiskStorage, placeIn } from '../../src/files/disk.js'
import { HeldStorage } from '../../src/files/held.js'
import { newFileId } from '../../src/files/ids.js'
import { FileRows } from '../../src/files/rows.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, BOB, user } from '../helpers/store-samples.js'

const configOf = (dir: string, ...argv: string[]) =>
  loadConfig({ argv: [`--data.dir=${dir}`, ...argv], env: {} })

const none = () => undefined

/** An open store with accounts and files, as a gateway leaves them. */
async function stored(t: Test, ...owners: string[]) {
  const dir = dataDir(t)
  const config = configOf(join(dir, 'data'))
  const store = await makeStore(config)
  await store.open()
  t.teardown(() => store.close())
  for (const id of [ANN, BOB]) await store.users.createUser(user(id))
  const rows = new FileRows(store.kv)
  const place = join(dir, 'data', 'files')
  const add = async (owner: string, bytes = randomBytes(50_000)) => {
    const id = newFileId(owner)
    mkdirSync(dirname(placeIn(place, id)), { recursive: true })
    writeFileSync(placeIn(place, id), bytes)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const about = { name: 'a/b.txt', type: 'text/plain', createdAt: Date.now() }
    await rows.putNew({ id, size: bytes.length, state: 'stored', sha256, ...about })
    return { id, bytes, path: placeIn(place, id) }
  }
  const files = []
  for (const owner of owners) files.push(await add(owner))
  const held = heldFiles(config)
  const file = join(dir, 'backup')
  return { dir, config, store, rows, files, add, place, held, file, beside: `${file}.files` }
}

t.test('what the backup has a row of has its bytes, also what is removed meanwhile', async t => {
  const { config, store, rows, held, files, file, beside, add, dir } = await stored(t, ANN, ANN, BOB)
  const [first, second, third] = files
  if (first === undefined || second === undefined || third === undefined) return t.fail()
  /** The snapshot is made, and behind it one is removed by its owner, all of an account go, and one is stored. */
  let late: string | undefined
  const real = store.backup.bind(store)
  store.backup = async (path, add2) =>
    real(path, async folder => {
      await rows.remove(first.id)
      await held.remove(first.id)
      await store.users.deleteUser(BOB)
      await held.removeAll(BOB)
      late = (await add(ANN)).id
      t.ok(existsSync(first.path) && existsSync(third.path), 'bytes wait for the backup')
      await add2?.(folder)
    })
  const made = await backupStore(config, store, { file, held })
  t.match(made, { files: { count: 4, bytes: 200_000, faults: [] } })
  t.notOk(existsSync(first.path) || existsSync(third.path), 'and go behind it')
  t.equal(statSync(beside).mode & 0o077, 0)
  for (const { id, bytes } of files) t.ok(readFileSync(placeIn(beside, id)).equals(bytes))
  t.equal(statSync(placeIn(beside, second.id)).mode & 0o077, 0)
  t.same(readdirSync(dir).sort(), ['backup', 'backup.files', 'data'])
  await held.remove(second.id)
  t.notOk(existsSync(second.path), 'at once, when nothing holds them')

  const other = configOf(join(dir, 'other'))
  const restored = await restoreStore(other, file)
  t.match(restored, { files: { count: 3, bytes: 150_000, faults: [] } }, 'the rows of the snapshot')
  for (const { id, bytes } of files)
    t.ok(readFileSync(placeIn(join(dir, 'other', 'files'), id)).equals(bytes))
  t.match(await verifyStore(other), { files: 3, faults: [] })
  t.ok(late && existsSync(placeIn(beside, late)))
  t.notOk(existsSync(placeIn(join(dir, 'other', 'files'), late ?? '')), 'what has no row is not brought')
})

t.test('missing and damaged files are named: by a backup, a restore, verify and an export', async t => {
  const { config, store, files, file, beside, dir, place } = await stored(t, ANN, ANN, ANN)
  const [gone, changed, good] = files
  if (gone === undefined || changed === undefined || good === undefined) return t.fail()
  rmSync(gone.path)
  writeFileSync(changed.path, randomBytes(50_000))
  const faults = [`file ${gone.id}: is missing`, `file ${changed.id}: is damaged`].sort()
  const sorted = (lines: readonly string[]) => [...lines].sort()
  const { files: made } = await backupStore(config, store, { file })
  if (made === undefined || !('faults' in made)) return t.fail()
  t.same(sorted(made.faults), faults)

  const into = configOf(join(dir, 'other'))
  const { files: restored } = await restoreStore(into, file)
  if (!('faults' in restored)) return t.fail()
  t.match(restored, { count: 1 })
  t.same(sorted(restored.faults), faults)
  const missing = [gone, changed].map(({ id }) => `file ${id}: is missing`)
  t.same(sorted((await verifyStore(into)).faults), sorted(missing), 'what is damaged is not brought')
  t.ok(existsSync(placeIn(beside, changed.id)), 'and stays in the backup')
  t.same(
    readdirSync(dirname(placeIn(join(dir, 'other', 'files'), good.id))),
    [basename(good.path)],
    'and nothing is left of the copy',
  )
  truncateSync(placeIn(join(dir, 'other', 'files'), good.id), 7)
  t.same(
    sorted((await verifyStore(into)).faults),
    sorted([...missing, `file ${good.id}: has 7 of 50000 bytes`]),
  )

  const folder = join(dir, 'ann.files')
  const exported = new ExportFiles(config, folder)
  const line = (one: { id: string; bytes: Buffer }) => ({
    section: 'file',
    ...{ state: 'stored', id: one.id, name: '../x' },
    sha256: createHash('sha256').update(one.bytes).digest('hex'),
  })
  t.match(await exported.with(line(gone)), { fault: 'is missing' })
  t.match(await exported.with(line(changed)), { fault: 'is damaged', path: /^ann\.files\/[\w-]{22}-x$/ })
  const { path } = (await exported.with(line(good))) as { path: string }
  t.ok(readFileSync(join(dir, path)).equals(good.bytes))
  t.equal(exported.faults, 2)
  const other = { section: 'account', id: ANN }
  t.equal(await exported.with(other), other)
  t.ok(existsSync(beside) && existsSync(place))
})

t.test('a restore finds files that are there, and replaces what a kill left of them', async t => {
  const { config, store, files, file, dir } = await stored(t, ANN, ANN, BOB)
  await backupStore(config, store, { file })
  const to = join(dir, 'other', 'files')
  const [whole, part, damaged] = files
  if (whole === undefined || part === undefined || damaged === undefined) return t.fail()
  for (const { id } of files) mkdirSync(dirname(placeIn(to, id)), { recursive: true })
  writeFileSync(placeIn(to, whole.id), whole.bytes)
  writeFileSync(placeIn(to, part.id), part.bytes.subarray(0, 100))
  writeFileSync(placeIn(to, damaged.id), randomBytes(50_000))
  const before = statSync(placeIn(to, whole.id)).ino
  t.match(await restoreStore(configOf(join(dir, 'other')), file), { files: { count: 3, faults: [] } })
  for (const { id, bytes } of files) t.ok(readFileSync(placeIn(to, id)).equals(bytes))
  t.equal(statSync(placeIn(to, whole.id)).ino, before, 'what is whole is not copied again')
})

t.test('links and FIFOs in place of files are not read, by a backup, a restore and an export', async t => {
  const { config, store, files, file, beside, dir } = await stored(t, ANN, ANN, ANN)
  const [link, fifo, good] = files
  if (link === undefined || fifo === undefined || good === undefined) return t.fail()
  const secret = join(dir, 'secret')
  // Even with the right bytes.
  writeFileSync(secret, link.bytes)
  const plant = (linkAt: string, fifoAt: string) => {
    for (const path of [linkAt, fifoAt]) rmSync(path)
    symlinkSync(secret, linkAt)
    execFileSync('mkfifo', [fifoAt])
  }
  const faults = [link, fifo].map(({ id }) => `file ${id}: is missing`).sort()
  const faultsOf = (made: unknown) => [...(made as { files: { faults: string[] } }).files.faults].sort()
  await backupStore(config, store, { file })
  plant(placeIn(beside, link.id), placeIn(beside, fifo.id))
  t.same(faultsOf(await restoreStore(configOf(join(dir, 'other')), file)), faults)
  t.same(
    readdirSync(dirname(placeIn(join(dir, 'other', 'files'), good.id))),
    [basename(good.path)],
    'nothing of them is there',
  )
  t.same(readdirSync(join(dir, 'other')).sort(), ['files', 'store'])
  plant(link.path, fifo.path)
  t.same(faultsOf(await backupStore(config, store, { file: join(dir, 'second') })), faults)
  const exported = new ExportFiles(config, join(dir, 'ann.files'))
  for (const { id } of [link, fifo])
    t.match(await exported.with({ section: 'file', state: 'stored', id, name: 'x', sha256: '' }), {
      fault: 'is missing',
    })
})

t.test('what is not uploaded yet is not missing', async t => {
  const { rows, place } = await stored(t, ANN)
  const about = { name: 'x', type: 'x/y', size: 5, createdAt: Date.now() }
  await rows.putNew({ id: newFileId(BOB), state: 'open', expiresAt: Date.now() + 1000, ...about })
  t.same(await measureFiles(rows, new DiskStorage(place)), { count: 1, faults: [] })
})

t.test('what cannot be removed behind a backup is left to the sweep', async t => {
  const { place, files } = await stored(t, ANN)
  const [one] = files
  const storage = new DiskStorage(place)
  storage.remove = () => Promise.reject(new Error('EIO'))
  const held = new HeldStorage(storage)
  await held.hold(async () => {
    await held.hold(() => held.remove(one?.id ?? ''))
    t.ok(existsSync(one?.path ?? ''), 'until the last one ends')
  })
  t.ok(existsSync(one?.path ?? ''))
})

t.test('a restore that fails takes the files back', async t => {
  const { config, store, file, dir } = await stored(t, ANN)
  await backupStore(config, store, { file })
  writeFileSync(file, 'no backup')
  await t.rejects(restoreStore(configOf(join(dir, 'other')), file), ofKind('STORE_UNAVAILABLE'))
  t.notOk(existsSync(join(dir, 'other')))
})

t.test(
  'a folder beside that is there is not mixed with another backup’s, and none is made without files',
  async t => {
    const { config, store, file, beside, dir } = await stored(t, ANN)
    mkdirSync(beside)
    for (const withFiles of [true, false])
      await t.rejects(
        backupStore(config, store, { file, withFiles }),
        ofKind('BAD_FIELD', { info: { field: 'file', reason: `${beside} is there already` } }),
      )
    t.notOk(existsSync(file))
    rmSync(beside, { recursive: true })
    t.same(Object.keys(await backupStore(config, store, { file, withFiles: false })), ['bytes'])
    t.notOk(existsSync(beside))
    const { files } = await restoreStore(configOf(join(dir, 'other')), file)
    t.match(files, { count: 0, faults: [/is missing$/] })
  },
)

t.test('of a bucket it is said that it has a backup of its own', async t => {
  const { store, file, beside, dir } = await stored(t, ANN)
  const s3 = ['--files.storage=s3', '--files.s3.bucket=b']
  const config = configOf(join(dir, 'data'), ...s3)
  t.match(await backupStore(config, store, { file }), { files: { bucket: 'b' } })
  t.notOk(existsSync(beside))
  const other = configOf(join(dir, 'other'), ...s3)
  t.match(await restoreStore(other, file), { files: { bucket: 'b' } })
  t.match(await verifyStore(other), { files: 0, faults: [] })
})

t.test(
  'a disk that cannot be read is a missing file, one that cannot be written ends the backup',
  async t => {
    const { rows, held, dir } = await stored(t, ANN)
    const folder = join(dir, 'a-file')
    writeFileSync(folder, '')
    await t.rejects(copyFiles(held, rows, folder, none), { code: 'ENOTDIR' })
    const failing = async () =>
      Readable.from(
        (async function* () {
          yield Buffer.from('x')
          throw new Error('EIO')
        })(),
      )
    t.equal(await copyFile({ read: failing }, newFileId(ANN), join(dir, 'part')), undefined)
    t.notOk(existsSync(join(dir, 'part')))
  },
)

t.test('how far it is, for whoever waits', async t => {
  const { config, store, held, file } = await stored(t, ANN)
  const seen: unknown[] = []
  const read = held.read.bind(held)
  held.read = async (id, range) => {
    seen.push(backupSize(config, file))
    return read(id, range)
  }
  const real = store.backup.bind(store)
  store.backup = async (path, beside) =>
    real(path, async folder => {
      writeFileSync(join(folder, '..', 'copied'), '{"done":7,"of":9}')
      await beside?.(folder)
    })
  await backupStore(config, store, { file, held })
  t.same(seen, [{ done: 7, of: 9, detail: 'files' }])
})
