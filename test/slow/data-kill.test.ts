/** `kill -9` of the program during a backup, a restore, a compaction and an upgrade, and a disk that is full: nothing is lost. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { placeIn } from '../../src/files/disk.js'
import { newFileId } from '../../src/files/ids.js'
import { FileRows } from '../../src/files/rows.js'
import { EmbeddedEnv } from '../../src/store/embedded/env.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from '../helpers/gateway.js'
import { plainNode } from '../helpers/plain-node.js'
import { FREE_PORTS, MAIN, watch } from '../helpers/program.js'
import { ANN, BOB, message, user } from '../helpers/store-samples.js'

const ROWS = 20_000
/** Kills of each kind that must have hit it at work. */
const KILLS = 4

const mumi = (t: Test, args: string[]) => {
  const { PATH = '' } = process.env
  return watch(t, spawn(...plainNode([MAIN, ...args]), { env: { PATH } }))
}

const storeAt = (dataDir: string) =>
  new EmbeddedStore({ dir: join(dataDir, 'store'), durability: 'commit', dedupWindowMs: 1000 })

/** A store of some 15 MB, and as much again in pages that are free. */
async function filled(t: Test): Promise<string> {
  const dir = dataDir(t)
  const store = storeAt(dir)
  await store.open()
  for (const id of [ANN, BOB]) await store.users.createUser(user(id))
  const text = `{"content":"${'x'.repeat(300)}"}`
  for (let i = 0; i < ROWS; i += 100)
    await store.inbox.append(
      Array.from({ length: 200 }, (_, n) => message(ANN, n % 2 === 0 ? ANN : BOB, { text })),
    )
  while ((await store.inbox.trimInbox(ANN, ROWS, 1000)) > 0);
  await store.close()
  return dir
}

/** Everything is there, whoever made the folder. */
async function isWhole(t: Test, dir: string, about: string): Promise<void> {
  const store = storeAt(dir)
  await store.open()
  t.same([await store.inbox.lastSeq(ANN), await store.inbox.lastSeq(BOB)], [ROWS, ROWS], about)
  t.equal((await store.inbox.readInbox(BOB, 0, 2 * ROWS)).length, ROWS, about)
  await store.close()
}

/** Runs it again and again, each time until it has begun its work and a moment more, and kills it. */
async function killed(
  t: Test,
  { args, hasBegun, reset = () => undefined }: { args: string[]; hasBegun(): boolean; reset?(): void },
  after: (about: string) => Promise<void>,
): Promise<void> {
  let hits = 0
  let ms = 0
  for (let i = 0; hits < KILLS && i < 40; i++) {
    const { child, ended } = mumi(t, args)
    let isOver = false
    void ended.then(() => (isOver = true))
    while (!isOver && !hasBegun()) await delay(0)
    await delay(ms)
    child.kill('SIGKILL')
    const { signal } = await ended
    if (signal === 'SIGKILL') {
      hits++
      ms += 15
    }
    // A quick machine was done before.
    else ms /= 2
    await after(`${args[0]}, kill ${i}`)
    reset()
  }
  t.equal(hits, KILLS, `${args[0]} was killed at work`)
}

const has = (dir: string, part: string) =>
  existsSync(dir) && readdirSync(dir).some(name => name.includes(part))

t.test('compaction', async t => {
  const dir = await filled(t)
  const store = join(dir, 'store')
  const before = statSync(join(store, 'data.mdb')).size
  const args = ['compact', `--data.dir=${dir}`]
  await killed(t, { args, hasBegun: () => has(store, 'compact.part-') }, about => isWhole(t, dir, about))
  t.match(await mumi(t, args).ended, { code: 0 })
  t.ok(statSync(join(store, 'data.mdb')).size < before)
  t.notOk(has(store, '.part'))
  await isWhole(t, dir, 'at last')
})

t.test('backup and restore', async t => {
  const dir = await filled(t)
  const place = dataDir(t)
  const file = join(place, 'backup')
  const wholeOrNone = async (about: string) => {
    await isWhole(t, dir, about)
    if (!existsSync(file)) return
    const into = dataDir(t)
    t.match(await mumi(t, ['restore', file, `--data.dir=${into}`]).ended, { code: 0 }, about)
    await isWhole(t, into, about)
  }
  const reset = () => {
    for (const name of readdirSync(place)) rmSync(join(place, name), { recursive: true })
  }
  const args = ['backup', file, `--data.dir=${dir}`]
  await killed(t, { args, hasBegun: () => has(place, '.part-'), reset }, wholeOrNone)
  t.match(await mumi(t, args).ended, { code: 0 })
  const into = dataDir(t)
  const store = join(into, 'store')
  const restore = ['restore', file, `--data.dir=${into}`]
  const restoredOrNone = async (about: string) => {
    if (!existsSync(join(store, 'data.mdb'))) {
      // An empty folder would be taken for that of a new store.
      if (existsSync(store)) t.ok(has(store, 'restore.part'), about)
      return
    }
    await isWhole(t, into, about)
    rmSync(store, { recursive: true })
  }
  await killed(t, { args: restore, hasBegun: () => has(store, 'restore.part') }, restoredOrNone)
  t.match(await mumi(t, restore).ended, { code: 0 })
  await isWhole(t, into, 'at last')
  t.notOk(has(store, '.part'))
})

/** Files of some 40 MB, with their rows. */
async function withFiles(dir: string): Promise<Map<string, string>> {
  const store = storeAt(dir)
  await store.open()
  const rows = new FileRows(store.kv)
  const files = new Map<string, string>()
  for (let i = 0; i < 400; i++) {
    const id = newFileId(i % 2 === 0 ? ANN : BOB)
    const path = placeIn(join(dir, 'files'), id)
    const bytes = randomBytes(100_000)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, bytes)
    const about = { name: 'x', type: 'text/plain', state: 'stored', createdAt: Date.now() } as const
    await rows.putNew({ id, size: bytes.length, sha256, ...about })
    files.set(id, sha256)
  }
  await store.close()
  return files
}

t.test('backup and restore of files', async t => {
  const dir = await filled(t)
  const files = await withFiles(dir)
  const place = dataDir(t)
  const file = join(place, 'backup')
  const areThere = (folder: string, about: string) => {
    const faults = [...files].filter(([id, sha256]) => {
      const path = placeIn(folder, id)
      return !existsSync(path) || createHash('sha256').update(readFileSync(path)).digest('hex') !== sha256
    })
    t.same(faults, [], about)
  }
  const reset = () => {
    for (const name of readdirSync(place)) rmSync(join(place, name), { recursive: true })
  }
  const args = ['backup', file, `--data.dir=${dir}`]
  const isCopying = () => readdirSync(place).some(name => existsSync(join(place, name, 'beside')))
  await killed(t, { args, hasBegun: isCopying, reset }, async about => {
    areThere(join(dir, 'files'), about)
    if (existsSync(file)) areThere(`${file}.files`, about)
  })
  t.match(await mumi(t, args).ended, { code: 0 })
  areThere(`${file}.files`, 'at last')

  const into = dataDir(t)
  const restore = ['restore', file, `--data.dir=${into}`]
  const store = join(into, 'store')
  await killed(t, { args: restore, hasBegun: () => existsSync(join(into, 'files')) }, async about => {
    if (!existsSync(join(store, 'data.mdb'))) {
      // serve would begin an empty store, and remove the files in time.
      t.ok(has(store, 'restore.part'), about)
      return
    }
    areThere(join(into, 'files'), about)
    rmSync(store, { recursive: true })
  })
  rmSync(store, { recursive: true, force: true })
  t.match(await mumi(t, restore).ended, { code: 0, stderr: '' })
  areThere(join(into, 'files'), 'what kills left is replaced')
  t.match(await mumi(t, ['verify', `--data.dir=${into}`]).ended, { code: 0, stdout: /^files +400$/m })
})

/** The kept folder of version 0.1.0 with many more rows, as that version wrote them. */
async function oldFolder(t: Test): Promise<string> {
  const dir = dataDir(t)
  mkdirSync(join(dir, 'store'))
  const kept = readFileSync(new URL('../fixtures/store-0.1.0.mdb.gz', import.meta.url))
  writeFileSync(join(dir, 'store', 'data.mdb'), gunzipSync(kept))
  const check = { pages: 'unclean', timeoutMs: 10_000 } as const
  const env = new EmbeddedEnv({ dir: join(dir, 'store'), durability: 'commit', check })
  const table = await env.open(table => table<string>('inbox', 'string'))
  const text = (seq: number) =>
    `{"sender":"${ANN}","recipient":"${BOB}","content":"old ${seq}","created_at":"2019-07-12T09:08:10Z"}`
  await env.write(() => {
    for (let seq = 7, end = 0; seq <= ROWS; seq++) {
      end += Buffer.byteLength(text(seq))
      table.put([Number(BOB), seq], `${uuidv7()}${end}${text(seq)}`)
    }
  }, ROWS)
  await env.close()
  return dir
}

t.test('upgrade, and the backup before it', async t => {
  const dir = await oldFolder(t)
  const first = storeAt(dir)
  const old = new EmbeddedStore({
    dir: join(dir, 'store'),
    durability: 'commit',
    dedupWindowMs: 1000,
    upgrade: false,
  })
  await old.open()
  const rows = await old.inbox.readInbox(BOB, 0, 2 * ROWS)
  await old.close()
  // What the kept folder has of the broker's state says nothing to the broker.
  const args = ['serve', ...FREE_PORTS, `--data.dir=${dir}`, '--mqtt.enabled=false']
  const same = async (about: string) => {
    const left = new EmbeddedStore({
      dir: join(dir, 'store'),
      durability: 'commit',
      dedupWindowMs: 1000,
      upgrade: false,
    })
    await left.open()
    t.strictSame(await left.inbox.readInbox(BOB, 0, 2 * ROWS), rows, about)
    await left.close()
  }
  // While it is written, and later, while rows are rewritten.
  await killed(t, { args, hasBegun: () => has(dir, 'backup-format-1-') }, same)
  for (const ms of [50, 100, 200]) {
    const { child, ended, logged } = mumi(t, args)
    await logged('gateway.ready')
    await delay(ms)
    child.kill('SIGKILL')
    await ended
    await same(`${ms} ms after the start`)
  }
  await first.open()
  await first.upgraded()
  t.strictSame(await first.inbox.readInbox(BOB, 0, 2 * ROWS), rows, 'at last')
  await first.close()
  const backups = readdirSync(dir).filter(name => name.startsWith('backup-format-1-'))
  t.ok(backups.length > 0)
  t.notOk(has(dir, '.part-'), 'and nothing in part')
  for (const name of backups) {
    const into = dataDir(t)
    t.match(await mumi(t, ['restore', join(dir, name), `--data.dir=${into}`]).ended, { code: 0 })
    t.match(await mumi(t, ['check', `--data.dir=${into}`]).ended, { stdout: /upgrades its data to format/ })
  }
})
