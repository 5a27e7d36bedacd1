/** Who may register and how an account goes: invites, and deletions that wait. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Invites } from '../../src/accounts/invites.js'
import { PendingDeletions } from '../../src/accounts/pending-deletions.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'

async function open(t: Test) {
  const store = new EmbeddedStore({ dir: join(dataDir(t), 'store'), durability: 'commit', dedupWindowMs: 0 })
  await store.open()
  t.teardown(() => store.close())
  return store.kv
}

const done = async () => 'done'

t.test('an invite is used so many times, however it is typed; a use that fails is given back', async t => {
  const kv = await open(t)
  const invites = new Invites(kv)
  const { id, code } = await invites.create(2, 0)
  t.match(code, /^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$/)
  const fails = invites.use(code, async () => {
    throw new Error('address taken')
  })
  await t.rejects(fails, { message: 'address taken' })
  t.match(await invites.list(), [{ id, uses: 2, used: 0 }])
  const typed = code.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o').replaceAll('1', 'l')
  t.equal(await invites.use(typed, done), 'done')
  const both = await Promise.allSettled([invites.use(code, done), invites.use(code, done)])
  t.same(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  await t.rejects(invites.use(code, done), ofKind('BAD_INVITE'))
  await t.rejects(invites.use(undefined, done), ofKind('BAD_INVITE'))
  await t.rejects(invites.use(id, done), ofKind('BAD_INVITE'), 'its id is no code')
  for await (const { key, value } of kv.kvRange('meta', ['invite']))
    t.notMatch(`${key} ${Buffer.from(value)}`, code, 'the store has a digest')
})

t.test('an invite that has expired or was revoked is no more', async t => {
  const invites = new Invites(await open(t))
  const late = await invites.create(1, Date.now() - 1)
  await t.rejects(invites.use(late.code, done), ofKind('BAD_INVITE'))
  t.same(await invites.list(), [])
  const good = await invites.create(1, Date.now() + 60_000)
  t.match(await invites.revoke(good.id), { id: good.id })
  await t.rejects(invites.use(good.code, done), ofKind('BAD_INVITE'))
  await t.rejects(invites.revoke(good.id), ofKind('BAD_FIELD'))
})

t.test('a deletion waits, and is due or taken back', async t => {
  const deletions = new PendingDeletions(await open(t), 1000)
  const before = Date.now()
  const at = await deletions.schedule('271693512')
  t.ok(at >= before + 1000)
  t.equal(await deletions.at('271693512'), at)
  t.same(await deletions.due(at - 1), [])
  t.same(await deletions.due(at), ['271693512'])
  t.equal(await deletions.cancel('271693512', before - 1), false, 'by a login that began before')
  t.equal(await deletions.cancel('271693512', at), true)
  t.equal(await deletions.cancel('271693512', at), false)
  t.same(await deletions.due(at), [])
})

t.test('an account is kept by a login or removed, and not both', async t => {
  const kv = await open(t)
  const deletions = new PendingDeletions(kv, 0)
  const removed: string[] = []
  await new PendingDeletions(kv, 60_000).schedule('1')
  t.same(await deletions.due(Date.now() + 60_000), ['1'])
  t.equal(await deletions.cancel('1', Date.now()), true)
  await deletions.remove('1', async () => void removed.push('1'))
  t.same(removed, [], 'its owner came between')
  await deletions.schedule('2')
  await t.rejects(deletions.cancel('2', Date.now()), ofKind('ERROR_AUTH'), 'its time is over')
  await deletions.remove('2', async () => {
    await t.rejects(deletions.cancel('2', Date.now()), ofKind('ERROR_AUTH'))
    removed.push('2')
  })
  t.same(removed, ['2'])
  t.same(await deletions.due(), [])
  await deletions.schedule('3')
  await t.rejects(deletions.remove('3', () => Promise.reject(new Error('no store'))))
  t.same(await deletions.due(), ['3'], 'it is tried again')
})
