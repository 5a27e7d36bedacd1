/**
 * Limits as clients see them. The tests connect from loopback, which is exempt from most limits unless `limits.exempt`
 * is empty.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { type ClientOptions, WebSocket } from 'ws'
import {
  jsonClient,
  limited,
  loggedIn,
  mqttClient,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { rawConnect, rawSocket } from '../helpers/raw-mqtt.js'
import { minted } from '../helpers/tokens.js'

const start = (t: Test, settings: Record<string, unknown>) =>
  startGateway(t, { 'limits.exempt': '', ...settings })

const query = { type: 'action', action: 'query', data: { email: 'a@b.example' } }

/** The HTTP status that a WebSocket handshake is answered with. */
async function handshake(
  t: Test,
  { httpPort }: { httpPort: number },
  options: ClientOptions = {},
): Promise<number> {
  const ws = new WebSocket(`ws://127.0.0.1:${httpPort}/`, options)
  t.teardown(() => ws.terminate())
  ws.on('error', () => undefined)
  return Promise.race([
    once(ws, 'open').then(() => 101),
    once(ws, 'unexpected-response').then(([, { statusCode }]) => {
      ws.terminate()
      return statusCode
    }),
  ])
}

const from = (address: string, headers = {}): ClientOptions => ({
  headers: { 'X-Forwarded-For': address, ...headers },
})

t.test('connections per address: a further one gets 429, or CONNACK 3', async t => {
  const gateway = await start(t, { 'limits.connectionsPerAddress': 2 })
  const [first] = [await jsonClient(t, gateway), await rawSocket(t, gateway)]
  t.equal(await handshake(t, gateway), 429)
  const device = await rawSocket(t, gateway)
  t.match(await device.take('connack'), { returnCode: 3 })
  await device.closed
  const page = connect(gateway.httpPort, '127.0.0.1')
  t.match(await text(page), /^HTTP\/1\.1 429 .*Retry-After: /s, 'said without being asked')
  await first.close()
  // The gateway counts a connection until its own end of the socket is closed.
  for (let status = 429; status !== 101; status = await handshake(t, gateway)) t.equal(status, 429)
})

t.test('new connections per address: those over the burst get 429', async t => {
  const gateway = await start(t, { 'limits.handshakesPerAddress': 1 })
  const all = await Promise.all(Array.from({ length: 20 }, () => handshake(t, gateway)))
  const refused = all.filter(status => status === 429).length
  t.ok(refused > 0 && refused <= 10, `${refused} of 20`)
})

t.test('limits apply to the clients of a trusted proxy, and not to the proxy', async t => {
  const gateway = await start(t, {
    'http.trustProxy': '127.0.0.1',
    'limits.connectionsPerAddress': 1,
    'limits.registrations': 1,
  })
  t.equal(await handshake(t, gateway, from('198.51.100.1')), 101)
  t.equal(await handshake(t, gateway, from('198.51.100.1')), 429)
  t.equal(await handshake(t, gateway, from('198.51.100.1, 198.51.100.2')), 101)
  t.equal(await handshake(t, gateway, from('2001:db8::1')), 101)
  t.equal(await handshake(t, gateway, from('2001:db8::2')), 429, 'a /64 is one')
  const client = await jsonClient(t, gateway, '/', from('198.51.100.3'))
  await client.action('login', { email: 'a@b.example', password: 'x' })
  const refused = gateway.logs.find(({ event }) => event === 'login.refused')
  t.match(refused, { remoteAddress: '198.51.100.3' })
})

t.test('clients that a trusted proxy does not name count as one address, which is not exempt', async t => {
  const gateway = await start(t, {
    'http.trustProxy': '127.0.0.1',
    'limits.exempt': '127.0.0.0/8,::1',
    'limits.connectionsPerAddress': 2,
    'limits.failedLogins': 1,
    'limits.failedLoginsPerAddress': 1,
  })
  const guesser = await jsonClient(t, gateway, '/', from('unknown'))
  await guesser.action('login', { email: 'a@b.example', password: 'x' })
  const wait = await guesser.action('login', { email: 'a@b.example', password: 'x' })
  t.equal(wait.code, 10122, 'as for any other address')
  t.equal(await handshake(t, gateway, from('_hidden')), 101)
  for (const name of ['', 'unknown', '198.51.100.1, garbage', '127.0.0.1'])
    t.equal(await handshake(t, gateway, from(name)), 429, name)
  t.equal(await handshake(t, gateway), 429, 'without the header')
  t.equal(await handshake(t, gateway, from('198.51.100.1')), 101, 'who is named is not held up')
  const warned = gateway.logs.filter(({ event }) => event === 'proxy.client-unknown')
  t.equal(warned.length, 1, 'said once')
})

t.test('X-Forwarded-For of an untrusted address is ignored, with one warning', async t => {
  const gateway = await start(t, { 'limits.connectionsPerAddress': 2 })
  t.equal(await handshake(t, gateway, from('198.51.100.1')), 101)
  t.equal(await handshake(t, gateway, from('198.51.100.2')), 101)
  t.equal(await handshake(t, gateway, from('198.51.100.3')), 429)
  t.equal(gateway.logs.filter(({ event }) => event === 'proxy.not-trusted').length, 1)
})

t.test('a page that is not listed may not connect; a client without Origin may', async t => {
  const gateway = await startGateway(t, { 'http.origins': 'https://chat.example, null' })
  const page = (origin: string) => handshake(t, gateway, { origin })
  t.equal(await page('https://chat.example'), 101)
  t.equal(await page('null'), 101)
  t.equal(await handshake(t, gateway), 101)
  for (const origin of ['https://evil.example', 'http://chat.example', 'https://chat.example:8443'])
    t.equal(await page(origin), 403, origin)
  const device = new WebSocket(`ws://127.0.0.1:${gateway.httpPort}/mqtt`, 'mqtt', {
    origin: 'https://evil.example',
  })
  t.match(await once(device, 'error'), [{ message: /403/ }])
  t.equal(await handshake(t, await startGateway(t), { origin: 'https://any.example' }), 101)
})

t.test('a wildcard in http.origins is one label of the host, and nothing else', async t => {
  const gateway = await startGateway(t, { 'http.origins': 'https://*.example.com, http://*.localhost:3000' })
  const page = (origin: string) => handshake(t, gateway, { origin })
  for (const origin of ['https://chat.example.com', 'https://x-1.example.com', 'http://app.localhost:3000'])
    t.equal(await page(origin), 101, origin)
  for (const origin of [
    'https://example.com',
    'https://.example.com',
    'https://evilexample.com',
    'https://a.b.example.com',
    'https://a.example.com.evil.example',
    'https://evil.example/.example.com',
    'https://evil.example?.example.com',
    'https://evil.example#.example.com',
    'https://evil.example:1@a.example.com',
    'https://evil@a.example.com',
    'https://evil.example\\.example.com',
    'https://*.example.com',
    'https://-.example.com',
    'http://chat.example.com',
    'https://chat.example.com:8443',
    'https://chat.example.com/',
    'https://CHAT.example.com',
    'http://app.localhost',
    'null',
  ])
    t.equal(await page(origin), 403, origin)
})

t.test(
  'requests of a connection beyond its burst are answered 10120, in order and with their id',
  async t => {
    const gateway = await start(t, { 'limits.requests': 1, 'limits.warnings': 1_000_000 })
    const client = await jsonClient(t, gateway)
    for (let i = 0; i < 15; i++) client.send({ ...query, id: `${i}` })
    const replies = []
    for (let i = 0; i < 15; i++) replies.push(await client.next())
    t.same(
      replies.map(({ id }) => id),
      Array.from({ length: 15 }, (_, i) => `${i}`),
    )
    const refused = replies.filter(({ code }) => code === 10120)
    t.ok(refused.length > 0 && refused.length <= 5, `${refused.length} of 15`)
    t.ok(replies.slice(0, 10).every(({ code }) => code === 200))
    // It goes on at its rate.
    while ((await client.ask(query)).code !== 200) t.pass('not yet')
  },
)

t.test('a connection that stays over its limit gets 10125 and is closed with 4009', async t => {
  const gateway = await start(t, { 'limits.requests': 1, 'limits.warnings': 5 })
  const client = await jsonClient(t, gateway)
  for (let i = 0; i < 30; i++) client.send(query)
  t.same(await client.closed, [4009, 'OVER_LIMITS'])
  const codes = client.unread.map(frame => JSON.parse(frame).code)
  t.equal(codes.filter(code => code === 10120).length, 6)
  t.equal(codes.at(-1), 10125)
})

t.test('the requests of all connections of an account are counted together', async t => {
  const gateway = await start(t, { 'limits.accountRequests': 1, 'sessions.multiple': 'allow' })
  const account = await register(t, gateway)
  const [one, two] = [await loggedIn(t, gateway, account), await loggedIn(t, gateway, account)]
  const stranger = await loggedIn(t, gateway)
  for (let i = 0; i < 10; i++) t.equal((await one.ask(query)).code, 200)
  let more = 0
  while ((await two.ask(query)).code === 200) more++
  t.ok(more < 10, `${more} more`)
  t.equal((await stranger.ask(query)).code, 200)
})

t.test(
  'a device that uses up the requests of its account cannot keep its owner from revoking it',
  async t => {
    const gateway = await start(t, { 'limits.accountRequests': 1 })
    const account = await register(t, gateway)
    const owner = await loggedIn(t, gateway, account)
    const { session, password } = await minted(owner, 'stolen')
    const stolen = { username: account.id, password: Buffer.from(password), clientId: 'stolen' }
    const device = await rawConnect(t, gateway, stolen)
    device.send(...Array.from({ length: 1000 }, () => ({ cmd: 'pingreq' }) as const))
    await device.take('pingresp')
    while ((await owner.ask(query)).code !== 10120) t.pass('not yet')
    t.match(await owner.action('revoke', { session }), { code: 200 })
    await device.closed
  },
)

t.test(
  'connections per account, JSON and MQTT; a device that reconnects replaces its old connection',
  async t => {
    const gateway = await start(t, { 'limits.connectionsPerAccount': 2, 'sessions.multiple': 'allow' })
    const account = await register(t, gateway)
    const json = await loggedIn(t, gateway, account)
    const device = await rawConnect(t, gateway, { account, clientId: 'device' })
    const third = await jsonClient(t, gateway)
    t.match(await third.action('login', account_(account)), { code: 10123 })
    t.equal((await rawConnect(t, gateway, { account, clientId: 'other' })).connack.returnCode, 3)
    t.equal((await rawConnect(t, gateway, { account, clientId: 'device' })).connack.returnCode, 0)
    await device.closed
    await json.close()
    for (let code = 10123; code !== 202; code = (await third.action('login', account_(account))).code)
      t.equal(code, 10123)
  },
)

const account_ = ({ email, password }: { email: string; password: string }) => ({ email, password })

t.test('a connection without a login gets 10124 and is closed; requests delay that', async t => {
  const gateway = await start(t, {
    'limits.loginTimeout': '200ms',
    'heartbeat.timeout': '40ms',
    'heartbeat.interval': '10s',
  })
  const inside = await loggedIn(t, gateway)
  const silent = await jsonClient(t, gateway)
  const asking = await jsonClient(t, gateway)
  let isClosed = false
  void silent.closed.then(() => {
    isClosed = true
  })
  while (!isClosed) t.match(await asking.ask(query), { code: 200 })
  t.same(await silent.closed, [4010, 'LOGIN_TIMEOUT'])
  t.match(JSON.parse(silent.unread.at(-1) ?? ''), { code: 10124, data: null })
  t.match(await inside.ask(query), { code: 200 })
})

t.test('registrations per address and hour are bounded', async t => {
  const gateway = await start(t, { 'limits.registrations': 2 })
  await register(t, gateway)
  const client = await jsonClient(t, gateway)
  const add = (email: string) =>
    client.action('register', { email, password: 'x', firstName: 'a', lastName: 'b' })
  t.match(await add('one@example.com'), { code: 203 })
  t.match(await add('two@example.com'), { code: 10121 })
  t.match(await client.action('login', { email: 'one@example.com', password: 'x' }), { code: 202 })
})

t.test('wrong passwords delay their own address, and never the owner', async t => {
  const gateway = await start(t, {
    'http.trustProxy': '127.0.0.1',
    'limits.failedLogins': 2,
    'limits.loginDelay': '1h',
    'limits.loginDelayMax': '1h',
  })
  const account = await register(t, gateway)
  const stranger = await jsonClient(t, gateway, '/', from('198.51.100.1'))
  const guess = (password: string, email = account.email) => stranger.action('login', { email, password })
  t.match(await guess('one'), { code: 10000 })
  t.match(await guess('two', account.email.toUpperCase()), { code: 10000 })
  t.match(await guess('three'), { code: 10122, data: { reason: 'wait 3600 s' } })
  t.match(await guess(account.password), { code: 10122 }, 'not looked at')
  t.match(await guess('four', account.id), { code: 10122 }, 'one account by whatever name')
  t.match(await guess('x', 'nobody@example.com'), { code: 10000 }, 'another account')
  const owner = await jsonClient(t, gateway, '/', from('198.51.100.2'))
  t.match(await owner.action('login', account_(account)), { code: 202 })
  t.match(await guess('four'), { code: 10122 }, 'and that helps no stranger')
})

t.test(
  'by default the 6th wrong password is delayed, wherever a password is asked for; the owner is not',
  async t => {
    const gateway = await start(t, { 'http.trustProxy': '127.0.0.1', 'sessions.multiple': 'allow' })
    const at = (address: string) => jsonClient(t, gateway, '/', from(address))
    const five = [10000, 10000, 10000, 10000, 10000]
    const waits = { code: 10122, data: { reason: /^wait [12] s$/ } }
    const ways: [string, (account: TestAccount, password: string) => { action: string; data: object }][] = [
      ['login', ({ email }, password) => ({ action: 'login', data: { email, password } })],
      ['password', (_, password) => ({ action: 'password', data: { password, newPassword: 'new' } })],
      ['delete', (_, password) => ({ action: 'delete', data: { password } })],
    ]
    for (const [name, request] of ways) {
      const account = await register(t, gateway)
      const client = await at('198.51.100.1')
      // A stolen connection, where one is needed.
      if (name !== 'login') t.match(await client.action('login', account_(account)), { code: 202 })
      const guess = async (password: string) => {
        const { action, data } = request(account, password)
        return client.action(action, data)
      }
      const before = await limited(gateway, 'limits.failedLogins')
      for (const code of five) t.match(await guess('wrong'), { code }, name)
      t.match(await guess(account.password), waits, `${name}: not even the right one`)
      t.equal(await limited(gateway, 'limits.failedLogins'), before + 1)
      const owner = await at('198.51.100.2')
      t.match(await owner.action('login', account_(account)), { code: 202 }, `${name}: the owner`)
    }
    const account = await register(t, gateway)
    const connack = async (password: string) =>
      (await rawConnect(t, gateway, { account: { ...account, password } })).connack.returnCode
    const before = await limited(gateway, 'limits.failedLogins')
    for (const _ of five) t.equal(await connack('wrong'), 4)
    t.equal(await connack(account.password), 3)
    t.equal(await limited(gateway, 'limits.failedLogins'), before + 1)
    const owner = await at('198.51.100.2')
    t.match(await owner.action('login', account_(account)), { code: 202 }, 'JSON, from elsewhere')
  },
)

t.test('delays count for MQTT logins, and for the password that deletes an account', async t => {
  const gateway = await start(t, { 'limits.failedLogins': 2, 'limits.loginDelay': '1m' })
  const account = await register(t, gateway)
  const wrong = { account: { ...account, password: 'wrong' } }
  t.equal((await rawConnect(t, gateway, wrong)).connack.returnCode, 4)
  t.equal((await rawConnect(t, gateway, wrong)).connack.returnCode, 4)
  t.equal((await rawConnect(t, gateway, { account })).connack.returnCode, 3)
  const other = await loggedIn(t, gateway)
  for (const code of [10000, 10000, 10122]) {
    t.match(await other.action('delete', { password: 'guess' }), { code })
  }
})

t.test('every limit that is reached counts in mumi_limited_total', async t => {
  const gateway = await startGateway(t, {
    'limits.exempt': '10.0.0.1',
    'limits.requests': 1,
    'limits.connections': 1,
  })
  const client = await jsonClient(t, gateway)
  for (let i = 0; i < 12; i++) await client.ask(query)
  t.equal(await handshake(t, gateway), 503)
  const device = await rawSocket(t, gateway)
  t.match(await device.take('connack'), { returnCode: 3 })
  t.ok((await limited(gateway, 'limits.requests')) >= 1)
  t.equal(await limited(gateway, 'limits.connections'), 2)
  client.send('x'.repeat(600_000))
  t.equal((await client.closed)[0], 1009)
  t.equal(await limited(gateway, 'limits.frame'), 1)
})

t.test('an exempt address has none of these limits', async t => {
  const gateway = await startGateway(t, {
    'limits.requests': 1,
    'limits.accountRequests': 1,
    'limits.connectionsPerAddress': 1,
    'limits.handshakesPerAddress': 1,
    'limits.handshakes': 1,
    'limits.registrations': 1,
    'limits.failedLogins': 1,
  })
  const clients = await Promise.all(Array.from({ length: 15 }, () => loggedIn(t, gateway)))
  const [client] = clients
  for (let i = 0; i < 15; i++) t.match(await client?.ask(query), { code: 200 })
  const guesser = await jsonClient(t, gateway)
  for (let i = 0; i < 3; i++)
    t.match(await guesser.action('login', { email: 'a@b.example', password: 'x' }), { code: 10000 })
})

t.test('MQTT: excess packets are read and acknowledged later', async t => {
  const gateway = await start(t, { 'limits.requests': 100 })
  const account = await register(t, gateway)
  for (const url of [undefined, `ws://127.0.0.1:${gateway.httpPort}/mqtt`]) {
    const login = { username: account.email, password: account.password }
    const device = await mqttClient(t, gateway, { ...login, ...(url && { url }) })
    const begun = performance.now()
    const send = () => device.mqtt.publishAsync(`users/${account.id}/inbox`, 'x', { qos: 1 })
    // A burst of 1000 first.
    await Promise.all(Array.from({ length: 1100 }, () => send()))
    await Promise.all(Array.from({ length: 10 }, () => send()))
    t.ok(performance.now() - begun >= 1000, url ?? 'TCP')
    await device.mqtt.endAsync()
  }
})

t.test(
  'bytes per second of an account: over them MQTT is read later, JSON answered 10120, also from loopback',
  async t => {
    const gateway = await startGateway(t, { 'limits.accountBytes': '50KiB', 'mqtt.acl': 'open' })
    const account = await register(t, gateway)
    const json = await loggedIn(t, gateway, account)
    const device = await mqttClient(t, gateway, { username: account.email, password: account.password })
    for (const topic of ['plain', `users/${account.id}/inbox`]) {
      const sent = Array.from({ length: 6 }, () =>
        device.mqtt.publishAsync(topic, Buffer.alloc(60_000, 'x'), { qos: 1 }),
      )
      await Promise.all(sent)
    }
    t.ok((await limited(gateway, 'limits.accountBytes')) > 0)
    // What waits for it comes as well.
    const answer = async (client: typeof json) => {
      client.send(query)
      for (;;) {
        const { code } = await client.next()
        if (code !== undefined) return code
      }
    }
    json.send({ type: 'message', data: { recipient: account.id, content: 'x'.repeat(60_000) } })
    let code = await answer(json)
    for (let i = 0; code !== 10120 && i < 20; i++) {
      json.send({ type: 'message', data: { recipient: account.id, content: 'x'.repeat(60_000) } })
      code = await answer(json)
    }
    t.equal(code, 10120)
    t.equal((await (await loggedIn(t, gateway)).ask(query)).code, 200, 'another account is not slowed')
  },
)

t.test('copies for kept sessions count as a broadcast’s: who made them is read later', async t => {
  const gateway = await startGateway(t, { 'limits.broadcastBytes': '50KiB', 'mqtt.acl': 'open' })
  const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
  for (const clientId of ['a', 'b', 'c']) {
    const reader = await rawConnect(t, gateway, { account: ann, clean: false, clientId })
    await reader.subscribe('news')
    await reader.disconnect()
  }
  const publish = async (account: TestAccount) => {
    const { mqtt } = await mqttClient(t, gateway, { username: account.email, password: account.password })
    const send = () => mqtt.publishAsync('news', Buffer.alloc(60_000, 'x'), { qos: 1 })
    // A burst of 512,000 bytes is free.
    for (let i = 0; i < 4; i++) await send()
    await mqtt.endAsync()
  }
  await publish(ann)
  const waits = await limited(gateway, 'limits.broadcastBytes')
  t.ok(waits > 0)
  const other = loggedIn(t, gateway, bob)
  t.equal((await (await other).ask(query)).code, 200, 'others do not wait')
})

t.test('a packet that many filters match costs its account as many requests', async t => {
  const gateway = await start(t, { 'limits.accountRequests': 50, 'mqtt.acl': 'open' })
  const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
  const reader = await rawConnect(t, gateway, { account: ann, clientId: 'reader' })
  const filters = Array.from({ length: 256 }, (_, n) =>
    Array.from({ length: 8 }, (_, bit) => ((n >> bit) & 1 ? 'a' : '+')).join('/'),
  )
  await reader.subscribe(filters)
  const writer = await mqttClient(t, gateway, { username: bob.email, password: bob.password })
  // A burst of 500 requests is free, and these are 95 packets.
  for (let i = 0; i < 95; i++) await writer.mqtt.publishAsync('a/a/a/a/a/a/a/a', 'x', { qos: 1 })
  t.ok((await limited(gateway, 'limits.accountRequests')) > 0)
})

t.test('MQTT: filters per session; a further one gets 0x80, also after the session was resumed', async t => {
  const gateway = await start(t, { 'mqtt.maxSubscriptions': 2, 'mqtt.acl': 'open' })
  const account = await register(t, gateway)
  const session = { account, clean: false, clientId: 'device' }
  const device = await rawConnect(t, gateway, session)
  t.same(await device.subscribe(['a', 'b', 'c']), [1, 1, 0x80])
  t.same(await device.subscribe('a'), [1], 'again is no other one')
  device.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['a'] })
  await device.take('unsuback')
  t.same(await device.subscribe('d'), [1])
  await device.disconnect()
  const sender = await mqttClient(t, gateway, { username: account.email, password: account.password })
  for (const topic of ['a', 'b', 'c', 'd']) await sender.mqtt.publishAsync(topic, topic, { qos: 1 })
  const back = await rawConnect(t, gateway, session)
  t.match(await back.take('publish'), { topic: 'b' })
  t.match(await back.take('publish'), { topic: 'd' })
  t.same(await back.subscribe('e'), [0x80])
})

t.test('MQTT: a client that keeps subscribing over the limit is closed', async t => {
  const gateway = await start(t, { 'mqtt.maxSubscriptions': 2, 'mqtt.acl': 'open' })
  const device = await rawConnect(t, gateway, { account: await register(t, gateway) })
  const subscriptions = Array.from({ length: 10 }, (_, i) => ({ topic: `${i}`, qos: 0 as const }))
  device.send({ cmd: 'subscribe', messageId: 1, subscriptions })
  await device.closed
  t.pass('closed')
})

t.test('MQTT: persistent sessions per account are bounded', async t => {
  const gateway = await start(t, { 'mqtt.maxSessions': 2 })
  const account = await register(t, gateway)
  const connectAs = async (clientId: string, clean = false) =>
    (await rawConnect(t, gateway, { account, clientId, clean })).connack.returnCode
  t.equal(await connectAs('one'), 0)
  t.equal(await connectAs('two'), 0)
  t.equal(await connectAs('three'), 3)
  t.equal(await connectAs('three', true), 0, 'without one')
  t.equal(await connectAs('two'), 0, 'that is there')
  t.equal(await connectAs('two', true), 0, 'and ends')
  t.equal(await connectAs('three'), 0)
  const other = await rawConnect(t, gateway, { account: await register(t, gateway), clean: false })
  t.equal(other.connack.returnCode, 0)
  await gateway.close()
  const again = await start(t, { 'mqtt.maxSessions': 2, 'data.dir': gateway.dir })
  const late = await rawConnect(t, again, { account, clientId: 'four', clean: false })
  t.equal(late.connack.returnCode, 3, 'those of before a restart count')
})
