/** Shared subscriptions of MQTT 5 (section 4.8.2). */
import t, { type Test } from 'tap'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { connect5, type Packet5, plainBroker, type Raw5, unique } from '../helpers/raw-mqtt5.js'

const broker = await plainBroker(t)

const text = ({ payload }: Packet5): string => String(payload)

async function member(t: Test, filter: string, options: Parameters<typeof connect5>[2] = {}): Promise<Raw5> {
  const client = await connect5(t, broker, options)
  t.match(await client.subscribe(filter), { granted: [2] })
  return client
}

async function publish(
  t: Test,
  topic: string,
  payloads: readonly string[],
  qos: 0 | 1 | 2 = 1,
): Promise<void> {
  const client = await connect5(t, broker)
  for (const payload of payloads) await client.publishAt(qos, topic, payload)
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`)

t.test('CONNACK says that they are there', async t => {
  const { connack } = await connect5(t, broker)
  t.not(connack.properties?.sharedSubscriptionAvailable, false)
})

t.test('each message goes to one member of the group, and to every other subscriber', async t => {
  const topic = unique()
  const members = [await member(t, `$share/g/${topic}`), await member(t, `$share/g/${topic}`)]
  const [other, alone] = [await member(t, `$share/h/${topic}`), await member(t, topic)]
  await publish(t, topic, numbers(20))
  const got = await Promise.all(members.map(async one => (await one.settled()).map(text)))
  t.same(
    got.flat().sort((a, b) => Number(a) - Number(b)),
    numbers(20),
  )
  for (const one of got) t.ok(one.length >= 5, `${one.length} of 20: the spread is even`)
  t.same((await other.settled()).map(text), numbers(20))
  t.same((await alone.settled()).map(text), numbers(20))
})

t.test('the granted QoS of the member holds [MQTT-4.8.2-3]', async t => {
  const topic = unique()
  const client = await connect5(t, broker)
  await client.subscribe([{ topic: `$share/g/${topic}`, qos: 1 }], { subscriptionIdentifier: 9 })
  await publish(t, topic, ['x'], 2)
  t.match(await client.take('publish'), { qos: 1, properties: { subscriptionIdentifier: 9 } })
})

t.test('no retained messages are sent to a shared subscription', async t => {
  const topic = unique()
  const from = await connect5(t, broker)
  await from.publish1(topic, 'kept', { retain: true })
  const client = await member(t, `$share/g/${topic}`)
  t.same(await client.settled(), [])
})

t.test('a member that is away is passed over', async t => {
  const topic = unique()
  const here = await member(t, `$share/g/${topic}`)
  const away = await member(t, `$share/g/${topic}`, {
    clean: false,
    properties: { sessionExpiryInterval: 60 },
  })
  await away.drop()
  await publish(t, topic, numbers(10))
  t.same((await here.settled()).map(text), numbers(10))
})

t.test('a member with no room is passed over', async t => {
  const topic = unique()
  const full = await member(t, `$share/g/${topic}`, { properties: { receiveMaximum: 1 } })
  const free = await member(t, `$share/g/${topic}`)
  await publish(t, topic, numbers(10))
  const got = [await full.settled(), await free.settled()]
  t.equal(got[0]?.length, 1)
  t.equal(got[1]?.length, 9)
})

t.test('what a member did not acknowledge before it vanished goes to another', async t => {
  const topic = unique()
  const gone = await member(t, `$share/g/${topic}`)
  await publish(t, topic, ['1', '2'])
  t.equal((await gone.settled()).length, 2)
  const other = await member(t, `$share/g/${topic}`)
  await gone.drop()
  const got = [await other.take('publish'), await other.take('publish')]
  t.same(got.map(text).sort(), ['1', '2'])
})

t.test('a message that its member refused goes to nobody else [MQTT-4.8.2-6]', async t => {
  const topic = unique()
  const one = await member(t, `$share/g/${topic}`)
  await publish(t, topic, ['refused'])
  const { messageId } = await one.take('publish')
  const two = await member(t, `$share/g/${topic}`)
  one.ack('puback', messageId, 0x83)
  await one.disconnect()
  t.same(await two.settled(), [])
})

t.test('QoS 2 that has begun is finished by its member or by none [MQTT-4.8.2-4] [MQTT-4.8.2-5]', async t => {
  const topic = unique()
  const session = { clientId: unique('client'), clean: false, properties: { sessionExpiryInterval: 60 } }
  const one = await member(t, `$share/g/${topic}`, session)
  await publish(t, topic, ['x'], 2)
  const { messageId } = await one.take('publish')
  const two = await member(t, `$share/g/${topic}`)
  one.ack('pubrec', messageId)
  await one.take('pubrel')
  await one.drop()
  t.same(await two.settled(), [])
  const back = await connect5(t, broker, session)
  t.match(await back.take('pubrel'), { messageId })
  await back.disconnect({ properties: { sessionExpiryInterval: 0 } })
  t.same(await two.settled(), [], 'its session has ended')
})

t.test('UNSUBSCRIBE takes a member out', async t => {
  const topic = unique()
  const [one, two] = [await member(t, `$share/g/${topic}`), await member(t, `$share/g/${topic}`)]
  t.same((await one.unsubscribe(`$share/g/${topic}`, `$share/none/${topic}`)).granted, [0, 0x11])
  await publish(t, topic, numbers(4))
  t.same(await one.settled(), [])
  t.equal((await two.settled()).length, 4)
})

t.test('an inbox is shared by nobody', async t => {
  const client = await connect5(t, broker)
  t.same((await client.subscribe('$share/g/users/100000001/inbox/#')).granted, [0x9e])
})

const KEPT = { clean: false, properties: { sessionExpiryInterval: 600 } }

t.test(
  'of members that are all away one gets it when it is back, with the identifier of its subscription',
  async t => {
    const topic = unique()
    const sessions = [unique('client'), unique('client')].map(clientId => ({ clientId, ...KEPT }))
    for (const session of sessions) {
      const client = await connect5(t, broker, session)
      await client.subscribe([{ topic: `$share/g/${topic}`, qos: 1 }], { subscriptionIdentifier: 77 })
      await client.drop()
    }
    await publish(t, topic, numbers(5))
    const back = [await connect5(t, broker, sessions[0]), await connect5(t, broker, sessions[1])]
    const got = await Promise.any(back.map(client => client.takeAll(5)))
    t.same(got.map(text).sort(), numbers(5))
    for (const { properties } of got) t.match(properties, { subscriptionIdentifier: 77 })
  },
)

t.test(
  'what a kept session did not acknowledge goes to another member, and does not come to it again',
  async t => {
    const topic = unique()
    const session = { clientId: unique('client'), ...KEPT }
    const gone = await member(t, `$share/g/${topic}`, session)
    await publish(t, topic, ['1', '2'])
    await gone.takeAll(2)
    const other = await member(t, `$share/g/${topic}`, { clientId: unique('client'), ...KEPT })
    await gone.drop()
    const got = [await other.take('publish'), await other.take('publish')]
    t.same(got.map(text), ['1', '2'])
    for (const { messageId } of got) other.ack('puback', messageId)
    t.same(await other.settled(), [])
    const back = await connect5(t, broker, session)
    t.same(await back.settled(), [])
  },
)

t.test('nothing is lost while members come and go', async t => {
  const topic = unique()
  const got = new Set<string>()
  const count = 300
  const join = () => member(t, `$share/g/${topic}`, { properties: { receiveMaximum: 5 } })
  const steady = await join()
  let visitor = await join()
  const work = (async () => {
    while (got.size < count) {
      const message = await steady.next()
      if (message.cmd !== 'publish') continue
      got.add(text(message))
      steady.ack(message.qos === 2 ? 'pubrec' : 'puback', message.messageId)
    }
  })()
  const from = await connect5(t, broker)
  for (const payload of numbers(count)) {
    await from.publish1(topic, payload)
    if (Number(payload) % 10 !== 9) continue
    // It acknowledges one of what it has, and vanishes with the rest.
    const [first] = await visitor.settled()
    if (first !== undefined) {
      got.add(text(first))
      visitor.ack('puback', first.messageId)
      await visitor.settled()
    }
    await visitor.drop()
    visitor = await join()
  }
  await visitor.drop()
  await work
  t.equal(got.size, count)
})

t.test('a client of 3.1.1 is a member, too', async t => {
  const topic = unique()
  const old = await rawConnect(t, broker, { clientId: unique('client') })
  t.same(
    await old.subscribe([`$share/g/${topic}`, '$share/g/users/100000001/inbox/#', '$share/g']),
    [1, 0x80, 0x80],
  )
  const five = await member(t, `$share/g/${topic}`)
  await publish(t, topic, ['1', '2'])
  const here = await five.settled()
  t.equal(here.length, 1)
  t.not(text(here[0] as Packet5), String((await old.take('publish')).payload))
})
