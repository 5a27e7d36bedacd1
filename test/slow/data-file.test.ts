/**
 * The built program with a damaged or missing data file: it prints a line and ends with exit code 1, never by a signal.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { FREE_PORTS, MAIN, watch } from '../helpers/program.js'
import { messages, user } from '../helpers/store-samples.js'

const PAGE = 4096

function mumi(t: Test, command: string, dataDir: string) {
  const { PATH = '' } = process.env
  const args = [MAIN, command, ...FREE_PORTS, `--data.dir=${dataDir}`, '--store.type=embedded']
  return watch(t, spawn(process.execPath, args, { env: { PATH } }))
}

/** A store that was closed well. @returns the content of its file */
async function filled(dir: string): Promise<Buffer> {
  const store = new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 1000 })
  await store.open()
  for (let i = 0; i < 20; i++) await store.users.createUser(user(String(200_000_000 + i)))
  await store.inbox.append(messages(1000))
  await store.close()
  return readFileSync(join(dir, 'data.mdb'))
}

/** Bytes that look like nothing, and the same in each run. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  let state = 1
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

/** `good` with other bytes from `at` on. */
function spoiled(good: Buffer, at: number, bytes: Buffer): Buffer {
  const bad = Buffer.from(good)
  bytes.copy(bad, at)
  return bad
}

t.test('check and serve refuse a damaged file with one line, and do not change it', async t => {
  const root = t.testdir()
  const good = await filled(join(root, 'good', 'store'))
  const behindMeta = good.length - 2 * PAGE
  // One of a kind each: test/contract/store-file.test.ts has many more, without a process for each.
  const files: Record<string, Buffer> = {
    empty: Buffer.alloc(0),
    'cut in the middle of a page': good.subarray(0, Math.floor(good.length / 2) + 100),
    'all zero': Buffer.alloc(good.length),
    'random behind the meta pages': spoiled(good, 2 * PAGE, noise(behindMeta)),
  }
  for (const [name, content] of Object.entries(files)) {
    const dir = join(root, 'bad', name)
    mkdirSync(join(dir, 'store'), { recursive: true })
    const path = join(dir, 'store', 'data.mdb')
    writeFileSync(path, content)
    // At once: most of their time is the start of Node.js.
    const ends = await Promise.all(['check', 'serve'].map(command => mumi(t, command, dir).ended))
    for (const { code, signal, stderr } of ends) {
      t.match({ code, signal }, { code: 1, signal: null }, name)
      t.match(stderr, /^mumi: .*data\.mdb is damaged.*put a backup in its place.*\n$/, 'one line')
    }
    t.ok(readFileSync(path).equals(content), 'nothing is written to it')
  }
})

const portOf = (ready: Record<string, unknown>) => (ready.http as { port: number }).port

t.test('serve logs that its data folder was moved, and continues when it is back', async t => {
  const data = join(t.testdir(), 'data')
  const { child, ended, logged } = mumi(t, 'serve', data)
  const readyz = `http://127.0.0.1:${portOf(await logged('gateway.ready'))}/readyz`
  t.equal((await fetch(readyz)).status, 200)
  renameSync(data, `${data}-elsewhere`)
  t.equal((await fetch(readyz)).status, 503)
  t.match(await logged('store.failed'), { level: 'error', err: { message: /removed or replaced/ } })
  renameSync(`${data}-elsewhere`, data)
  t.equal((await fetch(readyz)).status, 200)
  await logged('store.recovered')
  rmSync(data, { recursive: true })
  t.equal((await fetch(readyz)).status, 503, 'removed it is for good')
  const live = readyz.replace('readyz', 'healthz')
  t.equal((await fetch(live)).status, 200, 'but the process goes on')
  child.kill('SIGTERM')
  t.match(await ended, { code: 0, signal: null })
})
