/**
 * The parts of the broker's persistence, each over a store in a Map: sessions, subscriptions, QoS 2 ids, wills,
 * retained.
 */
import t from 'tap'
import { Incoming } from '../../src/mqtt/routing/persistence/incoming.js'
import { decodePacket, encodePacket, packetKey, peekPacket } from '../../src/mqtt/routing/persistence/kv.js'
import {
  account,
  claim,
  QueueConnection,
  QueueIndex,
} from '../../src/mqtt/routing/persistence/queue-index.js'
import { QueueLimits } from '../../src/mqtt/routing/persistence/queue-limits.js'
import { Retained } from '../../src/mqtt/routing/persistence/retained.js'
import { Sessions } from '../../src/mqtt/routing/persistence/sessions.js'
import { Subscriptions } from '../../src/mqtt/routing/persistence/subscriptions.js'
import { Wills } from '../../src/mqtt/routing/persistence/wills.js'
import { all, payloads, publication, retained } from '../helpers/broker-persistence.js'
import { HeldKv } from '../helpers/held-kv.js'
import { ofKind } from '../helpers/kind.js'

const noop = () => undefined

t.test('a damaged row is named at the start, and nothing of its value', async t => {
  const kv = new HeldKv()
  const damaged = [
    Buffer.from('secret'),
    Buffer.from('null'),
    Buffer.alloc(0),
    Buffer.from([1, 0, 0, 0, 0, 0, 6, ...Buffer.from('secret')]),
  ]
  const reads = [
    ['meta', ['session', 'ann:a'], () => new Sessions().load(kv)],
    ['subscriptions', ['ann:a', 'x/#'], () => new Subscriptions().load(kv)],
    [
      'retained',
      ['x', 'y'],
      () =>
        new Retained(
          kv,
          { maxRetained: 9, maxRetainedBytes: 999, accountRetained: 9, accountRetainedBytes: 999 },
          noop,
        ).load(),
    ],
    ['wills', ['ann:a'], () => all(new Wills(kv).ofOtherBrokers({}))],
  ] as const
  for (const [put, key, read] of reads)
    for (const value of damaged) {
      await kv.kvWrite([{ put, key, value }])
      const error = await read().then(
        () => undefined,
        (thrown: Error) => thrown,
      )
      t.match(error, { kind: 'STORE_UNAVAILABLE' }, `${put} ${value.toString('hex')}`)
      t.ok(error?.message.includes(`row ${JSON.stringify(key)} of ${put} is damaged`), put)
      t.notOk(error?.stack?.includes('secret'))
    }
})

t.test('a retained message that is damaged while the gateway runs is named, and the others come', async t => {
  const kv = new HeldKv()
  const limits = { maxRetained: 9, maxRetainedBytes: 999, accountRetained: 9, accountRetainedBytes: 999 }
  const named: unknown[] = []
  const messages = new Retained(kv, limits, noop, (...row) => named.push(row))
  for (const topic of ['a', 'b', 'c']) await messages.put(topic, retained(topic))
  // Whole JSON, and no message.
  for (const value of [Buffer.from('x'), Buffer.from([1, 0, 0, 0, 0, 0, 2, 0x7b, 0x7d])]) {
    await kv.kvWrite([{ put: 'retained', key: ['b'], value }])
    t.same(payloads(await all(messages.matching(['#']))), ['a', 'c'])
    t.same(payloads(await all(messages.matching(['b']))), [])
  }
  t.same(named, Array(4).fill(['retained', ['b']]))
})

t.test('a packet is decoded as it was encoded, and its identifier without decoding the rest', async t => {
  const packet = publication('t', {
    brokerId: 'b',
    brokerCounter: 3,
    messageId: 700,
    payload: Buffer.from('ü'),
  })
  const value = encodePacket(packet)
  t.match(decodePacket(value), packet)
  t.same(peekPacket(value), { messageId: 700, isReleased: false })
  t.same(peekPacket(encodePacket({ cmd: 'pubrel', messageId: 9 })), { messageId: 9, isReleased: true })
  t.equal(packetKey(packet), packetKey(decodePacket(value)))
  const block = Buffer.from([38, 0, 1, 0xc3, 0, 0])
  const withBlock = encodePacket({ ...packet, block })
  t.match(decodePacket(withBlock), { ...packet, block })
  t.equal(withBlock.byteLength, value.byteLength + 4 + block.length, 'properties take as many bytes as came')
  t.not(packetKey(packet), packetKey({ ...packet, brokerCounter: 4 }))
})

t.test('sessions are counted by account, and found by the time they were last seen', async t => {
  const kv = new HeldKv()
  const sessions = new Sessions()
  await kv.kvWrite([
    ...sessions.ensure('ann:a', 10),
    ...sessions.ensure('ann:b', 20),
    ...sessions.ensure('bob:a', 30),
  ])
  t.same(sessions.ensure('ann:a', 40), [], 'it is there')
  t.same(sessions.ensureFor({ id: 'ann:c', clean: true }), [], 'a clean one is not stored')
  t.equal(sessions.countLike('ann:other'), 2)
  t.same([...sessions.unseenSince(20)], ['ann:a', 'ann:b'])
  const again = new Sessions()
  t.same(await again.load(kv), [])
  t.same(again.of('ann:'), ['ann:a', 'ann:b'])
  again.drop('ann:a')
  t.equal(again.countLike('ann:b'), 1)
})

t.test('an interrupted removal is found by the next start, unless the session was begun again', async t => {
  const kv = new HeldKv()
  const sessions = new Sessions()
  await kv.kvWrite(sessions.ensure('ann:a', 10))
  await kv.kvWrite([sessions.end('ann:a')])
  t.notOk(sessions.has('ann:a'))
  t.same(await new Sessions().load(kv.crashed()), ['ann:a'])
  await kv.kvWrite(sessions.ensure('ann:a', 20))
  t.same(sessions.forget('ann:a'), [])
  t.same(await new Sessions().load(kv), [])
})

t.test('subscriptions change in memory at once, and are restored from the store', async t => {
  const kv = new HeldKv()
  const subscriptions = new Subscriptions()
  await kv.kvWrite(
    subscriptions.add('c', [
      { topic: 'a/+', qos: 1 },
      { topic: 'b', qos: 0 },
      { topic: '#', qos: 2 },
    ]),
  )
  t.same(
    subscriptions.matching('b').map(({ topic }) => topic),
    ['#'],
    'nothing is queued for QoS 0',
  )
  t.same(subscriptions.matching('$x'), [])
  t.same([...subscriptions.clientsOf('b')], ['c'])
  await kv.kvWrite(subscriptions.remove('c', ['#', 'never']))
  const again = new Subscriptions()
  await again.load(kv)
  t.match(again.of('c'), [
    { topic: 'a/+', qos: 1 },
    { topic: 'b', qos: 0 },
  ])
  t.match(again.matching('a/1'), [{ clientId: 'c', topic: 'a/+' }])
  t.equal(again.removeAll('c').length, 2)
  t.same([...again.clientIds], [])
})

t.test(
  'a received identifier is known while it is being stored and until PUBREL, unless that failed',
  async t => {
    const kv = new HeldKv()
    const incoming = new Incoming(kv)
    kv.hold()
    const added = incoming.add('c', 7, [])
    const known = incoming.has('c', 7)
    kv.letGo()
    await added
    t.ok(await known)
    const again = new Incoming(kv.crashed())
    await again.load(() => true)
    t.same([...again.idsOf('c')], [7])
    await incoming.remove('c', 7)
    t.notOk(await incoming.has('c', 7))
    kv.isFailing = true
    await t.rejects(incoming.add('c', 8, []))
    t.notOk(await incoming.has('c', 8))
  },
)

t.test('identifiers of clients without a session do not survive a start', async t => {
  const kv = new HeldKv()
  const incoming = new Incoming(kv)
  await incoming.add('kept', 1, [])
  await incoming.add('clean', 2, [])
  const again = new Incoming(kv)
  await again.load(clientId => clientId === 'kept')
  t.same(kv.keys('incoming'), [['kept', 1]])
  await again.clear('kept')
  t.same(kv.keys('incoming'), [])
})

t.test('a will is removed by its own connection, and not by the one that was taken over', async t => {
  const kv = new HeldKv()
  const wills = new Wills(kv)
  const [old, next] = [
    { id: 'c', closed: false },
    { id: 'c', closed: false },
  ]
  await wills.put(old, publication('old'))
  Object.assign(old, { closed: true })
  await wills.put(next, publication('new', { brokerId: 'b' }))
  t.equal(await wills.remove('c'), undefined, 'it is the open connection that has it')
  t.match(await all(wills.ofOtherBrokers({})), [{ topic: 'new' }])
  t.same(await all(wills.ofOtherBrokers({ b: 1 })), [])
  Object.assign(next, { closed: true })
  t.match(await wills.remove('c'), { topic: 'new' })
  t.same(kv.keys('wills'), [])
  await wills.put(old, publication('late'))
  t.same(kv.keys('wills'), [], 'its connection ended while CONNECT was under way')
})

t.test('retained messages: read by filter, replaced, removed, and limited', async t => {
  const kv = new HeldKv()
  const limits = { maxRetained: 3, maxRetainedBytes: 1e6, accountRetained: 3, accountRetainedBytes: 1e6 }
  const messages = new Retained(kv, limits, noop)
  for (const topic of ['a/1', 'a/2', 'b']) await messages.put(topic, retained(topic))
  await t.rejects(messages.put('c', retained('c')), ofKind('STORE_FULL'))
  await messages.put('b', retained('b', 'new'))
  const matching = async (...filters: string[]) => payloads(await all(messages.matching(filters))).sort()
  t.same(await matching('a/+', 'a/1', 'b'), ['a/1', 'a/2', 'new'])
  await messages.put('a/1', retained('a/1', ''))
  t.same(await matching('#'), ['a/2', 'new'])
  const refuse = () => {
    throw new Error('revoked')
  }
  await t.rejects(messages.put('b', retained('b', 'x'), refuse), { message: 'revoked' })
  t.same(await matching('b'), ['new'])
})

t.test('queues: bytes by account, one connection at a time, nothing of an earlier session', async t => {
  const index = new QueueIndex()
  const queue = index.open('ann:a', index.next())
  t.equal(index.holding('ann:a', 1), undefined, 'of an earlier session')
  t.equal(index.holding('ann:a', index.next()), queue)
  account(queue, 1, 100)
  account(index.open('ann:b', 2), 1, 50)
  t.equal(queue.account.bytes, 150)
  t.ok(claim(queue, new QueueConnection(2)))
  t.notOk(claim(queue, new QueueConnection(1)))
  const client = { id: 'ann:a' }
  t.equal(index.openConnection(client), index.connectionOf(client))
  index.forget('ann:a')
  t.equal(index.open('ann:b', 2).account.bytes, 50)
  t.equal(index.holding('ann:a', 2), undefined)
})

t.test('a queue over its limits drops its oldest rows, except those that are being removed', async t => {
  const kv = new HeldKv()
  const dropped: number[] = []
  const limits = new QueueLimits(kv, {
    maxQueuedMessages: 1,
    maxQueuedBytes: 1e6,
    accountQueuedBytes: 1e6,
    onDropped: (_clientId, count) => dropped.push(count),
  })
  const queue = new QueueIndex().open('c', 0)
  const value = encodePacket(publication('t'))
  for (const n of [1, 2, 3]) await kv.kvWrite([{ put: 'queue', key: ['c', n], value }])
  account(queue, 3, 3 * value.byteLength)
  queue.leaving.add(1)
  await limits.trim('c', queue)
  t.same(kv.keys('queue'), [['c', 1]])
  t.same(dropped, [2])
  t.equal(limits.trim('c', queue), undefined)
})
