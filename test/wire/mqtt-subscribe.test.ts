import t, { type Test } from 'tap'
import { register, startGateway, type TestAccount } from '../helpers/gateway.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'

const gateway = await startGateway(t, {
  'mqtt.acl': [{ pattern: 'open/#', access: 'readwrite' }],
  'mqtt.maxSubscriptions': 10,
})

type Asked = readonly (readonly [topic: string, qos: 0 | 1 | 2])[]

async function suback(client: RawMqtt, asked: Asked, messageId = 7): Promise<unknown> {
  const subscriptions = asked.map(([topic, qos]) => ({ topic, qos }))
  client.send({ cmd: 'subscribe', messageId, subscriptions })
  const answer = await client.take('suback')
  if (answer.messageId !== messageId) throw new Error(`SUBACK for ${answer.messageId}`)
  return answer.granted
}

async function connect(t: Test, clean = true): Promise<{ client: RawMqtt; account: TestAccount }> {
  const account = await register(t, gateway)
  return { client: await rawConnect(t, gateway, { account, clientId: 'c', clean }), account }
}

/** The QoS at which a QoS 1 message of the client's own to this topic comes. */
async function received(client: RawMqtt, topic: string): Promise<number> {
  client.publish(topic, 'x', { qos: 1, messageId: 99 })
  const both = [await client.next(), await client.next()]
  const message = both.find(packet => packet.cmd === 'publish')
  if (message?.qos === 1) client.ack('puback', message.messageId ?? 0)
  return message?.qos ?? -1
}

for (const clean of [true, false]) {
  const kind = clean ? 'clean' : 'persistent'
  t.test(`${kind}: SUBACK has one code a filter, in order [MQTT-3.8.4-5]`, async t => {
    const { client } = await connect(t, clean)
    t.same(
      await suback(client, [
        ['open/a', 1],
        ['open/a', 1],
      ]),
      [1, 1],
    )
    t.same(
      await suback(client, [
        ['no', 0],
        ['no', 2],
        ['no', 1],
      ]),
      [128, 128, 128],
    )
    const mixed: Asked = [
      ['open/b', 0],
      ['no', 1],
      ['open/a', 2],
      ['open/b', 1],
      ['no', 0],
      ['open/a', 0],
    ]
    t.same(await suback(client, mixed), [0, 128, 2, 1, 128, 0])
    t.same(
      await suback(client, [
        ['open/+', 2],
        ['open/c', 1],
        ['open/+', 2],
      ]),
      [2, 1, 2],
    )
  })

  t.test(`${kind}: of the same filter named twice the last counts`, async t => {
    const { client } = await connect(t, clean)
    for (const asked of [
      [0, 1],
      [1, 0],
      [1, 0, 1],
      [0, 0],
    ] as const) {
      const [topic, last] = ['open/twice', asked.at(-1)]
      t.same(
        await suback(
          client,
          asked.map(qos => [topic, qos]),
        ),
        asked,
      )
      t.equal(await received(client, topic), last)
    }
  })
}

t.test('one’s own inbox named twice: the last QoS counts, each message comes once', async t => {
  const { client, account } = await connect(t)
  const inbox = `users/${account.id}/inbox`
  t.same(
    await suback(client, [
      [`${inbox}/#`, 2],
      [`${inbox}/#`, 1],
      [`${inbox}/+`, 0],
    ]),
    [2, 1, 0],
  )
  client.publish(inbox, 'x', { qos: 0 })
  t.match(await client.take('publish'), { topic: `${inbox}/1`, qos: 1 })
  client.send({ cmd: 'pingreq' })
  await client.take('pingresp')
})

t.test('filters over the limit are refused one by one; one named again is not one more', async t => {
  const { client } = await connect(t)
  const many = Array.from({ length: 10 }, (_, i) => [`open/${i}`, 0] as const)
  const again = many.slice(3)
  const codes = await suback(client, [...many, ...again, ['open/more', 0], ['open/0', 1], ['open/more', 1]])
  t.same(codes, [...many, ...again].map(() => 0).concat([128, 1, 128]))
})

t.test('UNSUBSCRIBE with a filter named twice, and one never subscribed to, gets one UNSUBACK', async t => {
  const { client } = await connect(t)
  await suback(client, [
    ['open/a', 0],
    ['open/b', 0],
  ])
  client.send({ cmd: 'unsubscribe', messageId: 3, unsubscriptions: ['open/a', 'open/a', 'open/never'] })
  t.equal((await client.take('unsuback')).messageId, 3)
  client.publish('open/a', 'x')
  client.publish('open/b', 'x')
  t.match(await client.take('publish'), { topic: 'open/b' })
})

for (const clean of [true, false]) {
  t.test(
    `${clean ? 'clean' : 'persistent'}: SUBSCRIBE and UNSUBSCRIBE in one write count in their order`,
    async t => {
      const { client } = await connect(t, clean)
      const subscribe = {
        cmd: 'subscribe' as const,
        messageId: 1,
        subscriptions: [{ topic: 'open/a', qos: 0 as const }],
      }
      const unsubscribe = { cmd: 'unsubscribe' as const, messageId: 2, unsubscriptions: ['open/a'] }
      await suback(client, [['open/end', 0]])
      client.send(subscribe, unsubscribe)
      await client.take('suback')
      await client.take('unsuback')
      client.publish('open/a', 'not any more')
      client.publish('open/end', 'x')
      t.match(await client.take('publish'), { topic: 'open/end' })
      client.send(subscribe)
      await client.take('suback')
      client.send(unsubscribe, subscribe)
      await client.take('unsuback')
      await client.take('suback')
      client.publish('open/a', 'again')
      t.match(await client.take('publish'), { topic: 'open/a' })
    },
  )
}

t.test('after thousands of SUBSCRIBE and UNSUBSCRIBE nothing is left of them', async t => {
  const { client } = await connect(t)
  for (let round = 0; round < 200; round++) {
    const filters = Array.from({ length: 9 }, (_, i) => `open/${round}/${i % 2 ? '+' : i}/#`)
    await suback(
      client,
      [...new Set(filters)].map(topic => [topic, 0]),
    )
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: filters })
    await client.take('unsuback')
  }
  client.publish('open/1/0/x', 'x')
  t.same(await suback(client, [['open/last', 0]]), [0])
})
