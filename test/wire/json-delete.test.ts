import t from 'tap'
import { dataDir, jsonClient, loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'

const gateway = await startGateway(t)
const password = 'correct horse'

t.test('delete needs a login and the password once more', async t => {
  const stranger = await jsonClient(t, gateway)
  t.match(await stranger.action('delete', { password }), { code: 10007 })
  const client = await loggedIn(t, gateway)
  t.match(await client.action('delete'), { code: 10101, data: { field: 'password' } })
  t.match(await client.action('delete', { password: '' }), { code: 10000 })
  t.match(await client.action('delete', { password: 'wrong' }), { code: 10000 })
  t.match(
    await client.action('query', { id: client.userId }),
    { data: [{ id: client.userId }] },
    'the account is still there',
  )
})

t.test('the caller is told 200, then that the connection ends', async t => {
  const client = await loggedIn(t, gateway)
  t.strictSame(await client.action('delete', { password }), { code: 200, msg: '操作成功', data: null })
  t.match(await client.next(), { code: 10009, data: null })
  const [code] = await client.closed
  t.equal(code, 4501)
})

t.test('what was asked before it is answered before it', async t => {
  const client = await loggedIn(t, gateway)
  const other = await register(t, gateway)
  client.send({ type: 'message', data: { recipient: other.id, content: 'farewell' } })
  client.send({ type: 'action', action: 'delete', data: { password } })
  client.send({ type: 'message', data: { recipient: other.id, content: 'from beyond' } })
  await client.closed
  t.same(
    client.unread.map(frame => JSON.parse(frame).code),
    [201, 200, 10009],
  )
  const reader = await loggedIn(t, gateway, other)
  t.match(await reader.next(), { sender: client.userId, content: 'farewell' })
})

t.test('a deleted account is gone: no login, no query finds it, no message reaches it', async t => {
  const account = await register(t, gateway)
  const client = await loggedIn(t, gateway, account)
  const other = await loggedIn(t, gateway)
  await other.ask({ type: 'message', data: { recipient: account.id, content: 'hello' } })
  t.match(await client.next(), { content: 'hello' })
  await client.action('delete', { password })
  const message = { type: 'message', data: { recipient: account.id, content: 'still there?' } }
  t.match(await other.ask(message), { code: 10010 })
  t.match(await other.action('query', { id: account.id }), { code: 200, data: [] })
  t.match(await other.action('query', { email: account.email }), { code: 200, data: [] })
  const again = await jsonClient(t, gateway)
  t.match(await again.action('login', { email: account.email, password }), { code: 10000 })
})

t.test('the email can be registered again, as another user with an empty inbox', async t => {
  const account = await register(t, gateway)
  const sender = await loggedIn(t, gateway)
  const first = await loggedIn(t, gateway, account)
  await sender.ask({ type: 'message', data: { recipient: account.id, content: 'for the first' } })
  await first.next()
  await first.action('delete', { password })
  const heir = await register(t, gateway, account.email)
  t.not(heir.id, account.id)
  const second = await loggedIn(t, gateway, heir)
  await sender.ask({ type: 'message', data: { recipient: heir.id, content: 'for the second' } })
  t.match(await second.next(), { content: 'for the second' })
})

t.test('every connection of the account ends, MQTT devices too', async t => {
  const allowing = await startGateway(t, { 'sessions.multiple': 'allow' })
  const account = await register(t, allowing)
  const [one, two] = [await loggedIn(t, allowing, account), await loggedIn(t, allowing, account)]
  const device = await mqttClient(t, allowing, { username: account.email, password })
  const deviceGone = new Promise<void>(resolve => device.mqtt.once('close', () => resolve()))
  t.match(await one.action('delete', { password }), { code: 200 })
  t.match(await two.next(), { code: 10009 })
  t.equal((await two.closed)[0], 4501)
  await deviceGone
})

t.test(
  'a deleted account stays deleted after a restart, and its messages stay with their readers',
  async t => {
    const dir = dataDir(t)
    const first = await startGateway(t, { 'data.dir': dir })
    const account = await register(t, first)
    const reader = await register(t, first)
    const client = await loggedIn(t, first, account)
    await client.ask({ type: 'message', data: { recipient: reader.id, content: 'kept' } })
    await client.action('delete', { password })
    await first.close()
    const second = await startGateway(t, { 'data.dir': dir })
    const again = await jsonClient(t, second)
    t.match(await again.action('login', { email: account.email, password }), { code: 10000 })
    t.match(await (await loggedIn(t, second, reader)).next(), { sender: account.id, content: 'kept' })
  },
)
