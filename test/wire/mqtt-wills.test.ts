import t, { type Test } from 'tap'
import {
  mqttClient,
  type RunningGateway,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'

const gateway = await startGateway(t, { 'mqtt.acl': 'open' })

const will = (topic: string, payload: string, more: { qos?: 0 | 1 | 2; retain?: boolean } = {}) => ({
  topic,
  payload: Buffer.from(payload),
  qos: 1 as const,
  retain: false,
  ...more,
})

async function witness(t: Test, home: RunningGateway, account: TestAccount, filter: string) {
  const client = await mqttClient(t, home, {
    username: account.email,
    password: account.password,
    clientId: 'witness',
  })
  await client.mqtt.subscribeAsync(filter, { qos: 2 })
  return client
}

for (const qos of [0, 1, 2] as const) {
  t.test(`a will at QoS ${qos} is published when its client drops, each time it does`, async t => {
    const account = await register(t, gateway)
    const seen = await witness(t, gateway, account, `wills/${account.id}`)
    for (const text of ['first', 'second', 'third']) {
      const client = await rawConnect(t, gateway, {
        account,
        clientId: 'fragile',
        clean: false,
        will: will(`wills/${account.id}`, text, { qos }),
      })
      await client.drop()
      t.match(await seen.next(), { payload: text, qos, retain: false })
    }
  })
}

t.test('no will after DISCONNECT [MQTT-3.14.4-3]', async t => {
  const account = await register(t, gateway)
  const seen = await witness(t, gateway, account, `wills/${account.id}`)
  const topic = `wills/${account.id}`
  const polite = await rawConnect(t, gateway, { account, clientId: 'a', will: will(topic, 'polite') })
  await polite.disconnect()
  const rude = await rawConnect(t, gateway, { account, clientId: 'b', will: will(topic, 'rude') })
  await rude.drop()
  t.match(await seen.next(), { payload: 'rude' })
  t.same(seen.messages, [])
})

t.test('a will to an inbox is a message from its client', async t => {
  const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
  const seen = await witness(t, gateway, bob, `users/${bob.id}/inbox/#`)
  const client = await rawConnect(t, gateway, {
    account: ann,
    will: will(`users/${bob.id}/inbox`, 'farewell'),
  })
  await client.drop()
  const { topic, payload } = await seen.next()
  t.equal(topic, `users/${bob.id}/inbox/1`)
  t.match(JSON.parse(payload), { sender: ann.id, recipient: bob.id, content: 'farewell' })
})

t.test('a will that its client may not publish is refused with 5, and takes nothing over', async t => {
  const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
  const one = await rawConnect(t, gateway, { account: ann, clientId: 'd' })
  const topics = [`users/${bob.id}/requests`, `users/${ann.id}/replies`, `users/${ann.id}/presence`, '$SYS/x']
  for (const topic of topics) {
    const client = await rawConnect(t, gateway, { account: ann, clientId: 'd', will: will(topic, 'x') })
    t.equal(client.connack.returnCode, 5, topic)
    await client.closed
  }
  one.send({ cmd: 'pingreq' })
  await one.take('pingresp')
})

t.test('a will is published when the keep-alive runs out, and when a packet breaks the rules', async t => {
  const account = await register(t, gateway)
  const seen = await witness(t, gateway, account, `wills/${account.id}`)
  const topic = `wills/${account.id}`
  const rude = await rawConnect(t, gateway, {
    account,
    clientId: 'rude',
    will: will(topic, 'broke the rules'),
  })
  rude.send(Buffer.from([0xf0, 0]))
  t.match(await seen.next(), { payload: 'broke the rules' })
  await rawConnect(t, gateway, { account, clientId: 'silent', keepalive: 1, will: will(topic, 'silent') })
  t.match(await seen.next(), { payload: 'silent' })
})

t.test('a retained will is kept for those who come later', async t => {
  const account = await register(t, gateway)
  const topic = `wills/${account.id}`
  const seen = await witness(t, gateway, account, topic)
  const client = await rawConnect(t, gateway, { account, will: will(topic, 'gone', { retain: true }) })
  await client.drop()
  t.match(await seen.next(), { payload: 'gone', retain: false })
  await seen.mqtt.unsubscribeAsync(topic)
  await seen.mqtt.subscribeAsync(topic, { qos: 1 })
  t.match(await seen.next(), { payload: 'gone', retain: true, qos: 1 })
})

t.test('a will waits for a persistent session that is away', async t => {
  const account = await register(t, gateway)
  const topic = `wills/${account.id}`
  const options = { account, clientId: 'away', clean: false }
  const one = await rawConnect(t, gateway, options)
  await one.subscribe(topic, 1)
  await one.disconnect()
  const seen = await witness(t, gateway, account, topic)
  await (await rawConnect(t, gateway, { account, clientId: 'x', will: will(topic, 'waits') })).drop()
  await seen.next()
  const two = await rawConnect(t, gateway, options)
  t.match((await two.take('publish')).payload.toString(), 'waits')
})

t.test('a gateway that closes publishes the wills of those it sends away', async t => {
  const before = await startGateway(t, { 'mqtt.acl': 'open' })
  const account = await register(t, before)
  const options = { account, clientId: 'keeps', clean: false }
  const one = await rawConnect(t, before, options)
  await one.subscribe(['wills/#', `users/${account.id}/inbox/#`], 1)
  await one.disconnect()
  const inbox = `users/${account.id}/inbox`
  await rawConnect(t, before, { account, clientId: 'a', will: will('wills/topic', 'to a topic') })
  await rawConnect(t, before, { account, clientId: 'b', will: will(inbox, 'to an inbox') })
  await rawConnect(t, before, {
    account,
    clientId: 'c',
    will: will('wills/kept', 'kept', { retain: true, qos: 0 }),
  })
  await before.close()
  const after = await startGateway(t, { 'mqtt.acl': 'open', 'data.dir': before.dir })
  const two = await rawConnect(t, after, options)
  const texts = [
    (await two.take('publish')).payload.toString(),
    (await two.take('publish')).payload.toString(),
  ]
  t.match(
    texts.find(text => text.startsWith('{')),
    /to an inbox/,
  )
  t.ok(texts.includes('to a topic'))
  const seen = await witness(t, after, account, 'wills/#')
  t.match(await seen.next(), { topic: 'wills/kept', payload: 'kept', retain: true })
  t.same(seen.messages, [])
})
