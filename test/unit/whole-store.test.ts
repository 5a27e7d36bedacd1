/** What operators do with a whole store, by its functions; test/process has the commands. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeStore } from '../../src/app/stores.js'
import { backupStore, compactStore, restoreStore, verifyStore } from '../../src/app/whole-store.js'
import { loadConfig } from '../../src/config/config.js'
import type { CopyableStore } from '../../src/store/contents.js'
import { copyUsedStore } from '../../src/store/copy-used.js'
import { dataDir } from '../helpers/gateway.js'
import { ANN, BOB, message, messages, user } from '../helpers/store-samples.js'

const configOf = (dir: string, ...argv: string[]) =>
  loadConfig({ argv: [`--data.dir=${dir}`, ...argv], env: {} })

/** A store with messages, closed, and a backup of it. */
async function backedUp(t: Test) {
  const dir = dataDir(t)
  const config = configOf(join(dir, 'data'))
  const store = await makeStore(config)
  await store.open()
  for (const id of [ANN, BOB]) await store.users.createUser(user(id))
  await store.inbox.append([...messages(20), message(BOB, ANN)])
  const file = join(dir, 'backup')
  const { bytes } = await backupStore(config, store, { file })
  await store.close()
  return { dir, config, file, bytes }
}

t.test('a backup, restored, compacted and verified', async t => {
  const { dir, config, file, bytes } = await backedUp(t)
  t.ok(bytes > 0)
  const other = configOf(join(dir, 'other'))
  t.same(await restoreStore(other, file), {
    dir: join(dir, 'other', 'store'),
    bytes,
    files: { count: 0, bytes: 0, faults: [] },
  })
  t.match(await compactStore(other), { dir: join(dir, 'other', 'store') })
  const counts = { accounts: 2, inboxes: 2, rows: 21, faults: [] }
  t.match(await verifyStore(other), counts)
  t.match(await verifyStore(config), counts)
  await t.rejects(restoreStore(other, file), {
    name: 'GatewayError',
    info: { reason: /has a store already/ },
  })
})

t.test('a store into which a copy did not end is not verified', async t => {
  const { config } = await backedUp(t)
  const store = await makeStore(config)
  await store.open()
  await store.kv.kvWrite([{ put: 'meta', key: ['copy'], value: Buffer.from('{"section":0}') }])
  await store.close()
  await t.rejects(verifyStore(config), { name: 'GatewayError', info: { reason: /did not end/ } })
})

t.test('what cannot be done', async t => {
  const dir = dataDir(t)
  const mongodb = configOf(
    dir,
    '--store.type=mongodb',
    '--store.mongodb.url=mongodb://127.0.0.1:9',
    '--store.mongodb.startTimeout=100',
  )
  await t.rejects(compactStore(mongodb), { name: 'ConfigError', message: /MongoDB has its own/ })
  await t.rejects(compactStore(configOf(dir)), { name: 'ConfigError', message: /no store in/ })
  await t.rejects(verifyStore(configOf(dir)), { name: 'ConfigError', message: /no store in/ })
  const { file } = await backedUp(t)
  await t.rejects(restoreStore(mongodb, file), { name: 'GatewayError', message: /cannot be used/ })
  t.same(
    readdirSync(dir).filter(name => name.startsWith('restore-')),
    [],
    'no copy of the backup is left',
  )
  await t.rejects(restoreStore(mongodb, join(dir, 'none')), { name: 'GatewayError', info: { field: 'file' } })
  t.notOk(existsSync(join(dir, 'store')))
})

t.test(
  'an address that two accounts have: who was deleted gives it up, and without an end it is refused',
  async t => {
    const { dir, config } = await backedUp(t)
    const source = await makeStore(config)
    await source.open()
    t.teardown(() => source.close())
    const held = user('300000001', { emailKey: user(ANN).emailKey })
    for (const [name, findUser, refused] of [
      ['gone', async () => undefined, false],
      ['unchanged', async () => held, true],
    ] as const) {
      const target = await makeStore(configOf(join(dir, name)))
      await target.open()
      t.teardown(() => target.close())
      await target.contents().write('accounts', [{ id: held.id, ordinal: 1000, user: held }])
      const { kv } = source
      const from = { contents: () => source.contents(), kv, users: { findUser } } as unknown as CopyableStore
      if (refused)
        await t.rejects(copyUsedStore(from, target), { name: 'GatewayError', info: { reason: /try again/ } })
      else {
        await copyUsedStore(from, target)
        t.match(await target.users.findUserByEmail(held.emailKey), { id: ANN })
        t.equal(await target.users.findUser(held.id), undefined)
      }
    }
  },
)
