/** PUBLISH of MQTT 5 and its acknowledgements (sections 3.3 to 3.7, 4.3): what subscribers get, and what publishers hear. */
import t, { type Test } from 'tap'
import { rawConnect } from '../helpers/raw-mqtt.js'
import {
  block,
  bytes,
  connect5,
  elapsed,
  field,
  type Packet5,
  packet,
  plainBroker,
  type Raw5,
  unique,
} from '../helpers/raw-mqtt5.js'

const broker = await plainBroker(t)

async function reader(t: Test, filter: string, options: Parameters<typeof connect5>[2] = {}): Promise<Raw5> {
  const client = await connect5(t, broker, options)
  await client.subscribe(filter)
  return client
}

const publisher = (t: Test) => connect5(t, broker)

const text = ({ payload }: Packet5): string => String(payload)

const PROPERTIES = {
  payloadFormatIndicator: true,
  contentType: 'text/plain; charset=utf-8',
  responseTopic: 'answers/here',
  correlationData: Buffer.from([0, 1, 0xff, 0]),
}

for (const qos of [0, 1, 2] as const) {
  t.test(
    `QoS ${qos}: all that the publisher says reaches each subscriber [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-20]`,
    async t => {
      const topic = unique()
      const readers = [await reader(t, topic), await reader(t, `${topic}/#`)]
      const client = await publisher(t)
      await client.publishAt(qos, topic, 'hello', { properties: PROPERTIES })
      for (const one of readers) {
        const message = await one.take('publish')
        // [MQTT-4.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2]
        t.match(message, { topic, qos, retain: false, dup: false, properties: PROPERTIES })
        t.equal(message.messageId === undefined, qos === 0, '[MQTT-2.2.1-2]')
        t.equal(text(message), 'hello')
        t.notOk(message.properties?.subscriptionIdentifier)
        t.notOk(message.properties?.topicAlias)
      }
    },
  )
}

const USER_PROPERTIES = Buffer.concat(
  [
    ['b', '1'],
    ['a', '2'],
    ['b', '3'],
    ['', ''],
    ['ключ', '值'],
  ].map(([name = '', value = '']) => bytes(38, field(name), field(value))),
)

t.test('user properties arrive unaltered, in their order [MQTT-3.3.2-17] [MQTT-3.3.2-18]', async t => {
  const topic = unique()
  const one = await reader(t, topic)
  const client = await publisher(t)
  let received = Buffer.alloc(0)
  one.raw.socket.on('data', chunk => {
    received = Buffer.concat([received, chunk])
  })
  client.send(packet(0x30, field(topic), block(USER_PROPERTIES), 'x'))
  await one.take('publish')
  t.ok(received.includes(USER_PROPERTIES), 'byte by byte')
})

t.test('properties may come in any order, and are kept for who is away and for who comes', async t => {
  const topic = unique()
  const clientId = unique('client')
  const away = await reader(t, topic, { clientId, clean: false, properties: { sessionExpiryInterval: 60 } })
  await away.drop()
  const client = await publisher(t)
  const properties = { ...PROPERTIES, userProperties: { a: ['1', '2'] } }
  await client.publish1(topic, 'hello', { retain: true, properties })
  const back = await connect5(t, broker, {
    clientId,
    clean: false,
    properties: { sessionExpiryInterval: 60 },
  })
  t.match(await back.take('publish'), { qos: 1, retain: false, properties }, 'queued')
  const late = await reader(t, topic)
  t.match(await late.take('publish'), { qos: 1, retain: true, properties }, 'retained')
})

t.test('messages between versions: 3.1.1 gets no properties, and 5 gets messages of 3.1.1', async t => {
  const topic = unique()
  const [five, old] = [await reader(t, topic), await rawConnect(t, broker, { clientId: unique('client') })]
  await old.subscribe(topic, 1)
  const client = await publisher(t)
  await client.publish1(topic, 'from 5', { properties: PROPERTIES })
  t.match(await old.take('publish'), { payload: Buffer.from('from 5'), qos: 1 })
  t.match(await five.take('publish'), { properties: PROPERTIES })
  old.publish(topic, 'from 4')
  const message = await five.take('publish')
  t.equal(text(message), 'from 4')
  t.notOk(message.properties, 'a block of no properties [MQTT-2.2.2-1]')
})

t.test(
  'a topic alias stands for its topic, on its connection alone [MQTT-3.3.2-7] [MQTT-3.3.2-12]',
  async t => {
    const [one, two] = [unique(), unique()]
    const all = await connect5(t, broker)
    await all.subscribe([{ topic: one }, { topic: two }])
    const client = await publisher(t)
    const maximum = Number(client.connack.properties?.topicAliasMaximum ?? 0)
    t.ok(maximum > 0, 'there are aliases')
    const send = (topic: string, payload: string, topicAlias: number, qos: 0 | 1 | 2 = 0) =>
      client.publish(topic, payload, { qos, messageId: 5, properties: { topicAlias } })
    for (const alias of [1, maximum]) {
      send(one, 'names it', alias)
      send('', 'uses it', alias, 1)
      send(two, 'names it anew', alias)
      send('', 'uses it again', alias)
      const got = [await all.next(), await all.next(), await all.next(), await all.next()]
      t.same(
        got.map(message => [message.topic, text(message)]),
        [
          [one, 'names it'],
          [one, 'uses it'],
          [two, 'names it anew'],
          [two, 'uses it again'],
        ],
      )
      for (const message of got)
        t.notOk(message.properties?.topicAlias, 'the subscriber allows none [MQTT-3.1.2-27]')
    }
    const other = await publisher(t)
    other.publish('', 'x', { properties: { topicAlias: 1 } })
    t.equal(await other.dismissed(), 0x82)
  },
)

t.test('aliases to a client are not higher than it allows [MQTT-3.1.2-26] [MQTT-3.3.2-11]', async t => {
  const root = unique()
  const one = await reader(t, `${root}/#`, { properties: { topicAliasMaximum: 2 } })
  const client = await publisher(t)
  const sent: string[] = []
  for (let round = 0; round < 3; round++)
    for (const level of ['a', 'b', 'c', 'd']) {
      sent.push(`${root}/${level}`)
      client.publish(`${root}/${level}`, `${round}`)
    }
  const names = new Map<unknown, string>()
  const got: string[] = []
  while (got.length < sent.length) {
    const { topic, properties } = await one.take('publish')
    const alias = properties?.topicAlias
    if (alias !== undefined) t.ok(alias === 1 || alias === 2, `${alias}`)
    if (topic !== '' && alias !== undefined) names.set(alias, topic)
    got.push(topic || (names.get(alias) ?? 'an alias that names nothing'))
  }
  t.same(got, sent)
})

t.test('message expiry: what is left is told [MQTT-3.3.2-6]', async t => {
  const topic = unique()
  const one = await reader(t, topic)
  const client = await publisher(t)
  await client.publish1(topic, 'x', { properties: { messageExpiryInterval: 100 } })
  t.match(await one.take('publish'), { properties: { messageExpiryInterval: 100 } })
})

t.test('message expiry: what has expired is not delivered [MQTT-3.3.2-5]', async t => {
  const topic = unique()
  const clientId = unique('client')
  const session = { clientId, clean: false, properties: { sessionExpiryInterval: 60 } }
  const away = await reader(t, topic, session)
  await away.drop()
  const client = await publisher(t)
  await client.publish1(topic, 'short', { retain: true, properties: { messageExpiryInterval: 1 } })
  await client.publish1(`${topic}/x`, 'short', { retain: true, properties: { messageExpiryInterval: 1 } })
  await client.publish1(topic, 'long', { properties: { messageExpiryInterval: 100 } })
  await client.publish1(topic, 'forever')
  await elapsed(t, broker, 2)
  const back = await connect5(t, broker, session)
  const long = await back.take('publish')
  t.equal(text(long), 'long')
  const left = Number(long.properties?.messageExpiryInterval)
  t.ok(left >= 95 && left <= 99, `${left} s are left`)
  t.equal(text(await back.take('publish')), 'forever')
  const late = await reader(t, `${topic}/#`)
  t.same(await late.settled(), [], 'nothing is retained')
})

t.test('PUBACK and PUBREC: 0x10 if and only if there is no subscriber [MQTT-3.3.4-1]', async t => {
  const topic = unique()
  const client = await publisher(t)
  t.match(await client.publish1(topic, 'x'), { messageId: 1, reasonCode: 0x10 })
  client.publish(topic, 'x', { qos: 2, messageId: 2 })
  t.match(await client.take('pubrec'), { messageId: 2, reasonCode: 0x10 })
  client.ack('pubrel', 2)
  t.match(await client.take('pubcomp'), { messageId: 2, reasonCode: 0 })
  await reader(t, topic)
  t.match(await client.publish1(topic, 'x'), { messageId: 1, reasonCode: 0 })
  client.publish(topic, 'x', { qos: 2, messageId: 2 })
  t.match(await client.take('pubrec'), { messageId: 2, reasonCode: 0 })
})

t.test('a payload that is not UTF-8 as told is refused with 0x99, and nobody gets it', async t => {
  const topic = unique()
  const one = await reader(t, topic)
  const client = await publisher(t)
  const bad = { payload: Buffer.from([0x61, 0xff]), properties: { payloadFormatIndicator: true } }
  t.match(await client.publish1(topic, bad.payload, { properties: bad.properties }), { reasonCode: 0x99 })
  client.publish(topic, bad.payload, { qos: 2, messageId: 3, properties: bad.properties })
  t.match(await client.take('pubrec'), { messageId: 3, reasonCode: 0x99 })
  await client.publishAt(2, topic, 'good', { messageId: 3, properties: bad.properties })
  t.equal(text(await one.take('publish')), 'good', 'the identifier is free again [MQTT-4.3.3-9]')
})

t.test(
  'QoS 2 from a client: once, whatever is sent again [MQTT-2.2.1-5] [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11]',
  async t => {
    const topic = unique()
    const one = await reader(t, topic)
    const client = await publisher(t)
    for (const dup of [false, true, true]) {
      client.publish(topic, 'once', { qos: 2, messageId: 7, dup })
      t.match(await client.take('pubrec'), { messageId: 7 })
    }
    client.ack('pubrel', 7)
    t.match(await client.take('pubcomp'), { messageId: 7, reasonCode: 0 })
    client.publish(topic, 'anew', { qos: 2, messageId: 7 })
    await client.take('pubrec')
    client.ack('pubrel', 7)
    await client.take('pubcomp')
    t.equal(text(await one.take('publish')), 'once')
    t.equal(text(await one.take('publish')), 'anew', '[MQTT-4.3.3-12]')
  },
)

t.test('PUBREL of an identifier that is not known: PUBCOMP says 0x92', async t => {
  const client = await publisher(t)
  client.ack('pubrel', 999)
  t.match(await client.take('pubcomp'), { messageId: 999, reasonCode: 0x92 })
})

t.test(
  'QoS 1 and 2 to a client: identifiers of their own, DUP 0 [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]',
  async t => {
    const topic = unique()
    const one = await reader(t, topic)
    const client = await publisher(t)
    for (const qos of [1, 2, 1] as const) await client.publishAt(qos, topic, 'x')
    const got = [await one.take('publish'), await one.take('publish'), await one.take('publish')]
    t.equal(new Set(got.map(({ messageId }) => messageId)).size, 3)
    t.notOk(got.some(({ messageId }) => messageId === 0))
    t.match(got, [
      { qos: 1, dup: false },
      { qos: 2, dup: false },
      { qos: 1, dup: false },
    ])
    const [, second] = got as [Packet5, Packet5, Packet5]
    one.ack('pubrec', second.messageId)
    t.match(await one.take('pubrel'), { messageId: second.messageId, reasonCode: 0 }, '[MQTT-4.3.3-4]')
  },
)

t.test('a PUBREC that refuses ends it: no PUBREL, and no other try [MQTT-4.4.0-2]', async t => {
  const topic = unique()
  const session = { clientId: unique('client'), clean: false, properties: { sessionExpiryInterval: 60 } }
  const one = await reader(t, topic, session)
  const client = await publisher(t)
  await client.publishAt(2, topic, 'refused')
  await client.publishAt(1, topic, 'refused, too')
  one.ack('pubrec', (await one.take('publish')).messageId, 0x83)
  one.ack('puback', (await one.take('publish')).messageId, 0x83)
  t.same(await one.settled(), [])
  await one.drop()
  const back = await connect5(t, broker, session)
  t.match(back.connack, { sessionPresent: true })
  t.same(await back.settled(), [])
})

t.test('a PUBREC of an identifier that is not known: PUBREL says 0x92', async t => {
  const client = await publisher(t)
  client.ack('pubrec', 4321)
  t.match(await client.take('pubrel'), { messageId: 4321, reasonCode: 0x92 })
})

t.test(
  'retained: replaced, and removed by an empty one [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-8]',
  async t => {
    const topic = unique()
    const client = await publisher(t)
    const retained = async (...payloads: string[]) => {
      const one = await reader(t, topic)
      t.same((await one.takeAll(payloads.length)).map(text), payloads)
      t.same(await one.settled(), [])
    }
    await client.publish1(topic, 'first', { retain: true })
    await client.publish1(topic, 'second', { retain: true })
    await retained('second')
    await client.publish1(topic, 'not retained')
    await retained('second')
    await client.publish1(topic, '', { retain: true })
    await retained()
  },
)

t.test('messages of a publisher keep their order [MQTT-4.6.0-5] [MQTT-4.6.0-6]', async t => {
  const topic = unique()
  const one = await reader(t, topic)
  const client = await publisher(t)
  const count = 50
  for (let i = 0; i < count; i++) client.publish(topic, `${i}`, { qos: 1, messageId: i + 1 })
  for (let i = 0; i < count; i++) {
    const message = await one.take('publish')
    t.equal(text(message), `${i}`)
    one.ack('puback', message.messageId)
  }
})

t.test(
  'DUP of a publisher is not passed on, and after PUBACK a message is new [MQTT-3.3.1-3] [MQTT-4.3.2-4] [MQTT-4.3.2-5]',
  async t => {
    const topic = unique()
    const one = await reader(t, topic)
    const client = await publisher(t)
    for (const dup of [true, false, true]) await client.publish1(topic, 'x', { messageId: 5, dup })
    for (let i = 0; i < 3; i++) t.match(await one.take('publish'), { dup: false })
  },
)

t.test('once it is sent a message does not expire [MQTT-4.3.3-7] [MQTT-4.3.3-13]', async t => {
  const topic = unique()
  const session = { clientId: unique('client'), clean: false, properties: { sessionExpiryInterval: 60 } }
  const one = await reader(t, topic, session)
  const client = await publisher(t)
  const properties = { messageExpiryInterval: 1 }
  await client.publishAt(2, topic, 'received', { properties })
  await client.publishAt(2, topic, 'sent', { properties })
  const [received, sent] = [await one.take('publish'), await one.take('publish')]
  await elapsed(t, broker, 2)
  one.ack('pubrec', received.messageId)
  t.match(await one.take('pubrel'), { messageId: received.messageId, reasonCode: 0 })
  await one.drop()
  const back = await connect5(t, broker, session)
  const again = [await back.next(), await back.next()]
  t.match(
    again.find(({ cmd }) => cmd === 'publish'),
    { messageId: sent.messageId, dup: true },
  )
})
