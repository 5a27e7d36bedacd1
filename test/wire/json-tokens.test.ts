import { decodeJwt, decodeProtectedHeader } from 'jose'
import t from 'tap'
import { dataDir, jsonClient, loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { type TestTokens, withTokens } from '../helpers/tokens.js'

const gateway = await startGateway(t, { 'sessions.multiple': 'allow' })

/** Without a request `id` a refusal that old clients know carries no data. */
const REFUSED = { code: 10000, data: null }

t.test('a login that asks for tokens gets them, one that does not gets none', async t => {
  const { email, password, id } = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  const reply = await client.ask({
    type: 'action',
    action: 'login',
    id: '1',
    data: { email, password, token: true },
  })
  t.match(reply, { code: 202, id: '1', data: { id } })
  const { token, refresh, expires } = reply.data as TestTokens
  t.match(decodeProtectedHeader(token), { alg: 'HS256' })
  t.match(decodeJwt(token), { sub: id })
  t.match(refresh, /^mr_/)
  const left = Date.parse(expires) - Date.now()
  t.ok(left > 14 * 60_000 && left <= 15 * 60_000, `${left} ms`)
  const plain = await jsonClient(t, gateway)
  t.same(await plain.action('login', { email, password }), { code: 202, msg: '登入成功', data: null })
})

t.test('a token logs in: JSON, and MQTT by email or user id; messages come', async t => {
  const account = await register(t, gateway)
  const { tokens } = await withTokens(t, gateway, account)
  const client = await jsonClient(t, gateway)
  t.match(await client.action('login', { token: tokens.token }), { code: 202, data: null })
  const sender = await loggedIn(t, gateway)
  for (const username of [account.email.toUpperCase(), account.id]) {
    const device = await mqttClient(t, gateway, { username, password: tokens.token, clientId: username })
    await device.mqtt.subscribeAsync(`users/${account.id}/inbox/#`, { qos: 1 })
    await sender.ask({ type: 'message', data: { recipient: account.id, content: username } })
    t.match(await client.next(), { content: username })
    t.match(JSON.parse((await device.next()).payload).content, username)
  }
})

t.test('a token is of its account and its device', async t => {
  const account = await register(t, gateway)
  const other = await register(t, gateway)
  const { tokens } = await withTokens(t, gateway, account, { device: 'phone' })
  const client = await jsonClient(t, gateway)
  t.match(await client.action('login', { token: tokens.token, device: 'desk' }), REFUSED)
  const password = Buffer.from(tokens.token)
  const asOther = await rawConnect(t, gateway, { username: other.email, password, clientId: 'phone' })
  t.equal(asOther.connack.returnCode, 4)
  const elsewhere = await rawConnect(t, gateway, { username: account.email, password, clientId: 'desk' })
  t.equal(elsewhere.connack.returnCode, 4)
  const right = await rawConnect(t, gateway, { username: account.email, password, clientId: 'phone' })
  t.equal(right.connack.returnCode, 0)
  t.match(await client.action('login', { token: tokens.token }), { code: 202 })
  const plain = await withTokens(t, gateway, account)
  const named = await jsonClient(t, gateway)
  t.match(await named.action('login', { token: plain.tokens.token, device: 'phone' }), REFUSED)
})

t.test('what is no token of ours is refused by its field, whatever it is', async t => {
  const account = await register(t, gateway)
  const { tokens } = await withTokens(t, gateway, account)
  const client = await jsonClient(t, gateway)
  const [header, payload, signature] = tokens.token.split('.')
  const none = Buffer.from('{"alg":"none"}').toString('base64url')
  const bad = [
    'x',
    'a.b.c',
    tokens.refresh,
    `${none}.${payload}.`,
    `${header}.${payload}.${signature?.slice(0, -2)}AA`,
    `${tokens.token} `,
  ]
  bad.push('__proto__', `${header}..${signature}`, 'é'.repeat(100))
  for (const token of bad) t.match(await client.action('login', { token }), REFUSED, token)
  t.match(await client.action('login', { token: '' }), { code: 10101, data: { field: 'token' } })
  t.match(await client.action('login', { token: false }), { code: 10101, data: { field: 'token' } })
  for (const token of [tokens.token, 'x', 'mr_', `mr_${account.id}_${'a'.repeat(16)}_${'b'.repeat(43)}`])
    t.match(await client.action('refresh', { token }), REFUSED, token)
})

t.test('a refresh token gives a new pair without a login, on a connection that has none', async t => {
  const account = await register(t, gateway)
  const { client: first, tokens } = await withTokens(t, gateway, account)
  await first.close()
  const client = await jsonClient(t, gateway)
  const reply = await client.action('refresh', { token: tokens.refresh })
  t.match(reply, { code: 200, data: { token: /^eyJ/, refresh: /^mr_/ } })
  t.match(await client.action('login', { token: (reply.data as TestTokens).token }), { code: 202 })
})

t.test('a copied refresh token ends its session, its connections and its tokens, and no other', async t => {
  const account = await register(t, gateway)
  const { client: victim, tokens } = await withTokens(t, gateway, account)
  const { client: bystander } = await withTokens(t, gateway, account)
  const thief = await jsonClient(t, gateway)
  const stolen = (await thief.action('refresh', { token: tokens.refresh })).data as TestTokens
  await thief.action('refresh', { token: stolen.refresh })
  t.match(await thief.action('refresh', { token: tokens.refresh }), REFUSED)
  t.match(await victim.next(), { code: 10009 })
  t.match(await thief.action('login', { token: stolen.token }), REFUSED)
  t.match(await bystander.action('sessions'), { code: 200 })
})

t.test('tokens are good after a restart; expired ones are told so', async t => {
  const dir = dataDir(t)
  const first = await startGateway(t, { 'data.dir': dir, 'tokens.accessLifetime': '1s' })
  const account = await register(t, first)
  const { tokens } = await withTokens(t, first, account)
  await first.close()
  const second = await startGateway(t, { 'data.dir': dir })
  const client = await jsonClient(t, second)
  const reply = await client.action('refresh', { token: tokens.refresh })
  const { token } = reply.data as TestTokens
  await second.close()
  const now = Date.now()
  const third = await startGateway(t, { 'data.dir': dir })
  const again = await jsonClient(t, third)
  t.match(await again.action('login', { token }), { code: 202 })
  t.intercept(Date, 'now', { value: () => now + 16 * 60_000 })
  const late = await jsonClient(t, third)
  t.match(await late.action('login', { token }), REFUSED)
  t.match(await late.action('login', { token }, 'why'), {
    code: 10000,
    data: { field: 'token', reason: 'has expired' },
  })
})

t.test('neither tokens nor credentials are in the log', async t => {
  const account = await register(t, gateway)
  const { client, tokens } = await withTokens(t, gateway, account)
  const { data } = await client.action('mint', { device: 'lamp' })
  await client.action('refresh', { token: tokens.refresh })
  const log = JSON.stringify(gateway.logs)
  for (const secret of [tokens.token, tokens.refresh, (data as { password: string }).password])
    t.notOk(log.includes(secret))
})
