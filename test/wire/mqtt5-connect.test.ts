/** CONNECT and CONNACK of MQTT 5 (sections 3.1, 3.2), and DISCONNECT (3.14). */
import t from 'tap'
import {
  bytes,
  connect5,
  connectBytes,
  field,
  packet,
  plainBroker,
  socket5,
  unique,
} from '../helpers/raw-mqtt5.js'

const broker = await plainBroker(t)

t.test('CONNACK says success, and no session [MQTT-3.1.4-5] [MQTT-3.2.2-2]', async t => {
  const client = await connect5(t, broker)
  t.match(client.connack, { reasonCode: 0, sessionPresent: false })
  t.same(await client.settled(), [])
})

t.test('one CONNACK comes, and before anything else [MQTT-3.2.0-1] [MQTT-3.2.0-2]', async t => {
  const client = await socket5(t, broker)
  const id = unique('client')
  client.send(
    { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clean: true, keepalive: 0, clientId: id },
    {
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [{ topic: unique(), qos: 0, nl: false, rap: false, rh: 0 }],
    },
    { cmd: 'pingreq' },
  )
  t.match(await client.next(), { cmd: 'connack', reasonCode: 0 })
  t.match(await client.next(), { cmd: 'suback', messageId: 1 })
  t.match(await client.next(), { cmd: 'pingresp' })
})

t.test('CONNACK tells no capability that is not there', async t => {
  const { connack } = await connect5(t, broker)
  const properties = connack.properties ?? {}
  const isAbsentOr = (name: string, value: unknown) =>
    t.ok([undefined, value].includes(properties[name]), name)
  t.notOk('maximumQoS' in properties, 'QoS 2 is there [MQTT-3.2.2-9]')
  isAbsentOr('retainAvailable', true)
  isAbsentOr('wildcardSubscriptionAvailable', true)
  isAbsentOr('subscriptionIdentifiersAvailable', true)
  t.not(properties.receiveMaximum, 0)
  t.not(properties.maximumPacketSize, 0)
  for (const name of [
    'authenticationMethod',
    'responseInformation',
    'assignedClientIdentifier',
    'serverReference',
  ])
    t.notOk(name in properties, name)
})

t.test('the limit on packets is told, and holds [MQTT-3.2.2-15]', async t => {
  const small = await plainBroker(t, { 'mqtt.maxPacketBytes': '1KiB' })
  const client = await connect5(t, small)
  t.equal(client.connack.properties?.maximumPacketSize, 1024)
  const around = 2 + 2 + 1 + 1 + 1
  t.match(await client.publish1('t', Buffer.alloc(1024 - around - 2)), { reasonCode: 0x10 }, 'at the limit')
  client.publish('t', Buffer.alloc(1025 - around))
  t.equal(await client.dismissed(), 0x95)
})

t.test(
  'an empty client identifier gets one that no one has [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]',
  async t => {
    const [one, two] = [
      await connect5(t, broker, { clientId: '' }),
      await connect5(t, broker, { clientId: '' }),
    ]
    const ids = [one, two].map(({ connack }) => connack.properties?.assignedClientIdentifier)
    for (const id of ids) t.ok(typeof id === 'string' && id.length > 0)
    t.not(ids[0], ids[1])
    await one.settled()
  },
)

t.test('an assigned identifier names a session that is kept', async t => {
  const client = await socket5(t, broker)
  // mqtt-packet writes no empty identifier without clean start.
  client.send(connectBytes(0x00, 5, 17, 0, 0, 0, 60, field('')))
  const { properties, reasonCode } = await client.take('connack')
  t.equal(reasonCode, 0)
  const clientId = String(properties?.assignedClientIdentifier)
  await client.drop()
  const again = await connect5(t, broker, { clientId, clean: false })
  t.match(again.connack, { sessionPresent: true })
})

t.test('identifiers of 23 letters and digits are taken [MQTT-3.1.3-5]', async t => {
  for (const clientId of ['0123456789abcdefghijklm', 'nopqrstuvwxyzABCDEFGHIJ', 'KLMNOPQRSTUVWXYZ']) {
    const { connack } = await connect5(t, broker, { clientId })
    t.match(connack, { reasonCode: 0 })
    t.notOk(connack.properties?.assignedClientIdentifier)
  }
})

t.test('an identifier that is too long gets 0x85 [MQTT-3.1.3-8]', async t => {
  const client = await connect5(t, broker, { clientId: 'i'.repeat(257) })
  t.match(client.connack, { reasonCode: 0x85, sessionPresent: false })
  await client.closed
})

t.test('a later version gets 0x84, and is closed [MQTT-3.1.2-2]', async t => {
  for (const version of [6, 0x85, 255]) {
    const client = await socket5(t, broker)
    client.send(packet(0x10, field('MQTT'), version, 2, 0, 0, 0, field('me')))
    t.equal((await client.take('connack')).reasonCode, 0x84, `${version}`)
    await client.closed
  }
})

t.test('a CONNECT with flags in its fixed header is closed [MQTT-2.1.3-1]', async t => {
  const client = await socket5(t, broker)
  client.send(bytes(0x11, connectBytes(2, 0, field('me')).subarray(1)))
  await client.closed
  t.same(client.raw.unread, [])
})

t.test('another protocol name is closed [MQTT-3.1.2-1]', async t => {
  const client = await socket5(t, broker)
  client.send(packet(0x10, field('MQTS'), 5, 2, 0, 0, 0, field('me')))
  await client.closed
})

t.test('a password needs no user name, and may be empty', async t => {
  for (const password of ['', 'secret']) {
    const client = await socket5(t, broker)
    client.send(connectBytes(0x42, 0, field(unique('client')), field(password)))
    t.match(await client.take('connack'), { reasonCode: 0 })
  }
})

t.test('a second CONNECT is a protocol error [MQTT-3.1.0-2]', async t => {
  const client = await connect5(t, broker)
  client.send(connectBytes(2, 0, field('me')))
  t.equal(await client.dismissed(), 0x82)
})

t.test(
  'nothing is done for a client whose first packet is not CONNECT [MQTT-3.1.0-1] [MQTT-3.14.0-1]',
  async t => {
    const client = await socket5(t, broker)
    client.send(packet(0xc0))
    await client.closed
    t.same(client.raw.unread, [], 'no DISCONNECT before CONNACK')
  },
)

t.test('nothing behind a CONNECT that is refused is done [MQTT-3.1.4-6] [MQTT-3.2.2-7]', async t => {
  const topic = unique()
  const watcher = await connect5(t, broker)
  await watcher.subscribe(topic)
  const client = await socket5(t, broker)
  client.send(connectBytes(2, 0, field('i'.repeat(257))), packet(0x30, field(topic), 0, 'too late'))
  t.match(await client.take('connack'), { reasonCode: 0x85 })
  await client.closed
  await (await connect5(t, broker)).publish1(topic, 'in time')
  const [message] = await watcher.settled()
  t.equal(String(message?.payload), 'in time')
})

t.test('the second with an identifier ends the first with 0x8E [MQTT-3.1.4-3]', async t => {
  const clientId = unique('client')
  const first = await connect5(t, broker, { clientId })
  const second = await connect5(t, broker, { clientId })
  t.match(second.connack, { reasonCode: 0 })
  t.equal(await first.dismissed(), 0x8e, '[MQTT-3.14.4-2]')
})

t.test('silence of one and a half times the keep alive ends it with 0x8D [MQTT-3.1.2-22]', async t => {
  const client = await connect5(t, broker, { keepalive: 1 })
  t.notOk('serverKeepAlive' in (client.connack.properties ?? {}), 'the client’s own holds [MQTT-3.2.2-22]')
  const before = Date.now()
  t.equal(await client.dismissed(), 0x8d)
  const silence = Date.now() - before
  t.ok(silence >= 1400 && silence < 4000, `${silence} ms`)
})

t.test('a keep alive over the server’s is replaced by it', async t => {
  const strict = await plainBroker(t, { 'mqtt.keepaliveLimit': '60s' })
  for (const keepalive of [0, 61, 65_535]) {
    const { connack } = await connect5(t, strict, { keepalive })
    t.match(connack, { reasonCode: 0, properties: { serverKeepAlive: 60 } }, `${keepalive}`)
  }
  const { connack } = await connect5(t, strict, { keepalive: 60 })
  t.notOk('serverKeepAlive' in (connack.properties ?? {}))
})

t.test('PINGREQ is answered [MQTT-3.12.4-1]', async t => {
  const client = await connect5(t, broker)
  t.same(await client.settled(), [])
})

t.test('enhanced authentication is refused, and no AUTH comes [MQTT-4.12.0-1] [MQTT-4.12.0-6]', async t => {
  for (const authenticationData of [undefined, Buffer.from('n,,n=user')]) {
    const client = await connect5(t, broker, {
      properties: {
        authenticationMethod: 'SCRAM-SHA-256',
        ...(authenticationData && { authenticationData }),
      },
    })
    t.equal(client.connack.reasonCode, 0x8c)
    await client.closed
  }
})

t.test('AUTH of a client without a method is a protocol error [MQTT-4.12.0-7]', async t => {
  for (const auth of [packet(0xf0), packet(0xf0, 0x19, 4, 21, field('m'))]) {
    const client = await connect5(t, broker)
    client.send(auth)
    t.equal(await client.dismissed(), 0x82)
  }
})

t.test('response information is told to who asks for it alone [MQTT-3.1.2-28]', async t => {
  for (const properties of [{}, { requestResponseInformation: false }]) {
    const { connack } = await connect5(t, broker, { properties })
    t.notOk('responseInformation' in (connack.properties ?? {}))
  }
})

t.test(
  'who has connected by DISCONNECT is closed, and the server says nothing more [MQTT-3.14.4-1]',
  async t => {
    for (const disconnect of [packet(0xe0), packet(0xe0, 0), packet(0xe0, 0, 0), packet(0xe0, 4, 0)]) {
      const client = await connect5(t, broker)
      client.send(disconnect)
      await client.closed
      t.same(client.raw.unread, [])
    }
  },
)

t.test('DISCONNECT may not give an expiry to a session that CONNECT gave none', async t => {
  const client = await connect5(t, broker)
  client.send(packet(0xe0, 0, 5, 17, 0, 0, 0, 9))
  t.equal(await client.dismissed(), 0x82)
})

t.test('a client that DISCONNECT tells of a fault is closed', async t => {
  const client = await connect5(t, broker)
  client.send({ cmd: 'disconnect', reasonCode: 0x82, properties: { reasonString: 'you are wrong' } })
  await client.closed
  t.same(client.raw.unread, [])
})

t.test('a closing server says so: 0x8B', async t => {
  const closing = await plainBroker(t)
  const client = await connect5(t, closing)
  const [{ reasonCode, properties }] = await Promise.all([client.take('disconnect'), closing.close()])
  t.equal(reasonCode, 0x8b)
  t.notOk(properties?.sessionExpiryInterval, '[MQTT-3.14.2-2]')
  await client.closed
})

t.test('a CONNACK is not larger than the client takes [MQTT-3.2.2-19] [MQTT-3.2.2-20]', async t => {
  const client = await connect5(t, broker, {
    clientId: 'i'.repeat(257),
    properties: { maximumPacketSize: 20 },
  })
  t.equal(client.connack.reasonCode, 0x85)
  t.notOk(client.connack.properties?.reasonString)
})
