import t from 'tap'
import {
  jsonClient,
  loggedIn,
  type MqttTestClient,
  mqttClient,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { minted, sessionsOf, withTokens } from '../helpers/tokens.js'

const gateway = await startGateway(t, { 'sessions.multiple': 'allow' })

const gone = (device: MqttTestClient) =>
  new Promise<void>(resolve => device.mqtt.once('close', () => resolve()))
const newPassword = 'battery staple'

const canLogIn = async (account: TestAccount, password: string) => {
  const client = await jsonClient(t, gateway)
  return (await client.action('login', { email: account.email, password })).code
}

t.test('sessions: each login of the account, and nobody else’s', async t => {
  const account = await register(t, gateway)
  await loggedIn(t, gateway)
  const { client } = await withTokens(t, gateway, account, { device: 'phone' })
  await loggedIn(t, gateway, account)
  await minted(client, 'lamp')
  const listed = await sessionsOf(client)
  t.same(listed.map(({ kind, device, online, current }) => [kind, device, online, current]).sort(), [
    ['device', 'lamp', false, false],
    ['password', '', true, false],
    ['token', 'phone', true, true],
  ])
  t.notOk(JSON.stringify(listed).includes('hash'))
})

t.test('revoke ends one session at once: its JSON and MQTT connections and its tokens', async t => {
  const account = await register(t, gateway)
  const { client: owner } = await withTokens(t, gateway, account)
  const { client: lost, tokens } = await withTokens(t, gateway, account, { device: 'phone' })
  const device = await mqttClient(t, gateway, {
    username: account.id,
    password: tokens.token,
    clientId: 'phone',
  })
  const deviceGone = gone(device)
  const session = (await sessionsOf(owner)).find(one => one.device === 'phone')?.id
  t.match(await owner.action('revoke', { session }), { code: 200, data: { revoked: 1 } })
  t.match(await lost.next(), { code: 10009 })
  t.equal((await lost.closed)[0], 4501)
  await deviceGone
  const again = await jsonClient(t, gateway)
  t.match(await again.action('login', { token: tokens.token }), { code: 10000 })
  t.match(await again.action('refresh', { token: tokens.refresh }), { code: 10000 })
  t.match(await owner.action('revoke', { session }), { code: 10101, data: { field: 'session' } })
})

t.test('revoke of the others ends every session but the one that asks', async t => {
  const account = await register(t, gateway)
  const { client: owner } = await withTokens(t, gateway, account)
  const byPassword = await loggedIn(t, gateway, account)
  const { client: byToken } = await withTokens(t, gateway, account)
  const { password } = await minted(owner, 'lamp')
  const lamp = await mqttClient(t, gateway, { username: account.id, password, clientId: 'lamp' })
  const lampGone = gone(lamp)
  t.match(await owner.action('revoke', { others: true }), { code: 200, data: { revoked: 3 } })
  for (const client of [byPassword, byToken]) t.match(await client.next(), { code: 10009 })
  await lampGone
  t.match(await sessionsOf(owner), [{ current: true }])
})

t.test('one’s own session can be revoked: it is answered, then ends', async t => {
  const { client } = await withTokens(t, gateway, await register(t, gateway))
  const [own] = await sessionsOf(client)
  t.match(await client.action('revoke', { session: own?.id }), { code: 200 })
  t.match(await client.next(), { code: 10009 })
})

t.test('nobody revokes or lists another’s sessions', async t => {
  const victim = await withTokens(t, gateway, await register(t, gateway))
  const [session] = await sessionsOf(victim.client)
  const stranger = await loggedIn(t, gateway)
  t.match(await stranger.action('revoke', { session: session?.id }), { code: 10101 })
  const user = victim.client.userId
  t.match(await stranger.action('revoke', { session: session?.id, user }), { code: 10110 })
  t.match(await stranger.action('sessions', { user }), { code: 10110 })
  t.match(await victim.client.action('sessions'), { code: 200 })
})

t.test('revoke wants either a session or the others', async t => {
  const client = await loggedIn(t, gateway)
  for (const data of [{}, { session: 'x', others: true }])
    t.match(await client.action('revoke', data), { code: 10101, data: { field: 'session' } })
})

t.test('logout: the connection is nobody’s, its tokens are void, and it may log in again', async t => {
  const account = await register(t, gateway)
  const { client, tokens } = await withTokens(t, gateway, account)
  t.match(await client.action('logout'), { code: 200, data: null })
  t.match(await client.action('logout'), { code: 10007 })
  t.match(await client.ask({ type: 'message', data: { recipient: account.id, content: 'x' } }), {
    code: 10007,
  })
  t.match(await client.action('login', { token: tokens.token }), { code: 10000 })
  t.match(await client.action('refresh', { token: tokens.refresh }), { code: 10000 })
  const other = await loggedIn(t, gateway)
  t.match(await other.action('query', { id: account.id }), { data: [{ isLogin: false }] })
  await other.ask({ type: 'message', data: { recipient: account.id, content: 'waiting' } })
  const { email, password } = account
  t.match(await client.action('login', { email, password }), { code: 202 })
  t.match(await client.next(), { content: 'waiting' })
})

t.test('a pong that an earlier login on the connection is owed confirms nothing of the next one', async t => {
  const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
  const sender = await loggedIn(t, gateway)
  const client = await jsonClient(t, gateway, '/', { autoPong: false })
  const pings: string[] = []
  client.ws.on('ping', data => pings.push(data.toString()))
  const ping = () => new Promise<string>(resolve => client.ws.once('ping', data => resolve(data.toString())))
  for (const { email, password, id } of [ann, bob]) {
    await client.action('login', { email, password })
    const pinged = ping()
    await sender.ask({ type: 'message', data: { recipient: id, content: `for ${id}` } })
    t.match(await client.next(), { content: `for ${id}` })
    await pinged
    if (id === ann.id) await client.action('logout')
  }
  t.not(pings[0], pings[1])
  client.ws.pong(pings[0])
  // Answered behind the pong.
  await client.action('query', { id: ann.id })
  client.ws.terminate()
  await client.closed
  const again = await loggedIn(t, gateway, bob)
  t.match(await again.next(), { content: `for ${bob.id}` })
})

t.test('a new password needs the old one', async t => {
  const account = await register(t, gateway)
  const client = await loggedIn(t, gateway, account)
  t.match(await client.action('password', { password: 'wrong', newPassword }), { code: 10000 })
  t.equal(await canLogIn(account, account.password), 202)
  t.match(await client.action('password', { password: account.password, newPassword }), {
    code: 200,
    data: null,
  })
  t.equal(await canLogIn(account, account.password), 10000)
  t.equal(await canLogIn(account, newPassword), 202)
})

t.test('a new password ends every other session at once, JSON and MQTT, tokens and credentials', async t => {
  const account = await register(t, gateway)
  const { client: owner, tokens: own } = await withTokens(t, gateway, account)
  const { client: other, tokens } = await withTokens(t, gateway, account)
  const lamp = await minted(owner, 'lamp')
  const devices = [
    await mqttClient(t, gateway, { username: account.email, password: account.password, clientId: 'a' }),
    await mqttClient(t, gateway, { username: account.email, password: tokens.token, clientId: 'b' }),
    await mqttClient(t, gateway, { username: account.email, password: lamp.password, clientId: 'lamp' }),
  ]
  const allGone = Promise.all(devices.map(gone))
  t.match(await owner.action('password', { password: account.password, newPassword }), { code: 200 })
  t.match(await other.next(), { code: 10009 })
  await allGone
  t.match(await owner.action('query', { id: account.id }), { code: 200 }, 'the one that asked lives on')
  const client = await jsonClient(t, gateway)
  for (const { token, refresh } of [tokens, own]) {
    t.match(await client.action('login', { token }), { code: 10000 })
    t.match(await client.action('refresh', { token: refresh }), { code: 10000 })
  }
  const password = Buffer.from(lamp.password)
  const refused = await rawConnect(t, gateway, { username: account.id, password, clientId: 'lamp' })
  t.equal(refused.connack.returnCode, 4)
})

t.test('with keepDevices the credentials stay good, and their connections open', async t => {
  const account = await register(t, gateway)
  const owner = await loggedIn(t, gateway, account)
  const { password } = await minted(owner, 'lamp')
  const lamp = await rawConnect(t, gateway, {
    username: account.id,
    password: Buffer.from(password),
    clientId: 'lamp',
  })
  const change = { password: account.password, newPassword, keepDevices: true }
  t.match(await owner.action('password', change), { code: 200 })
  lamp.send({ cmd: 'pingreq' })
  await lamp.take('pingresp')
})

t.test('logins that are under way while the password changes are not let in behind it', async t => {
  const account = await register(t, gateway)
  const owner = await loggedIn(t, gateway, account)
  const { email, password } = account
  const clients = await Promise.all(Array.from({ length: 8 }, () => jsonClient(t, gateway)))
  const changed = owner.action('password', { password, newPassword })
  for (const client of clients)
    client.send({ type: 'action', action: 'login', data: { email, password, token: true } })
  t.match(await changed, { code: 200 })
  await Promise.all(clients.map(client => client.next()))
  t.same(
    (await sessionsOf(owner)).map(({ current }) => current),
    [true],
  )
})

t.test('a deleted account’s tokens and credentials are void', async t => {
  const account = await register(t, gateway)
  const { client, tokens } = await withTokens(t, gateway, account)
  const { password } = await minted(client, 'lamp')
  t.match(await client.action('delete', { password: account.password }), { code: 200 })
  const other = await jsonClient(t, gateway)
  t.match(await other.action('login', { token: tokens.token }), { code: 10000 })
  t.match(await other.action('refresh', { token: tokens.refresh }), { code: 10000 })
  const lamp = await rawConnect(t, gateway, {
    username: account.id,
    password: Buffer.from(password),
    clientId: 'lamp',
  })
  t.equal(lamp.connack.returnCode, 4)
})
