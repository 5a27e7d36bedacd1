/** Logins and ends of connections in log and metrics, the same for both front ends; and the language over MQTT. */

import mqtt from 'mqtt'
import t, { type Test } from 'tap'
import {
  jsonClient,
  loggedIn,
  mqttClient,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { TEST_STORE } from '../helpers/mongodb.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'

const gateway = await startGateway(t)

async function line(event: string, about: Record<string, unknown>): Promise<Record<string, unknown>> {
  for (;;) {
    const isIt = (one: Record<string, unknown>) =>
      one.event === event && Object.entries(about).every(([key, value]) => one[key] === value)
    const found = gateway.logs.find(isIt)
    if (found !== undefined) return found
    await new Promise(setImmediate)
  }
}

async function metric(series: string): Promise<number> {
  const text = await (await fetch(`${gateway.http}/metrics`)).text()
  return Number(text.split(`${series} `)[1]?.split('\n', 1)[0] ?? 0)
}

t.test('MQTT: a login, and how its connection ended', async t => {
  const account = await register(t, gateway)
  const connect = (clientId: string) => rawConnect(t, gateway, { account, clientId })
  const about = { front: 'mqtt', userId: account.id }
  const polite = await connect('polite')
  t.match(await line('account.logged-in', { ...about, device: 'polite' }), {
    outcome: 'accepted',
    remoteAddress: String,
  })
  await polite.disconnect()
  t.match(await line('connection.ended', { ...about, device: 'polite' }), {
    reason: 'left',
    durationMs: Number,
  })
  await (await connect('rude')).drop()
  t.match(await line('connection.ended', { ...about, device: 'rude' }), { reason: 'dropped' })
  const broken = await connect('broken')
  broken.send(Buffer.of(0xf0, 0))
  t.match(await line('connection.ended', { ...about, device: 'broken' }), { reason: 'malformed' })
  await connect('taken')
  await connect('taken')
  t.match(await line('connection.ended', { ...about, device: 'taken' }), { reason: 'taken-over' })
  // The characters of a client id are the client's; the line has no more than 128 of them.
  const clientId = 'stranger\n{"a"'.padEnd(256, 'l')
  const wrong = await rawConnect(t, gateway, { account: { ...account, password: 'wrong' }, clientId })
  t.equal(wrong.connack.returnCode, 4)
  t.match(await line('login.refused', { front: 'mqtt', device: clientId.slice(0, 128) }), {
    outcome: 'wrong-credentials',
    code: 4,
    userId: undefined,
  })
})

t.test('JSON: the same', async t => {
  const account = await register(t, gateway)
  const about = { front: 'json', userId: account.id }
  const client = await loggedIn(t, gateway, account, { device: 'phone' })
  t.match(await line('account.logged-in', { ...about, device: 'phone' }), { outcome: 'accepted' })
  await client.close()
  t.match(await line('connection.ended', about), { reason: 'left', durationMs: Number })
  const stranger = await jsonClient(t, gateway)
  t.match(await stranger.action('login', { email: account.email, password: 'wrong' }), { code: 10000 })
  t.match(await line('login.refused', { front: 'json' }), { outcome: 'wrong-credentials', code: 10000 })
})

t.test('both count by outcome and by reason', async t => {
  for (const front of ['json', 'mqtt']) {
    t.ok((await metric(`mumi_logins_total{front="${front}",outcome="accepted"}`)) > 0)
    t.ok((await metric(`mumi_logins_total{front="${front}",outcome="wrong-credentials"}`)) > 0)
    t.ok((await metric(`mumi_connections_ended_total{front="${front}",reason="left"}`)) > 0)
  }
})

/** What the gateway says of a request that cannot be read, and of a PUBLISH that is not allowed. */
async function texts(client: RawMqtt, account: TestAccount): Promise<string[]> {
  await client.subscribe(`users/${account.id}/replies`, 0)
  client.publish(`users/${account.id}/requests`, 'nonsense')
  client.publish('elsewhere', 'x')
  const both = [await client.take('publish'), await client.take('publish')]
  return both.map(({ payload }) => JSON.parse(payload.toString()).msg)
}

const ENGLISH = ['request is not a JSON object', 'not allowed']

async function english(t: Test, suffix: string): Promise<string[]> {
  const account = await register(t, gateway)
  const named = { ...account, email: `${account.email}${suffix}` }
  return (await texts(await rawConnect(t, gateway, { account: named }), account)).sort()
}

t.test('over TCP the user name says in which language a connection is answered', async t => {
  t.same(await english(t, '?lang=en'), [...ENGLISH].sort())
  t.notSame(await english(t, '?lang=zh-TW'), [...ENGLISH].sort())
  t.notSame(await english(t, ''), [...ENGLISH].sort())
})

t.test('over WebSocket its address may say so', async t => {
  const { email, password, id } = await register(t, gateway)
  const url = `ws://127.0.0.1:${gateway.httpPort}/mqtt?lang=en`
  const client = mqtt.connect(url, { username: email, password, reconnectPeriod: 0, protocolVersion: 4 })
  t.teardown(() => client.endAsync(true).catch(() => undefined))
  await new Promise(resolve => client.once('connect', resolve))
  await client.subscribeAsync(`users/${id}/replies`)
  const reply = new Promise<string>(resolve =>
    client.once('message', (_topic, payload) => resolve(payload.toString())),
  )
  await client.publishAsync(`users/${id}/requests`, 'nonsense')
  t.equal(JSON.parse(await reply).msg, ENGLISH[0])
})

t.test('MQTT: connects by version and outcome', async t => {
  const account = await register(t, gateway)
  const connect = (protocolVersion: 3 | 4 | 5, password = account.password) =>
    mqttClient(t, gateway, {
      username: account.email,
      password,
      clientId: `v${protocolVersion}`,
      protocolVersion,
      ...(protocolVersion === 3 && { protocolId: 'MQIsdp' }),
    })
  const counts = () =>
    Promise.all(
      [
        ['3.1', 'accepted'],
        ['3.1.1', 'accepted'],
        ['5', 'accepted'],
        ['5', 'wrong-credentials'],
      ].map(([version, outcome]) =>
        metric(`mumi_mqtt_connects_total{version="${version}",outcome="${outcome}"}`),
      ),
    )
  const before = await counts()
  for (const version of [3, 4, 5] as const) await connect(version)
  await t.rejects(connect(5, 'wrong'))
  t.same(
    (await counts()).map((count, i) => count - (before[i] ?? 0)),
    [1, 1, 1, 1],
  )
})

t.test('what runs, how large its store is, and its file descriptors', async t => {
  const text = await (await fetch(`${gateway.http}/metrics`)).text()
  t.match(text, /^mumi_build_info\{version="\d+\.\d+\.\d+",node="\d+\.\d+\.\d+"\} 1$/m)
  if (TEST_STORE !== 'mongodb') t.match(text, /^mumi_store_bytes \d{5,}$/m)
  if (process.platform === 'linux') t.match(text, /^process_open_fds [1-9]\d*$/m)
})
