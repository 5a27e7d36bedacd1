import t, { type Test } from 'tap'
import {
  loggedIn,
  type MqttTestClient,
  mqttClient,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'

const gateway = await startGateway(t)

const device = (t: Test, account: TestAccount, clientId = 'd'): Promise<MqttTestClient> =>
  mqttClient(t, gateway, { username: account.email, password: account.password, clientId })

/** A subscriber to one account's presence, and what it heard at once. */
async function watch(t: Test, account: TestAccount) {
  const watcher = await device(t, await register(t, gateway), 'watcher')
  await watcher.mqtt.subscribeAsync(`users/${account.id}/presence`, { qos: 1 })
  return { watcher, first: await watcher.next() }
}

t.test('SUBSCRIBE tells whether an account is online, retained', async t => {
  const account = await register(t, gateway)
  const away = await watch(t, account)
  t.match(away.first, { topic: `users/${account.id}/presence`, payload: 'offline', retain: true })
  await device(t, account)
  const there = await watch(t, account)
  t.match(there.first, { topic: `users/${account.id}/presence`, payload: 'online', retain: true })
})

t.test('an account that does not exist is offline', async t => {
  const { first } = await watch(t, { id: '999999999', email: '', password: '' })
  t.match(first, { payload: 'offline', retain: true })
})

t.test('changes come as they happen, whatever the front end', async t => {
  const account = await register(t, gateway)
  const { watcher } = await watch(t, account)
  const json = await loggedIn(t, gateway, account)
  t.match(await watcher.next(), { payload: 'online', retain: false })
  await json.close()
  t.match(await watcher.next(), { payload: 'offline', retain: false })
  const mqtt = await device(t, account)
  t.match(await watcher.next(), { payload: 'online' })
  await mqtt.mqtt.endAsync()
  t.match(await watcher.next(), { payload: 'offline' })
  const raw = await rawConnect(t, gateway, { account })
  t.match(await watcher.next(), { payload: 'online' })
  await raw.drop()
  t.match(await watcher.next(), { payload: 'offline' })
})

t.test('an account is online from its first connection to the end of its last', async t => {
  const account = await register(t, gateway)
  const { watcher } = await watch(t, account)
  const json = await loggedIn(t, gateway, account)
  t.match(await watcher.next(), { payload: 'online' })
  const one = await device(t, account, 'one')
  const two = await device(t, account, 'two')
  await one.mqtt.endAsync()
  await json.close()
  await two.mqtt.endAsync()
  t.match(await watcher.next(), { payload: 'offline' })
  t.same(watcher.messages, [])
})

t.test('a refused login changes nobody’s presence', async t => {
  const account = await register(t, gateway)
  const { watcher } = await watch(t, account)
  await t.rejects(device(t, { ...account, password: 'wrong' }))
  await device(t, account)
  t.match(await watcher.next(), { payload: 'online' })
  t.same(watcher.messages, [])
})

t.test('the wildcard tells who is online, then every change', async t => {
  const own = await startGateway(t)
  const [ann, bob, eve] = [await register(t, own), await register(t, own), await register(t, own)]
  const connect = (account: TestAccount) =>
    mqttClient(t, own, { username: account.email, password: account.password, clientId: 'd' })
  const [watcher] = [await connect(ann), await connect(bob)]
  await watcher.mqtt.subscribeAsync('users/+/presence')
  const first = [await watcher.next(), await watcher.next()].map(({ topic, payload, retain }) => ({
    topic,
    payload,
    retain,
  }))
  t.same(
    new Set(first.map(({ topic }) => topic)),
    new Set([ann, bob].map(({ id }) => `users/${id}/presence`)),
  )
  t.match(first, [
    { payload: 'online', retain: true },
    { payload: 'online', retain: true },
  ])
  const late = await connect(eve)
  t.match(await watcher.next(), { topic: `users/${eve.id}/presence`, payload: 'online', retain: false })
  await late.mqtt.endAsync()
  t.match(await watcher.next(), { topic: `users/${eve.id}/presence`, payload: 'offline' })
})

t.test('after a restart all accounts are offline', async t => {
  const before = await startGateway(t)
  const [ann, bob] = [await register(t, before), await register(t, before)]
  await loggedIn(t, before, bob)
  await before.close()
  const after = await startGateway(t, { 'data.dir': before.dir })
  const watcher = await mqttClient(t, after, { username: ann.email, password: ann.password })
  await watcher.mqtt.subscribeAsync(`users/${bob.id}/presence`)
  t.match(await watcher.next(), { payload: 'offline', retain: true })
})

t.test('quick changes of presence are reported once, with the last state', async t => {
  const own = await startGateway(t, { 'mqtt.presenceWindow': '2s' })
  const [ann, bob] = [await register(t, own), await register(t, own)]
  const watcher = await mqttClient(t, own, { username: ann.email, password: ann.password, clientId: 'w' })
  await watcher.mqtt.subscribeAsync(['users/+/presence', `users/${bob.id}/presence`])
  const before = [await watcher.next(), await watcher.next()]
  t.match(before, [{ retain: true }, { retain: true }])
  const flap = async () => {
    await (await rawConnect(t, own, { account: bob })).drop()
    await (await loggedIn(t, own, bob)).close()
  }
  for (let i = 0; i < 5; i++) await flap()
  t.match(await watcher.next(), { topic: `users/${bob.id}/presence`, payload: 'offline' })
  for (let i = 0; i < 3; i++) await flap()
  const stays = await rawConnect(t, own, { account: bob })
  // In the middle of the window: the state of the moment, and not again what is known by then.
  const late = await mqttClient(t, own, { username: ann.email, password: ann.password, clientId: 'late' })
  await late.mqtt.subscribeAsync(`users/${bob.id}/presence`)
  t.match(await late.next(), { payload: 'online', retain: true })
  t.match(await watcher.next(), { payload: 'online', retain: false })
  await stays.drop()
  t.match(await watcher.next(), { payload: 'offline' })
  t.match(await late.next(), { payload: 'offline', retain: false })
  t.same([watcher.messages, late.messages], [[], []])
})
