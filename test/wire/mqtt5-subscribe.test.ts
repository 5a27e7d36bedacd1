/** SUBSCRIBE and UNSUBSCRIBE of MQTT 5 (sections 3.8 to 3.11, 4.7): options, identifiers, reasons. */
import t, { type Test } from 'tap'
import { block, connect5, field, type Packet5, packet, plainBroker, unique } from '../helpers/raw-mqtt5.js'

const broker = await plainBroker(t)

const text = ({ payload }: Packet5): string => String(payload)
const identifiers = ({ properties }: Packet5): number[] =>
  [(properties?.subscriptionIdentifier ?? []) as number | number[]].flat().sort((a, b) => a - b)

async function publish(t: Test, topic: string, payload: string, options = {}): Promise<void> {
  const client = await connect5(t, broker)
  await client.publish1(topic, payload, options)
  await client.disconnect()
}

t.test(
  'SUBACK has a reason for each filter, in order [MQTT-2.2.1-6] [MQTT-3.2.2-10] [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-6] [MQTT-3.9.3-1]',
  async t => {
    const root = unique()
    const client = await connect5(t, broker)
    client.send({
      cmd: 'subscribe',
      messageId: 4711,
      subscriptions: [2, 0, 1].map(qos => ({ topic: `${root}/${qos}`, qos, nl: false, rap: false, rh: 0 })),
    })
    t.match(await client.take('suback'), { messageId: 4711, granted: [2, 0, 1] })
  },
)

t.test(
  'a filter that nobody may read is refused for itself [MQTT-3.8.4-5] [MQTT-3.8.4-7] [MQTT-3.9.3-2]',
  async t => {
    const client = await connect5(t, broker)
    const { granted } = await client.subscribe([{ topic: unique() }, { topic: 'users/100000001/inbox/#' }])
    t.same(granted, [2, 0x87])
  },
)

t.test('the QoS is the lower of the two [MQTT-3.8.4-8]', async t => {
  for (const granted of [0, 1, 2] as const) {
    const topic = unique()
    const client = await connect5(t, broker)
    await client.subscribe([{ topic, qos: granted }])
    for (const qos of [0, 1, 2] as const) {
      const from = await connect5(t, broker)
      await from.publishAt(qos, topic, 'x')
      t.match(await client.take('publish'), { qos: Math.min(qos, granted) })
    }
  }
})

t.test('no local: what a client publishes does not come back to it [MQTT-3.8.3-3]', async t => {
  const topic = unique()
  const client = await connect5(t, broker)
  const other = await connect5(t, broker)
  await client.subscribe([{ topic, nl: true }])
  await other.subscribe([{ topic, nl: true }])
  await client.publish1(topic, 'mine')
  t.equal(text(await other.take('publish')), 'mine')
  await publish(t, topic, 'yours')
  const [first, ...rest] = await client.settled()
  t.equal(first && text(first), 'yours')
  t.same(rest, [])
})

t.test('no local is also for who comes back on another connection', async t => {
  const topic = unique()
  const session = { clientId: unique('client'), clean: false, properties: { sessionExpiryInterval: 60 } }
  const client = await connect5(t, broker, session)
  await client.subscribe([{ topic, nl: true }])
  await client.drop()
  const back = await connect5(t, broker, session)
  await back.publish1(topic, 'mine')
  t.same(await back.settled(), [])
})

t.test('retain as published [MQTT-3.3.1-12] [MQTT-3.3.1-13]', async t => {
  const topic = unique()
  const [as, not] = [await connect5(t, broker), await connect5(t, broker)]
  await as.subscribe([{ topic, rap: true }])
  await not.subscribe([{ topic, rap: false }])
  await publish(t, topic, 'retained', { retain: true })
  await publish(t, topic, 'not')
  t.match([await as.take('publish'), await as.take('publish')], [{ retain: true }, { retain: false }])
  t.match([await not.take('publish'), await not.take('publish')], [{ retain: false }, { retain: false }])
})

t.test(
  'retain handling: always, once, never [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]',
  async t => {
    const topic = unique()
    await publish(t, topic, 'kept', { retain: true })
    for (const [rh, first, second] of [
      [0, 1, 1],
      [1, 1, 0],
      [2, 0, 0],
    ] as const) {
      const client = await connect5(t, broker)
      await client.subscribe([{ topic, rh }])
      const once = await client.takeAll(first)
      t.same(await client.settled(), [], `handling ${rh}, new`)
      for (const message of once) t.match(message, { retain: true, payload: Buffer.from('kept') })
      for (const { messageId } of once) client.ack('puback', messageId)
      await client.subscribe([{ topic, rh }])
      await client.takeAll(second)
      t.same(await client.settled(), [], `handling ${rh}, again`)
    }
  },
)

t.test('a SUBSCRIBE to the same filter replaces the one before [MQTT-3.8.4-3]', async t => {
  const topic = unique()
  const client = await connect5(t, broker)
  await client.subscribe([{ topic, qos: 2 }], { subscriptionIdentifier: 1 })
  await client.subscribe([{ topic, qos: 0 }], { subscriptionIdentifier: 2 })
  await publish(t, topic, 'x')
  const got = await client.settled()
  t.match(got, [{ qos: 0 }])
  t.same(got.map(identifiers), [[2]])
  await client.subscribe([{ topic, qos: 0 }])
  await publish(t, topic, 'x')
  t.same((await client.settled()).map(identifiers), [[]], 'and without an identifier has none')
})

t.test('subscription identifiers of all that match [MQTT-3.3.4-3] [MQTT-3.3.4-4]', async t => {
  const root = unique()
  const client = await connect5(t, broker)
  await client.subscribe([{ topic: `${root}/#` }], { subscriptionIdentifier: 1 })
  await client.subscribe([{ topic: `${root}/a` }], { subscriptionIdentifier: 268_435_455 })
  await client.subscribe([{ topic: `${root}/+` }])
  await client.subscribe([{ topic: `${root}/other` }], { subscriptionIdentifier: 3 })
  await publish(t, `${root}/a`, 'x')
  const got = await client.settled()
  const all = got.flatMap(identifiers).sort((a, b) => a - b)
  t.same(all, [1, 268_435_455], 'in one copy or in one each')
})

t.test(
  'an identifier is of a filter, is kept with the session, and comes with retained messages',
  async t => {
    const topic = unique()
    await publish(t, topic, 'kept', { retain: true })
    const session = { clientId: unique('client'), clean: false, properties: { sessionExpiryInterval: 60 } }
    const client = await connect5(t, broker, session)
    await client.subscribe([{ topic, qos: 0 }], { subscriptionIdentifier: 300 })
    t.same(identifiers(await client.take('publish')), [300], 'retained')
    await client.subscribe([{ topic, qos: 1, rh: 2 }], { subscriptionIdentifier: 301 })
    await client.drop()
    await publish(t, topic, 'queued')
    const back = await connect5(t, broker, session)
    const queued = await back.take('publish')
    t.same([text(queued), identifiers(queued)], ['queued', [301]])
    await publish(t, topic, 'live')
    t.same(identifiers(await back.take('publish')), [301])
  },
)

t.test('a retained message comes as the SUBSCRIBE has it, whatever else matches [MQTT-3.8.4-8]', async t => {
  const root = unique()
  await publish(t, `${root}/a`, 'kept', { retain: true })
  const client = await connect5(t, broker)
  await client.subscribe([{ topic: `${root}/#`, qos: 1 }], { subscriptionIdentifier: 1 })
  const first = await client.take('publish')
  t.same([first.qos, identifiers(first)], [1, [1]])
  client.ack('puback', first.messageId)
  await client.subscribe([{ topic: `${root}/+`, qos: 0 }], { subscriptionIdentifier: 2 })
  const second = await client.take('publish')
  t.same([second.qos, identifiers(second)], [0, [2]], 'a later one that overlaps')
  await publish(t, `${root}/a`, 'live')
  const live = await client.take('publish')
  t.same([live.qos, identifiers(live)], [1, [1, 2]], 'what is published is for both')
})

t.test('a PUBLISH behind a SUBSCRIBE of its client comes back, also where the session is stored', async t => {
  for (let i = 0; i < 20; i++) {
    const topic = unique()
    const session = { clientId: unique('client'), clean: false, properties: { sessionExpiryInterval: 60 } }
    const client = await connect5(t, broker, session)
    const subscription = { topic, qos: 1, nl: false, rap: false, rh: 0 }
    const publish = { cmd: 'publish', topic, payload: 'mine', dup: false, retain: false }
    client.send(
      { cmd: 'subscribe', messageId: 1, subscriptions: [subscription] },
      { ...publish, qos: 1, messageId: 2 },
      { ...publish, qos: 0 },
    )
    const got = [await client.next(), await client.next(), await client.next(), await client.next()]
    t.same(got.map(({ cmd }) => cmd).sort(), ['puback', 'publish', 'publish', 'suback'])
    t.match(
      got.find(({ cmd }) => cmd === 'puback'),
      { reasonCode: 0 },
    )
  }
})

t.test('… and is published, too, where its client leaves at once', async t => {
  const topic = unique()
  const watcher = await connect5(t, broker)
  await watcher.subscribe(topic)
  const session = { clientId: unique('client'), clean: false, properties: { sessionExpiryInterval: 60 } }
  const client = await connect5(t, broker, session)
  client.send(
    packet(0x82, 0, 1, block(), field('a'), 1),
    packet(0x30, field(topic), block(), 'last words'),
    packet(0xe0),
  )
  t.equal(text(await watcher.take('publish')), 'last words')
})

t.test('overlapping filters: the highest QoS of those that match [MQTT-3.3.4-2]', async t => {
  const root = unique()
  const client = await connect5(t, broker)
  await client.subscribe([
    { topic: `${root}/#`, qos: 0 },
    { topic: `${root}/a`, qos: 2 },
    { topic: `${root}/+`, qos: 1 },
  ])
  const from = await connect5(t, broker)
  await from.publishAt(2, `${root}/a`, 'x')
  t.match(await client.take('publish'), { qos: 2 })
})

t.test('user properties of SUBSCRIBE and UNSUBSCRIBE are taken', async t => {
  const topic = unique()
  const client = await connect5(t, broker)
  const { granted } = await client.subscribe([{ topic }], { userProperties: { a: ['1', '2'] } })
  t.same(granted, [2])
  client.send(packet(0xa2, 0, 5, block(38, field('n'), field('v')), field(topic)))
  t.match(await client.take('unsuback'), { messageId: 5, granted: [0] })
})

t.test(
  'UNSUBACK has a reason for each filter [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2]',
  async t => {
    const root = unique()
    const client = await connect5(t, broker)
    await client.subscribe([{ topic: `${root}/a` }, { topic: `${root}/+` }])
    const unsuback = await client.unsubscribe(`${root}/none`, `${root}/a`, `${root}/b`, `${root}/+`)
    t.match(unsuback, { messageId: 78, granted: [0x11, 0, 0x11, 0] })
  },
)

t.test(
  'what is unsubscribed from is not sent; filters are compared by their characters [MQTT-3.10.4-1] [MQTT-3.10.4-2]',
  async t => {
    const root = unique()
    const client = await connect5(t, broker)
    await client.subscribe([{ topic: `${root}/a` }, { topic: `${root}/+` }])
    await client.unsubscribe(`${root}/a`)
    await publish(t, `${root}/a`, 'by the wildcard')
    t.same((await client.settled()).map(text), ['by the wildcard'])
    await client.unsubscribe(`${root}/+`)
    await publish(t, `${root}/a`, 'to nobody')
    t.same(await client.settled(), [])
  },
)

t.test('a delivery that has begun goes on after UNSUBSCRIBE [MQTT-3.10.4-3]', async t => {
  const topic = unique()
  const client = await connect5(t, broker)
  await client.subscribe(topic)
  const from = await connect5(t, broker)
  await from.publishAt(2, topic, 'x')
  const { messageId } = await client.take('publish')
  await client.unsubscribe(topic)
  client.ack('pubrec', messageId)
  t.match(await client.take('pubrel'), { messageId, reasonCode: 0 })
  client.ack('pubcomp', messageId)
  t.same(await client.settled(), [])
})

t.test('wildcards: levels, and topics that begin with $ [MQTT-4.7.2-1] [MQTT-3.3.2-3]', async t => {
  const root = unique()
  const client = await connect5(t, broker)
  await client.subscribe([{ topic: `${root}/+/x` }, { topic: `+/${root}/y` }, { topic: `${root}/deep/#` }])
  const from = await connect5(t, broker)
  const sent = [
    `${root}/1/x`,
    `${root}/1/2/x`,
    `/${root}/y`,
    `a/${root}/y`,
    `${root}/deep`,
    `${root}/deep/1/2`,
  ]
  for (const topic of sent) await from.publish1(topic, topic)
  t.same(
    (await client.settled()).map(({ topic }) => topic),
    [`${root}/1/x`, `/${root}/y`, `a/${root}/y`, `${root}/deep`, `${root}/deep/1/2`],
  )
})

t.test(
  'topics are compared as they are, a byte order mark with them [MQTT-4.7.3-4] [MQTT-1.5.4-3]',
  async t => {
    const root = unique()
    const client = await connect5(t, broker)
    const names = [`${root}/\uFEFFa`, `${root}/é`, `${root}/A`]
    await client.subscribe(names.map(topic => ({ topic })))
    const from = await connect5(t, broker)
    for (const topic of [`${root}/a`, `${root}/e\u0301`, ...names]) await from.publish1(topic, 'x')
    t.same(
      (await client.settled()).map(({ topic }) => topic),
      names,
    )
  },
)
