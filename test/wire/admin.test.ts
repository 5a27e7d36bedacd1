/** The admin socket of a gateway, with clients of both fronts. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ADMIN_REQUESTS } from '../../src/protocol/admin.js'
import { askAdmin, askSocket } from '../helpers/admin.js'
import {
  dataDir,
  jsonClient,
  loggedIn,
  mqttClient,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { TEST_STORE } from '../helpers/mongodb.js'
import { connect5 } from '../helpers/raw-mqtt5.js'
import { minted, withTokens } from '../helpers/tokens.js'

const settings = { 'sessions.multiple': 'allow' }

const login = async (t: Test, gateway: { httpPort: number }, { email, password }: TestAccount) =>
  (await jsonClient(t, gateway)).action('login', { email, password })

t.test('the socket is the user’s alone, and goes with the gateway', async t => {
  const gateway = await startGateway(t)
  const path = join(gateway.dir, 'admin.sock')
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.ok(statSync(path).isSocket())
  t.match(await askAdmin(gateway, 'stats'), { status: 200, code: 200, data: { pid: process.pid } })
  await gateway.close()
  t.notOk(existsSync(path))
})

t.test('a socket that a killed gateway left is replaced; one that is answered is not', async t => {
  const dir = dataDir(t)
  const path = join(dir, 'admin.sock')
  writeFileSync(path, '')
  const gateway = await startGateway(t, { 'data.dir': dir })
  t.match(await askAdmin(gateway, 'stats'), { status: 200 })
  const other = dataDir(t)
  const server = createServer().listen(join(other, 'admin.sock'))
  t.teardown(() => server.close())
  const without = await startGateway(t, { 'data.dir': other })
  t.match(
    without.logs.find(({ event }) => event === 'admin.unavailable'),
    { level: 'error' },
  )
  await register(t, without)
  const off = await startGateway(t, { 'admin.enabled': false })
  t.notOk(existsSync(join(off.dir, 'admin.sock')))
})

t.test('of an account that is disabled no will is published, however long it was delayed', async t => {
  const gateway = await startGateway(t, settings)
  const [eve, ann] = [await register(t, gateway), await register(t, gateway)]
  const bob = await loggedIn(t, gateway)
  for (const [account, delay] of [
    [eve, 1],
    [ann, 2],
  ] as const) {
    const client = await connect5(t, gateway, {
      account,
      properties: { sessionExpiryInterval: 3600 },
      will: {
        topic: `users/${bob.userId}/inbox`,
        payload: account.id,
        qos: 1,
        retain: false,
        properties: { willDelayInterval: delay },
      },
    })
    t.equal(client.connack.reasonCode, 0)
    await client.drop()
  }
  t.match(await askAdmin(gateway, 'user.disable', { user: eve.id }), { status: 200 })
  t.match(await bob.next(), { sender: ann.id, content: ann.id }, 'that of Eve was due before')
})

t.test('what is no request is refused and in the audit, and the gateway goes on', async t => {
  const dir = dataDir(t)
  const file = join(dir, 'audit.log')
  const gateway = await startGateway(t, { 'data.dir': dir, 'audit.file': file })
  const ask = (path: string, body: string, method?: string) => askSocket(gateway.dir, path, body, method)
  t.match(await ask('/v1/stats', '', 'GET'), { status: 404, code: 10102 })
  t.match(await ask('/', ''), { status: 404, code: 10102 })
  for (const name of ['', 'nothing', 'message', 'login', '__proto__', 'constructor'])
    t.match(await ask(`/v1/${name}`, '{}'), { status: 404, code: 10102 }, name)
  t.match(await ask('/v1/stats', '{'), { status: 400, code: 10100 })
  t.match(await ask('/v1/stats', '[]'), { status: 400, code: 10101 })
  t.match(await ask('/v1/stats', '{"a":1}'), { status: 400, code: 10101, data: { field: 'a' } })
  t.match(await ask('/v1/user.show', '{}'), { status: 400, code: 10101, data: { field: 'user' } })
  t.match(await ask('/v1/user.show', JSON.stringify({ user: 'nobody' })), { status: 404, code: 10010 })
  t.match(await ask('/v1/stats', ' '.repeat(2 ** 20 + 1)).catch(() => ({ status: 413 })), { status: 413 })
  t.match(await ask('/v1/stats', ''), { status: 200 })
  const lines = () => readFileSync(file, 'utf8').trim().split('\n')
  while (lines().length < 15) await new Promise(setImmediate)
  const refused = (code: number, request?: string) => ({
    event: 'admin.refused',
    front: 'admin',
    code,
    ...(request !== undefined && { request }),
  })
  t.same(
    lines().map(line => {
      const { time: _, level: __, ...entry } = JSON.parse(line)
      return entry
    }),
    [
      ...Array.from({ length: 8 }, () => refused(10102)),
      refused(10100, 'stats'),
      refused(10101, 'stats'),
      refused(10101, 'stats'),
      refused(10101, 'user.show'),
      refused(10010, 'user.show'),
      refused(10103, 'stats'),
      { event: 'stats.read', front: 'admin' },
    ],
  )
})

t.test('no client can make a request of the operator, over either front', async t => {
  const gateway = await startGateway(t)
  const client = await loggedIn(t, gateway)
  for (const name of Object.keys(ADMIN_REQUESTS)) {
    t.match(await client.action(name, {}, 'i'), { code: 10102 }, name)
    t.match(await client.ask({ type: name, data: {}, id: 'i' }), { code: 10102 }, name)
  }
})

t.test('accounts are made, listed, shown, and given and taken the role', async t => {
  const gateway = await startGateway(t, settings)
  const ask = (name: string, data: object) => askAdmin(gateway, name, data)
  const made = await ask('user.create', { email: 'Ann@example.com', username: 'ann', role: 'admin' })
  t.match(made, { code: 200, data: { role: 'admin', firstName: 'Ann', password: /^[\w-]{16}$/ } })
  t.match(await ask('user.create', { email: 'ann@example.com' }), { status: 409, code: 10003 })
  const given = { email: 'bob@example.com', password: 'secret', firstName: 'B', lastName: 'C' }
  const bob = await ask('user.create', given)
  t.notOk('password' in bob.data)
  t.match(await login(t, gateway, { ...given, id: '' }), { code: 202 })
  const { id } = made.data
  t.match((await ask('user.list', {})).data, { users: [{ id }, { id: bob.data.id, role: 'user' }] })
  t.match((await ask('user.list', { limit: 1 })).data, { users: [{ id }], next: id })
  t.match((await ask('user.list', { after: id })).data.users, [{ id: bob.data.id }])
  t.same(
    (await ask('user.list', { role: 'admin' })).data.users.map((one: { id: string }) => one.id),
    [id],
  )
  const sender = await loggedIn(t, gateway, { ...given, id: bob.data.id })
  t.match(await sender.ask({ type: 'message', data: { recipient: id, content: 'hi' } }), { code: 201 })
  for (const user of [id, 'ann', 'ANN@example.com'])
    t.match((await ask('user.show', { user })).data, { id, inbox: { messages: 1, last_seq: 1 } }, user)
  const ann = { email: 'ann@example.com', password: made.data.password, id }
  const admin = await loggedIn(t, gateway, ann)
  t.match(await admin.next(), { content: 'hi' })
  t.match(await admin.action('sessions', { user: bob.data.id }, 'i'), { code: 200 }, 'is an admin')
  t.match(await ask('user.revoke-role', { user: 'ann', role: 'admin' }), { data: { role: 'user' } })
  t.equal((await admin.closed)[0], 4501)
  const again = await loggedIn(t, gateway, ann)
  t.match(await again.action('sessions', { user: bob.data.id }, 'i'), { code: 10110 })
  t.match(await ask('user.grant', { user: 'ann', role: 'admin' }), { data: { role: 'admin' } })
  t.match(await ask('user.grant', { user: 'ann', role: 'king' }), { status: 400 })
})

t.test('a role by the config is not taken, and one that was granted besides stays', async t => {
  const dir = dataDir(t)
  const first = await startGateway(t, { 'data.dir': dir })
  const { id } = await register(t, first)
  await askAdmin(first, 'user.grant', { user: id, role: 'admin' })
  await first.close()
  const gateway = await startGateway(t, { 'data.dir': dir, 'roles.admins': id })
  t.match((await askAdmin(gateway, 'user.show', { user: id })).data, { role: 'admin' })
  t.match(await askAdmin(gateway, 'user.revoke-role', { user: id, role: 'admin' }), {
    status: 403,
    data: { reason: /roles\.admins/ },
  })
  await gateway.close()
  const without = await startGateway(t, { 'data.dir': dir })
  t.match((await askAdmin(without, 'user.show', { user: id })).data, { role: 'admin' }, 'nothing was changed')
})

t.test(
  'a disabled account is refused by both fronts and by whatever it logs in, until it is enabled',
  async t => {
    const gateway = await startGateway(t, settings)
    const account = await register(t, gateway)
    const { client, tokens } = await withTokens(t, gateway, account)
    const { password: credential } = await minted(client, 'lamp')
    const byMqtt = (password: string, clientId: string, protocolVersion: 4 | 5 = 4) =>
      mqttClient(t, gateway, { username: account.email, password, clientId, protocolVersion })
    const lamp = await byMqtt(credential, 'lamp')
    const phone = await byMqtt(account.password, 'phone', 5)
    const lampClosed = new Promise(resolve => lamp.mqtt.once('close', () => resolve(true)))
    const said = new Promise<number | undefined>(resolve =>
      phone.mqtt.once('disconnect', ({ reasonCode }) => resolve(reasonCode)),
    )
    const disabled = await askAdmin(gateway, 'user.disable', { user: account.email })
    t.match(disabled, { code: 200, data: { disabled: true, disabled_at: /Z$/, ended: 3 } })
    t.equal((await client.closed)[0], 4502)
    t.ok(await lampClosed)
    t.equal(await said, 0x98, 'administrative action')
    t.match(await login(t, gateway, account), { code: 10129, data: null })
    const wrong = { ...account, password: 'wrong' }
    t.match(await login(t, gateway, wrong), { code: 10000 }, 'a stranger does not learn it')
    const other = await jsonClient(t, gateway)
    t.match(await other.action('login', { token: tokens.token }), { code: 10000 }, 'tokens have ended')
    t.match(await other.action('refresh', { token: tokens.refresh }), { code: 10000 })
    await t.rejects(byMqtt(credential, 'lamp'), { code: 5 })
    await t.rejects(byMqtt(account.password, 'phone'), { code: 5 })
    await t.rejects(byMqtt(account.password, 'phone', 5), { code: 0x8a })
    t.match((await askAdmin(gateway, 'user.list', { disabled: true })).data.users, [{ id: account.id }])
    t.match(await askAdmin(gateway, 'user.enable', { user: account.id }), { data: { disabled: false } })
    t.match(await login(t, gateway, account), { code: 202 })
    await byMqtt(credential, 'lamp')
  },
)

t.test('a disabled account gets messages, and reads them when it is enabled', async t => {
  const gateway = await startGateway(t)
  const [ann, bob] = [await register(t, gateway), await loggedIn(t, gateway)]
  await askAdmin(gateway, 'user.disable', { user: ann.id })
  t.match(await bob.ask({ type: 'message', data: { recipient: ann.id, content: 'hi' } }), { code: 201 })
  await askAdmin(gateway, 'user.enable', { user: ann.id })
  const reader = await loggedIn(t, gateway, ann)
  t.match(await reader.next(), { content: 'hi' })
})

t.test('a new password ends every login, or spares devices', async t => {
  const gateway = await startGateway(t, settings)
  const account = await register(t, gateway)
  const client = await loggedIn(t, gateway, account)
  const { password: credential } = await minted(client, 'lamp')
  const options = { username: account.email, password: credential, clientId: 'lamp' }
  const lamp = await mqttClient(t, gateway, options)
  const kept = { user: account.id, password: 'another one', keepDevices: true }
  t.match(await askAdmin(gateway, 'user.reset-password', kept), { code: 200 })
  await client.closed
  t.ok(lamp.mqtt.connected)
  t.match(await login(t, gateway, account), { code: 10000 })
  t.match(await login(t, gateway, { ...account, password: 'another one' }), { code: 202 })
  const ended = new Promise(resolve => lamp.mqtt.once('close', () => resolve(true)))
  const made = await askAdmin(gateway, 'user.reset-password', { user: account.id })
  await ended
  await t.rejects(mqttClient(t, gateway, options), { code: 4 })
  t.match(await login(t, gateway, { ...account, password: made.data.password }), { code: 202 })
})

t.test('an account is deleted with its connections', async t => {
  const gateway = await startGateway(t)
  const account = await register(t, gateway)
  const client = await loggedIn(t, gateway, account)
  t.match(await askAdmin(gateway, 'user.delete', { user: account.email }), { data: { id: account.id } })
  t.equal((await client.closed)[0], 4501)
  t.match(await login(t, gateway, account), { code: 10000 })
  t.match(await askAdmin(gateway, 'user.show', { user: account.id }), { status: 404 })
})

t.test('sessions are listed and ended, with or without what they could come back by', async t => {
  const gateway = await startGateway(t, settings)
  const account = await register(t, gateway)
  const { client } = await withTokens(t, gateway, account, { device: 'tab' })
  const { password: credential } = await minted(client, 'lamp')
  const plain = await loggedIn(t, gateway, account)
  const ask = (name: string, data: object) => askAdmin(gateway, name, data)
  t.match((await ask('session.list', {})).data, { total: 2, sessions: [{ front: 'json', online: true }, {}] })
  t.match((await ask('session.list', { limit: 1 })).data, { total: 2, sessions: { length: 1 } })
  const { sessions } = (await ask('session.list', { user: account.id })).data
  t.match(sessions.at(-1), { kind: 'device', device: 'lamp', online: false })
  const { session } = sessions[1]
  t.match(await ask('session.kick', { user: account.id, session: 'none' }), { status: 400 })
  t.match((await ask('session.kick', { user: account.id, session })).data, { ended: 1, revoked: 0 })
  t.equal((await plain.closed)[0], 4501)
  t.match((await ask('session.kick', { user: account.id, revoke: true })).data, { ended: 2, revoked: 2 })
  await client.closed
  const options = { username: account.email, password: credential, clientId: 'lamp' }
  await t.rejects(mqttClient(t, gateway, options), { code: 4 })
})

t.test('the level of the log is set while it runs', async t => {
  const gateway = await startGateway(t, { 'log.level': 'warn' })
  t.match(await askAdmin(gateway, 'log.level'), { data: { level: 'warn' } })
  await loggedIn(t, gateway)
  t.notOk(gateway.logs.some(({ event }) => event === 'account.logged-in'))
  t.match(await askAdmin(gateway, 'log.level', { level: 'info' }), { data: { level: 'info' } })
  await loggedIn(t, gateway)
  t.ok(gateway.logs.some(({ event }) => event === 'account.logged-in'))
  t.match(await askAdmin(gateway, 'log.level', { level: 'loud' }), { status: 400 })
})

t.test('a broadcast comes from the oldest admin, or from whom it names', async t => {
  const gateway = await startGateway(t)
  const ann = await loggedIn(t, gateway)
  const send = (data: object) => askAdmin(gateway, 'broadcast.send', data)
  t.match(await send({ content: 'soon' }), { status: 400, data: { field: 'from' } })
  const { id } = (await askAdmin(gateway, 'user.create', { email: 'op@example.com', role: 'admin' })).data
  t.match(await send({ content: 'soon' }), { code: 200, data: { from: id } })
  t.match(await ann.next(), { sender: id, content: 'soon' })
  const bob = await register(t, gateway)
  t.match(await send({ content: 'now', from: bob.email }), { data: { from: bob.id } })
  t.match(await ann.next(), { sender: bob.id, content: 'now' })
  t.match(await send({ content: 'x'.repeat(100_000) }), { status: 413 })
})

t.test('every act is in the audit, done or refused, without a password or an email', async t => {
  const dir = dataDir(t)
  const file = join(dir, 'audit.log')
  const gateway = await startGateway(t, { 'data.dir': dir, 'audit.file': file })
  await askAdmin(gateway, 'user.create', { email: 'op@example.com', role: 'admin', password: 'secret' })
  const op = (await askAdmin(gateway, 'user.show', { user: 'op@example.com' })).data
  const sender = await loggedIn(t, gateway)
  const sent = await sender.ask({ type: 'message', id: 'm', data: { recipient: op.id, content: 'hi' } })
  const lines = () =>
    existsSync(file)
      ? readFileSync(file, 'utf8')
          .trim()
          .split('\n')
          .map(line => JSON.parse(line))
          .filter(({ front }) => front === 'admin')
      : []
  const names = Object.keys(ADMIN_REQUESTS)
    .filter(name => name !== 'backup' || TEST_STORE !== 'mongodb')
    .filter(name => name !== 'drain')
  let count = 2
  const ends = ['inbox.purge', 'user.delete', 'admin-token.revoke']
  const isEnd = (name: string) => ends.indexOf(name)
  for (const name of names.sort((a, b) => isEnd(a) - isEnd(b))) {
    const data = {
      all: true,
      id: (sent.data as { id: string }).id,
      user: 'op@example.com',
      role: 'admin',
      name: 'ci',
      username: name.replace('.', '-'),
      content: 'hi',
      email: 'b@example.com',
      file: join(dir, 'b.mdb'),
      users: [],
      invite: (await askAdmin(gateway, 'invite.create')).data.id,
    }
    const { properties } = ADMIN_REQUESTS[name as keyof typeof ADMIN_REQUESTS]
    const mine = Object.fromEntries(Object.entries(data).filter(([field]) => field in properties))
    t.match(await askAdmin(gateway, name, mine), { code: 200 }, name)
    // With that of the invite.
    count += 2
    while (lines().length < count) await new Promise(setImmediate)
  }
  await askAdmin(gateway, 'user.show', { user: 'op@example.com' })
  while (lines().length < count + 1) await new Promise(setImmediate)
  t.match(lines().at(-1), { event: 'admin.refused', request: 'user.show', code: 10010 })
  t.notMatch(readFileSync(file, 'utf8'), /secret|example\.com/)
  const events = lines().map(({ event }) => event)
  t.equal(new Set(events).size, names.length + 1, 'an event of its own for each')
  await askAdmin(gateway, 'drain')
  await gateway.close()
  t.match(lines().at(-1), { event: 'gateway.drained', count: 1 }, 'it ends the gateway')
})
