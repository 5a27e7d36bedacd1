import t, { type Test } from 'tap'
import {
  loggedIn,
  type MqttTestClient,
  mqttClient,
  type RunningGateway,
  register,
  startGateway,
} from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { minted } from '../helpers/tokens.js'

/** A plain broker: nobody logs in, everything is open. */
const plain = await startGateway(t, { 'mqtt.acl': 'open', 'mqtt.anonymous': true })

let clients = 0
const anonymous = (t: Test, home: RunningGateway = plain): Promise<MqttTestClient> =>
  mqttClient(t, home, { clientId: `anonymous${++clients}` })

let topics = 0
/** A topic tree that no other test uses. */
const tree = () => `tree${++topics}`

async function take(client: MqttTestClient, count: number) {
  const all = []
  while (all.length < count) all.push(await client.next())
  return all
}

for (const published of [0, 1, 2] as const) {
  for (const subscribed of [0, 1, 2] as const) {
    t.test(
      `published at QoS ${published}, subscribed to at ${subscribed}, it comes at the lower of the two`,
      async t => {
        const root = tree()
        const [publisher, reader] = [await anonymous(t), await anonymous(t)]
        await reader.mqtt.subscribeAsync([`${root}/exact`, `${root}/+/wild`], { qos: subscribed })
        const qos = Math.min(published, subscribed)
        for (const topic of [`${root}/exact`, `${root}/x/wild`]) {
          await publisher.mqtt.publishAsync(topic, 'x', { qos: published })
          t.match(await reader.next(), { topic, payload: 'x', qos, retain: false, dup: false })
        }
      },
    )
  }
}

t.test('overlapping filters deliver once, at the highest QoS that was granted [MQTT-3.3.5-1]', async t => {
  const root = tree()
  const [publisher, reader] = [await anonymous(t), await anonymous(t)]
  const orders = [
    { [`${root}/#`]: { qos: 0 }, [`${root}/a`]: { qos: 1 }, [`${root}/+`]: { qos: 2 } },
    { [`${root}/+`]: { qos: 2 }, [`${root}/a`]: { qos: 0 }, [`${root}/#`]: { qos: 1 } },
  ] as const
  for (const order of orders) {
    await reader.mqtt.subscribeAsync(order)
    for (const qos of [2, 1, 0] as const) await publisher.mqtt.publishAsync(`${root}/a`, `at ${qos}`, { qos })
    await publisher.mqtt.publishAsync(`${root}/a/end`, 'end', { qos: 2 })
    const got = await take(reader, 4)
    t.match(got, [
      { payload: 'at 2', qos: 2 },
      { payload: 'at 1', qos: 1 },
      { payload: 'at 0', qos: 0 },
      { payload: 'end' },
    ])
    await reader.mqtt.unsubscribeAsync(Object.keys(order))
  }
})

t.test('a client that publishes what it subscribed to gets it, too', async t => {
  const root = tree()
  const client = await anonymous(t)
  await client.mqtt.subscribeAsync(`${root}/#`, { qos: 1 })
  await client.mqtt.publishAsync(`${root}/x`, 'mine', { qos: 1 })
  t.match(await client.next(), { payload: 'mine', qos: 1 })
})

t.test('binary payloads and empty ones arrive as they are', async t => {
  const root = tree()
  const reader = await rawConnect(t, plain, { clientId: 'bytes' })
  await reader.subscribe(`${root}/#`, 0)
  const publisher = await anonymous(t)
  const all = [
    Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
    Buffer.alloc(0),
    Buffer.alloc(300_000, 0xff),
  ]
  for (const payload of all) {
    await publisher.mqtt.publishAsync(`${root}/x`, payload)
    t.ok(payload.equals((await reader.take('publish')).payload as Buffer), `${payload.length} bytes`)
  }
})

// MQTT 3.1.1, 4.7.1.3: "/finance" matches "+/+" and "/+", but not "+".
for (const [filter, matching, other] of [
  ['ROOT/+', ['ROOT/a', 'ROOT/'], ['ROOT', 'ROOT/a/b', 'ROOT/a/']],
  ['ROOT/+/b', ['ROOT/a/b', 'ROOT//b'], ['ROOT/b', 'ROOT///b']],
  ['ROOT/#', ['ROOT', 'ROOT/', 'ROOT/a', 'ROOT//', 'ROOT/a/b/c'], ['ROOTS', '/ROOT']],
  ['/+/ROOT', ['/a/ROOT', '//ROOT'], ['a/ROOT', '/ROOT']],
  ['+/ROOT', ['/ROOT', 'a/ROOT'], ['ROOT', '//ROOT']],
  ['ROOT/+/#', ['ROOT/', 'ROOT/a', 'ROOT//x', 'ROOT/a/b'], ['ROOT']],
] as const) {
  t.test(`${filter} matches ${matching.join(', ')} and nothing else, live, retained and queued`, async t => {
    const root = tree()
    const named = (text: string) => text.replace('ROOT', root)
    const expected = matching.map(named)
    const [publisher, reader] = [await anonymous(t), await anonymous(t)]
    const persistent = { clientId: `queued ${root}`, clean: false }
    const away = await mqttClient(t, plain, persistent)
    await away.mqtt.subscribeAsync([named(filter), `end/of/${root}`], { qos: 1 })
    await away.mqtt.endAsync()
    await reader.mqtt.subscribeAsync(named(filter), { qos: 1 })
    for (const topic of [...other, ...matching].map(named)) {
      await publisher.mqtt.publishAsync(topic, 'x', { qos: 1, retain: true })
    }
    await publisher.mqtt.publishAsync(`end/of/${root}`, 'end', { qos: 1 })
    t.same(
      (await take(reader, expected.length)).map(({ topic }) => topic),
      expected,
    )
    const back = await mqttClient(t, plain, persistent)
    t.same(
      (await take(back, expected.length + 1)).map(({ topic }) => topic),
      [...expected, `end/of/${root}`],
    )
    const late = await anonymous(t)
    await late.mqtt.subscribeAsync(named(filter), { qos: 1 })
    t.same(new Set((await take(late, expected.length)).map(({ topic }) => topic)), new Set(expected))
    for (const client of [reader, back, late]) t.same(client.messages, [])
  })
}

t.test('a retained message is kept, replaced, removed, and survives a restart', async t => {
  const before = await startGateway(t, { 'mqtt.acl': 'open', 'mqtt.anonymous': true })
  const publisher = await anonymous(t, before)
  for (const [topic, text, qos] of [
    ['kept/a', 'old', 1],
    ['kept/a', 'new', 2],
    ['kept/b', 'gone', 1],
    ['kept/b', '', 1],
    ['kept/c/d', 'deep', 0],
    ['kept', 'root', 1],
  ] as const) {
    await publisher.mqtt.publishAsync(topic, text, { qos, retain: true })
  }
  await publisher.mqtt.publishAsync('kept/end', 'not retained', { qos: 1 })
  const expected = [
    ['kept', 'root', 1],
    ['kept/a', 'new', 2],
    ['kept/c/d', 'deep', 0],
  ]
  const look = async (home: RunningGateway) => {
    const reader = await anonymous(t, home)
    await reader.mqtt.subscribeAsync('kept/#', { qos: 2 })
    const got = await take(reader, expected.length)
    t.ok(got.every(({ retain }) => retain))
    t.same(got.map(({ topic, payload, qos }) => [topic, payload, qos]).sort(), expected)
    return reader
  }
  const reader = await look(before)
  await publisher.mqtt.publishAsync('kept/e', 'live', { qos: 1, retain: true })
  t.match(await reader.next(), { payload: 'live', retain: false })
  await publisher.mqtt.publishAsync('kept/e', '', { qos: 1, retain: true })
  t.match(await reader.next(), { payload: '', retain: false })
  await before.close()
  await look(await startGateway(t, { 'mqtt.acl': 'open', 'mqtt.anonymous': true, 'data.dir': before.dir }))
})

t.test(
  'a retained message comes once to overlapping filters of one SUBSCRIBE, and again to a SUBSCRIBE repeated',
  async t => {
    const root = tree()
    const [publisher, reader] = [await anonymous(t), await anonymous(t)]
    await publisher.mqtt.publishAsync(`${root}/a`, 'x', { qos: 2, retain: true })
    const filters = { [`${root}/#`]: { qos: 0 }, [`${root}/a`]: { qos: 2 } } as const
    for (let i = 0; i < 2; i++) {
      await reader.mqtt.subscribeAsync(filters)
      t.match(await reader.next(), { payload: 'x', retain: true, qos: 2 })
    }
    await publisher.mqtt.publishAsync(`${root}/end`, 'end')
    t.match(await reader.next(), { payload: 'end' })
  },
)

t.test('an anonymous client of a plain broker has no inbox and no presence', async t => {
  const home = await startGateway(t, { 'mqtt.acl': 'open', 'mqtt.anonymous': true })
  const account = await register(t, home)
  const client = await rawConnect(t, home, { clientId: 'nobody' })
  const filters = [`users/${account.id}/inbox/#`, 'users/+/presence', 'users/#', '#']
  t.same(await client.subscribe(filters), [0x80, 0x80, 0x80, 1])
  const device = await mqttClient(t, home, { username: account.email, password: account.password })
  await device.mqtt.subscribeAsync([`users/${account.id}/inbox/#`, `users/${account.id}/replies`], { qos: 1 })
  await device.mqtt.publishAsync(`users/${account.id}/requests`, '{"type":"none"}', { qos: 1 })
  t.match(await device.next(), { topic: /replies$/ })
  client.publish(`users/${account.id}/inbox`, 'from nobody', { qos: 1, messageId: 4 })
  t.equal((await client.take('puback')).messageId, 4)
  client.publish('seen', 'x')
  t.match(await client.take('publish'), { topic: 'seen' })
  await device.mqtt.publishAsync(`users/${account.id}/inbox`, 'from me', { qos: 1 })
  t.match(JSON.parse((await device.next()).payload), { seq: 1, content: 'from me' })
  t.same(client.unread, [])
})

t.test('anonymous clients with the same client id take each other over', async t => {
  const one = await rawConnect(t, plain, { clientId: 'shared' })
  await rawConnect(t, plain, { clientId: 'shared' })
  await one.closed
  t.same(one.unread, [])
})

t.test('credentials are checked where they may be those of an account, also on a plain broker', async t => {
  const { password } = await minted(await loggedIn(t, plain), 'lamp')
  for (const login of [
    { username: 'nobody@example.com', password: 'x' },
    { username: '123456789', password: 'x' },
    { username: 'DVES_USER', password, clientId: 'lamp' },
  ])
    await t.rejects(mqttClient(t, plain, login), { code: 4 }, login.username)
  await t.rejects(mqttClient(t, plain, { username: 'nobody@example.com' }), { code: 5 }, 'no password')
})

t.test('a user name that can be no account’s is none to a plain broker, and to no other', async t => {
  const closed = await startGateway(t)
  const { id } = await register(t, plain)
  for (const login of [
    { username: 'DVES_USER', password: 'DVES_PASS' },
    { username: 'sensor' },
    { username: '@', password: '' },
  ]) {
    const client = await mqttClient(t, plain, login)
    const { mqtt } = client
    const topic = tree()
    await mqtt.subscribeAsync(topic, { qos: 1 })
    await mqtt.publishAsync(topic, 'hello', { qos: 1 })
    t.match(await client.next(), { payload: 'hello' })
    await t.rejects(mqtt.subscribeAsync(`users/${id}/inbox/#`, { qos: 1 }), login.username)
    await t.rejects(mqttClient(t, closed, login), { code: 'password' in login ? 4 : 5 }, login.username)
  }
})

t.test('a list of patterns opens what it says, with %u for the user id', async t => {
  const home = await startGateway(t, {
    'mqtt.acl': [
      { pattern: 'sensors/%u/#', access: 'readwrite' },
      { pattern: 'news/+', access: 'read' },
      { pattern: 'reports/%u', access: 'write' },
    ],
  })
  const [ann, bob] = [await register(t, home), await register(t, home)]
  const one = await rawConnect(t, home, { account: ann })
  const two = await rawConnect(t, home, { account: bob })
  t.same(
    await one.subscribe([
      `sensors/${ann.id}/#`,
      `sensors/${bob.id}/#`,
      'sensors/#',
      'news/+',
      'news/#',
      `reports/${ann.id}`,
    ]),
    [1, 0x80, 0x80, 1, 0x80, 0x80],
  )
  t.same(await two.subscribe(`sensors/${bob.id}/+`), [1])
  two.publish(`sensors/${ann.id}/t`, 'not yours', { qos: 1, messageId: 3 })
  await two.take('puback')
  one.publish(`sensors/${ann.id}/t`, 'mine', { qos: 1, messageId: 3 })
  const got = [await one.next(), await one.next()]
  const published = got.find(packet => packet.cmd === 'publish')
  t.equal(published?.cmd === 'publish' && published.payload.toString(), 'mine')
  two.publish('news/today', 'no right to write', { qos: 1, messageId: 4 })
  await two.take('puback')
  two.send({ cmd: 'pingreq' })
  await two.take('pingresp')
  t.same([one.unread, two.unread], [[], []])
})

t.test('under an open wildcard nothing of the gateway’s own reaches anybody but its owner', async t => {
  const home = await startGateway(t, { 'mqtt.acl': 'open' })
  const [spy, victim] = [await register(t, home), await register(t, home)]
  const watching = await mqttClient(t, home, { username: spy.email, password: spy.password, clientId: 'd' })
  await watching.mqtt.subscribeAsync(['#', '+/+/+', '+/+/inbox/#', `+/${victim.id}/replies`], { qos: 2 })
  const device = await mqttClient(t, home, {
    username: victim.email,
    password: victim.password,
    clientId: 'd',
  })
  await device.mqtt.subscribeAsync([`users/${victim.id}/inbox/#`, `users/${victim.id}/replies`], { qos: 1 })
  await device.mqtt.publishAsync(`users/${victim.id}/inbox`, 'secret', { qos: 1 })
  await device.mqtt.publishAsync(`users/${victim.id}/requests`, '{"type":"none"}', { qos: 1 })
  await take(device, 2)
  await device.mqtt.publishAsync('open/to/all', 'end', { qos: 1 })
  for (;;) {
    const { topic } = await watching.next()
    if (topic === 'open/to/all') break
    t.match(topic, /^users\/\d+\/presence$/, 'presence is for everybody')
  }
})

t.test(
  'many SUBSCRIBEs on large retained messages, by a client that reads nothing, take little memory',
  async t => {
    const root = tree()
    const publisher = await anonymous(t)
    const payload = Buffer.alloc(900_000, 'x')
    for (let i = 0; i < 12; i++)
      await publisher.mqtt.publishAsync(`${root}/${i}`, payload, { qos: 1, retain: true })
    const { arrayBuffers } = process.memoryUsage()
    const reader = await rawConnect(t, plain, { clientId: 'reads nothing' })
    reader.socket.pause()
    for (let i = 0; i < 100; i++)
      reader.send({ cmd: 'subscribe', messageId: i + 1, subscriptions: [{ topic: `${root}/#`, qos: 0 }] })
    // The last SUBSCRIBE was read when what is published behind it is routed to its reader's filter.
    for (let i = 0; i < 50; i++) await publisher.mqtt.publishAsync(`${root}/0`, payload, { qos: 1 })
    const grown = process.memoryUsage().arrayBuffers - arrayBuffers
    t.ok(grown < 150_000_000, `${grown} bytes`)
    reader.socket.destroy()
    for (let i = 0; i < 12; i++)
      await publisher.mqtt.publishAsync(`${root}/${i}`, '', { qos: 1, retain: true })
  },
)
