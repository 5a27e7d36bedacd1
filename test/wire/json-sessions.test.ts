import { once } from 'node:events'
import t from 'tap'
import { enrol } from '../helpers/factor.js'
import {
  type JsonClient,
  jsonClient,
  loggedIn,
  mqttClient,
  register,
  startGateway,
} from '../helpers/gateway.js'

const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })

t.test('reject: a second login is 10005 and the first goes on undisturbed', async t => {
  const gateway = await startGateway(t)
  const account = await register(t, gateway)
  const { email, password } = account
  const first = await loggedIn(t, gateway, account)
  const second = await jsonClient(t, gateway)
  t.strictSame(await second.action('login', { email, password }), {
    code: 10005,
    msg: '使用者已在其他地方登入',
    data: null,
  })
  t.match(await second.ask(message(account.id, 'x')), { code: 10007 }, 'the second is not logged in')
  t.match(
    await second.action('login', { email, password: 'wrong' }),
    { code: 10000 },
    'a wrong password says nothing',
  )
  t.match(await first.ask(message(account.id, 'x')), { code: 201 })
  t.match(await first.next(), { content: 'x' })
  await first.close()
  t.match(
    await second.action('login', { email, password }),
    { code: 202 },
    'when the first is gone the second may',
  )
})

t.test('reject: of many racing logins exactly one gets in', async t => {
  const gateway = await startGateway(t)
  const { email, password } = await register(t, gateway)
  const clients = await Promise.all(Array.from({ length: 6 }, () => jsonClient(t, gateway)))
  const replies = await Promise.all(clients.map(client => client.action('login', { email, password })))
  t.same(
    replies.map(({ code }) => code).sort((a, b) => a - b),
    [202, 10005, 10005, 10005, 10005, 10005],
  )
})

t.test('reject: an MQTT device of the account is no second login', async t => {
  const gateway = await startGateway(t)
  const account = await register(t, gateway)
  await mqttClient(t, gateway, { username: account.email, password: account.password })
  await loggedIn(t, gateway, account)
})

t.test('replace: the first is told 10009 and closed, and the second has the inbox', async t => {
  const gateway = await startGateway(t, { 'sessions.multiple': 'replace' })
  const account = await register(t, gateway)
  const first = await loggedIn(t, gateway, account)
  const second = await loggedIn(t, gateway, account)
  t.strictSame(await first.next(), { code: 10009, msg: '連線已關閉', data: null })
  t.equal((await first.closed)[0], 4501)
  const sender = await loggedIn(t, gateway)
  await sender.ask(message(account.id, 'to the second'))
  t.match(await second.next(), { content: 'to the second' })
  t.match(
    await sender.action('query', { id: account.id }),
    { data: [{ isLogin: true }] },
    'the account stayed online',
  )
})

t.test('replace: what the first had not confirmed comes to the second', async t => {
  const gateway = await startGateway(t, { 'sessions.multiple': 'replace' })
  const account = await register(t, gateway)
  const { email, password } = account
  const first = await jsonClient(t, gateway, '/', { autoPong: false })
  await first.action('login', { email, password })
  const sender = await loggedIn(t, gateway)
  await sender.ask(message(account.id, 'unconfirmed'))
  t.match(await first.next(), { content: 'unconfirmed' })
  const second = await loggedIn(t, gateway, account)
  t.match(await second.next(), { content: 'unconfirmed' })
})

t.test('replace: of many racing logins the last one stays', async t => {
  const gateway = await startGateway(t, { 'sessions.multiple': 'replace' })
  const { email, password, id } = await register(t, gateway)
  const clients = await Promise.all(Array.from({ length: 6 }, () => jsonClient(t, gateway)))
  const replies = await Promise.all(clients.map(client => client.action('login', { email, password })))
  const codes = replies.map(({ code }) => code)
  t.ok(codes.includes(202))
  t.same(
    codes.filter(code => code !== 202 && code !== 10009),
    [],
    'in, or replaced before its own answer',
  )
  const open = (client: JsonClient) => client.ws.readyState === client.ws.OPEN
  while (clients.filter(open).length > 1)
    await Promise.race(clients.filter(open).map(client => client.closed))
  const [last] = clients.filter(open)
  t.match(await last?.ask(message(id, 'x')), { code: 201 })
})

t.test('allow: several live side by side, each gets every message', async t => {
  const gateway = await startGateway(t, { 'sessions.multiple': 'allow' })
  const account = await register(t, gateway)
  const clients = [await loggedIn(t, gateway, account), await loggedIn(t, gateway, account)]
  const sender = await loggedIn(t, gateway)
  for (const content of ['one', 'two']) await sender.ask(message(account.id, content))
  for (const client of clients) {
    t.match(await client.next(), { content: 'one' })
    t.match(await client.next(), { content: 'two' })
  }
  await clients[0]?.close()
  t.match(await sender.action('query', { id: account.id }), { data: [{ isLogin: true }] })
})

t.test('a dead connection is found by ping, and the account is free again', async t => {
  const gateway = await startGateway(t, { 'heartbeat.interval': '200ms', 'heartbeat.timeout': '200ms' })
  const account = await register(t, gateway)
  const [frozen, other] = [await loggedIn(t, gateway, account), await loggedIn(t, gateway)]
  frozen.ws.pause()
  const since = performance.now()
  const isOnline = async () => {
    const { data } = await other.action('query', { id: account.id })
    return (data as { isLogin: boolean }[])[0]?.isLogin
  }
  while (await isOnline());
  const took = performance.now() - since
  t.ok(took > 100 && took < 3000, `found dead after ${Math.round(took)} ms`)
  t.match(await other.action('login'), { code: 10005 }, 'the one that talks is not')
})

t.test('a server that did not run for a while does not take its clients for dead', async t => {
  const gateway = await startGateway(t, {
    'heartbeat.interval': '100ms',
    'heartbeat.timeout': '100ms',
    'delivery.stallTimeout': '200ms',
  })
  const client = await loggedIn(t, gateway)
  client.send(message(client.userId, 'under way'))
  const pinged = once(client.ws, 'ping')
  await pinged
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600)
  t.match(await client.next(), { code: 201 })
  t.match(await client.next(), { content: 'under way' })
  t.match(await client.action('login'), { code: 10005 })
})

t.test('a client that answers pings, and one that only talks, live on', async t => {
  const gateway = await startGateway(t, { 'heartbeat.interval': '100ms', 'heartbeat.timeout': '2s' })
  const quiet = await loggedIn(t, gateway)
  const talker = await jsonClient(t, gateway, '/', { autoPong: false })
  let pings = 0
  quiet.ws.on('ping', () => pings++)
  // For as long as the quiet one needs to be pinged five times the other one talks.
  while (pings < 5) await talker.action('query', { email: 'a@b.example' })
  t.match(await quiet.action('login'), { code: 10005 })
})

t.test('a second login probes the old connection at once, and replaces it if it is dead', async t => {
  const gateway = await startGateway(t, { 'heartbeat.interval': '1h', 'heartbeat.timeout': '200ms' })
  const account = await register(t, gateway)
  const frozen = await jsonClient(t, gateway)
  await frozen.action('login', { email: account.email, password: account.password })
  frozen.ws.pause()
  const sender = await loggedIn(t, gateway)
  await sender.ask(message(account.id, 'while frozen'))
  const started = performance.now()
  const back = await loggedIn(t, gateway, account)
  t.ok(performance.now() - started < 1000)
  t.match(await back.next(), { content: 'while frozen' }, 'what it never confirmed comes again')
})

t.test('a live connection that is probed stays', async t => {
  const gateway = await startGateway(t, { 'heartbeat.interval': '1h', 'heartbeat.timeout': '10s' })
  const account = await register(t, gateway)
  const first = await loggedIn(t, gateway, account)
  const second = await jsonClient(t, gateway)
  const pinged = once(first.ws, 'ping')
  t.match(await second.action('login', { email: account.email, password: account.password }), { code: 10005 })
  await pinged
  t.match(await first.ask(message(account.id, 'x')), { code: 201 })
})

t.test('reject: a login that is refused uses up no code of the second factor', async t => {
  const gateway = await startGateway(t)
  const ann = await register(t, gateway)
  const { code, recoveryCodes } = await enrol(t, gateway, ann)
  const [recovery = ''] = recoveryCodes
  const first = await jsonClient(t, gateway)
  const login = { email: ann.email, password: ann.password }
  t.equal((await first.action('login', { ...login, code: recoveryCodes[1] })).code, 202)
  const second = await jsonClient(t, gateway)
  const app = code()
  for (const one of [recovery, recovery, app, app])
    t.equal((await second.action('login', { ...login, code: one })).code, 10005)
  await first.close()
  t.equal((await second.action('login', { ...login, code: recovery })).code, 202)
})
