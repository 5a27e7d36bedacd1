import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { promisify } from 'node:util'
import { open as openLmdb } from 'lmdb'
import t, { type Test } from 'tap'
import { pairConversation } from '../../src/core/model.js'
import { bootId } from '../../src/store/embedded/boot-id.js'
import { fileState } from '../../src/store/embedded/file.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { tableOpener } from '../../src/store/embedded/table.js'
import { ofKind } from '../helpers/kind.js'
import { plainNode } from '../helpers/plain-node.js'
import { TYPESCRIPT } from '../helpers/script.js'
import {
  ANN,
  BOB,
  broadcast,
  everyCall,
  message,
  messages,
  move,
  rowOf,
  type StoreOptions,
  type StoreUnderTest,
  user,
} from '../helpers/store-samples.js'
import { storeContract } from './store.contract.js'

const HOUR_MS = 3_600_000

/** A folder for a store; lmdb takes a last part with a dot for a file, and the test's own folder has one. */
const folder = (t: Test) => join(t.testdir(), 'db')

function embedded(dir: string, dedupWindowMs = HOUR_MS): EmbeddedStore {
  return new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs })
}

async function open(t: Test, { dedupWindowMs }: StoreOptions = {}): Promise<StoreUnderTest> {
  const dir = folder(t)
  let store = embedded(dir, dedupWindowMs)
  await store.open()
  t.teardown(() => store.close())
  const reopen = async () => {
    await store.close()
    store = embedded(dir, dedupWindowMs)
    await store.open()
    return store
  }
  return { store, reopen }
}

/** A process with a store in `dir`, and what it tells line by line. */
function child(t: Test, dir: string, task: string): [ChildProcess, AsyncIterator<string>] {
  const script = join(import.meta.dirname, '../helpers/store-child.ts')
  // Without what tap loads into every process: it ends one on signals that Node.js ignores, SIGXFSZ among them.
  const command = plainNode(['--import', TYPESCRIPT, script, dir, task])
  const running = spawn(...command, { stdio: ['pipe', 'pipe', 'ignore'] })
  t.teardown(() => running.kill('SIGKILL'))
  const lines = createInterface({ input: running.stdout })[Symbol.asyncIterator]()
  return [running, lines]
}

const told = async (lines: AsyncIterator<string>): Promise<unknown> =>
  JSON.parse((await lines.next()).value ?? 'null')

async function kill(running: ChildProcess): Promise<void> {
  const exited = once(running, 'exit')
  running.kill('SIGKILL')
  await exited
}

/** Resolves when the system has stopped the process: state `T` (proc(5)). */
async function stopped({ pid }: ChildProcess): Promise<void> {
  while (!/^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) await nextTurn()
}

storeContract(t, open)

t.test('acknowledged writes survive SIGKILL, and no group is stored in part', async t => {
  const dir = folder(t)
  let acknowledged = 0
  for (const batches of [1, 7, 40]) {
    const [running, lines] = child(t, dir, 'append')
    for (let i = 0; i < batches; i++) acknowledged = Number(await told(lines))
    await kill(running)
    const store = embedded(dir)
    await store.open()
    const last = await store.inbox.lastSeq(BOB)
    t.ok(last >= acknowledged, `${last} of at least ${acknowledged}`)
    const rows = await store.inbox.readInbox(BOB, 0, last + 1)
    t.same(
      rows.map(({ seq }) => seq),
      Array.from({ length: last }, (_, i) => i + 1),
    )
    t.equal(
      (await store.inbox.readConversation(pairConversation(ANN, BOB), last + 1)).length,
      last,
      'with its conversation',
    )
    t.match(await store.inbox.append([message(ANN, BOB)]), [{ seq: last + 1 }])
    await store.close()
  }
})

t.test('only one process can open it at a time', async t => {
  const dir = folder(t)
  const inUse = (pid: number | undefined) => ({
    kind: 'STORE_UNAVAILABLE',
    reason: new RegExp(`${dir} .*process ${pid}`),
  })
  const store = embedded(dir)
  await store.open()
  await store.inbox.append([message(ANN, BOB)])
  const second = embedded(dir)
  await t.rejects(second.open(), ofKind('STORE_UNAVAILABLE', { info: { reason: inUse(process.pid).reason } }))
  await t.rejects(store.open(), ofKind('STORE_UNAVAILABLE'), 'nor twice by itself')
  await second.close()
  t.match(await told(child(t, dir, 'open')[1]), inUse(process.pid))
  t.match(await store.inbox.append([message(ANN, BOB)]), [{ seq: 2 }], 'the first one goes on')
  await store.close()

  await second.open()
  t.equal(await second.inbox.lastSeq(BOB), 2, 'and makes room for the next when it closes')
  await second.close()
})

t.test('a file that is to be set back is left as it is while another process has it open', async t => {
  if (bootId() === 0n) return t.pass('the system does not tell when it was started')
  const dir = folder(t)
  const [running, lines] = child(t, dir, 'fill')
  t.same(await told(lines), { ready: true })
  // So that nothing but the second store writes.
  running.kill('SIGSTOP')
  await stopped(running)
  const path = join(dir, 'data.mdb')
  const bytes = readFileSync(path)
  // As after a power cut: both meta pages of another start, and the noted one, in the middle of the first page, behind them.
  const [first = 0n, second = 0n] = [0, 4096].map(at => bytes.readBigUInt64LE(at + 24 + 128))
  for (const at of [0, 4096]) bytes.writeBigInt64LE(bootId() + 1n, at + 24 + 136)
  const [older = 0n] = [first, second].sort((a, b) => Number(a - b))
  bytes.writeBigUInt64LE(older, 2048 + 24 + 128)
  writeFileSync(path, bytes, { flag: 'r+' })
  t.equal(fileState(dir), 'ahead')
  const reason = new RegExp(`process ${running.pid}`)
  await t.rejects(embedded(dir).open(), ofKind('STORE_UNAVAILABLE', { info: { reason } }))
  t.ok(readFileSync(path).equals(bytes))
})

t.test('it can be opened again when the process that had it was killed', async t => {
  const dir = folder(t)
  const [running, lines] = child(t, dir, 'append')
  await lines.next()
  const store = embedded(dir)
  const reason = new RegExp(`process ${running.pid}`)
  await t.rejects(store.open(), ofKind('STORE_UNAVAILABLE', { info: { reason } }))
  await kill(running)
  await t.resolves(store.open())
  await store.close()
})

// A limit on the size of files is a small disk that needs no rights; only Linux lifts it for a running process.
if (process.platform === 'linux') {
  t.test(
    'on a full disk appends are refused, rows stay, and appends work again when there is room',
    async t => {
      const dir = folder(t)
      const [running, lines] = child(t, dir, 'fill')
      const exited = once(running, 'exit')
      const limit = (bytes: string) =>
        promisify(execFile)('prlimit', ['--pid', String(running.pid), `--fsize=${bytes}`])
      t.same(await told(lines), { ready: true })
      // Only now, so that nothing but the store meets it.
      await limit('4194304:unlimited')
      running.stdin?.write('limited')
      const full = (await told(lines)) as { acknowledged: number; refusal: { kind: string; reason: string } }
      const { acknowledged, refusal } = full
      t.ok(acknowledged > 0)
      t.match(full, { lastSeq: acknowledged, rows: acknowledged }, 'nothing of what was refused is there')
      // A write that the limit cuts short is an EIO, and the disk under it has room.
      t.match(
        [refusal],
        refusal.reason.startsWith('EFBIG')
          ? [{ kind: 'STORE_FULL' }]
          : [{ kind: 'STORE_UNAVAILABLE', reason: /^EIO/ }],
      )

      await limit('unlimited')
      running.stdin?.write('room')
      t.same(await told(lines), { next: acknowledged + 1, lastSeq: acknowledged + 1 })
      t.same(await exited, [0, null], 'it closes, and no rejection was left over')

      const store = embedded(dir)
      await store.open()
      t.equal(await store.inbox.lastSeq(BOB), acknowledged + 1)
      await store.close()
    },
  )
}

t.test('refuses every call before it is open', async t => {
  for (const [name, call] of Object.entries(everyCall(embedded(folder(t))))) {
    await t.rejects(call(), { name: 'GatewayError', kind: 'STORE_UNAVAILABLE' }, name)
  }
})

t.test('the error names the folder that it cannot use', async t => {
  const dir = join(t.testdir(), 'file')
  writeFileSync(dir, 'not a folder')
  const store = embedded(dir)
  await t.rejects(store.open(), ofKind('STORE_UNAVAILABLE', { info: { reason: new RegExp(dir) } }))
  await t.resolves(store.close())
})

t.test('refuses keys that lmdb does not accept, and continues to work', async t => {
  const { store } = await open(t)
  const long = 'k'.repeat(2000)
  const tooLarge = { name: 'GatewayError', kind: 'TOO_LARGE' }
  const value = Buffer.from('v')
  await t.rejects(
    store.kv.kvWrite([
      { put: 'meta', key: ['a'], value },
      { put: 'meta', key: [long], value },
    ]),
    tooLarge,
  )
  t.equal(await store.kv.kvGet('meta', ['a']), undefined, 'all or nothing')
  await t.rejects(store.kv.kvGet('meta', [long]), tooLarge)
  await t.rejects(store.kv.kvRange('meta', [long])[Symbol.asyncIterator]().next(), tooLarge)
  await t.rejects(store.cursors.cursor(ANN, long), tooLarge)
  await t.rejects(store.cursors.moveCursors([move(ANN, long)]), tooLarge)
  await t.rejects(store.users.createUser(user(ANN, { emailKey: long })), tooLarge)
  await t.rejects(store.users.findUserByEmail(long), tooLarge)
  await t.rejects(store.inbox.append([message(ANN, BOB), message(ANN, BOB, { dedupKey: long })]), tooLarge)
  await t.rejects(store.inbox.append([message(ANN, BOB, { dedupKey: long, isFirst: true })]), tooLarge)
  await t.rejects(store.inbox.append([message(ANN, BOB), message(ANN, 'nobody')]), ofKind('ERROR_FIND_USER'))
  t.match(await store.inbox.append([message(ANN, BOB)]), [{ seq: 1 }], 'and no seq was used')
})

t.test('finishes a deletion that a stop interrupted', async t => {
  const { store, reopen } = await open(t)
  await store.users.createUser(user(BOB))
  await store.inbox.append(messages(3000))
  const deleting = store.users.deleteUser(BOB).catch(() => 'stopped')
  while ((await store.users.findUser(BOB)) !== undefined) await nextTurn()
  const again = await reopen()
  t.equal(await deleting, 'stopped')
  t.equal(await again.users.findUser(BOB), undefined)
  while ((await again.inbox.lastSeq(BOB)) !== 0) await nextTurn()
  t.same(await again.inbox.readInbox(BOB, 0, 1), [])
  t.same(await again.inbox.readConversation(pairConversation(ANN, BOB), 1), [])
})

t.test('waits for the disk if configured', async t => {
  const store = new EmbeddedStore({ dir: folder(t), durability: 'flush', dedupWindowMs: HOUR_MS })
  await store.open()
  t.teardown(() => store.close())
  const batches = await Promise.all([
    store.inbox.append(messages(3)),
    store.inbox.append(messages(3)),
    store.ping(),
  ])
  t.match(batches[1], [{ seq: 4 }, { seq: 5 }, { seq: 6 }])
  await t.rejects(store.users.createUser(user('1')), ofKind('BAD_FIELD', { info: { field: 'id' } }))
})

t.test('a file of another format is refused with a message, and not changed', async t => {
  const dir = join(t.testdir(), 'db')
  mkdirSync(dir)
  for (const content of ['hello', Buffer.alloc(20_000, 7)]) {
    writeFileSync(join(dir, 'data.mdb'), content)
    const store = new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 1000 })
    await t.rejects(store.open(), { kind: 'STORE_UNAVAILABLE', message: /damaged/ })
    t.same(readFileSync(join(dir, 'data.mdb')), Buffer.from(content))
  }
})

/** How many entries a table of a closed store has. */
async function countIn(dir: string, name: string): Promise<number> {
  const root = openLmdb({ path: dir, noSubdir: false, maxDbs: 32 })
  const count = root.openDB({ name }).getStats() as { entryCount: number }
  await root.close()
  return count.entryCount
}

t.test('the text of a broadcast is stored once, and removed with its last row', async t => {
  const dir = folder(t)
  const run = async (work: (store: EmbeddedStore) => Promise<unknown>) => {
    const store = embedded(dir)
    await store.open()
    await work(store)
    await store.close()
    return [await countIn(dir, 'texts'), await countIn(dir, 'text-holders')]
  }
  const one = broadcast(ANN, BOB)
  const owners = Array.from({ length: 50 }, (_, i) => `${200_000_000 + i}`)
  const append = (store: EmbeddedStore) => store.inbox.append(owners.map(inbox => ({ ...one, inbox })))
  t.same(await run(append), [1, 50])
  t.same(await run(store => Promise.all(owners.slice(1).map(id => store.inbox.trimInbox(id, 1, 10)))), [1, 1])
  t.same(await run(store => store.users.deleteUser(owners[0] ?? '')), [0, 0])
})

t.test('rows of versions that did not store texts separately are read, trimmed and found', async t => {
  const dir = folder(t)
  const root = openLmdb({ path: dir, noSubdir: false, maxDbs: 32 })
  const rows = tableOpener(root as never)<string>('inbox', 'string')
  const [direct, toAll] = [message(ANN, BOB), broadcast(ANN, BOB)]
  await root.transaction(() => {
    rows.put([Number(BOB), 1], direct.id + direct.text)
    rows.put([Number(BOB), 2], toAll.id + toAll.text)
  })
  await root.close()
  const store = embedded(dir)
  await store.open()
  t.teardown(() => store.close())
  const old = [direct, toAll].map((one, i) => rowOf(one, i + 1))
  t.same(await store.inbox.readInbox(BOB, 0, 10), old)
  t.equal(await store.inbox.inboxBytes(BOB), 0)
  const [added] = messages(1)
  if (added === undefined) return
  t.match(await store.inbox.append([added]), [{ seq: 3 }])
  t.equal(await store.inbox.inboxBytes(BOB), Buffer.byteLength(added.text))
  t.equal(await store.inbox.trimInbox(BOB, 2, 10), 2)
  t.match(await store.inbox.readInbox(BOB, 0, 10), [{ seq: 3 }])
  t.equal(await store.inbox.inboxBytes(BOB), Buffer.byteLength(added.text))
})
