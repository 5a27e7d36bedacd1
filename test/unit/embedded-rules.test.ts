/** Rules of the embedded store's parts: its file's pages, and its tables over a real LMDB in a temporary folder. */
import fs, {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { mock } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { open } from 'lmdb'
import t, { type Test } from 'tap'
import { pairConversation, type User } from '../../src/core/model.js'
import { bootId } from '../../src/store/embedded/boot-id.js'
import { onCommitFailure } from '../../src/store/embedded/commit-failures.js'
import { Conversations } from '../../src/store/embedded/conversations.js'
import { DiskSync } from '../../src/store/embedded/disk-sync.js'
import { EmbeddedEnv } from '../../src/store/embedded/env.js'
import { DataFormat } from '../../src/store/embedded/format.js'
import {
  Damage,
  type Meta,
  NO_ROOT,
  PAGE_HEADER,
  readMeta,
  readNewest,
  restoreSynced,
  txnIdOf,
} from '../../src/store/embedded/meta-page.js'
import { NameIndex } from '../../src/store/embedded/names.js'
import { checkPages } from '../../src/store/embedded/pages.js'
import { Place } from '../../src/store/embedded/place.js'
import { Rows } from '../../src/store/embedded/rows.js'
import type { OpenTable } from '../../src/store/embedded/table.js'
import { DATA_FORMAT, UPGRADE_ROWS } from '../../src/store/upgrade.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, BOB, EVE } from '../helpers/store-samples.js'

const PAGE = 4096
const NEVER = Number.POSITIVE_INFINITY

interface MetaFields {
  txnId?: bigint
  bootId?: bigint
  flags?: number
  pageSize?: number
  magic?: number
  version?: number
  kind?: number
}

/** A meta page as mdb.c lays it out; `at`: where the header begins. */
function writeMeta(file: Buffer, at: number, fields: MetaFields): void {
  const meta = at + PAGE_HEADER
  file.writeUInt16LE(fields.kind ?? 8, at + 18)
  file.writeUInt32LE(fields.magic ?? 0xbeefc0de, meta)
  file.writeUInt16LE(fields.version ?? 2, meta + 4)
  file.writeUInt32LE(fields.pageSize ?? PAGE, meta + 24)
  file.writeUInt16LE(fields.flags ?? 0, meta + 28)
  file.writeBigUInt64LE(1n, meta + 120)
  file.writeBigUInt64LE(fields.txnId ?? 1n, meta + 128)
  file.writeBigUInt64LE(fields.bootId ?? 0n, meta + 136)
}

function withFile<T>(t: Test, bytes: Buffer, work: (file: number) => T): T {
  const path = join(t.testdir(), 'data.mdb')
  writeFileSync(path, bytes)
  const file = openSync(path, 'r')
  try {
    return work(file)
  } finally {
    closeSync(file)
  }
}

const OVERLAPPING = 0x1000

/** The transaction that LMDB would go on from. */
function picked(t: Test, first: MetaFields, second: MetaFields, synced?: MetaFields, bootId = 7n): bigint {
  const bytes = Buffer.alloc(2 * PAGE)
  writeMeta(bytes, 0, first)
  writeMeta(bytes, PAGE, second)
  if (synced !== undefined) writeMeta(bytes, PAGE / 2, synced)
  return withFile(t, bytes, file => readMeta(file, bootId).txnId)
}

t.test('the newest meta page counts, unless it may not have reached the disk before a restart', async t => {
  t.equal(picked(t, { txnId: 4n }, { txnId: 5n }), 5n)
  t.equal(picked(t, { txnId: 6n }, { txnId: 5n }), 6n)
  const unsure = { flags: OVERLAPPING, bootId: 7n }
  t.equal(picked(t, { txnId: 4n, ...unsure }, { txnId: 5n, ...unsure }), 5n, 'the system is still the same')
  t.equal(picked(t, { txnId: 4n, ...unsure }, { txnId: 5n, ...unsure }, undefined, 8n), 4n)
  const synced = { txnId: 3n, ...unsure }
  t.equal(picked(t, { txnId: 4n, ...unsure }, { txnId: 5n, ...unsure }, synced, 8n), 3n, 'the synced one')
  t.equal(picked(t, { txnId: 4n, ...unsure }, { txnId: 5n, ...unsure }, synced, 7n), 5n)
  const unknown = { flags: OVERLAPPING, bootId: 0n }
  t.equal(
    picked(t, { txnId: 4n, ...unknown }, { txnId: 5n, ...unknown }, synced, 0n),
    3n,
    'no boot id: not the same',
  )
})

t.test('a page that is not a meta page is reported with the reason', async t => {
  const wrong =
    (first: MetaFields, second: MetaFields = {}) =>
    () =>
      picked(t, first, second)
  t.throws(wrong({ magic: 1 }), new Damage("the first page is none of this store's"))
  t.throws(wrong({ kind: 2 }), new Damage("the first page is none of this store's"))
  t.throws(wrong({}, { magic: 1 }), new Damage("the second page is none of this store's"))
  t.throws(wrong({ version: 1 }), new Damage('the first page has version 1 of the format, not 2'))
  for (const pageSize of [256, 131_072, 4097, 0])
    t.throws(wrong({ pageSize }), new Damage(`the first page names pages of ${pageSize} bytes`))
  t.throws(wrong({}, { pageSize: 8192 }), new Damage('the first two pages name different page sizes'))
  const first = Buffer.alloc(PAGE + 100)
  writeMeta(first, 0, {})
  t.throws(() => withFile(t, first, file => readMeta(file, 0n)), new Damage('it ends within the second page'))
  t.throws(
    () => withFile(t, Buffer.alloc(0), file => readMeta(file, 0n)),
    new Damage('it ends within the first page'),
  )
})

/** A file with branch pages, values on pages of their own, and free pages. */
async function written(t: Test): Promise<Buffer> {
  const dir = t.testdir()
  const root = open({ path: dir, noSubdir: false, maxDbs: 4, pageSize: PAGE })
  const table = root.openDB<string, number>({ name: 'rows', encoding: 'string' })
  await root.transaction(() => {
    for (let i = 0; i < 600; i++) void table.put(i, `${i} ${'x'.repeat(100)}`)
    void table.put(1000, 'y'.repeat(20_000))
  })
  await root.transaction(() => {
    for (let i = 0; i < 300; i++) void table.remove(i)
  })
  await root.close()
  return readFileSync(join(dir, 'data.mdb'))
}

t.test('an intact file is checked to its end, and damage is reported with its place', async t => {
  const sound = await written(t)
  const meta = withFile(t, sound, file => readMeta(file, 0n))
  t.match(meta, { pageSize: PAGE, main: { depth: 1 } })
  t.not(meta.free.root, NO_ROOT, 'there are free pages')
  const check = (change: (bytes: Buffer) => void, of: Meta = meta) => {
    const bytes = Buffer.from(sound)
    change(bytes)
    return withFile(t, bytes, file => checkPages(file, of, NEVER))
  }
  const root = Number(meta.main.root)
  const at = root * PAGE
  t.equal(
    check(() => undefined),
    true,
  )
  t.throws(
    () => check(b => b.writeBigUInt64LE(1n, at)),
    new Damage(`page ${root} bears the number of another`),
  )
  t.throws(() => check(b => b.writeUInt16LE(1, at + 18)), new Damage(`page ${root} is of another kind`))
  for (const lower of [0, 3, 5000])
    t.throws(
      () => check(b => b.writeUInt16LE(lower, at + 20)),
      new Damage(`page ${root} is not laid out as a page`),
    )
  t.throws(
    () => check(b => b.writeUInt16LE(PAGE - PAGE_HEADER - 4, at + PAGE_HEADER)),
    new Damage(`page ${root} names what is not within it`),
  )
  const tree = (changes: Partial<Meta['main']>): Meta => ({ ...meta, main: { ...meta.main, ...changes } })
  const same = () => undefined
  t.throws(() => check(same, tree({ depth: 33 })), new Damage('a database is 33 pages deep'))
  t.throws(() => check(same, tree({ depth: 0 })), new Damage('a database is 0 pages deep'))
  t.throws(() => check(same, tree({ root: 1n })), new Damage('it names page 1, which is none'))
  const beyond = meta.lastPage + 1
  t.throws(
    () => check(same, tree({ root: BigInt(beyond) })),
    new Damage(`it names page ${beyond}, which is none`),
  )
  t.throws(
    () => check(same, { ...meta, free: meta.main }),
    new Damage('a list of free pages is longer than its place'),
  )
  t.equal(check(same, { ...meta, main: { ...meta.main, root: NO_ROOT } }), true, 'an empty tree')
  t.throws(() => check(same, { ...meta, lastPage: 2 ** 24 }), new Damage('it is far too short'))
})

/** Numbers of the pages that satisfy a test. */
function pagesWhere(file: Buffer, test: (page: Buffer) => boolean): number[] {
  const all = Array.from({ length: Math.floor(file.length / PAGE) }, (_, i) => i)
  return all.filter(i => i >= 2 && test(file.subarray(i * PAGE, (i + 1) * PAGE)))
}

t.test('pages below the root are checked, too', async t => {
  const sound = await written(t)
  const meta = withFile(t, sound, file => readMeta(file, 0n))
  const damaged = (page: number, change: (bytes: Buffer) => void) => () => {
    const bytes = Buffer.from(sound)
    change(bytes.subarray(page * PAGE))
    return withFile(t, bytes, file => checkPages(file, meta, NEVER))
  }
  const main = Number(meta.main.root) * PAGE
  const entry = main + PAGE_HEADER + sound.readUInt16LE(main + PAGE_HEADER)
  const tree = entry + 8 + sound.readUInt16LE(entry + 6)
  const branch = Number(sound.readBigUInt64LE(tree + 40))
  t.equal(sound.readUInt16LE(branch * PAGE + 18) & 1, 1, 'rows begin at a branch page')
  const node = (page: Buffer, i: number) => PAGE_HEADER + page.readUInt16LE(PAGE_HEADER + 2 * i)
  t.throws(
    damaged(branch, page => page.writeUInt32LE(page.readUInt32LE(node(page, 0)), node(page, 1))),
    /page \d+ is used twice/,
  )
  t.throws(
    damaged(branch, page => page.writeUInt16LE(2, 20)),
    new Damage(`page ${branch} is not laid out as a page`),
    'a branch has two keys at least',
  )
  const [large = 0] = pagesWhere(
    sound,
    page => page.toString('latin1', PAGE_HEADER, PAGE_HEADER + 9) === 'y'.repeat(9),
  )
  t.throws(
    damaged(large, page => page.writeUInt32LE(9, 20)),
    new Damage(`page ${large} is not the beginning of a value`),
  )
  t.throws(
    damaged(0, page => page.writeUInt16LE(4, tree + 4)),
    /kind that this store has none of/,
  )
  const short = sound.subarray(0, large * PAGE + PAGE)
  t.throws(
    () => withFile(t, short, file => checkPages(file, meta, NEVER)),
    /is behind its end|does not end within the file/,
    'the file ends within what it names',
  )
})

t.test('the check stops at its deadline', async t => {
  const dir = t.testdir()
  const root = open({ path: dir, noSubdir: false, maxDbs: 4, pageSize: PAGE })
  const table = root.openDB<string, number>({ name: 'rows', encoding: 'string' })
  await root.transaction(() => {
    for (let i = 0; i < 1500; i++) void table.put(i, 'x'.repeat(3000))
  })
  await root.close()
  const file = openSync(join(dir, 'data.mdb'), 'r')
  t.teardown(() => closeSync(file))
  const meta = readMeta(file, 0n)
  t.equal(checkPages(file, meta, performance.now() - 1), false)
  t.equal(checkPages(file, meta, NEVER), true)
})

async function opened<T>(t: Test, build: (table: OpenTable, env: EmbeddedEnv, dir: string) => T) {
  const dir = t.testdir()
  const env = new EmbeddedEnv({ dir, durability: 'commit', check: { pages: 'always', timeoutMs: 1000 } })
  const parts = await env.open(table => build(table, env, dir))
  t.teardown(() => env.close())
  return { env, parts, dir }
}

function user(id: string, firstName: string, lastName: string): User {
  const email = `${id}@example.com`
  return {
    id,
    email,
    emailKey: email,
    username: '',
    firstName,
    lastName,
    profileImage: '',
    key: '',
    createdAt: 0,
  }
}

t.test('accounts are found by first name, last name or both, in order, page by page', async t => {
  const { env, parts: names } = await opened(t, table => new NameIndex(table))
  const ada = user(ANN, 'Ada', 'King')
  await env.write(() => {
    names.put(ada, 1)
    names.put(user(BOB, 'Ada', ''), 2)
    names.put(user(EVE, 'King', 'Ada'), 3)
  })
  t.same(names.find({ firstName: 'Ada' }, 0, 10), [1, 2])
  t.same(names.find({ firstName: 'Ada' }, 1, 10), [2], 'behind the last one of a page')
  t.same(names.find({ firstName: 'Ada' }, 0, 1), [1])
  t.same(names.find({ lastName: 'Ada' }, 0, 10), [3])
  t.same(names.find({ firstName: 'Ada', lastName: 'King' }, 0, 10), [1])
  t.same(names.find({ firstName: 'Ada', lastName: '' }, 0, 10), [2], 'an empty name is a name')
  t.same(names.find({ firstName: 'ada' }, 0, 10), [], 'as it was written')
  t.equal(names.indexedUpTo, 0)
  await env.write(() => {
    names.remove(ada, 1)
    names.putIndexedUpTo(3)
  })
  t.same(names.find({ firstName: 'Ada' }, 0, 10), [2])
  t.same(names.find({ firstName: 'Ada', lastName: 'King' }, 0, 10), [])
  t.equal(names.indexedUpTo, 3)
})

const idOf = (n: number) => `0190b5a0-0000-7000-8000-${String(n).padStart(12, '0')}`

t.test('a conversation is read backwards from its newest message, without other conversations', async t => {
  const { env, parts } = await opened(t, table => new Conversations(table))
  const [own, other] = [pairConversation(ANN, BOB), pairConversation(ANN, EVE)]
  const last = { owner: 2 ** 32 - 1, seq: 2 ** 48 - 1 }
  const buffer = Buffer.alloc(5 * Conversations.PLACE_BYTES)
  await env.write(() => {
    for (let n = 1; n <= 3; n++)
      parts.put(own, idOf(n), { owner: 7, seq: n }, buffer, n * Conversations.PLACE_BYTES)
    parts.put(other, idOf(2), last, buffer, 4 * Conversations.PLACE_BYTES)
  })
  const seqs = (limit: number, before?: string) => [...parts.range(own, limit, before)].map(({ seq }) => seq)
  t.same(parts.get(own, idOf(2)), { owner: 7, seq: 2 })
  t.same(parts.get(other, idOf(2)), last, 'the largest numbers that fit')
  t.equal(parts.get(other, idOf(1)), undefined)
  t.same(seqs(10), [3, 2, 1])
  t.same(seqs(2), [3, 2])
  t.same(seqs(10, idOf(3)), [2, 1], 'without the one named')
  t.same(seqs(10, idOf(1)), [])
  t.same(seqs(10, 'z'), [3, 2, 1], 'any text may be a bound')
  await env.write(() => parts.remove(own, idOf(2)))
  t.same(seqs(10), [3, 1])
  t.same([...parts.range(other, 10)], [last])
})

t.test('rows of data format 1 are rewritten in steps, and the step is stored with them', async t => {
  const { env, parts, dir } = await opened(t, (table, env, dir) => {
    return { table, format: new DataFormat(env, table, dir), rows: new Rows(table) }
  })
  const { table, format, rows } = parts
  const text = JSON.stringify({ id: idOf(1), type: 'message', from: ANN, to: BOB, content: 'x', time: 0 })
  t.ok(format.isOld, 'nothing is stored: version 0.1.0')
  await env.write(() => {
    for (let seq = 1; seq <= UPGRADE_ROWS + 1; seq++)
      void rows.table.put([Number(BOB), seq], `${idOf(seq)}12`)
    rows.putText(idOf(1), text)
  })
  await format.begin()
  t.same(table('format').get(['state']), { number: DATA_FORMAT, isUpgraded: false })
  t.equal(await format.upgradeSome(), true)
  t.match(table('format').get(['state']), { upTo: [Number(BOB), UPGRADE_ROWS], isUpgraded: false })
  t.ok(new DataFormat(env, table, dir).isOld, 'another start goes on')
  t.equal(await format.upgradeSome(), true)
  t.match(table('format').get(['state']), { upTo: [Number(BOB), UPGRADE_ROWS + 1] })
  t.equal(await format.upgradeSome(), false)
  t.notOk(format.isOld)
  t.equal(await format.upgradeSome(), false, 'once and for all')
  t.equal(rows.table.get([Number(BOB), 2]), `${idOf(2)}12`, 'its text is gone: left as it is')
  await env.write(() => void table('format').put(['state'], { number: DATA_FORMAT + 1, isUpgraded: true }))
  t.throws(() => new DataFormat(env, table, dir), ofKind('STORE_UNAVAILABLE'))
})

t.test('a file that was replaced or removed while it is open is refused', async t => {
  const dir = t.testdir({ 'data.mdb': 'a', 'lock.mdb': 'b' })
  const place = new Place(dir)
  const data = join(dir, 'data.mdb')
  place.check()
  t.ok(place.isThere)
  renameSync(data, `${data}.old`)
  t.notOk(place.isThere)
  t.throws(() => place.check(), ofKind('STORE_UNAVAILABLE'))
  writeFileSync(data, 'a')
  t.throws(() => place.check(), ofKind('STORE_UNAVAILABLE'), 'the same text is not the same file')
  renameSync(`${data}.old`, data)
  place.check()
  t.ok(place.isThere, 'put back')
})

t.test('a commit is reported when it can be read, and when it failed', async t => {
  const told: unknown[] = []
  const statuses: number[] = []
  const root = {
    env: {
      startWriting(address: number, progress: (status: number) => unknown) {
        t.equal(address, 5)
        return [0, 1, 2, -30792, 28].map(status => progress(status))
      },
    },
  }
  onCommitFailure(root as never, code => told.push(code))
  const results = root.env.startWriting(5, status => {
    statuses.push(status)
    return status * 2
  })
  t.same(statuses, [0, 1, 2, -30792, 28], 'lmdb is told first, of all')
  t.same(results, [0, 2, 4, -61584, 56])
  t.same(told, [-30792, 28])
  onCommitFailure({} as never, () => t.fail())
})

t.test('the start of the system has the number that LMDB writes', async t => {
  const isKnown = process.platform === 'linux' && existsSync('/proc/sys/kernel/random/boot_id')
  t.equal(bootId() !== 0n, isKnown)
  const dir = t.testdir()
  const root = open({ path: dir, noSubdir: false })
  await root.put('a', 1)
  await root.close()
  const file = openSync(join(dir, 'data.mdb'), 'r')
  t.teardown(() => closeSync(file))
  t.equal(readMeta(file, bootId()).bootId, bootId())
})

/** Before the system was started anew: no meta page bears the number of this start. */
function asOfAnotherStart(path: string): number {
  const bytes = readFileSync(path)
  for (const at of [0, PAGE / 2, PAGE]) bytes.writeBigInt64LE(bootId() + 1n, at + PAGE_HEADER + 136)
  writeFileSync(path, bytes)
  return openSync(path, 'r+')
}

t.test('the snapshot that was synced is the one that counts when the system was started anew', async t => {
  if (bootId() === 0n) return t.pass('the system does not tell when it was started')
  const folder = t.testdir({ db: {}, cut: {} })
  const dir = join(folder, 'db')
  const root = open<string, number>({ path: dir, noSubdir: false, noSync: true, pageSize: PAGE })
  await root.put(1, 'first')
  const disk = new DiskSync(root, dir, cause => t.fail(String(cause)))
  root.transactionSync(() => void root.put(2, 'synced'))
  disk.committed()
  await disk.synced()
  const path = join(dir, 'data.mdb')
  const file = openSync(path, 'r+')
  const noted = readNewest(file, PAGE)
  for (let n = 3; n < 300; n++) root.transactionSync(() => void root.put(n % 7, 'later'))
  t.equal(readMeta(file, bootId()).txnId, txnIdOf(readNewest(file, PAGE)), 'this start: the newest')
  t.notOk(restoreSynced(file, bootId()), 'this start: nothing is set back')
  const cut = join(folder, 'cut')
  copyFileSync(path, join(cut, 'data.mdb'))
  const after = asOfAnotherStart(join(cut, 'data.mdb'))
  t.equal(readMeta(after, bootId()).txnId, txnIdOf(noted))
  t.ok(restoreSynced(after, bootId()))
  t.notOk(restoreSynced(after, bootId()), 'once')
  t.equal(txnIdOf(readNewest(after, PAGE)), txnIdOf(noted))
  t.ok(checkPages(after, readMeta(after, bootId()), NEVER), 'none of its pages was used again')
  const restored = open<string, number>({ path: cut, noSubdir: false, noSync: true })
  t.same([restored.get(1), restored.get(2), restored.get(3)], ['first', 'synced', undefined])
  await restored.close()
  disk.committed()
  await disk.synced()
  t.equal(
    readMeta(file, bootId() + 1n).txnId,
    txnIdOf(readNewest(file, PAGE)),
    'the next sync notes the next one',
  )
  for (const one of [file, after]) closeSync(one)
  await disk.close()
  await root.close()
})

t.test(
  'a commit that is not in the journal is noted on the disk with the next sync, which waits for no other',
  async t => {
    if (bootId() === 0n) return t.pass('the system does not tell when it was started')
    const dir = t.testdir()
    const root = open<string, number>({ path: dir, noSubdir: false, noSync: true })
    await root.put(1, 'x')
    const held: (() => void)[] = []
    const real = fs.fdatasync
    const restore = () => {
      mock.timers.reset()
      Object.assign(fs, { fdatasync: real })
      syncBuiltinESMExports()
    }
    t.teardown(restore)
    Object.assign(fs, { fdatasync: (_file: number, done: () => void) => void held.push(done) })
    syncBuiltinESMExports()
    mock.timers.enable({ apis: ['setTimeout'] })
    const disk = new DiskSync(root, dir, cause => t.fail(String(cause)))
    const commit = (isInJournal: boolean) => {
      root.transactionSync(() => void root.put(1, `${held.length}`))
      disk.committed(isInJournal)
    }
    /** The disk has what it was asked for last. */
    const finish = async () => {
      held.at(-1)?.()
      await nextTurn()
    }
    commit(false)
    mock.timers.tick(100)
    t.equal(held.length, 1, 'a sync of the commit')
    commit(true)
    await finish()
    mock.timers.tick(100)
    t.equal(held.length, 2, 'its note, though the next commit may wait')
    commit(true)
    await finish()
    mock.timers.tick(100)
    t.equal(held.length, 2, 'nothing that may not wait')
    mock.timers.tick(900)
    t.equal(held.length, 3)
    for (let n = 0; n < 8; n++) commit(true)
    await finish()
    mock.timers.tick(100)
    t.equal(held.length, 4, 'as many as may wait')
    await finish()
    t.equal(held.length, 5, 'nothing is new: the note at once')
    await finish()
    restore()
    await disk.close()
    await root.close()
  },
)

t.test("a boot id that is not the kernel's own counts as unknown, as for LMDB", async t => {
  const path = join(t.testdir({ boot_id: '12345678-0000-0000-0000-000000000000\n' }), 'boot_id')
  t.equal(bootId(path), 0n)
  t.equal(bootId(join(path, 'none')), 0n)
})

t.test('a sync that the disk refuses is told to all who wait, then and later', async t => {
  if (bootId() === 0n) return t.pass('the system does not tell when it was started')
  const dir = t.testdir()
  const root = open<string, number>({ path: dir, noSubdir: false, noSync: true })
  await root.put(1, 'x')
  const path = realpathSync(join(dir, 'data.mdb'))
  const opened = () =>
    readdirSync('/proc/self/fd').filter(fd => {
      const link = `/proc/self/fd/${fd}`
      // The folder that is read has one, too, and is closed by now.
      return existsSync(link) && readlinkSync(link) === path
    })
  const before = opened()
  const failures: unknown[] = []
  const disk = new DiskSync(root, dir, cause => failures.push(cause))
  const [file] = opened().filter(fd => !before.includes(fd))
  closeSync(Number(file))
  await t.rejects(disk.synced(), { code: 'EBADF' })
  t.match(failures, [{ code: 'EBADF' }])
  await t.rejects(disk.synced(), { code: 'EBADF' }, 'nobody waits for ever')
  await t.rejects(disk.close(), { code: 'EBADF' })
  await root.close()
})
