import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
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
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { type CodeName, retryAfter } from '../../src/core/errors.js'
import { DiskStorage } from '../../src/files/disk.js'
import { type FileLimits, Files, type NewFile } from '../../src/files/files.js'
import { FileTokens, isFileId, newFileId } from '../../src/files/ids.js'
import { scan, sniff, TypeRules } from '../../src/files/inspect.js'
import { cleanName } from '../../src/files/names.js'
import { Staging } from '../../src/files/staging.js'
import { Uploads } from '../../src/files/uploads.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'

const [ANN, BOB] = ['100000001', '100000002']
const HOUR = 3_600_000

/** A GatewayError of this kind. */
const of = (kind: CodeName, info?: object) => ({ kind, ...(info && { info }) }) as unknown as Error

const LIMITS: FileLimits = {
  maxBytes: 1000,
  quotaBytes: 2000,
  bytesPerDay: 3000,
  maxFiles: 5,
  maxOpen: 3,
  totalBytes: 4000,
  types: [],
  uploadMs: HOUR,
  linkMs: 24 * HOUR,
  orphanMs: 48 * HOUR,
  keepMs: 0,
}

interface Given {
  readonly limits?: Partial<FileLimits>
  readonly scanner?: string
  readonly minFree?: number
  /** Bytes that are free on the disk. */
  readonly free?: () => number
}

async function open(t: Test, { limits, scanner = '', minFree = 0, free }: Given = {}) {
  const dir = t.testdir()
  const store = new EmbeddedStore({ dir: join(dir, 'store'), durability: 'commit', dedupWindowMs: 0 })
  await store.open()
  t.teardown(() => store.close())
  const folder = join(dir, 'files')
  const gone = new Set<string>()
  const files = new Files({
    kv: store.kv,
    tokens: await FileTokens.open(store.kv),
    staging: new Staging(join(folder, 'incoming'), minFree, free && (async () => free())),
    storage: new DiskStorage(folder),
    limits: { ...LIMITS, ...limits },
    scanner: { command: scanner, timeoutMs: 5000 },
    baseUrl: () => 'http://x',
    isGood: async userId => !gone.has(userId),
  })
  const upload = async (owner: string, bytes: Buffer, about: Partial<NewFile> = {}) => {
    const { id, token } = await files.slot(owner, { name: 'a', size: bytes.length, ...about })
    const file = await files.begin(id, token)
    try {
      await files.take(file, Readable.from([bytes]))
      return await files.finish(file)
    } finally {
      files.end(id)
    }
  }
  const kept = () =>
    existsSync(folder)
      ? readdirSync(folder, { recursive: true, withFileTypes: true })
          .filter(entry => entry.isFile())
          .map(entry => entry.name)
      : []
  return { files, upload, kept, folder, store, gone }
}

t.test('a name is never a path, empty or too long, and hides nothing, whatever it was', async t => {
  const names = fc.string({ unit: 'binary', maxLength: 255 })
  fc.assert(
    fc.property(names, name => {
      const clean = cleanName(name)
      const isClean = clean !== '' && !/[/\\\p{Cc}\u202a-\u202e\u2066-\u2069]/u.test(clean)
      return isClean && Buffer.byteLength(clean) <= 200 && clean !== '.' && clean !== '..'
    }),
    { numRuns: 500 },
  )
  t.equal(cleanName(`${'é'.repeat(250)}.tar`), `${'é'.repeat(98)}.tar`, 'the ending stays')
  t.equal(cleanName('👨‍👩‍👧 family.png'), '👨‍👩‍👧 family.png')
})

t.test('a token is good for one purpose and file', async t => {
  const { store } = await open(t)
  const tokens = await FileTokens.open(store.kv)
  const id = newFileId(ANN)
  t.ok(isFileId(id))
  const grant = { userId: BOB, expiresAt: 1_800_000_000_000 }
  const token = tokens.make('get', id, grant)
  t.same(tokens.read('get', id, token), grant)
  t.same((await FileTokens.open(store.kv)).read('get', id, token), grant, 'the key is kept')
  t.equal(tokens.read('put', id, token), undefined)
  t.equal(tokens.read('get', newFileId(ANN), token), undefined)
  const bytes = Buffer.from(token, 'base64url')
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    t.equal(tokens.read('get', id, changed.toString('base64url')), undefined)
  }
})

t.test('rules of types', async t => {
  const refused = /are not taken/
  const rules = new TypeRules(['image/*', 'application/pdf', '!image/svg+xml'])
  for (const type of ['image/png', 'application/pdf']) t.doesNotThrow(() => rules.check(type))
  for (const type of ['image/svg+xml', 'imagex/png', 'text/plain']) t.throws(() => rules.check(type), refused)
  t.doesNotThrow(() => new TypeRules([]).check('x/y'))
  t.throws(() => new TypeRules(['!x/*']).check('x/y'), refused)
  t.doesNotThrow(() => new TypeRules(['!x/*']).check('z/y'))
})

t.test('what a file is, by its bytes', async t => {
  const dir = t.testdir()
  const path = join(dir, 'x')
  const cases: [string | Buffer, string][] = [
    [Buffer.from('89504e470d0a1a0a0000000d494844520000000100000001', 'hex'), 'image/png'],
    ['%PDF-1.7', 'application/pdf'],
    ['<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', 'text/plain'],
    ['<!doctype html><script>alert(1)</script>', 'text/plain'],
    ['報告', 'text/plain'],
    [Buffer.concat([Buffer.alloc(65_535, 'a'), Buffer.from('é')]), 'text/plain'],
    [Buffer.from([0x80, 0x81, 0x00]), 'application/octet-stream'],
    [Buffer.from([0xe9, 0x20]), 'application/octet-stream'],
  ]
  for (const [bytes, type] of cases) {
    writeFileSync(path, bytes)
    t.equal(await sniff(path), type)
  }
})

t.test('a scanner is given the path, without a shell, and nothing of our environment', async t => {
  const dir = t.testdir({ file: 'bad' })
  const path = join(dir, 'file')
  const run = (script: string, timeoutMs = 5000) => {
    const command = join(dir, 'scan.sh')
    writeFileSync(command, `#!/bin/sh\n${script}\n`)
    chmodSync(command, 0o700)
    return scan(path, { command, timeoutMs })
  }
  process.env.MUMI_TEST_SECRET = 'secret'
  t.teardown(() => delete process.env.MUMI_TEST_SECRET)
  await run('test -z "$MUMI_TEST_SECRET" && test $# = 1 && grep -q bad "$1"')
  await t.rejects(run('exit 1'), of('FILE_REFUSED'))
  await t.rejects(run('kill -9 $$'), of('SCAN_FAILED'))
  await t.rejects(run('exec sleep 60', 50), of('SCAN_FAILED'), 'a slow one is killed')
  await t.rejects(scan(path, { command: join(dir, 'none'), timeoutMs: 1000 }), of('SCAN_FAILED'))
  await scan(path, { command: '', timeoutMs: 0 })
})

t.test('what the scanner or the rules refuse leaves nothing, and makes room again', async t => {
  const { files, upload, kept } = await open(t, { limits: { types: ['!text/*'] }, scanner: '/bin/false' })
  await t.rejects(upload(ANN, Buffer.from('text')), of('FILE_REFUSED', { field: 'type' }))
  await t.rejects(upload(ANN, randomBytes(100)), of('FILE_REFUSED', { field: 'file' }))
  t.same(kept(), [])
  t.same(await files.list(ANN), [])
  await t.rejects(files.slot(ANN, { name: 'a', size: 1, type: 'text/html' }), of('FILE_REFUSED'))
})

t.test('quotas count from the announcement on, also of announcements of one turn', async t => {
  const { files } = await open(t)
  const results = await Promise.allSettled([1, 2, 3].map(() => files.slot(ANN, { name: 'a', size: 900 })))
  t.same(
    results.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected'],
  )
  await files.slot(ANN, { name: 'a', size: 10 })
  await t.rejects(
    files.slot(ANN, { name: 'a', size: 10 }),
    of('FILES_FULL', { reason: '3 files are not uploaded yet' }),
  )
  await files.slot(BOB, { name: 'a', size: 1000 })
  await files.slot(BOB, { name: 'a', size: 1000 })
  await t.rejects(files.slot('100000003', { name: 'a', size: 500 }), of('STORE_FULL'), 'total of all')
})

t.test('a day’s bytes count also of files that are gone; the next day begins anew', async t => {
  const { files, upload } = await open(t)
  for (let i = 0; i < 3; i++) await files.remove(ANN, (await upload(ANN, randomBytes(1000))).id)
  const refused = await files.slot(ANN, { name: 'a', size: 1 }).catch(thrown => thrown)
  t.match(refused, { kind: 'FILES_FULL', info: { reason: /a day/ } })
  const midnight = (Math.floor(Date.now() / 86_400_000) + 1) * 86_400_000
  t.ok(Math.abs(retryAfter(refused) - (midnight - Date.now()) / 1000) < 60, 'room comes with the next day')
  const { now } = Date
  t.intercept(Date, 'now', { value: () => now() + 24 * HOUR })
  await files.slot(ANN, { name: 'a', size: 1 })
})

t.test(
  'a day counts what came, also of uploads that failed, and holds what is announced; it cuts off nothing',
  async t => {
    const { files } = await open(t)
    const announced = []
    for (let i = 0; i < 3; i++) {
      const { id } = await files.slot(ANN, { name: 'a', size: 600 })
      announced.push(id)
      if (i < 2) await files.remove(ANN, id)
    }
    const again = () => files.slot(ANN, { name: 'a', size: 900 })
    t.equal((await files.list(ANN)).length, 1, 'announcements that were taken back cost nothing')
    const file = await files.begin(announced.at(-1) ?? '')
    for (let i = 0; i < 5; i++) t.equal(await files.take(file, Readable.from([Buffer.alloc(599)])), 599)
    t.equal(await files.rows.uploadedToday(ANN), 5 * 599)
    await t.rejects(again(), of('FILES_FULL', { reason: /a day/ }))
    t.equal(await files.take(file, Readable.from([Buffer.alloc(600)])), 600, 'it began below the limit')
    await t.rejects(
      files.take(file, Readable.from([Buffer.alloc(600)])),
      of('FILES_FULL', { reason: /a day/ }),
    )
    files.end(file.id)
  },
)

t.test('uploads leave room on the disk', async t => {
  const { files } = await open(t, { minFree: 1e18 })
  await t.rejects(files.slot(ANN, { name: 'a', size: 1 }), of('STORE_FULL'))
})

t.test('room is kept for what is announced and still to come, and looked at while bytes come', async t => {
  let free = 2500
  const { files, upload, kept } = await open(t, { minFree: 1000, free: () => free })
  const [first] = [await files.slot(ANN, { name: 'a', size: 900 })]
  await t.rejects(files.slot(BOB, { name: 'a', size: 700 }), of('STORE_FULL'))
  await files.remove(ANN, first.id)
  await upload(BOB, randomBytes(700))
  const { id, token } = await files.slot(ANN, { name: 'a', size: 900 })
  const file = await files.begin(id, token)
  free = 1000
  await t.rejects(files.take(file, Readable.from([Buffer.alloc(100)])), of('STORE_FULL'))
  free = 1900
  t.equal(await files.take(file, Readable.from([Buffer.alloc(900)])), 900)
  files.end(id)
  t.equal(kept().length, 2)
})

t.test('of an upload whose file is removed meanwhile nothing more is taken', async t => {
  const uploads = new Uploads()
  const [own, other] = [newFileId(ANN), newFileId(BOB)]
  for (const id of [own, other]) uploads.begin(id, undefined)
  uploads.stopAll(ANN)
  const pieces = (id: string) => buffer(Readable.from(uploads.watch(id, Readable.from([Buffer.alloc(3)]))))
  await t.rejects(pieces(own), of('NO_FILE'))
  t.equal((await pieces(other)).length, 3)
  uploads.stop(other)
  t.throws(() => uploads.check(other), of('NO_FILE'))
  uploads.end(other)
  uploads.begin(other, undefined)
  t.doesNotThrow(() => uploads.check(other), 'the next one begins anew')
  const ended: string[] = []
  const idle = uploads.idle().then(() => ended.push('all'))
  for (const id of [own, other]) {
    await new Promise(setImmediate)
    ended.push(id)
    uploads.end(id)
  }
  await idle
  t.same(ended, [own, other, 'all'])
  await uploads.idle()
})

t.test('an upload whose login ends is told at once, also while nothing comes; others go on', async t => {
  const uploads = new Uploads()
  const [own, other, free] = [newFileId(ANN), newFileId(ANN), newFileId(ANN)]
  uploads.begin(own, { id: 'a', role: 'user' })
  uploads.begin(other, { id: 'b', role: 'user' })
  uploads.begin(free, undefined)
  let send: (piece: Buffer) => void = () => undefined
  const silent = (async function* () {
    yield await new Promise<Buffer>(resolve => (send = resolve))
  })()
  const reading = buffer(Readable.from(uploads.watch(own, silent)))
  const refused = t.rejects(reading, of('ERROR_AUTH'))
  await new Promise(setImmediate)
  uploads.stopLogins(BOB, () => true)
  uploads.stopLogins(ANN, ({ id }) => id === 'a')
  await refused
  send(Buffer.alloc(1))
  for (const id of [other, free]) t.doesNotThrow(() => uploads.check(id))
  uploads.stop(own)
  t.throws(() => uploads.check(own), of('ERROR_AUTH'), 'what came first counts')
})

t.test('an announcement ends with its login, an upload with one of its own does not', async t => {
  const { files } = await open(t)
  const announce = (login?: string) =>
    files.slot(ANN, { name: 'a', size: 5 }, login === undefined ? undefined : { id: login, role: 'user' })
  const [a, b, own] = [await announce('a'), await announce('b'), await announce()]
  await files.endLogins(ANN, ({ id }) => id === 'a')
  await t.rejects(files.begin(a.id, a.token), of('NO_FILE'))
  for (const { id, token } of [b, own]) {
    t.equal((await files.begin(id, token)).id, id)
    files.end(id)
  }
  const file = await files.begin(own.id, undefined, { id: 'c', role: 'user' })
  await files.options.staging.append(own.id, Readable.from([Buffer.alloc(5)]), 0, 5)
  await files.endLogins(ANN, () => true)
  await t.rejects(files.finish(file), of('ERROR_AUTH'))
  files.end(own.id)
  t.equal(await files.options.staging.sizeOf(own.id), 5, 'it goes on by another login')
  t.equal((await files.finish(await files.begin(own.id))).state, 'stored')
})

t.test('files are private, and where their account’s folder is', async t => {
  const { upload, folder, files } = await open(t)
  const bytes = randomBytes(100)
  const file = await upload(ANN, bytes)
  const path = join(folder, '01', ANN, file.id.slice(10))
  t.same(readFileSync(path), bytes)
  t.equal(statSync(path).mode & 0o777, 0o600)
  for (const dir of [folder, join(folder, '01', ANN)]) t.equal(statSync(dir).mode & 0o077, 0)
  t.same(await buffer(await files.read(file, { start: 10, end: 19 })), bytes.subarray(10, 20))
})

t.test('a file that is gone from the disk is an error before the answer begins', async t => {
  const { files, upload, folder } = await open(t)
  const file = await upload(ANN, randomBytes(100))
  const all = () => files.read(file, { start: 0, end: 99 })
  const path = join(folder, '01', ANN, file.id.slice(10))
  const other = join(folder, 'other')
  writeFileSync(other, 'x'.repeat(100))
  const changes: [string, () => void][] = [
    ['shorter', () => truncateSync(path, 99)],
    ['longer', () => truncateSync(path, 101)],
    ['a link', () => symlinkSync(other, path)],
    ['a FIFO', () => execFileSync('mkfifo', [path])],
    ['a folder', () => mkdirSync(path)],
    ['gone', () => undefined],
  ]
  for (const [name, change] of changes) {
    if (!['shorter', 'longer'].includes(name)) rmSync(path, { recursive: true, force: true })
    change()
    await t.rejects(all(), of('STORE_UNAVAILABLE'), name)
    await t.rejects(files.checkThere(file), of('STORE_UNAVAILABLE'), name)
  }
})

t.test('an upload writes through no link', async t => {
  const { files, folder } = await open(t)
  const { id } = await files.slot(ANN, { name: 'a', size: 10 })
  const other = join(t.testdir({ other: 'whole' }), 'other')
  mkdirSync(join(folder, 'incoming'), { recursive: true })
  symlinkSync(other, join(folder, 'incoming', id))
  const body = () => Readable.from([Buffer.alloc(10)])
  await t.rejects(files.options.staging.append(id, body(), 5, 10), of('STORE_UNAVAILABLE'))
  t.equal(await files.options.staging.append(id, body(), 0, 10), 10)
  t.equal(readFileSync(other, 'utf8'), 'whole')
})

t.test('more than was announced is not written', async t => {
  const { files } = await open(t)
  const { id } = await files.slot(ANN, { name: 'a', size: 10 })
  const body = Readable.from([Buffer.alloc(8), Buffer.alloc(8)])
  await t.rejects(files.options.staging.append(id, body, 0, 10), of('TOO_LARGE'))
})

t.test('the sweep: unfinished uploads, orphans, files past files.keep, bytes without a row', async t => {
  const { files, upload, kept, folder } = await open(t, { limits: { keepMs: 72 * HOUR, maxFiles: 9 } })
  const open1 = await files.slot(ANN, { name: 'a', size: 10 })
  await files.options.staging.append(open1.id, Readable.from([Buffer.alloc(5)]), 0, 10)
  const orphan = await upload(ANN, randomBytes(10))
  const sent = await upload(ANN, randomBytes(10))
  await files.refer(ANN, [sent.id], BOB)
  const stray = newFileId(BOB)
  mkdirSync(join(folder, '02', BOB), { recursive: true })
  writeFileSync(join(folder, '02', BOB, stray.slice(10)), 'x')
  writeFileSync(join(folder, 'incoming', newFileId(BOB)), 'x')
  const ids = async () => (await files.list(ANN)).map(({ id }) => id).sort()
  const now = Date.now()
  await files.sweep(now)
  t.same(await ids(), [open1.id, orphan.id, sent.id].sort())
  t.equal(kept().length, 3, 'what has no row is gone')
  await files.sweep(now + 2 * HOUR)
  t.same(await ids(), [orphan.id, sent.id].sort())
  await files.sweep(now + 49 * HOUR)
  t.same(await ids(), [sent.id])
  t.equal((await files.linkFor(BOB, sent.id)).id, sent.id)
  await files.sweep(now + 73 * HOUR)
  t.same(await ids(), [])
  t.same(kept(), [])
  await t.rejects(files.linkFor(BOB, sent.id), of('NO_FILE'))
})

t.test('a sweep leaves alone what is being uploaded', async t => {
  const { files, kept } = await open(t)
  const { id, token } = await files.slot(ANN, { name: 'a', size: 10 })
  const file = await files.begin(id, token)
  await files.options.staging.append(id, Readable.from([Buffer.alloc(10)]), 0, 10)
  await files.sweep(Date.now() + 2 * HOUR)
  await files.finish(file)
  files.end(id)
  t.equal(kept().length, 1)
})

t.test('a file that is removed while it is looked at is not there afterwards', async t => {
  const { files, kept } = await open(t)
  const { id, token } = await files.slot(ANN, { name: 'a', size: 10 })
  const file = await files.begin(id, token)
  await t.rejects(files.begin(id, token), of('BAD_UPLOAD'), 'one upload at a time')
  await files.options.staging.append(id, Readable.from([Buffer.alloc(10)]), 0, 10)
  const finishing = files.finish(file)
  await files.remove(ANN, id)
  await t.rejects(finishing)
  t.same(kept(), [])
  t.equal((await files.rows.usage(ANN)).files, 0)
})

t.test('links of a reader who is gone are good no more, nor is an announcement', async t => {
  const { files, upload, gone } = await open(t)
  const { id } = await upload(ANN, randomBytes(10))
  const token = files.urlsFor({ id, type: 'x/y', size: 1 }, BOB).url.split('/').at(-1) ?? ''
  t.equal((await files.findByLink(id, token)).id, id)
  const slot = await files.slot(BOB, { name: 'a', size: 1 })
  gone.add(BOB)
  await t.rejects(files.findByLink(id, token), of('NO_FILE'))
  await t.rejects(files.begin(slot.id, slot.token), of('NO_FILE'))
})
