/** LMDB has 126 reader slots: no exception leaks one, and a ping fails if there is none left. */

import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { pairConversation } from '../../src/core/model.js'
import { readKey, writeKey } from '../../src/store/embedded/keys.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import type { KvKey } from '../../src/store/store.js'
import { allRefused, readersIn, rootOf } from '../helpers/readers.js'
import { ANN, BOB, keysOf, message, move, user } from '../helpers/store-samples.js'

/** Of a store that leaks none: its own read, and the snapshots that are synced and pinned. */
const PLACES = 5
/** More than LMDB has places. */
const MANY = 150

async function opened(t: Test) {
  const dir = join(t.testdir(), 'db')
  const store = new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 1000 })
  await store.open()
  t.teardown(() => store.close())
  const root = rootOf(t, dir)
  /** Runs `call` MANY times, each in a snapshot of its own, as connections would. */
  const often = async (name: string, call: () => Promise<unknown>) => {
    let refused = 0
    for (let i = 0; i < MANY; i++) {
      if (await allRefused([call()])) refused++
      await store.kv.kvWrite([{ put: 'meta', key: ['tick'], value: Buffer.from(String(i)) }])
    }
    t.equal(refused, MANY, `${name} is refused`)
    t.ok(readersIn(root) <= PLACES, `${name}: ${readersIn(root)} places`)
  }
  return { store, root, often }
}

const LONG = 'k'.repeat(5000)

t.test('invalid keys leak no reader slot', async t => {
  const { store, often } = await opened(t)
  const calls: Record<string, () => Promise<unknown>> = {
    ...Object.fromEntries(
      [null, undefined, {}, Symbol('s'), LONG].map(part => [
        `kvRange ${String(part).slice(0, 20)}`,
        () => keysOf(store, 'incoming', [part] as unknown as KvKey),
      ]),
    ),
    kvGet: () => store.kv.kvGet('meta', [null] as unknown as KvKey),
    'kvGet of nothing': () => store.kv.kvGet('meta', []),
    kvWrite: () => store.kv.kvWrite([{ remove: 'meta', key: [undefined] as unknown as KvKey }]),
    readConversation: () => store.inbox.readConversation(pairConversation(ANN, BOB), 10, LONG),
    cursor: () => store.cursors.cursor(ANN, LONG),
    findUserByEmail: () => store.users.findUserByEmail(LONG),
  }
  for (const [name, call] of Object.entries(calls)) {
    await often(name, call)
  }
  await t.resolves(store.ping())
  t.match(await store.inbox.append([message(ANN, BOB)]), [{ seq: 1 }])
})

t.test('ranges that throw leak no reader slot', async t => {
  const { store, root, often } = await opened(t)
  await store.users.createUser(user(ANN))
  await store.cursors.moveCursors([move(ANN, '')])
  await store.inbox.append([message(BOB, ANN)])
  // Reading invalid msgpack, or a row whose text is not JSON, throws.
  const damage = async (name: string, key: (string | number)[], value = Buffer.from([0xdc, 0, 5])) => {
    const options = { name, encoding: 'binary' as const, keyEncoder: { writeKey, readKey } }
    const table = root.openDB<Buffer, (string | number)[]>(options as never)
    await table.put(key, value)
  }
  await damage('accounts', [7])
  await damage('devices', [Number(ANN), 'broken'])
  await damage('inbox', [Number(ANN), 2], Buffer.from(`${'i'.repeat(36)}{"`))
  // Reads from now on see it.
  await store.ping()
  const calls: Record<string, () => Promise<unknown>> = {
    findUsers: () => store.users.findUsers({}, 10),
    slowest: () => store.cursors.slowest(ANN),
    forgetDevices: () => store.cursors.forgetDevices(1),
    trimInbox: () => store.inbox.trimInbox(ANN, 10, 10),
  }
  for (const [name, call] of Object.entries(calls)) {
    await often(name, call)
  }
  t.match(await store.inbox.readInbox(ANN, 0, 1), [{ seq: 1 }], 'what is whole is read')
})

t.test('a range that is ended early, or whose reader throws, leaks no reader slot', async t => {
  const { store, root } = await opened(t)
  const value = Buffer.from('v')
  await store.kv.kvWrite(Array.from({ length: 600 }, (_, i) => ({ put: 'meta', key: ['k', i], value })))
  const readAndThrow = async () => {
    for await (const _ of store.kv.kvRange('meta', [])) throw new Error('reader')
  }
  for (let i = 0; i < MANY; i++) {
    await readAndThrow().catch(() => undefined)
    const left = store.kv.kvRange('meta', [])[Symbol.asyncIterator]()
    await left.next()
    await store.kv.kvWrite([{ put: 'meta', key: ['tick'], value }])
  }
  await delay(0)
  t.ok(readersIn(root) <= PLACES, `${readersIn(root)} places`)
})
