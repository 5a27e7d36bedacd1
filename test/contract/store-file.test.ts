/**
 * The embedded store's file, before and while it is open: damage and loss are errors, and never end the process by a
 * signal.
 */

import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { checkFile } from '../../src/store/embedded/file.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, BOB, message, messages, user } from '../helpers/store-samples.js'

const PAGE = 4096
const wholly = { pages: 'always', timeoutMs: 60_000 } as const
const asAtStart = { pages: 'unclean', timeoutMs: 60_000 } as const
const damaged = { name: 'GatewayError', kind: 'STORE_UNAVAILABLE', message: /damaged/ }

const embedded = (dir: string) => new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 1000 })

/** Accounts, small and large messages, pages that were freed: trees of some depth. */
async function filled(t: Test): Promise<{ dir: string; path: string; good: Buffer }> {
  const dir = join(t.testdir(), 'db')
  const store = embedded(dir)
  await store.open()
  for (let i = 0; i < 20; i++) await store.users.createUser(user(String(200_000_000 + i)))
  await store.inbox.append(messages(3000))
  const text = `{"sender":"${ANN}","recipient":"${BOB}","content":"${'x'.repeat(30_000)}"}`
  await store.inbox.append(Array.from({ length: 10 }, () => message(ANN, BOB, { text })))
  await store.inbox.trimInbox(BOB, 500, 500)
  await store.users.deleteUser('200000003')
  await store.close()
  const path = join(dir, 'data.mdb')
  return { dir, path, good: readFileSync(path) }
}

t.test('is valid after a clean stop and after a kill', async t => {
  const { dir } = await filled(t)
  t.doesNotThrow(() => checkFile(dir, wholly))
  t.doesNotThrow(() => checkFile(dir, asAtStart))
  rmSync(join(dir, 'closed'))
  t.doesNotThrow(() => checkFile(dir, asAtStart))
  const store = embedded(dir)
  await store.open()
  t.teardown(() => store.close())
  for (let i = 0; i < 20; i++) {
    await store.inbox.append(messages(50))
    checkFile(dir, wholly)
  }
  t.pass('also while it is written to')
})

t.test('truncated at any position it is refused', async t => {
  const { dir, path, good } = await filled(t)
  const lengths = [0, 1, 24, 167, 168, 2048, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE - 1, 2 * PAGE, 3 * PAGE]
  for (let i = 1; i < 40; i++) lengths.push(Math.floor((good.length * i) / 40))
  for (const length of lengths) {
    writeFileSync(path, good)
    truncateSync(path, length)
    t.throws(() => checkFile(dir, wholly), damaged, `${length} bytes`)
    await t.rejects(embedded(dir).open(), damaged)
  }
})

t.test('empty and random pages are refused if they are in use', async t => {
  const { dir, path, good } = await filled(t)
  let refused = 0
  const pages = good.length / PAGE
  for (let page = 0; page < pages; page++) {
    for (const byte of [0, 0x5a]) {
      const bad = Buffer.from(good)
      bad.fill(byte, page * PAGE, (page + 1) * PAGE)
      writeFileSync(path, bad)
      try {
        checkFile(dir, asAtStart)
      } catch (thrown) {
        t.match(thrown, damaged)
        refused++
      }
    }
  }
  t.ok(
    refused > pages / 2,
    `${refused} of ${2 * pages}: of what is free, and of the middle of values, nothing is known`,
  )
  writeFileSync(path, good)
  const store = embedded(dir)
  await store.open()
  t.equal(await store.inbox.lastSeq(BOB), 3010, 'and whole again it is good')
  await store.close()
})

t.test('a file of another format is refused and not changed', async t => {
  const { dir, path, good } = await filled(t)
  const foreign = ofKind('STORE_UNAVAILABLE')
  const version = Buffer.from(good)
  for (const at of [0, PAGE]) version.writeUInt32LE(1, at + 28)
  const pageSize = Buffer.from(good)
  pageSize.writeUInt32LE(4095, 48)
  for (const content of [Buffer.from('SQLite format 3\0'), Buffer.alloc(20_000, 7), version, pageSize]) {
    writeFileSync(path, content)
    await t.rejects(embedded(dir).open(), foreign)
    t.same(readFileSync(path), content)
  }
  rmSync(path)
  mkdirSync(path)
  await t.rejects(embedded(dir).open(), { ...foreign, message: /not a file/ })
})

t.test('no writes are accepted while the file is missing or replaced', async t => {
  const { dir, path } = await filled(t)
  const store = embedded(dir)
  await store.open()
  t.teardown(() => store.close())
  const gone = { kind: 'STORE_UNAVAILABLE', message: /removed or replaced/ }
  for (const name of ['data.mdb', 'lock.mdb']) {
    renameSync(join(dir, name), join(dir, 'elsewhere'))
    await t.rejects(store.ping(), gone)
    await t.rejects(store.inbox.append([message(ANN, BOB)]), gone)
    await t.rejects(store.users.createUser(user(ANN)), gone)
    t.equal(await store.inbox.lastSeq(BOB), 3010, 'what is open is read on')
    cpSync(join(dir, 'elsewhere'), join(dir, name))
    await t.rejects(store.ping(), gone, 'a copy is not the file')
    renameSync(join(dir, 'elsewhere'), join(dir, name))
    await t.resolves(store.ping())
  }
  t.match(await store.inbox.append([message(ANN, BOB)]), [{ seq: 3011 }])
  t.equal(readFileSync(path).length % PAGE, 0)
})
