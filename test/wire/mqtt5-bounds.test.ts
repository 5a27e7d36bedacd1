/** MQTT 5: what a client takes, what it may not say, and where it gets its replies. */
import t, { type Test } from 'tap'
import { register, startGateway } from '../helpers/gateway.js'
import { bytes, type Connect5, connect5, field, packet, type Raw5, unique } from '../helpers/raw-mqtt5.js'

const gateway = await startGateway(t, { 'mqtt.acl': [{ pattern: 'open/#', access: 'readwrite' }] })

/** A client of a new account. */
async function client(t: Test, options: Connect5 = {}): Promise<{ id: string; me: Raw5 }> {
  const account = await register(t, gateway)
  return { id: account.id, me: await connect5(t, gateway, { account, ...options }) }
}

const json = ({ payload }: { payload: Buffer }) => JSON.parse(String(payload))

t.test('a server reference from a client is a protocol error (MQTT 5, 3.14.2.2.5)', async t => {
  const { me } = await client(t)
  const reference = bytes(28, field('elsewhere'))
  me.send(packet(0xe0, 0, reference.length, reference))
  t.equal(await me.dismissed(), 0x82)
})

// ── maximum packet size ───────────────────────────────────────────────────────────────────────────────────

t.test('CONNACK leaves out what a client need not know before it is too large [MQTT-3.1.2-24]', async t => {
  const properties = { requestResponseInformation: true }
  const all = (await client(t, { properties })).me.connack
  t.ok(all.properties?.responseInformation)
  const size = 2 + Number(all.length)
  const small = (await client(t, { properties: { ...properties, maximumPacketSize: size - 1 } })).me.connack
  t.match(small, { reasonCode: 0, properties: { topicAliasMaximum: 32, responseInformation: undefined } })
  const least = (await client(t, { properties: { maximumPacketSize: 13 } })).me.connack
  t.equal(least.reasonCode, 0)
  t.ok(2 + Number(least.length) <= 13)
  t.notOk(least.properties?.topicAliasMaximum)
})

t.test('a client that takes no CONNACK which accepts it is refused, and changes nothing', async t => {
  const account = await register(t, gateway)
  const session = { account, clientId: unique('client') }
  const before = await connect5(t, gateway, session)
  const assigned = await connect5(t, gateway, {
    account,
    clientId: '',
    properties: { maximumPacketSize: 40 },
  })
  t.equal(assigned.connack.reasonCode, 0x83, 'it must be told its identifier')
  await assigned.closed
  const refused = await connect5(t, gateway, { ...session, properties: { maximumPacketSize: 5 } })
  t.match(refused.connack, { reasonCode: 0x83, length: 3 })
  await refused.closed
  t.same(await before.settled(), [], 'it was not taken over')
  await t.rejects(connect5(t, gateway, { ...session, properties: { maximumPacketSize: 4 } }), /closed/)
})

t.test('an acknowledgement that does not fit is not sent: DISCONNECT 0x95', async t => {
  const { me } = await client(t, { properties: { maximumPacketSize: 20 } })
  const topics = (count: number) => Array.from({ length: count }, (_, i) => ({ topic: `open/${i}` }))
  t.equal((await me.subscribe(topics(15))).granted.length, 15, '20 bytes')
  t.equal((await me.unsubscribe(...topics(15).map(({ topic }) => topic))).granted.length, 15)
  me.send({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: topics(16).map(one => ({ ...one, qos: 0, nl: false, rap: false, rh: 0 })),
  })
  t.equal(await me.dismissed(), 0x95)
  const other = (await client(t, { properties: { maximumPacketSize: 20 } })).me
  other.send({ cmd: 'unsubscribe', messageId: 1, unsubscriptions: topics(16).map(({ topic }) => topic) })
  t.equal(await other.dismissed(), 0x95)
})

t.test('DISCONNECT leaves out its reason string where it does not fit [MQTT-3.14.2-3]', async t => {
  const { me } = await client(t, { properties: { maximumPacketSize: 13 } })
  me.send(Buffer.of(0x36, 0))
  const { reasonCode, properties } = await me.take('disconnect')
  t.same([reasonCode, properties], [0x81, undefined])
})

// ── replies ───────────────────────────────────────────────────────────────────────────────────────────────

t.test('`#` below the reply topic includes the reply topic (MQTT 5, 4.7.1.2)', async t => {
  const { id, me } = await client(t)
  const suback = await me.subscribe([{ topic: `users/${id}/replies/#`, qos: 1 }], {
    subscriptionIdentifier: 5,
  })
  t.same(suback.granted, [1])
  const request = JSON.stringify({ type: 'action', action: 'query', id: 'q', data: { id } })
  me.publish(`users/${id}/requests`, request, { qos: 1, messageId: 1 })
  const reply = await me.take('publish')
  t.match(reply, { topic: `users/${id}/replies`, qos: 1, properties: { subscriptionIdentifier: 5 } })
  t.match(json(reply), { code: 200, id: 'q' })
  await me.take('puback')
  const responseTopic = `users/${id}/replies/of/this`
  me.publish(`users/${id}/requests`, request, { properties: { responseTopic } })
  t.equal((await me.take('publish')).topic, responseTopic)
  await me.subscribe([{ topic: `users/${id}/replies`, qos: 0 }])
  me.publish(`users/${id}/requests`, request)
  t.equal((await me.take('publish')).qos, 1, 'once, at the highest QoS of both filters')
  t.same(await me.settled(), [])
})

t.test('replies wait for the client’s receive maximum, in order, beside its inbox', async t => {
  const { id, me } = await client(t, { properties: { receiveMaximum: 1 } })
  await me.subscribe([
    { topic: `users/${id}/replies`, qos: 1 },
    { topic: `users/${id}/inbox/#`, qos: 1 },
  ])
  const ask = (name: string) =>
    me.publish(
      `users/${id}/requests`,
      JSON.stringify({ type: 'action', action: 'query', id: name, data: { id } }),
    )
  for (const name of ['one', 'two', 'three']) ask(name)
  const first = await me.take('publish')
  t.equal(json(first).id, 'one')
  me.publish(`users/${id}/inbox`, 'to myself', { qos: 1, messageId: 1 })
  t.match(await me.next(), { cmd: 'puback' })
  t.same(await me.settled(), [], 'nothing comes before the acknowledgement')
  let last = first
  for (const expected of ['two', 'three', undefined]) {
    me.ack('puback', last.messageId)
    last = await me.take('publish')
    t.equal(json(last).id === expected || json(last).content === 'to myself', true)
    t.same(await me.settled(), [])
  }
  me.ack('puback', last.messageId)
  t.same(await me.settled(), [])
})

t.test(
  'replies wait up to mqtt.maxBufferedBytes; then the connection ends, and they are counted',
  async t => {
    const small = await startGateway(t, { 'mqtt.maxBufferedBytes': '64KiB', 'limits.requests': 100_000 })
    const account = await register(t, small)
    const me = await connect5(t, small, { account, properties: { receiveMaximum: 1 } })
    await me.subscribe([{ topic: `users/${account.id}/replies`, qos: 1 }])
    const request = JSON.stringify({ type: 'action', action: 'query', data: { id: account.id } })
    for (let sent = 0; sent < 400; sent++) me.publish(`users/${account.id}/requests`, request)
    await me.take('publish')
    t.equal(await me.dismissed(), 0x97)
    const metrics = await (await fetch(`${small.http}/metrics`)).text()
    const dropped = /mumi_messages_dropped_total\{limit="mqtt.maxBufferedBytes"\} (\d+)/.exec(metrics)?.[1]
    t.ok(Number(dropped) > 50, `${dropped} replies`)
  },
)

// ── no local ──────────────────────────────────────────────────────────────────────────────────────────────

t.test('no local does not hold for the own inbox: a message to oneself is one of its messages', async t => {
  const { id, me } = await client(t)
  await me.subscribe([
    { topic: `users/${id}/inbox/#`, qos: 1, nl: true },
    { topic: 'open/#', qos: 1, nl: true },
  ])
  await me.publish1('open/x', 'not for me')
  me.publish(`users/${id}/inbox`, 'note', { qos: 1, messageId: 2 })
  const got = [await me.next(), await me.next()]
  t.same(got.map(({ cmd }) => cmd).sort(), ['puback', 'publish'])
  t.equal(json(got.find(({ cmd }) => cmd === 'publish') as never).content, 'note')
})

// ── levels of a topic ─────────────────────────────────────────────────────────────────────────────────────

t.test('as many levels as mqtt.maxTopicLevels allows at most, in each kind of subscription', async t => {
  const deep = await startGateway(t, {
    'mqtt.acl': 'open',
    'mqtt.anonymous': true,
    'mqtt.maxTopicLevels': 128,
  })
  const topic = Array.from({ length: 128 }, (_, i) => i % 10).join('/')
  const wild = topic.replace(/^0/, '+')
  const kept = { clientId: unique('client'), clean: false, properties: { sessionExpiryInterval: 60 } }
  const clients = [await connect5(t, deep), await connect5(t, deep, kept)]
  for (const one of clients) t.equal((await one.subscribe([{ topic: wild, qos: 1 }])).granted[0], 1)
  const shared = await connect5(t, deep)
  await shared.subscribe(`$share/g/${wild.split('/').slice(0, 125).join('/')}/#`)
  const sender = await connect5(t, deep)
  t.equal((await sender.publish1(topic, 'x', { retain: true })).reasonCode, 0)
  for (const one of [...clients, shared]) t.equal((await one.take('publish')).topic, topic)
  await sender.subscribe(wild)
  t.match(await sender.take('publish'), { topic, retain: true })
})
