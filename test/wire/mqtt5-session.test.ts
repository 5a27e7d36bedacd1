/** Sessions, wills and flow of MQTT 5 (sections 3.1.2.11, 3.1.3.2, 3.3.4, 4.1, 4.4, 4.9). */
import t, { type Test } from 'tap'
import { register, startGateway } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import {
  block,
  bytes,
  connect5,
  connectBytes,
  elapsed,
  field,
  type Packet5,
  plainBroker,
  type Raw5,
  socket5,
  unique,
} from '../helpers/raw-mqtt5.js'

const broker = await plainBroker(t)

const text = ({ payload }: Packet5): string => String(payload)
const KEPT = { sessionExpiryInterval: 3600 }

async function publish(t: Test, topic: string, payload: string, qos: 0 | 1 | 2 = 1): Promise<void> {
  const client = await connect5(t, broker)
  await client.publishAt(qos, topic, payload)
  await client.disconnect()
}

t.test(
  'clean start and expiry are two things [MQTT-3.1.3-2] [MQTT-3.1.4-4] [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.2.2-3]',
  async t => {
    const clientId = unique('client')
    const connect = async (clean: boolean, properties?: Record<string, unknown>) => {
      const client = await connect5(t, broker, { clientId, clean, ...(properties && { properties }) })
      t.equal(client.connack.reasonCode, 0)
      return client
    }
    const isPresent = ({ connack }: Raw5) => connack.sessionPresent
    const first = await connect(false)
    t.equal(isPresent(first), false, 'nothing was there')
    await first.disconnect()
    const second = await connect(false, KEPT)
    t.equal(isPresent(second), false, 'an expiry of 0 ends with the connection')
    await second.disconnect()
    const third = await connect(true, KEPT)
    t.equal(isPresent(third), false, 'clean start')
    await third.disconnect()
    const fourth = await connect(false, KEPT)
    t.equal(isPresent(fourth), true, 'a clean start may begin what is kept')
    await fourth.disconnect()
    const fifth = await connect(false)
    t.equal(isPresent(fifth), true)
    await fifth.disconnect()
    t.equal(isPresent(await connect(false)), false, 'and who gives no expiry ends it')
  },
)

t.test(
  'what a session keeps: subscriptions, what waits, in order [MQTT-3.1.2-23] [MQTT-4.5.0-1] [MQTT-4.1.0-1]',
  async t => {
    const topic = unique()
    const session = { clientId: unique('client'), clean: false, properties: KEPT }
    const client = await connect5(t, broker, session)
    await client.subscribe([{ topic, qos: 1 }])
    await client.disconnect()
    for (const payload of ['1', '2', '3']) await publish(t, topic, payload)
    const back = await connect5(t, broker, session)
    t.match(back.connack, { sessionPresent: true })
    const got = [await back.take('publish'), await back.take('publish'), await back.take('publish')]
    t.same(got.map(text), ['1', '2', '3'])
    for (const { messageId } of got) back.ack('puback', messageId)
    await publish(t, topic, 'live')
    t.equal(text(await back.take('publish')), 'live')
  },
)

t.test('a clean start forgets it all', async t => {
  const topic = unique()
  const session = { clientId: unique('client'), clean: false, properties: KEPT }
  const client = await connect5(t, broker, session)
  await client.subscribe([{ topic, qos: 1 }])
  await client.drop()
  await publish(t, topic, 'waits')
  const fresh = await connect5(t, broker, { ...session, clean: true })
  t.match(fresh.connack, { sessionPresent: false })
  await publish(t, topic, 'for nobody')
  t.same(await fresh.settled(), [])
})

t.test('a session expires when its time has passed, and not before [MQTT-4.1.0-2]', async t => {
  const session = { clientId: unique('client'), clean: false, properties: { sessionExpiryInterval: 2 } }
  const client = await connect5(t, broker, session)
  await client.drop()
  const back = await connect5(t, broker, session)
  t.match(back.connack, { sessionPresent: true })
  await back.drop()
  await elapsed(t, broker, 3)
  t.match((await connect5(t, broker, session)).connack, { sessionPresent: false })
})

t.test('DISCONNECT may give another expiry: none, or some', async t => {
  const session = { clientId: unique('client'), clean: false, properties: KEPT }
  const client = await connect5(t, broker, session)
  await client.disconnect({ properties: { sessionExpiryInterval: 0 } })
  const second = await connect5(t, broker, { ...session, properties: { sessionExpiryInterval: 1 } })
  t.match(second.connack, { sessionPresent: false })
  await second.disconnect({ properties: KEPT })
  await elapsed(t, broker, 2)
  t.match((await connect5(t, broker, session)).connack, { sessionPresent: true })
})

t.test('an expiry over the server’s is replaced, and CONNACK says by what', async t => {
  const strict = await plainBroker(t, { 'mqtt.sessionExpiry': '1h' })
  const clientId = unique('client')
  const { connack } = await connect5(t, strict, {
    clientId,
    properties: { sessionExpiryInterval: 0xffff_ffff },
  })
  t.match(connack, { properties: { sessionExpiryInterval: 3600 } })
  const short = await connect5(t, strict, { properties: { sessionExpiryInterval: 60 } })
  t.notOk('sessionExpiryInterval' in (short.connack.properties ?? {}), 'the client’s own holds')
})

t.test(
  'what was not acknowledged is sent again, with its identifier and DUP [MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.3.3-5]',
  async t => {
    const topic = unique()
    const session = { clientId: unique('client'), clean: false, properties: KEPT }
    const client = await connect5(t, broker, session)
    await client.subscribe(topic)
    await publish(t, topic, 'at 1', 1)
    await publish(t, topic, 'at 2', 2)
    await publish(t, topic, 'released', 2)
    const sent = [await client.take('publish'), await client.take('publish'), await client.take('publish')]
    const [one, two, released] = sent as [Packet5, Packet5, Packet5]
    client.ack('pubrec', released.messageId)
    t.match(await client.take('pubrel'), { messageId: released.messageId })
    t.same(await client.settled(), [], 'nothing is sent again while the connection lasts')
    await client.drop()
    const back = await connect5(t, broker, session)
    const again = [await back.next(), await back.next(), await back.next()]
    t.match(
      again.filter(({ cmd }) => cmd === 'publish').map(({ messageId, dup }) => ({ messageId, dup })),
      [
        { messageId: one.messageId, dup: true },
        { messageId: two.messageId, dup: true },
      ],
    )
    t.match(
      again.filter(({ cmd }) => cmd === 'pubrel').map(({ messageId }) => messageId),
      [released.messageId],
      'PUBREL, and not PUBLISH [MQTT-4.3.3-6]',
    )
    back.ack('pubcomp', released.messageId)
  },
)

t.test('QoS 2 from a client goes on on its next connection [MQTT-4.3.3-10]', async t => {
  const topic = unique()
  const watcher = await connect5(t, broker)
  await watcher.subscribe(topic)
  const session = { clientId: unique('client'), clean: false, properties: KEPT }
  const client = await connect5(t, broker, session)
  client.publish(topic, 'once', { qos: 2, messageId: 9 })
  await client.take('pubrec')
  await client.drop()
  const back = await connect5(t, broker, session)
  back.publish(topic, 'once', { qos: 2, messageId: 9, dup: true })
  t.match(await back.take('pubrec'), { messageId: 9 })
  back.ack('pubrel', 9)
  await back.take('pubcomp')
  await publish(t, topic, 'end')
  t.same((await watcher.settled()).map(text), ['once', 'end'])
})

t.test('a session is taken up by a client of the other version', async t => {
  const topic = unique()
  const clientId = unique('client')
  const five = await connect5(t, broker, { clientId, clean: false, properties: KEPT })
  await five.subscribe([{ topic, qos: 1, nl: true, rap: true }], { subscriptionIdentifier: 5 })
  await five.drop()
  await publish(t, topic, 'one')
  const old = await rawConnect(t, broker, { clientId, clean: false })
  t.equal(old.connack.sessionPresent, true)
  const first = await old.take('publish')
  t.match(first, { payload: Buffer.from('one'), qos: 1 })
  old.ack('puback', first.messageId)
  await old.drop()
  await publish(t, topic, 'two')
  const back = await connect5(t, broker, { clientId, clean: false, properties: KEPT })
  t.match(back.connack, { sessionPresent: true })
  t.match(await back.take('publish'), { payload: Buffer.from('two'), qos: 1 })
})

const will = (topic: string, payload: string, more: Record<string, unknown> = {}) => ({
  topic,
  payload,
  qos: 1,
  retain: false,
  ...more,
})

t.test(
  'a will is published with its properties when the connection ends [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-14] [MQTT-3.1.2-15]',
  async t => {
    for (const retain of [false, true]) {
      const topic = unique()
      const watcher = await connect5(t, broker)
      await watcher.subscribe([{ topic, rap: true }])
      const properties = {
        payloadFormatIndicator: true,
        messageExpiryInterval: 1000,
        contentType: 'text/plain',
        responseTopic: 'answers',
        correlationData: Buffer.from([1, 0, 2]),
        userProperties: { a: ['1', '2'] },
      }
      const client = await connect5(t, broker, { will: will(topic, 'gone', { retain, properties }) })
      await client.drop()
      const message = await watcher.take('publish')
      t.match(message, { qos: 1, retain, properties })
      t.equal(text(message), 'gone')
      t.notOk(message.properties?.willDelayInterval)
    }
  },
)

t.test('user properties of a will arrive unaltered, in their order [MQTT-3.1.3-10]', async t => {
  const topic = unique()
  const watcher = await connect5(t, broker)
  await watcher.subscribe(topic)
  let received = Buffer.alloc(0)
  watcher.raw.socket.on('data', chunk => {
    received = Buffer.concat([received, chunk])
  })
  const properties = bytes(...['b', 'a', 'b', ''].map((name, i) => bytes(38, field(name), field(`${i}`))))
  const client = await socket5(t, broker)
  client.send(connectBytes(0x06, 0, field(unique('client')), block(properties), field(topic), field('gone')))
  t.match(await client.take('connack'), { reasonCode: 0 })
  await client.drop()
  t.equal(text(await watcher.take('publish')), 'gone')
  t.ok(received.includes(properties), 'byte by byte')
})

t.test(
  'no will after DISCONNECT, but with 0x04 and with each failure [MQTT-3.1.2-10] [MQTT-3.14.4-3]',
  async t => {
    const topic = unique()
    const watcher = await connect5(t, broker)
    await watcher.subscribe(topic)
    for (const reasonCode of [0, 0x04, 0x80, 0x98]) {
      const client = await connect5(t, broker, { will: will(topic, `${reasonCode}`) })
      await client.disconnect({ reasonCode })
    }
    const got = [await watcher.take('publish'), await watcher.take('publish'), await watcher.take('publish')]
    t.same(got.map(text), ['4', '128', '152'])
  },
)

t.test('a delayed will is published when the delay has passed', async t => {
  const topic = unique()
  const watcher = await connect5(t, broker)
  await watcher.subscribe(topic)
  const client = await connect5(t, broker, {
    clean: false,
    properties: KEPT,
    will: will(topic, 'late', { properties: { willDelayInterval: 2 } }),
  })
  await client.drop()
  const before = Date.now()
  t.equal(text(await watcher.take('publish')), 'late')
  const waited = Date.now() - before
  t.ok(waited >= 1900 && waited < 6000, `${waited} ms`)
})

t.test('a delayed will is published when the session ends before [MQTT-3.1.2-8]', async t => {
  const topic = unique()
  const watcher = await connect5(t, broker)
  await watcher.subscribe(topic)
  const delayed = will(topic, 'ended', { properties: { willDelayInterval: 3600 } })
  const expiring = await connect5(t, broker, { properties: { sessionExpiryInterval: 1 }, will: delayed })
  await expiring.drop()
  t.equal(text(await watcher.take('publish')), 'ended', 'it expired')
  const none = await connect5(t, broker, { will: delayed })
  await none.drop()
  t.equal(text(await watcher.take('publish')), 'ended', 'it was not to be kept')
  const clientId = unique('client')
  const replaced = await connect5(t, broker, { clientId, properties: KEPT, will: delayed })
  await replaced.drop()
  await connect5(t, broker, { clientId, clean: true })
  t.equal(text(await watcher.take('publish')), 'ended', 'a clean start ended it')
})

t.test('no delayed will when its client is back in time [MQTT-3.1.3-9]', async t => {
  const topic = unique()
  const watcher = await connect5(t, broker)
  await watcher.subscribe(topic)
  const session = { clientId: unique('client'), clean: false, properties: KEPT }
  const client = await connect5(t, broker, {
    ...session,
    will: will(topic, 'too early', { properties: { willDelayInterval: 1 } }),
  })
  await client.drop()
  const back = await connect5(t, broker, session)
  t.match(back.connack, { sessionPresent: true })
  await elapsed(t, broker, 2)
  await publish(t, topic, 'end')
  t.same((await watcher.settled()).map(text), ['end'])
})

t.test('no more than receive maximum are under way [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]', async t => {
  for (const qos of [1, 2] as const) {
    const topic = unique()
    const client = await connect5(t, broker, { properties: { receiveMaximum: 2 } })
    await client.subscribe([
      { topic, qos },
      { topic: `${topic}/0`, qos: 0 },
    ])
    for (let i = 1; i <= 5; i++) await publish(t, topic, `${i}`, qos)
    await publish(t, `${topic}/0`, 'at 0', 0)
    const first = await client.settled()
    t.same(first.map(text), ['1', '2', 'at 0'], 'others are not held up [MQTT-3.3.4-10] [MQTT-4.9.0-3]')
    const seen = [...first.slice(0, 2)]
    for (let done = 0; done < 5; done++) {
      const { messageId } = seen[done] as Packet5
      if (qos === 1) client.ack('puback', messageId)
      else {
        client.ack('pubrec', messageId)
        t.match(await client.take('pubrel'), { messageId })
        t.same(await client.settled(), [], 'until PUBCOMP it counts')
        client.ack('pubcomp', messageId)
      }
      const more = await client.settled()
      t.ok(more.length <= 1)
      seen.push(...more)
    }
    t.same(seen.map(text), ['1', '2', '3', '4', '5'])
  }
})

t.test('a PUBREC that fails gives its place back', async t => {
  const topic = unique()
  const client = await connect5(t, broker, { properties: { receiveMaximum: 1 } })
  await client.subscribe(topic)
  for (const payload of ['1', '2']) await publish(t, topic, payload, 2)
  const first = await client.take('publish')
  t.same(await client.settled(), [])
  client.ack('pubrec', first.messageId, 0x83)
  t.equal(text(await client.take('publish')), '2')
})

t.test('receive maximum holds for what is sent again, too', async t => {
  const topic = unique()
  const session = { clientId: unique('client'), clean: false, properties: { ...KEPT, receiveMaximum: 3 } }
  const client = await connect5(t, broker, session)
  await client.subscribe(topic)
  for (let i = 1; i <= 5; i++) await publish(t, topic, `${i}`)
  await client.takeAll(3)
  t.same(await client.settled(), [])
  await client.drop()
  const back = await connect5(t, broker, { ...session, properties: { ...KEPT, receiveMaximum: 2 } })
  const [one, two] = [await back.take('publish'), await back.take('publish')]
  t.same([one, two].map(text), ['1', '2'])
  t.same(await back.settled(), [])
  for (const { messageId } of [one, two]) back.ack('puback', messageId)
  t.same([await back.take('publish'), await back.take('publish')].map(text), ['3', '4'])
  t.same(await back.settled(), [])
})

t.test('what is too large for a client is dropped for it alone [MQTT-3.1.2-24] [MQTT-3.1.2-25]', async t => {
  const topic = unique()
  const small = await connect5(t, broker, { properties: { maximumPacketSize: 200 } })
  const large = await connect5(t, broker)
  for (const one of [small, large]) await one.subscribe([{ topic, qos: 1 }])
  const exactly = 200 - (1 + 2 + 2 + topic.length + 2 + 1)
  const from = await connect5(t, broker)
  for (const size of [exactly + 1, exactly, 5000, 1]) {
    t.match(await from.publish1(topic, 'x'.repeat(size)), { reasonCode: 0 })
  }
  t.same(
    (await large.settled()).map(({ payload }) => payload.length),
    [exactly + 1, exactly, 5000, 1],
  )
  t.same(
    (await small.settled()).map(({ payload }) => payload.length),
    [exactly, 1],
  )
})

t.test('what is too large is dropped from a queue, too', async t => {
  const topic = unique()
  const session = { clientId: unique('client'), clean: false }
  const client = await connect5(t, broker, { ...session, properties: KEPT })
  await client.subscribe([{ topic, qos: 1 }])
  await client.drop()
  await publish(t, topic, 'x'.repeat(1000))
  await publish(t, topic, 'fits')
  const back = await connect5(t, broker, { ...session, properties: { ...KEPT, maximumPacketSize: 200 } })
  t.equal(text(await back.take('publish')), 'fits')
  t.same(await back.settled(), [])
})

t.test('more QoS 2 packets without PUBREL than the server keeps: 0x93', async t => {
  const strict = await plainBroker(t, { 'mqtt.maxUnreleased': 5 })
  const client = await connect5(t, strict)
  t.equal(client.connack.properties?.receiveMaximum, 5, 'it is told')
  for (let messageId = 1; messageId <= 6; messageId++) client.publish('t', 'x', { qos: 2, messageId })
  for (let messageId = 1; messageId <= 5; messageId++) t.match(await client.take('pubrec'), { messageId })
  t.equal(await client.dismissed(), 0x93)
})

t.test('a client that sends more than receive maximum is read later, and loses nothing', async t => {
  const topic = unique()
  const watcher = await connect5(t, broker)
  await watcher.subscribe([{ topic, qos: 0 }])
  const client = await connect5(t, broker)
  const maximum = Number(client.connack.properties?.receiveMaximum ?? 65_535)
  const count = Math.min(maximum + 50, 3000)
  for (let i = 1; i <= count; i++) client.publish(topic, `${i}`, { qos: 1, messageId: i })
  for (let i = 1; i <= count; i++) {
    const { cmd, messageId } = await client.next()
    if (cmd !== 'puback' || messageId !== i) t.fail(`${cmd} ${messageId} in place of PUBACK ${i}`)
  }
  t.equal((await watcher.settled()).length, count)
})

t.test('who does not want problems gets no reason strings in acknowledgements [MQTT-3.1.2-29]', async t => {
  const home = await startGateway(t)
  const account = await register(t, home)
  const client = await connect5(t, home, { account, properties: { requestProblemInformation: false } })
  const suback = await client.subscribe('users/100000001/inbox/#')
  t.same([suback.granted, suback.properties?.reasonString], [[0x87], undefined])
  const puback = await client.publish1('users/999999999/inbox', 'x')
  t.same([puback.reasonCode, puback.properties?.reasonString], [0x90, undefined])
})

t.test(
  'what explains a refusal is not sent where it would make the packet too large [MQTT-3.4.2-2] [MQTT-3.5.2-2]',
  async t => {
    const home = await startGateway(t)
    const account = await register(t, home)
    const refused = 'users/999999999/inbox'
    const wide = await connect5(t, home, { account })
    const explained = await wide.publish1(refused, 'x')
    t.match(explained, { reasonCode: 0x90, properties: { reasonString: String } })
    const maximumPacketSize = 2 + Number(explained.length) - 1
    const small = await connect5(t, home, { account, properties: { maximumPacketSize } })
    const puback = await small.publish1(refused, 'x')
    t.same([puback.reasonCode, puback.properties?.reasonString], [0x90, undefined])
    small.publish(refused, 'x', { qos: 2, messageId: 2 })
    const pubrec = await small.take('pubrec')
    t.same([pubrec.reasonCode, pubrec.properties?.reasonString], [0x90, undefined])
  },
)

t.test('sessions, wills and expiries outlive the server', async t => {
  const first = await plainBroker(t)
  const topic = unique()
  const session = { clientId: unique('client'), clean: false, properties: { sessionExpiryInterval: 100 } }
  const client = await connect5(t, first, session)
  await client.subscribe([{ topic, qos: 1, rap: true }], { subscriptionIdentifier: 7 })
  await client.drop()
  const from = await connect5(t, first)
  const properties = { messageExpiryInterval: 50, userProperties: { a: ['1', '2'] } }
  await from.publish1(topic, 'kept', { properties, retain: true })
  await from.publish1(topic, 'expires', { properties: { messageExpiryInterval: 1 } })
  await first.close()
  await elapsed(t, broker, 2)
  const second = await plainBroker(t, { 'data.dir': first.dir })
  const back = await connect5(t, second, session)
  t.match(back.connack, { sessionPresent: true })
  const message = await back.take('publish')
  t.match(message, {
    retain: true,
    properties: { userProperties: { a: ['1', '2'] }, subscriptionIdentifier: 7 },
  })
  const left = Number(message.properties?.messageExpiryInterval)
  t.ok(left >= 40 && left < 50, `${left} s are left`)
  t.same(await back.settled(), [])
})

t.test('a delayed will is published after a restart', async t => {
  const first = await plainBroker(t)
  const topic = unique()
  const client = await connect5(t, first, {
    clean: false,
    properties: KEPT,
    will: will(topic, 'after the restart', { retain: true, properties: { willDelayInterval: 2 } }),
  })
  await client.drop()
  await first.close()
  const second = await plainBroker(t, { 'data.dir': first.dir })
  const watcher = await connect5(t, second)
  await watcher.subscribe(topic)
  t.equal(text(await watcher.take('publish')), 'after the restart')
})
