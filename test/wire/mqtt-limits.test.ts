/** Full stores, limits and refusals that once closed a connection or prevented a reconnect. */
import t from 'tap'
import { loggedIn, register, startGateway } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { startControlled } from '../helpers/store-control.js'

t.test('with a full store a returning session gets in and gets what waits, a new one does not', async t => {
  const gateway = await startControlled(t)
  const account = await register(t, gateway)
  const sender = await loggedIn(t, gateway)
  const known = { account, clientId: 'known', clean: false }
  const device = await rawConnect(t, gateway, known)
  await device.subscribe(`users/${account.id}/inbox/#`)
  await device.disconnect()
  await sender.ask({ type: 'message', data: { recipient: account.id, content: 'waits' } })
  gateway.fail('kvWrite', 'STORE_FULL')
  for (let i = 0; i < 2; i++) {
    const late = await rawConnect(t, gateway, { account, clientId: 'late', clean: false })
    t.match(late.connack, { returnCode: 3, sessionPresent: false })
  }
  const back = await rawConnect(t, gateway, known)
  t.match(back.connack, { returnCode: 0, sessionPresent: true })
  t.match(JSON.parse((await back.take('publish')).payload.toString()), { content: 'waits' })
  const failed = gateway.logs.find(line => line.event === 'store.failed')
  t.match(failed, { operation: 'persistence' })
})

for (const setting of [
  { 'mqtt.maxRetained': 1 },
  { 'mqtt.maxRetainedBytes': '1KiB' },
  { 'mqtt.accountRetained': 1 },
  { 'mqtt.accountRetainedBytes': '1KiB' },
]) {
  const [[limit]] = Object.entries(setting) as [[string, unknown]]
  t.test(`over ${limit} a message is not kept, but sent, queued once and acknowledged`, async t => {
    const gateway = await startGateway(t, { 'mqtt.acl': 'open', 'mqtt.anonymous': true, ...setting })
    const away = { clientId: 'away', clean: false }
    const reader = await rawConnect(t, gateway, away)
    await reader.subscribe('r/#')
    await reader.disconnect()
    const live = await rawConnect(t, gateway, { clientId: 'live' })
    await live.subscribe('r/#')
    const publisher = await rawConnect(t, gateway, { clientId: 'publisher' })
    for (const messageId of [1, 2]) {
      publisher.publish(`r/${messageId}`, Buffer.alloc(600), { qos: 1, retain: true, messageId })
      t.equal((await publisher.take('puback')).messageId, messageId)
      t.match(await live.take('publish'), { topic: `r/${messageId}` })
    }
    const back = await rawConnect(t, gateway, away)
    for (const topic of ['r/1', 'r/2']) t.match(await back.take('publish'), { topic })
    back.send({ cmd: 'pingreq' })
    await back.take('pingresp')
    const late = await rawConnect(t, gateway, { clientId: 'later' })
    await late.subscribe(['r/1', 'r/2'])
    t.match(await late.take('publish'), { topic: 'r/1', retain: true })
    late.send({ cmd: 'pingreq' })
    await late.take('pingresp')
    t.match(
      gateway.logs.find(line => line.event === 'retained.dropped'),
      { limit },
    )
    const metrics = await (await fetch(`${gateway.http}/metrics`)).text()
    t.match(metrics, `mumi_messages_dropped_total{limit="${limit}"} 1\n`)
  })
}

t.test('beyond mqtt.maxQueuedBytes the oldest of a session goes', async t => {
  const gateway = await startGateway(t, {
    'mqtt.acl': 'open',
    'mqtt.anonymous': true,
    'mqtt.maxQueuedBytes': '1KiB',
  })
  const away = { clientId: 'away', clean: false }
  const reader = await rawConnect(t, gateway, away)
  await reader.subscribe('#')
  await reader.disconnect()
  const publisher = await rawConnect(t, gateway, { clientId: 'publisher' })
  for (const messageId of [1, 2]) {
    publisher.publish(`${messageId}`, Buffer.alloc(600), { qos: 1, messageId })
    await publisher.take('puback')
  }
  const back = await rawConnect(t, gateway, away)
  t.match(await back.take('publish'), { topic: '2' })
})

t.test('refused logins and filters are logged, with where from and how many, and no filter', async t => {
  const gateway = await startGateway(t)
  const account = await register(t, gateway)
  const wrong = await rawConnect(t, gateway, { account: { ...account, password: 'not this' } })
  t.equal(wrong.connack.returnCode, 4)
  const login = gateway.logs.find(line => line.event === 'login.refused')
  t.match(login, { front: 'mqtt', remoteAddress: '127.0.0.1', code: 4 })
  const client = await rawConnect(t, gateway, { account })
  await client.subscribe([`users/${account.id}/inbox/#`, 'secret/one', 'secret/two'])
  const subscribe = gateway.logs.find(line => line.event === 'subscribe.refused')
  t.match(subscribe, { userId: account.id, count: 2 })
  t.notMatch(JSON.stringify(gateway.logs), 'secret')
})
