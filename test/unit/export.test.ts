/** Parts of what is done with the data of one person and of a whole store. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { exportPage } from '../../src/app/export.js'
import { exportPerson } from '../../src/cli/operator/export.js'
import { loadConfig } from '../../src/config/config.js'
import { bootId } from '../../src/store/embedded/boot-id.js'
import { EmbeddedEnv } from '../../src/store/embedded/env.js'
import { forgetOpened, noteOpened, readOpened } from '../../src/store/embedded/opened.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { Strays } from '../../src/store/embedded/strays.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, BOB, message, user } from '../helpers/store-samples.js'

t.test('an export has both directions and no other person, whatever its pages are', async t => {
  const dir = join(dataDir(t), 'store')
  const store = new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 1000 })
  await store.open()
  t.teardown(() => store.close())
  for (const id of [ANN, BOB]) await store.users.createUser(user(id))
  for (let i = 0; i < 700; i++) await store.inbox.append([message(ANN, BOB), message(BOB, BOB)])
  await store.inbox.append([message(BOB, ANN)])
  const factor = { totp: { secret: 'SECRET', lastStep: 1, since: 5 }, recovery: ['DIGEST'] }
  for (const id of [ANN, BOB]) await store.users.replaceFactor(id, undefined, JSON.stringify(factor))
  const found: object[] = []
  let from: string | undefined
  do {
    const page = await exportPage(store, ANN, from)
    found.push(...page.entries)
    from = page.next
  } while (from !== undefined)
  const count = (name: string) => found.filter(one => 'section' in one && one.section === name).length
  t.same([count('account'), count('sent'), count('received'), found.length], [1, 700, 1, 703])
  t.match(found[1], { section: 'second-factor', since: 5, recoveryCodes: 1 })
  t.notMatch(JSON.stringify(found), /hash of|SECRET|DIGEST/)
  for (const wrong of ['x', '{"step":4,"from":"zzz"}', 'null'])
    await t.rejects(exportPage(store, ANN, wrong), ofKind('BAD_FIELD', { info: { field: 'from' } }), wrong)
})

t.test('a file that cannot be made, or an export that fails, leaves none', async t => {
  const dir = dataDir(t)
  const config = loadConfig({ argv: [`--data.dir=${dir}`], env: {} })
  const file = join(dir, 'file')
  await t.rejects(exportPerson(config, { user: ANN, file }), { message: /no store in/ })
  t.notOk(existsSync(file))
  writeFileSync(file, 'mine')
  await t.rejects(exportPerson(config, { user: ANN, file }), { message: /EEXIST/ })
  t.ok(existsSync(file))
})

t.test('the note of an open store counts until it is closed, or the system starts anew', async t => {
  const dir = dataDir(t)
  t.equal(readOpened(dir), undefined)
  noteOpened(dir, 7)
  t.equal(readOpened(dir), bootId() === 0n ? undefined : 7)
  writeFileSync(join(dir, 'opened'), `${bootId() + 1n} 7\n`)
  t.equal(readOpened(dir), undefined)
  forgetOpened(dir)
  t.notOk(existsSync(join(dir, 'opened')))
})

t.test('a new store has no strays, and one with a hash or a second factor of nobody has', async t => {
  const dir = join(dataDir(t), 'store')
  mkdirSync(dir)
  const check = { pages: 'unclean', timeoutMs: 1000 } as const
  const env = new EmbeddedEnv({ dir, durability: 'commit', check })
  const table = await env.open(table => table)
  t.teardown(() => env.close())
  const strays = new Strays(env, table)
  t.same([...strays.all()], [])
  await env.write(() => void table<string>('hashes').put([Number(ANN)], 'x'))
  await env.write(() => void table<string>('factors').put([Number(BOB)], 'x'))
  t.same(
    [...strays.all()],
    [`hashes: one of ${ANN}, who has no account`, `factors: one of ${BOB}, who has no account`],
  )
})
