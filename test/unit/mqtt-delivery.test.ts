/** Delivery to one MQTT client, its input, its requests, and the list of connections, without sockets. */
import { Duplex } from 'node:stream'
import mqttPacket, { type Packet } from 'mqtt-packet'
import t from 'tap'
import type { MqttConnection } from '../../src/mqtt/connection.js'
import { Connections } from '../../src/mqtt/connections.js'
import type { BrokerParts } from '../../src/mqtt/parts.js'
import { type Asker, tellReply } from '../../src/mqtt/replies.js'
import { Requests } from '../../src/mqtt/requests.js'
import { ClientDelivery } from '../../src/mqtt/routing/delivery.js'
import type { DeliveryRules, Recipient } from '../../src/mqtt/routing/delivery-rules.js'
import { makePacket, type RoutedPacket } from '../../src/mqtt/routing/packet.js'
import { FIRST_INBOX_ID, PacketIds } from '../../src/mqtt/routing/packet-ids.js'
import { Router } from '../../src/mqtt/routing/router.js'
import { SocketInput } from '../../src/mqtt/wire/socket-input.js'
import { InFlight, TERMS4 } from '../../src/mqtt/wire/terms.js'
import type { MqttTransport } from '../../src/mqtt/wire/transport.js'
import { ANN } from '../helpers/store-samples.js'
import { CONNECT, options } from '../helpers/transport.js'

const turn = () => new Promise(resolve => setImmediate(resolve))

function parse(bytes: Buffer): Packet {
  const found: Packet[] = []
  const parser = mqttPacket.parser()
  parser.on('packet', (packet: Packet) => found.push(packet))
  parser.parse(bytes)
  return found[0] as Packet
}

class Transport {
  isCongested = false
  expected = 0
  readonly sent: string[] = []
  readonly bytes: Buffer[] = []

  expect(count: number): void {
    this.expected += count
  }

  async drained(): Promise<void> {}

  send(bytes: Buffer): void {
    this.bytes.push(bytes)
    const { topic, qos, messageId } = parse(bytes) as Extract<Packet, { cmd: 'publish' }>
    this.sent.push(messageId === undefined ? `${topic} ${qos}` : `${topic} ${qos} #${messageId}`)
  }
}

function setUp(rules: Partial<DeliveryRules> = {}, more: Partial<Recipient> = {}) {
  const transport = new Transport()
  const seen = { skipped: 0, overrun: 0, recorded: [] as string[] }
  const client = {
    id: 'ann:a',
    clean: false,
    closed: false,
    terms: TERMS4,
    mayRead: (topic: string) => topic !== 'secret',
    overrun: () => void seen.overrun++,
    ...more,
  }
  const all: DeliveryRules = {
    router: new Router(),
    isStreamed: () => false,
    recordId: async (_client, { topic, qos, messageId }) =>
      void seen.recorded.push(`${topic} ${qos} #${messageId}`),
    forgetId: async (_client, { messageId }) => void seen.recorded.push(`forgotten #${messageId}`),
    enqueue: async (_client, packet) => packet,
    isInFlight: () => false,
    onSkipped: () => seen.skipped++,
    maxHeldBytes: 1000,
    ...rules,
  }
  const delivery = fromOne(() => new ClientDelivery(client, transport as unknown as MqttTransport, all))
  return { transport, seen, client, delivery }
}

async function* queue(...packets: object[]) {
  yield* packets as { topic?: string; qos?: number; messageId?: number }[]
}

/** @returns what it makes; packet ids begin with 1 in it */
function fromOne<T>(make: () => T): T {
  const { random } = Math
  Math.random = () => 0
  try {
    return make()
  } finally {
    Math.random = random
  }
}

const publish = (topic: string, qos: 0 | 1 | 2 = 1, payload = 'x') =>
  ({ ...makePacket(topic, payload, 1), qos }) as RoutedPacket

t.test('live packets wait for the stored queue; those of QoS 0 do not', async t => {
  const { transport, seen, delivery } = setUp()
  delivery.deliver(publish('a'), 1)
  delivery.deliver(publish('b', 2), 1)
  delivery.deliver(publish('c', 0), 2)
  delivery.deliver(publish('secret'), 1)
  await turn()
  t.same(transport.sent, ['c 0'])
  await delivery.sendQueue(queue())
  await turn()
  t.same(transport.sent, ['c 0', 'a 1 #1', 'b 1 #2'], 'at the lower of both QoS')
  t.same(seen.recorded, ['a 1 #1', 'b 1 #2'])
  t.equal(transport.expected, 2)
  delivery.deliver(publish('d', 2), 2)
  delivery.deliver(publish('e', 2), 0)
  await turn()
  t.same(transport.sent.slice(3), ['d 2 #3', 'e 0'], 'in order, though only the first is recorded')
  t.equal(transport.expected, 4, 'QoS 2 brings two acknowledgements')
})

t.test('packets of the stored queue are not sent twice', async t => {
  const { transport, delivery } = setUp({ isStreamed: (_client, { topic }) => topic === 'a' })
  delivery.deliver(publish('a'), 1)
  delivery.deliver(publish('b'), 1)
  await delivery.sendQueue(queue())
  delivery.deliver(publish('a'), 1)
  await turn()
  t.same(transport.sent, ['b 1 #1'])
})

t.test('a clean session waits for nothing and stores nothing', async t => {
  const { transport, seen, delivery } = setUp({}, { clean: true })
  delivery.deliver(publish('a', 2), 2)
  t.same(transport.sent, ['a 2 #1'], 'in this turn')
  t.same(seen.recorded, [])
})

t.test('too many held packets end the connection, and none of them is sent', async t => {
  const size = 200 + 'a'.length + 'x'.length
  const { transport, seen, delivery } = setUp({ maxHeldBytes: 2 * size })
  delivery.deliver(publish('a'), 1)
  delivery.deliver(publish('a'), 1)
  t.equal(seen.overrun, 0, 'just as many')
  delivery.deliver(publish('a'), 1)
  t.match(seen, { overrun: 1, skipped: 0 }, 'they are in the queue')
  delivery.close()
  await delivery.sendQueue(queue())
  await turn()
  t.same(transport.sent, [])
})

t.test('of packets in no queue it is counted how many are lost', async t => {
  const { seen, delivery } = setUp({ maxHeldBytes: 300 }, { terms: { ...TERMS4, inFlight: new InFlight(0) } })
  delivery.filters.add('a', { qos: 1 })
  delivery.tell(publish('a'))
  delivery.tell(publish('a'))
  t.match(seen, { overrun: 1, skipped: 2 })
})

t.test('packet identifiers are those below the inbox’s that are not in flight', async t => {
  const isInFlight = (_client: object, id: number) => id === 1 || id === 3
  const terms = { ...TERMS4, inFlight: new InFlight(9) }
  const ids = fromOne(() => new PacketIds({ terms } as Recipient, { isInFlight }))
  t.same([ids.take(), ids.take()], [2, 4])
  t.ok(terms.inFlight.has(4))
  for (let taken = 2; taken < FIRST_INBOX_ID - 3; taken++) ids.take()
  t.equal(ids.take(), 2, 'round')
})

t.test('a congested client loses QoS 0 packets; for others it is disconnected', async t => {
  const { transport, seen, delivery } = setUp({}, { clean: true })
  transport.isCongested = true
  delivery.deliver(publish('a', 1), 0)
  t.match(seen, { skipped: 1, overrun: 0 })
  delivery.deliver(publish('a', 1), 1)
  t.match(seen, { skipped: 1, overrun: 1 })
  t.same(transport.sent, [])
})

t.test('a packet waits for an earlier one that is being stored; if that fails, none is sent', async t => {
  const stored: { go?: () => void; fail?: (error: Error) => void } = {}
  const recordId = () =>
    new Promise<void>((resolve, reject) => Object.assign(stored, { go: resolve, fail: reject }))
  const { transport, seen, delivery } = setUp({ recordId })
  await delivery.sendQueue(queue())
  delivery.deliver(publish('a'), 1)
  delivery.deliver(publish('b', 0), 0)
  await turn()
  t.same(transport.sent, [])
  stored.go?.()
  await turn()
  t.same(transport.sent, ['a 1 #1', 'b 0'])
  delivery.deliver(publish('c'), 1)
  stored.fail?.(new Error('disk'))
  await turn()
  t.equal(seen.overrun, 1)
  t.equal(transport.sent.length, 2)
})

t.test('all subscribers get the same bytes of a QoS 0 packet', async t => {
  const [one, two] = [setUp(), setUp()]
  const packet = publish('a', 0)
  one.delivery.deliver(packet, 0)
  two.delivery.deliver(packet, 0)
  t.equal(one.transport.bytes[0], two.transport.bytes[0])
})

t.test(
  'a packet for this client alone is sent only if it has one of the filters that are asked for',
  async t => {
    const { transport, seen, delivery } = setUp()
    delivery.filters.add('zero', { qos: 0 })
    delivery.filters.add('two', { qos: 2 })
    delivery.filters.add('wild/#', { qos: 1 })
    const tell = (topic: string) => delivery.tell(publish(topic, 1), [topic, `${topic}/#`])
    for (const topic of ['zero', 'two', 'wild/a', 'other', 'wild']) tell(topic)
    t.same(transport.sent, ['zero 0', 'two 1 #1', 'wild 1 #2'])
    delivery.tell(publish('wild/a', 1))
    delivery.tell(publish('other', 1))
    t.same(transport.sent.slice(3), ['wild/a 1 #3'], 'any that matches, where none is named')
    transport.isCongested = true
    tell('zero')
    tell('two')
    t.match(seen, { skipped: 1, overrun: 1, recorded: [] })
  },
)

t.test('a subscription is routed until it ends; the same filter again replaces it', async t => {
  const router = new Router()
  const { transport, delivery } = setUp({ router }, { clean: true })
  delivery.filters.add('a', { qos: 0 })
  delivery.filters.add('a', { qos: 1 })
  t.equal(delivery.filters.granted('a'), 1)
  router.route(publish('a'))
  t.same(transport.sent, ['a 1 #1'])
  delivery.filters.remove('a')
  delivery.filters.remove('never')
  t.equal(delivery.filters.granted('a'), undefined)
  delivery.filters.add('b', { qos: 0 })
  delivery.close()
  for (const topic of ['a', 'b']) router.route(publish(topic))
  t.equal(transport.sent.length, 1)
})

t.test(
  'a retained message is sent at the highest QoS of the filters that ask for it, and queued',
  async t => {
    const queued: string[] = []
    const enqueue: DeliveryRules['enqueue'] = async (_client, packet, qos) => {
      queued.push(`${packet.topic} ${qos}`)
      return packet
    }
    const router = new Router()
    const { transport, seen, delivery } = setUp({ enqueue, router })
    delivery.filters.add('a/#', { qos: 1 })
    delivery.filters.add('a/b', { qos: 0 })
    delivery.retained(publish('a/b', 2), 0)
    delivery.retained(publish('a/b', 0), 0)
    delivery.retained(publish('secret', 1), 0)
    delivery.retained(publish('other', 1), 0)
    await turn()
    t.same(transport.sent, ['a/b 1 #1', 'a/b 0'])
    t.same(queued, ['a/b 1'])
    t.same(seen.recorded, ['a/b 1 #1'])
    const since = router.tick()
    delivery.filters.add('a/+', { qos: 0 })
    delivery.retained(publish('a/b', 2), since)
    await turn()
    t.same(transport.sent.slice(2), ['a/b 0'], 'for a filter that was added since')
    delivery.filters.remove('a/+')
    delivery.retained(publish('a/b', 2), since)
    await turn()
    t.same(transport.sent.slice(3), [], 'and for one that was removed')
    const packets = transport.bytes.map(parse) as Extract<Packet, { cmd: 'publish' }>[]
    t.ok(packets.every(({ retain }) => retain))
  },
)

t.test('the stored queue: known ids and DUP, PUBREL alone, and nothing that may not be read', async t => {
  const { transport, seen, delivery } = setUp()
  await delivery.sendQueue(
    queue(
      { ...publish('a', 1), messageId: 9, dup: true },
      { cmd: 'pubrel', messageId: 8 },
      publish('secret', 2),
      publish('b', 2),
    ),
  )
  t.match(transport.bytes.map(parse), [
    { cmd: 'publish', topic: 'a', messageId: 9, dup: true },
    { cmd: 'pubrel', messageId: 8 },
    { cmd: 'publish', topic: 'b', messageId: 2, dup: false },
  ])
  t.same(seen.recorded, ['a 1 #9', 'undefined undefined #8', 'secret 2 #1', 'forgotten #1', 'b 2 #2'])
  t.equal(transport.expected, 1 + 1 + 2)
})

t.test('the stored queue ends with its connection', async t => {
  const { transport, client, delivery } = setUp()
  async function* both() {
    yield publish('a', 1)
    client.closed = true
    yield publish('b', 1)
  }
  await delivery.sendQueue(both())
  t.same(transport.sent, ['a 1 #1'])
})

t.test('packet identifiers are the lower half, and none in flight', async t => {
  const last = 32_767
  const inFlight = new Set([2, 3])
  const { transport, delivery } = setUp({ isInFlight: (_client, id) => inFlight.has(id) }, { clean: true })
  const next = () => {
    delivery.deliver(publish('a'), 1)
    return Number(transport.sent.at(-1)?.split('#')[1])
  }
  t.same([next(), next(), next()], [1, 4, 5])
  for (let id = 6; id <= last; id++) next()
  t.same([next(), next()], [1, 4])
  const full = setUp({ isInFlight: () => true }, { clean: true })
  full.delivery.deliver(publish('a'), 1)
  t.equal(full.transport.sent.length, 1, 'all in flight: no endless search')
})

const connection = (id: string, more = {}) => ({ id, ...more }) as unknown as MqttConnection

t.test('a session is held by the connection that took over, until that one ends', async t => {
  const connections = new Connections()
  const [one, two] = [connection('ann:a'), connection('ann:a')]
  for (const each of [one, two]) {
    connections.open.add(each)
    connections.hold(each)
  }
  connections.remove(one)
  t.equal(connections.holderOf('ann:a'), two)
  connections.remove(two)
  t.equal(connections.holderOf('ann:a'), undefined)
  t.equal(connections.open.size, 0)
})

t.test('an absent client is checked against the ACL with any role', async t => {
  const connections = new Connections()
  const absent = { clientId: 'a', role: 'any' }
  const [old, current] = [
    { clientId: 'a', role: 'user' } as const,
    { clientId: 'a', role: 'device' } as const,
  ]
  const [one, two] = [connection('ann:a', { grantee: old }), connection('ann:a', { grantee: current })]
  t.same(connections.granteeOf('ann:a'), absent)
  connections.grant(one, old)
  t.equal(connections.granteeOf('ann:a'), old)
  connections.grant(two, current)
  connections.remove(one)
  t.equal(connections.granteeOf('ann:a'), current)
  connections.remove(two)
  t.same(connections.granteeOf('ann:a'), absent)
})

t.test('requests that are refused are answered in order, each before its acknowledgement', async t => {
  const log: unknown[] = []
  const rules = { maxContentBytes: 1000, unknownFields: 'ignore', maxDepth: 8, maxValues: 256 }
  const parts = {
    services: { rules, log: { debug: () => undefined, info: () => undefined } },
    metrics: { answered: (...args: unknown[]) => log.push(args) },
  }
  const asker = {
    front: 'mqtt',
    locale: 'en',
    userId: undefined,
    tell: (reply: string) => log.push(JSON.parse(reply)),
  }
  const asked = (payload: string) => makePacket('users/1/requests', payload, 1)
  const requests = new Requests(parts as unknown as BrokerParts, asker as unknown as Asker)
  requests.take(asked('{'), () => log.push('done 1'))
  requests.take(asked(JSON.stringify({ type: 'nothing', id: 'x' })), () => log.push('done 2'))
  t.match(log, [
    ['mqtt', 'invalid', 10100],
    { code: 10100 },
    'done 1',
    ['mqtt', 'invalid', 10102],
    { code: 10102, id: 'x' },
    'done 2',
  ])
  t.equal(log.length, 6)
})

t.test('a reply goes to the reply topic of its user, at QoS 1, to one connection', async t => {
  const told: RoutedPacket[] = []
  tellReply({ tell: (packet: RoutedPacket) => told.push(packet) } as never, ANN, '{}')
  t.match(told, [{ topic: `users/${ANN}/replies`, qos: 1, retain: false }])
  t.equal(String(told[0]?.payload), '{}')
})

class Socket extends Duplex {
  override _read(): void {}
  override _write(_chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    done()
  }
}

function makeInput() {
  const socket = new Socket()
  const log: string[] = []
  const sink = {
    connect: () => void log.push('1'),
    take: (first: number) => void log.push(`${first >> 4}`),
    settle: () => undefined,
    end: () => void log.push('end'),
    fail: () => void log.push('fail'),
    silent: () => void log.push('silent'),
  }
  const input = new SocketInput(socket, options(), sink)
  input.start()
  return { socket, log, sink, input }
}

const PING = Buffer.of(0xc0, 0)
const DISCONNECT = Buffer.of(0xe0, 0)
const settled = async () => {
  for (let i = 0; i < 5; i++) await turn()
}

t.test('packets behind CONNECT wait for its answer', async t => {
  const { socket, log, input } = makeInput()
  socket.push(Buffer.concat([CONNECT, PING, DISCONNECT]))
  await settled()
  t.same(log, ['1'])
  t.notOk(input.hasDisconnected)
  input.answered()
  await settled()
  t.same(log, ['1', '12', '14'])
  t.ok(input.hasDisconnected)
})

t.test('input is not read while it is held, except to catch up', async t => {
  const { socket, log, input } = makeInput()
  socket.push(CONNECT)
  await settled()
  input.answered()
  input.hold()
  t.ok(socket.isPaused())
  socket.push(PING)
  await settled()
  t.same(log, ['1'])
  input.release()
  await settled()
  t.same(log, ['1', '12'])
  input.hold()
  socket.push(Buffer.concat([PING, PING]))
  await settled()
  t.same(log, ['1', '12'])
  input.catchUp()
  await settled()
  t.same(log, ['1', '12', '12', '12'], 'whatever the limits')
})

t.test('input before the end of the source is processed before the end is reported', async t => {
  const { socket, log, input } = makeInput()
  socket.push(Buffer.concat([CONNECT, PING]))
  await settled()
  input.sourceEnded()
  await settled()
  t.same(log, ['1'], 'not answered')
  input.answered()
  await settled()
  t.same(log, ['1', '12', 'end'])
  input.goOn()
  t.equal(log.length, 3, 'told once')
})

t.test('a malformed packet fails the input, and nothing after it is delivered', async t => {
  const { socket, log, input } = makeInput()
  socket.push(CONNECT)
  await settled()
  input.answered()
  socket.push(Buffer.concat([PING, Buffer.of(0xf0, 0), PING]))
  await settled()
  t.same(log, ['1', '12', 'fail', 'end'])
  socket.push(PING)
  await settled()
  t.equal(log.length, 4)
})
