/** PUBLISH to an inbox: order, faults, take-over and shutdown. */
import type { Packet } from 'mqtt-packet'
import t from 'tap'
import { register, startGateway } from '../helpers/gateway.js'
import { contents, inboxOf, message } from '../helpers/inbox-messages.js'
import { type RawMqtt, rawConnect, rawSocket } from '../helpers/raw-mqtt.js'
import { startControlled } from '../helpers/store-control.js'

const gateway = await startGateway(t, { 'mqtt.acl': 'open' })

/** A PINGREQ is answered: all that was sent before is handled. */
async function ping(client: RawMqtt): Promise<void> {
  client.send({ cmd: 'pingreq' })
  await client.take('pingresp')
}

const field = (data: Buffer) => Buffer.concat([Buffer.from([data.length >> 8, data.length & 0xff]), data])

/** @param length as the fixed header tells it; default: what it is */
function rawPublish(topic: Buffer, messageId: number, { first = 0x32, length = -1 } = {}): Buffer {
  const body = Buffer.concat([
    field(topic),
    Buffer.from([messageId >> 8, messageId & 0xff]),
    Buffer.from('x'),
  ])
  return Buffer.concat([Buffer.from([first, length < 0 ? body.length : length]), body])
}

const MALFORMED: readonly [string, string, (topic: string) => Buffer][] = [
  ['packet id 0', '[MQTT-2.3.1-1]', topic => rawPublish(Buffer.from(topic), 0)],
  [
    'a length that ends in the topic',
    '[MQTT-4.8.0-1]',
    topic => rawPublish(Buffer.from(topic), 5, { length: 9 }),
  ],
  [
    'a length that ends in the packet id',
    '[MQTT-4.8.0-1]',
    topic => rawPublish(Buffer.from(topic), 5, { length: 24 }),
  ],
  ['+ in the topic', '[MQTT-4.7.1-1]', () => rawPublish(Buffer.from('users/+23456789/inbox'), 5)],
  ['NUL in the topic', '[MQTT-1.5.3-2]', () => rawPublish(Buffer.from('users/12345678\0/inbox'), 5)],
  [
    'ill-formed UTF-8 in the topic',
    '[MQTT-1.5.3-1]',
    () => rawPublish(Buffer.from('users/12345678\xc3/inbox', 'latin1'), 5),
  ],
  ['QoS 3', '[MQTT-3.3.1-4]', topic => rawPublish(Buffer.from(topic), 5, { first: 0x36 })],
  ['a PUBACK of three bytes', '[MQTT-4.8.0-1]', () => Buffer.from([0x40, 3, 0x80, 0, 1])],
  ['a PUBACK of packet id 0', '[MQTT-2.3.1-1]', () => Buffer.from([0x40, 2, 0, 0])],
  ['a PUBACK with flags', '[MQTT-2.2.2-2]', () => Buffer.from([0x41, 2, 0x80, 0])],
  ['a packet too large', 'maxPacketBytes', () => Buffer.from([0x32, 0xff, 0xff, 0xff, 0x7f])],
]

t.test('a malformed packet ends the connection, and messages before it are stored', async t => {
  for (const [name, clause, malformed] of MALFORMED) {
    const account = await register(t, gateway)
    const client = await rawConnect(t, gateway, { account, clientId: 'sender' })
    const inbox = inboxOf(account)
    client.send(message(inbox, 'before', 1), malformed(inbox), message(inbox, 'behind', 2))
    await client.closed
    t.equal(gateway.logs.findLast(({ event }) => event === 'packet.refused')?.clause, clause, name)
    t.same(await contents(t, gateway, account), ['before'], name)
  }
})

t.test('a PUBACK waits for those of packets that came before', async t => {
  const own = await startControlled(t, { 'mqtt.acl': 'open' })
  const account = await register(t, own)
  const client = await rawConnect(t, own, { account, clientId: 'sender' })
  const release = own.hold('kvWrite')
  client.send({ ...message('kept', 'x', 1), retain: true } as Packet)
  await ping(client)
  client.send(message(inboxOf(account), 'a', 2), message(inboxOf(account), 'b', 3))
  t.same(await contents(t, own, account), ['a', 'b'], 'stored, both of them')
  t.same(client.unread, [])
  release()
  for (const id of [1, 2, 3]) t.equal((await client.take('puback')).messageId, id)
})

t.test('a take-over while messages are being stored, and their resends, store each once', async t => {
  for (const clean of [true, false]) {
    const own = await startControlled(t)
    const account = await register(t, own)
    const login = { account, clientId: 'sender', clean }
    const one = await rawConnect(t, own, login)
    const release = own.hold('append')
    one.send(...[1, 2, 3].map(id => message(inboxOf(account), `${id}`, id)), { cmd: 'pingreq' })
    await one.take('pingresp')
    const two = await rawConnect(t, own, login)
    await one.closed
    t.same(one.unread, [])
    two.send(...[1, 2, 3].map(id => message(inboxOf(account), `${id}`, id, true)))
    two.send(message(inboxOf(account), '4', 4))
    release()
    for (const id of [1, 2, 3, 4]) t.equal((await two.take('puback')).messageId, id)
    t.same(await contents(t, own, account), ['1', '2', '3', '4'])
  }
})

t.test('a store that fails acknowledges nothing, and closes the connection', async t => {
  const own = await startControlled(t)
  const account = await register(t, own)
  const client = await rawConnect(t, own, { account, clientId: 'sender' })
  client.send(message(inboxOf(account), 'a', 1))
  await client.take('puback')
  const restore = own.fail('append', 'STORE_FULL')
  client.send(message(inboxOf(account), 'b', 2), message(inboxOf(account), 'c', 3))
  await client.closed
  t.same(client.unread, [])
  restore()
  t.same(await contents(t, own, account), ['a'])
})

t.test('a gateway that is closing takes no message, and keeps those that it took', async t => {
  const own = await startControlled(t)
  const account = await register(t, own)
  const client = await rawConnect(t, own, { account, clientId: 'sender' })
  const release = own.hold('append')
  client.send(message(inboxOf(account), 'before', 1))
  await ping(client)
  const closing = own.close()
  client.send(message(inboxOf(account), 'late', 2))
  await client.closed
  t.same(client.unread, [])
  release()
  await closing
  const again = await startGateway(t, { 'data.dir': own.dir })
  t.same(await contents(t, again, account), ['before'])
})

t.test('a will comes behind the last messages of its client', async t => {
  const account = await register(t, gateway)
  const will = { topic: inboxOf(account), payload: Buffer.from('will'), qos: 1 as const, retain: false }
  const client = await rawConnect(t, gateway, { account, clientId: 'sender', will })
  const witness = await rawConnect(t, gateway, { account, clientId: 'witness' })
  await witness.subscribe(`${inboxOf(account)}/#`)
  client.send(message(inboxOf(account), 'a', 1), message(inboxOf(account), 'b', 2))
  client.socket.end()
  for (const content of ['a', 'b', 'will']) {
    t.equal(JSON.parse((await witness.take('publish')).payload.toString()).content, content)
  }
})

t.test(
  'a client that sends nothing but messages and PUBACKs is alive; one that falls silent is not',
  async t => {
    const account = await register(t, gateway)
    const client = await rawConnect(t, gateway, { account, clientId: 'sender', keepalive: 1 })
    await client.subscribe(`${inboxOf(account)}/#`)
    // [MQTT-3.1.2-24]: one and a half times the keep-alive.
    const end = performance.now() + 1_800
    let sent = 0
    for (; performance.now() < end; sent++) {
      client.send(message(inboxOf(account), `${sent}`, 1 + (sent % 1000)))
      for (const packet of [await client.next(), await client.next()])
        if (packet.cmd === 'publish') client.ack('puback', packet.messageId ?? 0)
    }
    await client.closed
  },
)

t.test('what is pipelined behind CONNECT is taken in order', async t => {
  const account = await register(t, gateway)
  const client = await rawSocket(t, gateway)
  const login = { username: account.email, password: Buffer.from(account.password) }
  client.send(
    { cmd: 'connect', clientId: 'sender', clean: true, keepalive: 0, ...login },
    ...[1, 2, 3].map(id => message(inboxOf(account), `${id}`, id)),
  )
  await client.take('connack')
  client.send(message(inboxOf(account), '4', 4))
  for (const id of [1, 2, 3, 4]) t.equal((await client.take('puback')).messageId, id)
  t.same(await contents(t, gateway, account), ['1', '2', '3', '4'])
})
