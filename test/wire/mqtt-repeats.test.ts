import t from 'tap'
import { loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'
import type { RawMqtt } from '../helpers/raw-mqtt.js'
import { connector, OWED, setUpSender, stored } from '../helpers/sender.js'
import { startControlled } from '../helpers/store-control.js'

t.test('QoS 1 sent again with DUP is stored once, also over another connection', async t => {
  for (const clean of [true, false]) {
    const { gateway, account, connect } = await setUpSender(t)
    const topic = `users/${account.id}/inbox`
    const one = await connect(clean)
    one.publish(topic, 'x', { qos: 1, messageId: 5 })
    one.publish(topic, 'x', { qos: 1, messageId: 5, dup: true })
    await one.take('puback')
    await one.take('puback')
    await one.drop()
    const two = await connect(clean)
    two.publish(topic, 'x', { qos: 1, messageId: 5, dup: true })
    await two.take('puback')
    t.same(await stored(t, gateway, account, true), ['x'])
  }
})

t.test(
  'QoS 1 without DUP is a new message, whatever its packet id; another id or content with DUP, too',
  async t => {
    const { gateway, account, connect } = await setUpSender(t)
    const topic = `users/${account.id}/inbox`
    const one = await connect()
    const publish = async (payload: string, messageId: number, dup: boolean) => {
      one.publish(topic, payload, { qos: 1, messageId, dup })
      await one.take('puback')
    }
    await publish('x', 5, false)
    await publish('x', 5, false)
    await publish('y', 5, true)
    await publish('x', 6, true)
    t.same(await stored(t, gateway, account, true), ['x', 'x', 'y', 'x'])
  },
)

// [MQTT-4.3.3-2]: until PUBREL the packet id names this one message, whatever DUP says; mqtt.js resends without it.
for (const settings of [{}, { 'dedup.window': '0' }]) {
  const dedup = 'dedup.window' in settings ? ', with dedup.window 0' : ''
  for (const { name, topic } of OWED.filter(({ retain }) => !retain)) {
    t.test(`QoS 2 to ${name} sent again before PUBREL is stored once${dedup}`, async t => {
      const { gateway, account, connect } = await setUpSender(t, settings)
      const inbox = name === 'an inbox'
      const send = async (client: RawMqtt, dup: boolean) => {
        client.publish(topic(account.id), 'x', { qos: 2, messageId: 5, dup })
        t.equal((await client.take('pubrec')).messageId, 5)
      }
      const one = await connect()
      await send(one, false)
      await send(one, true)
      await send(one, false)
      await one.drop()
      const two = await connect()
      t.ok(two.connack.sessionPresent)
      await send(two, true)
      await send(two, false)
      for (let i = 0; i < 2; i++) {
        two.ack('pubrel', 5)
        t.equal((await two.take('pubcomp')).messageId, 5)
      }
      // The identifier is free again.
      await send(two, false)
      t.same(await stored(t, gateway, account, inbox), ['x', 'x'])
    })
  }
}

t.test('QoS 2 sent several times in one write is stored once and acknowledged each time', async t => {
  const { gateway, account, connect } = await setUpSender(t)
  const client = await connect()
  const packet = { cmd: 'publish', payload: 'x', qos: 2, retain: false, dup: false } as const
  const inbox = { ...packet, topic: `users/${account.id}/inbox`, messageId: 5 }
  const other = { ...packet, topic: 'offline/x', messageId: 6 }
  client.send(inbox, other, inbox, { ...inbox, dup: true }, other)
  for (const messageId of [5, 6, 5, 5, 6]) t.equal((await client.take('pubrec')).messageId, messageId)
  t.same(await stored(t, gateway, account, true), ['x'])
  t.same(await stored(t, gateway, account, false), ['x'])
})

t.test('QoS 2 half-received before a restart is stored once', async t => {
  const { gateway, account, connect } = await setUpSender(t)
  const topic = `users/${account.id}/inbox`
  const one = await connect()
  one.publish(topic, 'inbox', { qos: 2, messageId: 5 })
  await one.take('pubrec')
  one.publish('offline/x', 'topic', { qos: 2, messageId: 6 })
  await one.take('pubrec')
  await gateway.close()
  const after = await startControlled(t, { 'mqtt.acl': 'open', 'data.dir': gateway.dir })
  const two = await connector(t, after, account)()
  two.publish(topic, 'inbox', { qos: 2, messageId: 5 })
  two.publish('offline/x', 'topic', { qos: 2, messageId: 6, dup: true })
  t.match([await two.take('pubrec'), await two.take('pubrec')], [{ messageId: 5 }, { messageId: 6 }])
  t.same(await stored(t, after, account, true), ['inbox'])
  t.same(await stored(t, after, account, false), ['topic'])
})

t.test('with a clean session a packet id means nothing to the next connection at QoS 2', async t => {
  const { gateway, account, connect } = await setUpSender(t)
  const topic = `users/${account.id}/inbox`
  for (const content of ['a', 'b']) {
    const client = await connect(true)
    client.publish(topic, content, { qos: 2, messageId: 5 })
    await client.take('pubrec')
    await client.drop()
  }
  t.same(await stored(t, gateway, account, true), ['a', 'b'])
})

t.test(
  'with mqtt.payload json, a message with an id is stored once, from whichever front end it comes',
  async t => {
    const gateway = await startGateway(t, { 'mqtt.payload': 'json' })
    const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
    const sender = await mqttClient(t, gateway, { username: ann.email, password: ann.password })
    const json = await loggedIn(t, gateway, ann)
    const reader = await mqttClient(t, gateway, { username: bob.email, password: bob.password })
    await reader.mqtt.subscribeAsync(`users/${bob.id}/inbox/#`, { qos: 1 })
    const publish = (message: unknown) =>
      sender.mqtt.publishAsync(`users/${bob.id}/inbox`, JSON.stringify(message), { qos: 1 })
    await publish({ content: 'a', id: 'one' })
    await publish({ content: 'a', id: 'one' })
    const reply = await json.ask({ type: 'message', id: 'one', data: { recipient: bob.id, content: 'a' } })
    t.match(reply, { code: 201, id: 'one' })
    await json.ask({ type: 'message', id: 'two', data: { recipient: bob.id, content: 'b' } })
    await publish({ content: 'b', id: 'two' })
    await publish({ content: 'c' })
    await publish({ content: 'c' })
    const got = []
    for (let i = 0; i < 4; i++) got.push(JSON.parse((await reader.next()).payload))
    t.match(got, [
      { ...(reply.data as object), seq: 1, content: 'a' },
      { seq: 2, content: 'b' },
      { seq: 3, content: 'c' },
      { seq: 4, content: 'c' },
    ])
  },
)
