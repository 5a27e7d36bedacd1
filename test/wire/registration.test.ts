/** Who may register: accounts.registration, and invites. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { askAdmin } from '../helpers/admin.js'
import { dataDir, jsonClient, loggedIn, startGateway } from '../helpers/gateway.js'

const dir = dataDir(t)
const audit = join(dir, 'audit.log')
const gateway = await startGateway(t, {
  'data.dir': dir,
  'audit.file': audit,
  'accounts.registration': 'invite',
})

let count = 0
const account = () => ({
  ...{ email: `new${count++}@example.com`, password: 'p@ssw0rd', firstName: 'Eric', lastName: 'Chen' },
})

const create = async (data: object = {}) => (await askAdmin({ dir }, 'invite.create', data)).data
const list = async () => (await askAdmin({ dir }, 'invite.list')).data.invites

t.test('without a valid invite: 10136, and nothing is made', async t => {
  const client = await jsonClient(t, gateway)
  const one = account()
  t.strictSame(await client.action('register', one), {
    ...{ code: 10136, msg: '邀請碼無效' },
    data: { field: 'invite', reason: 'is missing' },
  })
  for (const invite of ['0000-0000-0000-0000', 'x'.repeat(64), '🎟'])
    t.match(await client.action('register', { ...one, invite }, 'i'), {
      code: 10136,
      data: { field: 'invite', reason: 'is unknown, used up or expired' },
    })
  t.match(await client.action('register', { ...one, invite: 'x'.repeat(65) }, 'i'), { code: 10103 })
  t.match(await client.action('login', { email: one.email, password: one.password }), { code: 10000 })
})

t.test('an invite makes as many accounts as it says, however its code is typed', async t => {
  const client = await jsonClient(t, gateway)
  const { code, id, uses, used } = await create({ uses: 2 })
  t.match(code, /^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$/)
  t.same([uses, used], [2, 0])
  const one = account()
  t.match(await client.action('register', { ...one, invite: code.toLowerCase().replaceAll('-', ' ') }), {
    code: 203,
  })
  t.match(await client.action('register', { ...one, invite: code }), { code: 10003 }, 'a taken email')
  t.match(await client.action('register', { ...account(), email: 'none', invite: code }), { code: 10101 })
  t.match(await list(), [{ id, uses: 2, used: 1 }], 'and that takes no use')
  t.match(await client.action('register', { ...account(), invite: code }), { code: 203 })
  t.match(await client.action('register', { ...account(), invite: code }), { code: 10136 })
  t.match(await client.action('login', { email: one.email, password: one.password }), { code: 202 })
})

t.test('the audit says which invite was made, and which account by it, without the code', async t => {
  const client = await jsonClient(t, gateway)
  const { code, id } = await create()
  t.match(await client.action('register', { ...account(), invite: code }), { code: 203 })
  await askAdmin({ dir }, 'invite.revoke', { invite: code })
  const events = () =>
    readFileSync(audit, 'utf8')
      .split('\n')
      .filter(line => line.includes(id))
      .map(line => JSON.parse(line))
  while (events().length < 3) await new Promise(setImmediate)
  t.match(events(), [
    { event: 'invite.created', front: 'admin', invite: id },
    { event: 'account.registered', front: 'json', invite: id, userId: /^\d{9}$/ },
    { event: 'invite.revoked', front: 'admin', invite: id },
  ])
  t.notOk(readFileSync(audit, 'utf8').includes(code.slice(0, 9)))
})

t.test('the last use goes to one of many who ask at once', async t => {
  const { code } = await create()
  const clients = await Promise.all(Array.from({ length: 6 }, () => jsonClient(t, gateway)))
  const replies = await Promise.all(
    clients.map(client => client.action('register', { ...account(), invite: code })),
  )
  t.same(replies.map(reply => reply.code).sort(), [10136, 10136, 10136, 10136, 10136, 203].sort())
})

t.test('a revoked or expired invite is void', async t => {
  const client = await jsonClient(t, gateway)
  const [byId, byCode] = [await create(), await create()]
  t.match(await askAdmin({ dir }, 'invite.revoke', { invite: byId.id }), { code: 200, data: { id: byId.id } })
  t.match(await askAdmin({ dir }, 'invite.revoke', { invite: byCode.code }), { code: 200 })
  t.match(await askAdmin({ dir }, 'invite.revoke', { invite: byCode.code }), { code: 10101 })
  for (const { code } of [byId, byCode])
    t.match(await client.action('register', { ...account(), invite: code }), { code: 10136 })
  const { code, id } = await create({ seconds: 600 })
  const { now } = Date
  t.teardown(() => (Date.now = now))
  Date.now = () => now() + 601_000
  t.match(await client.action('register', { ...account(), invite: code }), { code: 10136 })
  t.notOk(
    (await list()).some((one: { id: string }) => one.id === id),
    'and is listed no more',
  )
  Date.now = now
})

t.test(
  'the operator makes accounts all the same; where it is closed, he alone; where it is open, all',
  async t => {
    t.match(await askAdmin({ dir }, 'user.create', { email: 'op@example.com' }), { code: 200 })
    await gateway.close()
    const closed = await startGateway(t, { 'data.dir': dir, 'accounts.registration': 'closed' })
    const client = await jsonClient(t, closed)
    const { code } = await create()
    t.strictSame(await client.action('register', { ...account(), invite: code }), {
      ...{ code: 10135, msg: '目前不開放註冊', data: null },
    })
    const made = (await askAdmin({ dir }, 'user.create', { email: 'op2@example.com' })).data
    await loggedIn(t, closed, made)
    await closed.close()
    const open = await startGateway(t, { 'data.dir': dir })
    const guest = await jsonClient(t, open)
    t.match(await guest.action('register', { ...account(), invite: 'anything' }), { code: 203 })
  },
)
