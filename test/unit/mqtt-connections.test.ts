/** What stands around the MQTT command files: sockets, the connection, acknowledgements, the broker's state. */
import { Duplex } from 'node:stream'
import mqttPacket, { type IConnectPacket } from 'mqtt-packet'
import t from 'tap'
import { CODES, GatewayError } from '../../src/core/errors.js'
import { Acknowledgements, Receipt } from '../../src/mqtt/acknowledgements.js'
import { MqttConnection } from '../../src/mqtt/connection.js'
import { logStoreFault } from '../../src/mqtt/parts.js'
import { BrokerPersistence } from '../../src/mqtt/routing/persistence/persistence.js'
import { openConnection } from '../../src/mqtt/socket.js'
import { all, publication } from '../helpers/broker-persistence.js'
import { HeldKv } from '../helpers/held-kv.js'
import { ofKind } from '../helpers/kind.js'
import { PASSWORD, startParts } from '../helpers/mqtt-parts.js'

const { parts, logs, register, open } = await startParts(t)
const turn = () => new Promise(setImmediate)

// ── acknowledgements, parts ───────────────────────────────────────────────────────────────────────────────

const receipts = (published: (receipt: Receipt) => void, answered: (...about: unknown[]) => void) => {
  const sender = { metrics: { answered: answered as never }, published }
  return (messageId?: number) => new Receipt(sender, 1, messageId, 0)
}

t.test('acknowledgements leave in the order of their packets [MQTT-4.6.0-2]', async t => {
  const left: unknown[] = []
  const acknowledgements = new Acknowledgements()
  const make = receipts(
    ({ messageId, error, reason, why }) => left.push([messageId, error, reason, why]),
    () => undefined,
  )
  const [first, second, third] = [1, 2, 3].map(id => make(id))
  for (const receipt of [first, second, third]) if (receipt) acknowledgements.reserve(receipt)
  const failure = new Error('store')
  third?.settle(null, 0x10, 'nobody')
  second?.settle(failure)
  t.same(left, [])
  first?.settle()
  t.same(left, [
    [1, null, undefined, undefined],
    [2, failure, undefined, undefined],
    [3, null, 0x10, 'nobody'],
  ])
})

t.test('a message is acknowledged when it is stored; of a recipient who is gone, too', async t => {
  const answered: unknown[] = []
  const outcomeOf = (decide: (receipt: Receipt) => void) => {
    let outcome: unknown = 'none'
    const make = receipts(
      ({ error }) => {
        outcome = error
      },
      (...about) => answered.push(about),
    )
    decide(make())
    return outcome
  }
  const full = new GatewayError('INBOX_FULL')
  t.equal(
    outcomeOf(receipt => receipt.stored()),
    null,
  )
  t.equal(
    outcomeOf(receipt => receipt.failed(full)),
    full,
  )
  t.equal(
    outcomeOf(receipt => receipt.failed(new GatewayError('ERROR_FIND_USER'))),
    null,
  )
  t.same(
    answered,
    [CODES.MESSAGE_SUCCESS, CODES.INBOX_FULL, CODES.ERROR_FIND_USER].map(({ code }) => [
      'mqtt',
      'message',
      code,
    ]),
  )
})

t.test('what a receipt waits for besides its turn is asked once', async t => {
  const log: unknown[] = []
  const make = receipts(
    ({ reason }) => log.push(reason),
    () => undefined,
  )
  const receipt = make()
  receipt.recorder = one => {
    log.push('recorded')
    one.settle(null, one.reason)
  }
  receipt.settle(null, 7)
  t.same(log, ['recorded', 7])
})

t.test('a store that fails where no client waits is in the log, with its cause', async t => {
  logStoreFault(parts, 'expire', new TypeError('x'))
  t.match(logs.at(-1), { level: 'error', event: 'store.failed', operation: 'expire', err: { message: 'x' } })
})

// ── socket, connection ────────────────────────────────────────────────────────────────────────────────────

const gauge = async () => (await parts.metrics.connections.get()).values[0]?.value ?? 0
const counted = async (limit: string) =>
  (await parts.metrics.limited.get()).values.find(({ labels }) => labels.limit === limit)?.value ?? 0

t.test(
  'a socket is counted until it closes; what is malformed ends it, and a limit is counted by its key',
  async t => {
    const before = await gauge()
    const will = { topic: 't', payload: Buffer.alloc(2000), qos: 0, retain: false } as const
    const connect = { cmd: 'connect', clientId: 'x', clean: true, keepalive: 0, will } as const
    for (const [bytes, event] of [
      [Buffer.of(0, 0), 'packet.refused'],
      [mqttPacket.generate(connect), 'packet.refused'],
    ] as const) {
      const stream = new Duplex({
        read: () => undefined,
        write: (_bytes, _encoding, done) => done(),
        // The client closes its side, too.
        final: done => {
          stream.push(null)
          done()
        },
      })
      const closed = new Promise(resolve => stream.once('close', resolve))
      openConnection(parts, stream, { remoteAddress: '192.0.2.1' })
      t.equal(await gauge(), before + 1)
      stream.push(bytes)
      await closed
      await turn()
      t.equal(await gauge(), before)
      t.ok(logs.some(line => line.event === event))
    }
    t.equal(await counted('mqtt.maxWillBytes'), 1)
  },
)

t.test('a connection is its user’s from CONNECT on, and ends once', async t => {
  const user = await register('eva')
  const client = open()
  const login: Partial<IConnectPacket> = { username: user.email, password: Buffer.from(PASSWORD) }
  client.send({ cmd: 'connect', clientId: 'phone', clean: true, keepalive: 0, ...login })
  t.match(await client.take('connack'), { returnCode: 0 })
  while (parts.connections.holderOf(`${user.id}:phone`) === undefined) await turn()
  const connection = parts.connections.holderOf(`${user.id}:phone`) as MqttConnection
  t.ok(connection instanceof MqttConnection)
  t.match(connection, { userId: user.id, device: 'mqtt phone', hasLeft: false, isGone: false })
  t.ok(parts.services.live.isOnline(user.id))
  t.equal(await connection.probe(), true)
  connection.leave()
  connection.end('SLOW_CLIENT')
  await client.closed
  t.ok(connection.permissions?.areRevoked, 'what it had sent is not done any more')
  t.match(connection, { hasLeft: true, isGone: true })
  t.equal(await connection.probe(), false)
  t.notOk(parts.services.live.isOnline(user.id))
  t.match(
    logs.filter(line => line.event === 'connection.ended' && line.userId === user.id),
    [{ reason: 'ERROR_CONNECTION_CLOSED', device: 'phone' }],
  )
})

t.test('a client that sends no CONNECT in time is closed, and counted', async t => {
  const own = await startParts(t, { connectTimeoutMs: 5 })
  const client = own.open()
  await client.closed
  t.ok(own.logs.some(line => line.event === 'socket.failed' && /connect/.test(`${line.reason}`)))
  const { values } = await own.parts.metrics.limited.get()
  t.equal(values.find(({ labels }) => labels.limit === 'mqtt.connectTimeout')?.value, 1)
})

t.test('a connection that fails says why in the log, once', async t => {
  const client = open()
  client.send({ cmd: 'connect', clientId: 'fails', clean: true, keepalive: 0 })
  await client.take('connack')
  const connection = parts.connections.holderOf('anonymous:fails') as MqttConnection
  connection.fail(new Error('first'))
  connection.fail(new Error('second'))
  await client.closed
  const failed = logs.filter(line => line.event === 'client.failed')
  t.match(failed, [{ reason: 'first' }])
  t.equal(failed.length, 1)
})

// ── routing/persistence ─────────────────────────────────────────────────────────────────────────────────────

async function persistence(clients: Record<string, unknown> = {}) {
  const kv = new HeldKv()
  const faults: unknown[] = []
  const one = new BrokerPersistence(kv, { onError: error => faults.push(error) })
  await one.setup({ id: 'broker', clients })
  return { one, kv, faults }
}

t.test(
  'persistence: an identifier that waits for PUBREL is found; Aedes learns of a new one by a rejection',
  async t => {
    const { one } = await persistence()
    const client = { id: 'ann:a', clean: false }
    const packet = publication('t', { messageId: 7 })
    await t.rejects(one.incomingGetPacket(client, packet))
    await one.incomingStorePacket(client, packet)
    t.same(await one.incomingGetPacket(client, packet), { messageId: 7 })
    t.same([...one.incomingIds(client)], [7])
    await one.incomingDelPacket(client, packet)
    t.notOk(await one.hasIncoming(client, packet))
  },
)

t.test('persistence: only the connection that has the id ends its QoS 2 packets', async t => {
  const holder = { id: 'ann:a', clean: true }
  const { one } = await persistence({ 'ann:a': holder })
  const packet = publication('t', { messageId: 7 })
  await one.incomingStorePacket(holder, packet)
  for (const other of [
    { id: null },
    { id: 'ann:a', clean: true },
    { id: 'ann:a', clean: true, _authorized: false },
  ] as const)
    await one.cleanIncoming(other as typeof holder)
  t.ok(await one.hasIncoming(holder, packet))
  await one.cleanIncoming(holder)
  t.notOk(await one.hasIncoming(holder, packet))
})

t.test(
  'persistence: a will has its broker and client; its removal is reported, and never rejects',
  async t => {
    const { one, kv, faults } = await persistence()
    const client = { id: 'ann:a', clean: true, closed: false }
    const packet = publication('gone')
    await one.putWill(client, packet)
    t.match(packet, { brokerId: 'broker', clientId: 'ann:a' })
    t.match(await all(one.streamWill()), [{ topic: 'gone' }])
    client.closed = true
    kv.isFailing = true
    t.equal(await one.delWill(client), undefined)
    t.match(faults, [ofKind('STORE_UNAVAILABLE')])
  },
)
