/** The parts of MQTT 5 behind its bytes: what CONNECT and CONNACK agree on, filters, expiry, and how packets are refused. */
import mqttPacket, { type Packet } from 'mqtt-packet'
import t from 'tap'
import { GatewayError } from '../../src/core/errors.js'
import { Metrics } from '../../src/core/metrics.js'
import { Deadlines } from '../../src/flow/deadlines.js'
import { capabilities, keepAliveOf } from '../../src/mqtt/capabilities.js'
import { connect } from '../../src/mqtt/connect.js'
import { disconnect } from '../../src/mqtt/disconnect.js'
import { failed } from '../../src/mqtt/failure.js'
import { contentOf, payloadFault } from '../../src/mqtt/payload.js'
import { isExpected, Refusal, refuseMalformed, toRefusal } from '../../src/mqtt/refusal.js'
import { ClientFilters } from '../../src/mqtt/routing/client-filters.js'
import { makePacket, type RoutedPacket } from '../../src/mqtt/routing/packet.js'
import { encodeFor } from '../../src/mqtt/routing/packet-encoding.js'
import { Router } from '../../src/mqtt/routing/router.js'
import { asStored, fromStored } from '../../src/mqtt/routing/stored-filters.js'
import { isKept, keptSeconds, maxExpirySeconds } from '../../src/mqtt/session.js'
import { SessionExpiry } from '../../src/mqtt/session-expiry.js'
import type { ConnectPacket } from '../../src/mqtt/wire/connect-packet.js'
import { ENCODER4, Encoder5 } from '../../src/mqtt/wire/encoder.js'
import { MalformedPacket } from '../../src/mqtt/wire/packet-rules.js'
import { PUBACK, PUBREC } from '../../src/mqtt/wire/packet-types.js'
import { encodeProperties } from '../../src/mqtt/wire/property-block.js'
import type { Properties } from '../../src/mqtt/wire/property-table.js'
import { TERMS4, termsOf } from '../../src/mqtt/wire/terms.js'
import { ofKind } from '../helpers/kind.js'
import { parse5 } from '../helpers/mqtt5.js'
import { turn } from '../helpers/transport.js'

const connect5 = (properties: Properties = {}, more: object = {}): ConnectPacket =>
  ({
    version: 5,
    keepAliveSeconds: 0,
    clean: true,
    clientId: 'c',
    properties,
    will: undefined,
    userName: undefined,
    password: undefined,
    ...more,
  }) as ConnectPacket
const connect4 = (clean: boolean): ConnectPacket => ({ ...connect5(), version: 4, clean }) as ConnectPacket

const OPTIONS = {
  keepaliveLimitSeconds: 60,
  maxPacketBytes: 1000,
  stateLimits: { sessionExpiryMs: 3_600_000 },
}

// ── terms, encoders ─────────────────────────────────────────────────────────────────────────────────────────

t.test('terms: receive maximum and aliases are the client’s', async t => {
  const { inFlight, aliases } = termsOf(connect5({ receiveMaximum: 1, topicAliasMaximum: 1 }))
  t.notOk(inFlight?.isFull)
  inFlight?.add(7)
  t.ok(inFlight?.isFull)
  t.ok(inFlight?.has(7))
  t.equal(inFlight?.delete(8), false)
  t.equal(inFlight?.delete(7), true)
  t.same(aliases?.of('a'), { alias: 1, isKnown: false })
  aliases?.told('a', 1)
  t.same(aliases?.of('a'), { alias: 1, isKnown: true })
  t.equal(aliases?.of('b'), undefined)
  t.equal(termsOf(connect5()).aliases, undefined)
  t.equal(termsOf(connect4(true)), TERMS4)
})

const parse4 = (bytes: Buffer): Packet[] => {
  const packets: Packet[] = []
  const parser = mqttPacket.parser()
  parser.on('packet', packet => packets.push(packet))
  parser.parse(bytes)
  return packets
}

t.test('encoders: the same is said in both versions, as far as each can say it', async t => {
  const five = new Encoder5({ maxPacketBytes: 100, wantsProblems: true }, 0)
  t.match(parse4(ENCODER4.acknowledge(PUBACK, 1, 'FORBIDDEN', 'why')), [{ cmd: 'puback', messageId: 1 }])
  t.match(parse5(five.acknowledge(PUBREC, 1, 'FORBIDDEN', 'why')), [
    { cmd: 'pubrec', messageId: 1, reasonCode: 0x87, properties: { reasonString: 'why' } },
  ])
  t.match(parse4(ENCODER4.suback(1, [1, 0x97, 0])), [{ granted: [1, 0x80, 0] }])
  t.match(parse5(five.suback(1, [1, 0x97, 0])), [{ granted: [1, 0x97, 0] }])
  t.match(parse5(five.unsuback(1, [0x11])), [{ cmd: 'unsuback', granted: [0x11] }])
  t.match(parse4(ENCODER4.unsuback(1, [0x11])), [{ cmd: 'unsuback', messageId: 1 }])
  t.match(parse4(ENCODER4.connack(0x86, false)), [{ returnCode: 4 }])
  t.match(parse4(ENCODER4.connack(0, true)), [{ returnCode: 0, sessionPresent: true }])
  t.match(parse5(five.connack(0x86, false)), [{ reasonCode: 0x86 }])
  t.equal(ENCODER4.disconnect(0x8b), undefined)
  t.match(parse5(five.disconnect('SHUTDOWN')), [{ cmd: 'disconnect', reasonCode: 0x8b }])
})

// ── routed packets ──────────────────────────────────────────────────────────────────────────────────────────

const outgoing = (packet: RoutedPacket, qos: 0 | 1 = 0) => ({
  packet,
  qos,
  retain: false,
  messageId: qos === 0 ? undefined : 1,
})

t.test(
  'a packet for one client: properties, identifiers, what is left of its time, alias, and its size',
  async t => {
    const block = encodeProperties({ messageExpiryInterval: 100, contentType: 'x' })
    const packet = { ...makePacket('topic', 'p', 1), block, expiresAt: Date.now() + 50_000 }
    const terms = termsOf(connect5({ topicAliasMaximum: 1, maximumPacketSize: 60 }))
    const first = parse5(encodeFor(terms, outgoing(packet, 1), [5, 6]) as Buffer)
    t.match(first, [
      {
        topic: 'topic',
        properties: {
          messageExpiryInterval: 50,
          contentType: 'x',
          topicAlias: 1,
          subscriptionIdentifier: [5, 6],
        },
      },
    ])
    t.match(parse5(encodeFor(terms, outgoing(packet), undefined) as Buffer), [
      { topic: '', properties: { topicAlias: 1 } },
    ])
    t.equal(encodeFor(terms, outgoing(makePacket('topic', 'x'.repeat(60), 1)), undefined), undefined)
    t.notOk(
      parse4(encodeFor(TERMS4, outgoing(packet), undefined) as Buffer)[0]?.cmd !== 'publish',
      'MQTT 3 gets none of it',
    )
  },
)

t.test('clients of one version share the bytes of QoS 0, those of another do not', async t => {
  const packet = makePacket('t', 'p', 0)
  const five = () => termsOf(connect5())
  const bytes = (terms: typeof TERMS4) => encodeFor(terms, outgoing(packet), undefined)
  t.equal(bytes(TERMS4), bytes(TERMS4))
  t.equal(bytes(five()), bytes(five()))
  t.not(bytes(TERMS4), bytes(five()))
  t.not(bytes(five()), bytes(termsOf(connect5({ topicAliasMaximum: 2 }))))
})

t.test('filters of a client: identifiers of all that match, and the highest QoS', async t => {
  const router = new Router()
  const got: [string, number][] = []
  const deliver = ({ topic }: RoutedPacket, grant: number) => void got.push([topic, grant])
  const filters = new ClientFilters(router, {
    clientId: 'ann:a',
    isKept: false,
    hasRoom: true,
    mayGet: () => true,
    deliver,
  })
  t.equal(filters.identifiers('a/b'), undefined)
  filters.add('a/#', { qos: 1, subscriptionIdentifier: 3, retainAsPublished: true })
  filters.add('a/b', { qos: 0, subscriptionIdentifier: 4 })
  t.same([...(filters.identifiers('a/b') ?? [])].sort(), [3, 4])
  t.equal(filters.identifiers('c'), undefined)
  t.equal(filters.highest('a/b'), 1)
  t.equal(filters.highest('c'), undefined)
  t.equal(filters.identifier('a/b'), 4)
  router.route(makePacket('a/b', '', 1))
  t.same(got, [['a/b', 1 | 4]], 'with retain as published of any')
  t.equal(filters.remove('a/#'), true)
  t.equal(filters.remove('a/#'), false)
  filters.add('own', { qos: 0, noLocal: true })
  t.equal(router.route({ ...makePacket('own', '', 0), publisher: 'ann:a' }).connections, 0, 'no local')
  t.equal(router.route({ ...makePacket('own', '', 0), publisher: 'ann:b' }).connections, 1)
  filters.removeAll()
  t.equal(router.route(makePacket('own', '', 0)).connections, 0)
})

t.test('nothing is routed below an inbox: its filters are held, and not in the index', async t => {
  const router = new Router()
  const filters = new ClientFilters(router, {} as never)
  const routes = (topic: string) => {
    const { byTopic, byWildcard } = router.routesOf(topic)
    return [...byTopic, ...byWildcard].length
  }
  const inboxes = ['users/100000001/inbox/#', 'users/100000001/inbox/+', 'users/100000001/inbox/+/content']
  for (const filter of inboxes) filters.add(filter, { qos: 1 })
  t.equal(filters.highestOf(inboxes), 1)
  t.equal(routes('users/100000001/inbox/5') + routes('users/100000001/inbox/5/content'), 0)
  for (const filter of ['users/100000001/#', 'users/000000001/inbox/#', 'users/100000001/inboxes/#'])
    filters.add(filter, { qos: 1 })
  t.equal(routes('users/100000001/inbox/5'), 1)
  t.equal(routes('users/000000001/inbox/5'), 1, 'no account has this id')
  t.equal(routes('users/100000001/inboxes/5'), 2)
  filters.removeAll()
  t.same([filters.count, routes('users/100000001/inbox/5')], [0, 0])
})

t.test('options of a subscription are stored by the names of the persistence', async t => {
  const asked = { topic: 'a', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2 } as const
  const stored = asStored(asked, 7)
  t.same(stored, { topic: 'a', qos: 1, nl: true, rap: true, rh: 2, subscriptionIdentifier: 7 })
  const { retainHandling, ...rest } = asked
  t.same(fromStored(stored), { ...rest, subscriptionIdentifier: 7 })
  t.same(asStored({ topic: 'a', qos: 0 }, undefined), { topic: 'a', qos: 0 }, 'as 0.1.0 has them')
})

// ── CONNECT and DISCONNECT ──────────────────────────────────────────────────────────────────────────────────

t.test('CONNACK tells what differs from what the client asked for', async t => {
  const told = (packet: ConnectPacket, differing: object = {}) =>
    capabilities(
      { options: OPTIONS } as never,
      { id: '1:made', userId: '1', expirySeconds: 0, ...differing } as never,
      packet,
    )
  t.same(told(connect5({}, { keepAliveSeconds: 60 })), {
    maximumPacketSize: 1000,
    topicAliasMaximum: 32,
  })
  t.match(told(connect5({ sessionExpiryInterval: 9999 }), { expirySeconds: 3600 }), {
    sessionExpiryInterval: 3600,
  })
  t.match(told(connect5({}, { clientId: '' })), { assignedClientIdentifier: 'made', serverKeepAlive: 60 })
  t.match(told(connect5({ requestResponseInformation: 1 })), { responseInformation: 'users/1/replies' })
  t.same(told(connect4(true)), {})
  t.equal(keepAliveOf(connect5({}, { keepAliveSeconds: 61 }), OPTIONS as never), 60)
  t.equal(keepAliveOf(connect5({}, { keepAliveSeconds: 59 }), OPTIONS as never), 59)
})

t.test('how long a session is kept', async t => {
  const options = OPTIONS as never
  t.equal(maxExpirySeconds(options), 3600)
  t.equal(maxExpirySeconds({ stateLimits: { sessionExpiryMs: 0 } } as never), 0xffff_ffff)
  t.equal(keptSeconds(connect5(), options), 0)
  t.equal(keptSeconds(connect5({ sessionExpiryInterval: 10 }), options), 10)
  t.equal(keptSeconds(connect5({ sessionExpiryInterval: 9999 }), options), 3600)
  t.equal(keptSeconds(connect4(false), options), undefined)
  t.equal(isKept(connect4(false), { expirySeconds: undefined } as never), true)
  t.equal(isKept(connect4(true), { expirySeconds: undefined } as never), false)
  t.equal(isKept(connect5(), { expirySeconds: 5 } as never), true)
  t.equal(isKept(connect5(), { expirySeconds: 0 } as never), false)
})

const recorder = (differing: object = {}) => {
  const sent: Packet[] = []
  const log: unknown[] = []
  const terms = termsOf(connect5())
  const send = (bytes: Buffer) => sent.push(...parse5(bytes))
  const connection = {
    terms,
    isAccepted: true,
    leftFor: 0,
    expirySeconds: 0,
    link: { pacer: {} },
    transport: { send, limitPackets: () => undefined, destroy: () => log.push('destroyed') },
    answer: send,
    endsFor: (reason: string) => log.push(reason),
    fail: (error: Error) => log.push(error.message),
    dismiss: (...reason: unknown[]) => log.push(reason),
    ...differing,
  }
  return { sent, log, connection: connection as never as Parameters<typeof refuseMalformed>[0] }
}

t.test('DISCONNECT may change how long the session is kept, but not begin to', async t => {
  const parts = { options: OPTIONS } as never
  const kept = recorder({ expirySeconds: 10 })
  disconnect(parts, kept.connection, { reason: 4, properties: { sessionExpiryInterval: 9999 } })
  t.match(kept.connection, { leftFor: 4, expirySeconds: 3600 })
  t.same([kept.sent, kept.log], [[], ['destroyed']])
  const ends = recorder()
  disconnect(parts, ends.connection, { reason: 0, properties: { sessionExpiryInterval: 1 } })
  t.match(ends.sent, [{ cmd: 'disconnect', reasonCode: 0x82 }])
  t.equal(ends.connection.leftFor, 0x82)
})

t.test('CONNECT that asks for enhanced authentication is refused with 0x8C', async t => {
  const { connection, sent, log } = recorder()
  const services = {
    authenticator: { since: () => undefined },
    audit: { record: () => undefined },
    loginLog: { refused: () => log.push('refused') },
  }
  const metrics = new Metrics()
  const asked = connect5({ authenticationMethod: 'SCRAM-SHA-256' })
  await connect({ services, metrics } as never, connection, asked)
  t.match(sent, [{ cmd: 'connack', reasonCode: 0x8c }])
  t.same(log, ['refused', 'destroyed'])
})

t.test('a CONNECT that is malformed is answered in its version, where that has an answer', async t => {
  const five = recorder()
  refuseMalformed(five.connection, new MalformedPacket('x', '[x]', 0x81).in(5))
  t.match(five.sent, [{ cmd: 'connack', reasonCode: 0x81 }])
  for (const [code, expected] of [
    [0x85, [[0x20, 2, 0, 2]]],
    [0x81, []],
  ] as const) {
    const sent: number[][] = []
    const connection = { transport: { send: (bytes: Buffer) => sent.push([...bytes]) } }
    refuseMalformed(connection as never, new MalformedPacket('x', '[x]', code).in(4))
    t.same(sent, expected)
  }
  t.ok(isExpected(new Refusal(0x87)))
  t.ok(isExpected(new GatewayError('STORE_UNAVAILABLE')))
  t.notOk(isExpected(new TypeError('bug')))
  t.equal(toRefusal(new TypeError('bug')).reason, 0x88)
})

t.test('what a handler throws: a store that fails, a packet that is wrong, a bug', async t => {
  const faults: string[] = []
  const parts = {
    faults: { report: (where: string) => faults.push(where) },
    metrics: { refusedPackets: { inc: () => undefined } },
    services: { limits: { count: () => undefined }, log: { info: () => undefined } },
  } as never
  const { connection, log } = recorder()
  failed(parts, connection, 'x', new GatewayError('STORE_FULL'))
  failed(parts, connection, 'x', new MalformedPacket('wrong', '[x]', 0x94))
  failed(parts, connection, 'x', new TypeError('bug'))
  t.same(log.slice(1), ['malformed', [0x94, { reasonString: 'wrong' }], ['ERROR']])
  t.same(faults, ['x'])
})

// ── payloads, expiry ────────────────────────────────────────────────────────────────────────────────────────

t.test('payload: UTF-8 if it says so, and its key of repeats', async t => {
  const packet = (payload: Buffer, properties: Properties = {}) => ({
    ...makePacket('t', '', 1),
    payload,
    properties,
    block: encodeProperties(properties),
  })
  const bad = Buffer.of(0xff)
  t.equal(payloadFault(packet(bad)), undefined)
  t.equal(payloadFault(packet(bad, { payloadFormatIndicator: 1 }))?.kind, 'BAD_FIELD')
  const named = packet(Buffer.from('hello'), { userProperties: [['id', 'k']] })
  t.same(contentOf(named, 'text'), { content: 'hello', key: 'k' })
  for (const id of ['', 'x'.repeat(65)]) {
    const bad = packet(Buffer.from('hello'), { userProperties: [['id', id]] })
    t.throws(() => contentOf(bad, 'text'), ofKind('BAD_FIELD', { info: { field: 'id' } }))
  }
  t.same(contentOf(packet(Buffer.from('{"content":"hello","id":"own"}')), 'json'), {
    content: 'hello',
    key: 'own',
  })
})

t.test('deadlines: each once, not before its time, the last one that was set', async t => {
  const due: string[] = []
  const deadlines = new Deadlines(key => due.push(key))
  t.teardown(() => deadlines.close())
  const now = Date.now()
  deadlines.set('past', now - 5000)
  deadlines.set('never', now + 3_600_000)
  deadlines.set('gone', now)
  t.equal(deadlines.delete('gone'), now)
  t.equal(deadlines.delete('gone'), undefined)
  deadlines.set('moved', now)
  deadlines.set('moved', now + 3_600_000)
  const until = setInterval(() => undefined, 1000)
  while (due.length === 0) await turn()
  clearInterval(until)
  t.same(due, ['past'])
})

t.test('a session ends when its time has passed, unless a connection has it', async t => {
  const log: unknown[] = []
  let holder: object | undefined
  const sessions = {
    expiries: () => [['ann:past', Date.now() - 1000]],
    leave: async (...args: unknown[]) => void log.push(args),
    clear: async (id: string) => void log.push(id),
  }
  const connections = {
    holderOf: () => holder,
    inOrder: async (_id: string, work: () => Promise<void>) => work(),
  }
  const expiry = new SessionExpiry({ state: { sessions } } as never, connections as never)
  t.teardown(() => expiry.close())
  expiry.start()
  t.equal(expiry.opened('ann:past'), false, 'it is over, though not ended yet')
  t.equal(expiry.opened('ann:other'), true)
  const left = (differing: object) =>
    expiry.left({ id: 'ann:a', clean: false, expirySeconds: 10, ...differing } as never)
  left({ clean: true })
  left({ expirySeconds: undefined })
  left({})
  t.same(log, [['ann:a', 10]])
  t.equal(expiry.opened('ann:a'), true)
  left({ expirySeconds: 0 })
  holder = {}
  left({ expirySeconds: 0 })
  t.same(log.slice(1), ['ann:a'])
})
