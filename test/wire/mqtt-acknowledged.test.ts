import t, { type Test } from 'tap'
import { loggedIn, mqttClient, register, startGateway, type TestAccount } from '../helpers/gateway.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'
import { type ControlledGateway, type StoreWrite, startControlled } from '../helpers/store-control.js'

/** What a PUBLISH is owed to, by the kind of write that makes it durable. */
const OWED: readonly { name: string; write: StoreWrite; topic: (me: string) => string; retain: boolean }[] = [
  { name: 'an inbox', write: 'append', topic: me => `users/${me}/inbox`, retain: false },
  { name: 'a retained message', write: 'kvWrite', topic: () => 'retained/x', retain: true },
  { name: 'an offline session', write: 'kvWrite', topic: () => 'offline/x', retain: false },
]

/** A persistent session that is away and subscribed to `offline/#`. */
async function leaveSession(t: Test, gateway: ControlledGateway, account: TestAccount): Promise<void> {
  const away = await rawConnect(t, gateway, { account, clientId: 'away', clean: false })
  await away.subscribe('offline/#', 2)
  await away.disconnect()
}

async function setUp(t: Test, settings: Record<string, unknown> = {}) {
  const gateway = await startControlled(t, { 'mqtt.acl': 'open', ...settings })
  const account = await register(t, gateway)
  await leaveSession(t, gateway, account)
  return { gateway, account, connect: connector(t, gateway, account) }
}

const connector =
  (t: Test, gateway: ControlledGateway, account: TestAccount) =>
  (clean = false) =>
    rawConnect(t, gateway, { account, clientId: 'sender', clean })

for (const { name, write, topic, retain } of OWED) {
  for (const qos of [1, 2] as const) {
    const cmd = qos === 1 ? 'puback' : 'pubrec'
    t.test(`QoS ${qos} to ${name}: no ${cmd} before it is stored`, async t => {
      const { gateway, account, connect } = await setUp(t)
      const client = await connect()
      const release = gateway.hold(write)
      client.send(
        { cmd: 'publish', topic: topic(account.id), payload: 'x', qos, retain, dup: false, messageId: 5 },
        { cmd: 'pingreq' },
      )
      await client.take('pingresp')
      t.same(client.unread, [])
      release()
      t.equal((await client.take(cmd)).messageId, 5)
    })

    t.test(`QoS ${qos} to ${name}: a store that fails means no ${cmd} and a closed connection`, async t => {
      const { gateway, account, connect } = await setUp(t)
      for (const code of ['STORE_UNAVAILABLE', 'STORE_FULL'] as const) {
        const client = await connect()
        const restore = gateway.fail(write, code)
        client.publish(topic(account.id), code, { qos, retain, messageId: 5 })
        await client.closed
        t.same(client.unread, [])
        restore()
        // Sent again, as a client does that has no acknowledgement.
        const again = await connect()
        again.publish(topic(account.id), code, { qos, retain, messageId: 5, dup: true })
        t.equal((await again.take(cmd)).messageId, 5)
        if (qos === 2) {
          again.ack('pubrel', 5)
          await again.take('pubcomp')
        }
        await again.disconnect()
      }
      t.same(
        await stored(t, gateway, account, write === 'append'),
        retain ? [] : ['STORE_UNAVAILABLE', 'STORE_FULL'],
      )
    })
  }
}

/** What reaches the inbox, or the session that was away. */
async function stored(
  t: Test,
  gateway: ControlledGateway,
  account: TestAccount,
  inbox: boolean,
): Promise<string[]> {
  const options = inbox ? { clientId: 'reader' } : { clientId: 'away', clean: false }
  const reader = await rawConnect(t, gateway, { account, ...options })
  if (inbox) await reader.subscribe(`users/${account.id}/inbox/#`)
  reader.publish('offline/end', 'end', { qos: 1, messageId: 7 })
  if (inbox) reader.publish(`users/${account.id}/inbox`, 'end', { qos: 1, messageId: 8 })
  const all: string[] = []
  for (;;) {
    const packet = await reader.next()
    if (packet.cmd !== 'publish') continue
    const text = packet.payload.toString()
    const content = inbox ? JSON.parse(text).content : text
    if (content === 'end') return all
    all.push(content)
  }
}

t.test('a store that is closed under the gateway acknowledges nothing and kills nothing', async t => {
  const { gateway, account } = await setUp(t)
  const client = await rawConnect(t, gateway, { account, clientId: 'sender' })
  const witness = await rawConnect(t, gateway, { account, clientId: 'witness' })
  await gateway.store.close()
  client.publish(`users/${account.id}/inbox`, 'x', { qos: 1, messageId: 5 })
  await client.closed
  t.same(client.unread, [])
  witness.send({ cmd: 'pingreq' })
  await witness.take('pingresp')
  const late = await rawConnect(t, gateway, { account, clientId: 'late' })
  t.equal(late.connack.returnCode, 3, 'server unavailable')
  const ready = await fetch(`${gateway.http}/readyz`)
  t.equal(ready.status, 503)
})

t.test('a failed append disturbs neither the other clients nor what comes after it', async t => {
  const { gateway, account, connect } = await setUp(t)
  const json = await loggedIn(t, gateway)
  const client = await connect()
  const restore = gateway.fail('append', 'STORE_UNAVAILABLE')
  client.publish(`users/${account.id}/inbox`, 'lost', { qos: 1, messageId: 5 })
  await client.closed
  t.match(await json.ask({ type: 'message', data: { recipient: account.id, content: 'refused' } }), {
    code: 10104,
  })
  restore()
  t.match(await json.ask({ type: 'message', data: { recipient: account.id, content: 'kept' } }), {
    code: 201,
  })
  t.same(await stored(t, gateway, account, true), ['kept'])
})

// [MQTT-4.6.0-2], [MQTT-4.6.0-3]
for (const qos of [1, 2] as const) {
  t.test(`QoS ${qos} is acknowledged in the order in which it came, whatever becomes of it`, async t => {
    const { gateway, account, connect } = await setUp(t)
    const client = await connect(true)
    const me = account.id
    const topics = [
      `users/${me}/inbox`,
      'users/1/nothing',
      'offline/x',
      `users/${me}/inbox`,
      'users/999999999/inbox',
    ]
    topics.push('retained/x', `users/${me}/requests`, `users/${me}/inbox`, 'nobody/x', 'offline/y')
    for (let round = 0; round < 5; round++) {
      client.send(
        ...topics.map((topic, i) => ({
          cmd: 'publish' as const,
          topic,
          payload: `${round}.${i}`,
          qos,
          dup: false,
          retain: topic.startsWith('retained'),
          messageId: round * topics.length + i + 1,
        })),
      )
    }
    const ids: number[] = []
    while (ids.length < 5 * topics.length)
      ids.push((await client.take(qos === 1 ? 'puback' : 'pubrec')).messageId)
    t.same(
      ids,
      Array.from(ids, (_, i) => i + 1),
    )
    t.same(
      await stored(t, gateway, account, true),
      [0, 1, 2, 3, 4].flatMap(round => [0, 3, 7].map(i => `${round}.${i}`)),
    )
  })
}

t.test('messages of one sender keep their order, whatever their QoS', async t => {
  const { gateway, account, connect } = await setUp(t)
  const client = await connect(true)
  client.send(
    ...Array.from({ length: 60 }, (_, i) => {
      const qos = (i % 3) as 0 | 1 | 2
      const id = qos > 0 ? { messageId: i + 1 } : {}
      const topic = `users/${account.id}/inbox`
      return { cmd: 'publish' as const, topic, payload: `${i}`, qos, dup: false, retain: false, ...id }
    }),
  )
  for (let i = 0; i < 40; i++) await client.next()
  t.same(
    await stored(t, gateway, account, true),
    Array.from({ length: 60 }, (_, i) => `${i}`),
  )
})

t.test('QoS 1 sent again with DUP is stored once, also over another connection', async t => {
  for (const clean of [true, false]) {
    const { gateway, account, connect } = await setUp(t)
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
    const { gateway, account, connect } = await setUp(t)
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
      const { gateway, account, connect } = await setUp(t, settings)
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
  const { gateway, account, connect } = await setUp(t)
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
  const { gateway, account, connect } = await setUp(t)
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
  const { gateway, account, connect } = await setUp(t)
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
    t.match(reply, { code: 201, id: 'one', data: { seq: 1 } })
    await json.ask({ type: 'message', id: 'two', data: { recipient: bob.id, content: 'b' } })
    await publish({ content: 'b', id: 'two' })
    await publish({ content: 'c' })
    await publish({ content: 'c' })
    const got = []
    for (let i = 0; i < 4; i++) got.push(JSON.parse((await reader.next()).payload))
    t.match(got, [
      { seq: 1, content: 'a' },
      { seq: 2, content: 'b' },
      { seq: 3, content: 'c' },
      { seq: 4, content: 'c' },
    ])
  },
)
