/** The cost of packets of every kind. A client whose packets are read later must not time out. */
import mqttPacket, { type Packet } from 'mqtt-packet'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { limited, loggedIn, type RunningGateway, register, startGateway } from '../helpers/gateway.js'
import { startProgram } from '../helpers/program.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'
import { startControlled } from '../helpers/store-control.js'

const times = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i))

async function ping(client: RawMqtt): Promise<number> {
  const begun = performance.now()
  client.send({ cmd: 'pingreq' })
  while ((await client.next()).cmd !== 'pingresp');
  return performance.now() - begun
}

const refused = async ({ http }: RunningGateway, reason: string): Promise<number> => {
  const metrics = await (await fetch(`${http}/metrics`)).text()
  return Number(new RegExp(`mumi_mqtt_refused_total{reason="${reason}"} (\\d+)`).exec(metrics)?.[1] ?? 0)
}

// Tests come from loopback, which is not paced as shipped.
const paced = (t: Test, perSecond: number) =>
  startGateway(t, { 'limits.exempt': '', 'limits.requests': perSecond, 'mqtt.acl': 'open' })

const publish = (messageId: number, qos: 0 | 1 | 2, payload = 'x'): Packet => ({
  cmd: 'publish',
  topic: 't',
  payload,
  qos,
  messageId,
  dup: false,
  retain: false,
})

const KINDS: readonly (readonly [name: string, packets: readonly Packet[]])[] = [
  ['PUBACK', times(150, i => ({ cmd: 'puback', messageId: i + 1 }))],
  ['PUBREC', times(150, i => ({ cmd: 'pubrec', messageId: i + 1 }))],
  ['PUBREL', times(150, i => ({ cmd: 'pubrel', messageId: i + 1 }))],
  ['PUBCOMP', times(150, i => ({ cmd: 'pubcomp', messageId: i + 1 }))],
  ['PINGREQ', times(150, () => ({ cmd: 'pingreq' }))],
  ['PUBLISH', times(150, i => publish(i + 1, 0))],
  ['long PUBLISH', times(10, i => publish(i + 1, 0, 'x'.repeat(15 * 16_384)))],
  ['UNSUBSCRIBE', times(150, i => ({ cmd: 'unsubscribe', messageId: i + 1, unsubscriptions: ['a'] }))],
  [
    'SUBSCRIBE of many filters',
    [
      {
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: times(150, i => ({ topic: `${i}`, qos: 0 as const })),
      },
    ],
  ],
]

t.test('excess packets of any kind are read later', async t => {
  const gateway = await paced(t, 50)
  const measure = async ([name, packets]: (typeof KINDS)[number]): Promise<void> => {
    const client = await rawConnect(t, gateway, { account: await register(t, gateway), clientId: name })
    const begun = performance.now()
    // A burst of 500 is free, and there are 600.
    client.send(...times(450, () => ({ cmd: 'pingreq' }) as const), ...packets)
    client.send({ cmd: 'unsubscribe', messageId: 60_000, unsubscriptions: ['last'] })
    for (let packet = await client.next(); ; packet = await client.next())
      if (packet.cmd === 'unsuback' && packet.messageId === 60_000) break
    t.ok(performance.now() - begun > 1_000, name)
  }
  await Promise.all(KINDS.map(measure))
})

t.test('acknowledgements of what a device is sent are not paced', async t => {
  const gateway = await paced(t, 1)
  const account = await register(t, gateway)
  const sender = await loggedIn(t, gateway)
  const device = await rawConnect(t, gateway, { account, clientId: 'device' })
  await device.subscribe(`users/${account.id}/inbox/#`, 2)
  for (let i = 0; i < 8; i++)
    await sender.ask({ type: 'message', data: { recipient: account.id, content: `${i}` } })
  const begun = performance.now()
  for (let i = 0; i < 8; i++) {
    const { messageId } = await device.take('publish')
    device.ack('pubrec', messageId)
  }
  for (let i = 0; i < 8; i++) device.ack('pubcomp', (await device.take('pubrel')).messageId)
  t.ok(performance.now() - begun < 5_000, '16 of them at 1 a second, of a burst of 10')
  t.equal(await limited(gateway, 'limits.requests'), 0)
  t.equal(await refused(gateway, 'unsolicited'), 0)
})

t.test('unexpected acknowledgements are dropped, and counted', async t => {
  const gateway = await startGateway(t, { 'mqtt.acl': 'open' })
  const client = await rawConnect(t, gateway, { account: await register(t, gateway), clean: false })
  for (const cmd of ['puback', 'pubrec', 'pubcomp'] as const) client.ack(cmd, 7)
  await ping(client)
  t.same(client.unread, [])
  t.equal(await refused(gateway, 'unsolicited'), 3)
  client.ack('pubrel', 7)
  t.match(await client.take('pubcomp'), { messageId: 7 }, 'which must be answered')
})

t.test('ten flooding clients of an exempt address delay no other client', async t => {
  // In a process of its own: tap watches each promise in this one, which costs ten times as much as the packets do.
  const gateway = await startProgram(t)
  const account = await register(t, gateway)
  const bystander = await rawConnect(t, gateway, { account, clientId: 'bystander' })
  const flood = Buffer.concat(times(100_000, i => Buffer.of(0x62, 2, (i >> 8) & 0xff, (i & 0xff) | 1)))
  const flooders = await Promise.all(
    times(10, i => rawConnect(t, gateway, { account, clientId: `flooder ${i}` })),
  )
  for (const { socket } of flooders) socket.resume().write(flood)
  const waits = []
  for (let i = 0; i < 20; i++) waits.push(await ping(bystander))
  t.ok(Math.max(...waits) < 2_000, `${waits.map(Math.round)} ms`)
  for (const { socket } of flooders) socket.destroy()
})

t.test('a client that is read later does not time out, nor does a quiet device of the account', async t => {
  const gateway = await startGateway(t, {
    'limits.exempt': '',
    'limits.requests': 2,
    'limits.accountRequests': 2,
    'mqtt.acl': 'open',
  })
  const account = await register(t, gateway)
  const quiet = await rawConnect(t, gateway, { account, clientId: 'quiet', keepalive: 1 })
  const busy = await rawConnect(t, gateway, { account, clientId: 'busy', keepalive: 1 })
  // Ahead by some five seconds.
  busy.send(...times(30, () => publish(1, 0)))
  const end = performance.now() + 4_000
  quiet.publish('t', 'waits for the account, too')
  const pings = setInterval(() => {
    for (const client of [busy, quiet]) client.send({ cmd: 'pingreq' })
  }, 500)
  const lost = Promise.race([busy.closed, quiet.closed]).then(() => true)
  const isLost = await Promise.race([
    lost,
    new Promise(resolve => setTimeout(resolve, end - performance.now(), false)),
  ])
  clearInterval(pings)
  t.equal(isLost, false)
  await busy.closed
  t.pass('and then silence counts')
})

t.test('only the identifier of a refused QoS 2 PUBLISH is kept', async t => {
  const gateway = await startControlled(t)
  const client = await rawConnect(t, gateway, { account: await register(t, gateway), clean: false })
  for (let messageId = 1; messageId <= 5; messageId++) {
    client.send(publish(messageId, 2, 'x'.repeat(500_000)))
    t.match(await client.take('pubrec'), { messageId })
  }
  let count = 0
  for await (const { value } of gateway.store.kv.kvRange('incoming', [])) {
    count++
    t.ok(value.byteLength < 10)
  }
  t.equal(count, 5)
  for (let messageId = 1; messageId <= 5; messageId++) {
    client.ack('pubrel', messageId)
    await client.take('pubcomp')
  }
  for await (const row of gateway.store.kv.kvRange('incoming', [])) t.fail(`${row.key}`)
})

t.test('over mqtt.maxUnreleased a session is closed, with one line, also when it came back', async t => {
  const gateway = await startGateway(t, { 'mqtt.maxUnreleased': 3, 'mqtt.acl': 'open' })
  const session = { account: await register(t, gateway), clientId: 'device', clean: false }
  const client = await rawConnect(t, gateway, session)
  client.send(...times(3, i => publish(i + 1, 2)))
  for (let i = 0; i < 3; i++) await client.take('pubrec')
  client.send(...times(10, i => publish(i + 4, 2)))
  await client.closed
  t.equal(await limited(gateway, 'mqtt.maxUnreleased'), 1)
  t.equal(gateway.logs.filter(({ event }) => event === 'client.failed').length, 1)
  const back = await rawConnect(t, gateway, session)
  back.send(publish(1, 2))
  t.match(await back.take('pubrec'), { messageId: 1 }, 'a repeat is none more')
  back.send(publish(50, 2))
  await back.closed
  const again = await rawConnect(t, gateway, session)
  again.ack('pubrel', 1)
  await again.take('pubcomp')
  again.send(publish(50, 2))
  await again.take('pubrec')
})

t.test('MQTT 3.1: long client ids, and DUP on SUBSCRIBE, UNSUBSCRIBE and PUBREL', async t => {
  const gateway = await startGateway(t)
  const account = await register(t, gateway)
  const old = { account, protocolId: 'MQIsdp', protocolVersion: 3, clientId: 'c'.repeat(200) } as const
  const client = await rawConnect(t, gateway, old)
  t.equal(client.connack.returnCode, 0)
  const again = (packet: Packet): Buffer => {
    const bytes = mqttPacket.generate(packet)
    bytes[0] = (bytes[0] ?? 0) | 0x08
    return bytes
  }
  const topic = `users/${account.id}/inbox/#`
  client.send(again({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos: 1 }] }))
  t.match(await client.take('suback'), { messageId: 1, granted: [1] })
  client.send(again({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [topic] }))
  t.match(await client.take('unsuback'), { messageId: 2 })
  client.send(again({ cmd: 'pubrel', messageId: 3 }))
  t.match(await client.take('pubcomp'), { messageId: 3 })
})

t.test('one WebSocket message may hold packets that are together longer than one may be', async t => {
  const gateway = await startGateway(t, { 'mqtt.maxPacketBytes': '1KiB', 'mqtt.acl': 'open' })
  const account = await register(t, gateway)
  const ws = new WebSocket(`ws://127.0.0.1:${gateway.httpPort}/mqtt`, 'mqtt')
  t.teardown(() => ws.terminate())
  const parser = mqttPacket.parser()
  let acknowledged = 0
  const all = new Promise<void>(resolve => {
    parser.on('packet', ({ cmd }) => {
      if (cmd === 'puback' && ++acknowledged === 50) resolve()
    })
  })
  ws.on('message', data => parser.parse(data as Buffer))
  await new Promise(resolve => ws.once('open', resolve))
  const login = { username: account.email, password: Buffer.from(account.password) }
  const connect: Packet = { cmd: 'connect', clientId: 'ws', clean: true, keepalive: 0, ...login }
  const packets = [connect, ...times(50, i => publish(i + 1, 1, 'x'.repeat(900)))]
  ws.send(Buffer.concat(packets.map(one => mqttPacket.generate(one))))
  await all
  const closed = new Promise(resolve => ws.once('close', resolve))
  ws.send(mqttPacket.generate(publish(1, 1, 'x'.repeat(1_100))))
  await closed
  t.equal(await limited(gateway, 'mqtt.maxPacketBytes'), 1)
})

t.test('a CONNECT that is refused for its will says so in the log', async t => {
  const gateway = await startGateway(t)
  const account = await register(t, gateway)
  const will = { topic: 'not/granted', payload: Buffer.from('x'), qos: 0, retain: false } as const
  t.equal((await rawConnect(t, gateway, { account, will })).connack.returnCode, 5)
  const line = gateway.logs.find(({ event }) => event === 'will.refused')
  t.match(line, { userId: account.id, device: 'raw' })
})
