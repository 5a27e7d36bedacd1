/** Stored MQTT sessions, their subscriptions and queues, over a store in a Map. */
import t from 'tap'
import { Incoming } from '../../src/mqtt/routing/persistence/incoming.js'
import type { PersistenceOptions } from '../../src/mqtt/routing/persistence/options.js'
import { Outgoing } from '../../src/mqtt/routing/persistence/outgoing.js'
import { Retained } from '../../src/mqtt/routing/persistence/retained.js'
import { SessionLife } from '../../src/mqtt/routing/persistence/session-life.js'
import { SessionSubscriptions } from '../../src/mqtt/routing/persistence/session-subscriptions.js'
import { Sessions } from '../../src/mqtt/routing/persistence/sessions.js'
import { Subscriptions } from '../../src/mqtt/routing/persistence/subscriptions.js'
import { Wills } from '../../src/mqtt/routing/persistence/wills.js'
import { all, payloads, publication, retained } from '../helpers/broker-persistence.js'
import { HeldKv } from '../helpers/held-kv.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, BOB } from '../helpers/store-samples.js'

const DEVICE = `${ANN}:phone`
const client = { id: DEVICE, clean: false }

const NO_LIMITS = {
  maxRetained: 100,
  maxRetainedBytes: 100_000,
  accountRetained: 100,
  accountRetainedBytes: 100_000,
}

function makeParts(options: PersistenceOptions = {}) {
  const kv = new HeldKv()
  const sessions = new Sessions()
  const incoming = new Incoming(kv)
  const outgoing = new Outgoing(kv, { sessions, incoming }, options)
  const subscriptions = new Subscriptions()
  const parts = {
    sessions,
    subscriptions,
    queue: outgoing.queue,
    incoming,
    wills: new Wills(kv),
    retained: new Retained(kv, { ...NO_LIMITS, ...options }, error => options.onError?.(error)),
  }
  return { kv, outgoing, parts, life: new SessionLife(kv, parts, options) }
}

t.test('a session is begun, resumed, and ended with all its state by a clean one', async t => {
  const { kv, outgoing, parts, life } = makeParts()
  t.equal(await life.touch(DEVICE, false), false, 'begun')
  t.equal(await life.touch(DEVICE, false), true, 'session present')
  t.ok(life.has(DEVICE))
  t.equal(life.countLike(`${ANN}:other`), 1)
  await kv.kvWrite(parts.subscriptions.add(DEVICE, [{ topic: 'a', qos: 1 }]))
  await outgoing.enqueue([{ clientId: DEVICE }], publication('a'))
  await parts.incoming.add(DEVICE, 9, [])
  t.equal(await life.touch(`${ANN}:other`, true), false, 'another device of the account takes nothing away')
  t.equal(kv.keys('queue').length, 1)
  t.equal(await life.touch(DEVICE, true), false)
  t.notOk(life.has(DEVICE))
  for (const collection of ['meta', 'subscriptions', 'queue', 'incoming'] as const)
    t.same(kv.keys(collection), [], collection)
  t.same(parts.subscriptions.of(DEVICE), [])
  t.equal(await parts.incoming.has(DEVICE, 9), false)
})

t.test('identifiers of a connection without a session do not pass to the next one', async t => {
  const { kv, parts, life } = makeParts()
  await parts.incoming.add(DEVICE, 9, [])
  await life.touch(DEVICE, false)
  t.same(kv.keys('incoming'), [])
  await parts.incoming.add(DEVICE, 10, [])
  await life.touch(DEVICE, false)
  t.ok(await parts.incoming.has(DEVICE, 10), 'a session that goes on keeps its own')
})

t.test('a session that cannot be stored is not begun; a stored one is resumed', async t => {
  const errors: unknown[] = []
  const { kv, life } = makeParts({ onError: error => errors.push(error) })
  kv.isFailing = true
  await t.rejects(life.touch(DEVICE, false), ofKind('STORE_UNAVAILABLE'))
  t.notOk(life.has(DEVICE))
  t.same(errors, [])
  kv.isFailing = false
  await life.touch(DEVICE, false)
  kv.isFailing = true
  t.equal(await life.touch(DEVICE, false), true)
  t.match(errors, [ofKind('STORE_UNAVAILABLE')])
})

t.test(
  'sessions that were not seen for the expiry end; those of connected clients count as seen',
  async t => {
    const { kv, parts, life } = makeParts({ sessionExpiryMs: 1000 })
    const at = (clientId: string, time: number) => kv.kvWrite([parts.sessions.touch(clientId, time)])
    await at('x:old', 0)
    await at('x:connected', 0)
    await at('x:edge', 1000)
    await at('x:young', 1001)
    t.equal(await life.expire(2000, id => id === 'x:connected'), 2)
    t.same(parts.sessions.of('x:').sort(), ['x:connected', 'x:young'])
    t.equal(await life.expire(2999, () => false), 1, 'x:young; the other was seen at 2000')
    t.same(parts.sessions.of('x:'), ['x:connected'])
    const again = new Sessions()
    await again.load(kv)
    t.same([...again.unseenSince(2000)], ['x:connected'], 'that it was seen is stored')
    t.same([...again.unseenSince(1999)], [])
  },
)

t.test('without an expiry no session ends', async t => {
  for (const options of [{}, { sessionExpiryMs: 0 }]) {
    const { kv, parts, life } = makeParts(options)
    await kv.kvWrite([parts.sessions.touch(DEVICE, 0)])
    t.equal(await life.expire(Number.MAX_SAFE_INTEGER, () => false), 0)
    t.ok(life.has(DEVICE))
  }
})

t.test('only the deleted account is forgotten, without a write to the store', async t => {
  const { kv, parts, life } = makeParts({ maxRetained: 2 })
  const other = `${BOB}:phone`
  for (const id of [DEVICE, `${ANN}:pad`, other]) {
    await life.touch(id, false)
    await kv.kvWrite(parts.subscriptions.add(id, [{ topic: 'a', qos: 1 }]))
    await parts.incoming.add(id, 9, [])
  }
  await parts.retained.put('mine', { ...retained('mine'), owner: ANN })
  await parts.retained.put('theirs', { ...retained('theirs'), owner: BOB })
  const third = () => parts.retained.put('third', { ...retained('third'), owner: BOB })
  await t.rejects(third(), ofKind('STORE_FULL'))
  const { writes } = kv
  life.forgetAccount(ANN)
  t.equal(kv.writes, writes)
  t.equal(life.countLike(DEVICE), 0)
  t.same([...parts.subscriptions.clientIds], [other])
  t.equal(await parts.incoming.has(DEVICE, 9), false)
  t.equal(await parts.incoming.has(other, 9), true)
  t.ok(life.has(other))
  await third()
})

function makeSubscriptions() {
  const kv = new HeldKv()
  const parts = { sessions: new Sessions(), subscriptions: new Subscriptions() }
  return { kv, ...parts, filters: new SessionSubscriptions(kv, parts) }
}

t.test('a SUBSCRIBE is one write, however often it is passed', async t => {
  const { kv, sessions, filters } = makeSubscriptions()
  const subscribe = ['a', 'b'].map(topic => ({ topic, qos: 1 as const }))
  await Promise.all([
    filters.add(client, subscribe),
    filters.add(client, subscribe),
    filters.add(client, subscribe),
  ])
  t.equal(kv.writes, 1)
  t.same(kv.keys('subscriptions'), [
    [DEVICE, 'a'],
    [DEVICE, 'b'],
  ])
  t.ok(sessions.has(DEVICE), 'its session exists by the same write')
  t.same(kv.keys('meta'), [['session', DEVICE]])
  await filters.add(client, [])
  t.equal(kv.writes, 1, 'nothing to store')
})

t.test('an UNSUBSCRIBE is stored after an earlier SUBSCRIBE', async t => {
  const { kv, subscriptions, filters } = makeSubscriptions()
  await Promise.all([
    filters.add(client, [
      { topic: 'a', qos: 1 },
      { topic: 'b', qos: 1 },
    ]),
    filters.remove(client, ['a', 'never']),
  ])
  t.same(kv.keys('subscriptions'), [[DEVICE, 'b']])
  t.match(subscriptions.of(DEVICE), [{ topic: 'b', qos: 1 }])
  const { writes } = kv
  await filters.remove(client, ['never'])
  t.equal(kv.writes, writes)
})

t.test('subscriptions are restored when what was asked for before is stored', async t => {
  const { filters } = makeSubscriptions()
  void filters.add(client, [
    { topic: 'a', qos: 2 },
    { topic: 'b', qos: 1 },
  ])
  void filters.remove(client, ['b'])
  t.match(await filters.restore(client), [{ topic: 'a', qos: 2 }])
})

t.test('a SUBSCRIBE that cannot be stored fails for each filter', async t => {
  const { kv, filters } = makeSubscriptions()
  kv.isFailing = true
  const subscribe = [{ topic: 'a', qos: 1 as const }]
  const results = await Promise.allSettled([filters.add(client, subscribe), filters.add(client, subscribe)])
  t.same(
    results.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  kv.isFailing = false
  await filters.add(client, subscribe)
  t.same(kv.keys('subscriptions'), [[DEVICE, 'a']], 'the same SUBSCRIBE again')
})

t.test('a packet, its new sessions and its received identifier are stored in one write', async t => {
  const { kv, parts, outgoing } = makeParts()
  const sender = { id: `${BOB}:pad`, clean: false }
  await outgoing.enqueue([{ clientId: DEVICE, qos: 1 }], publication('a', { qos: 2 }), {
    client: sender,
    messageId: 5,
  })
  t.equal(kv.writes, 1)
  t.same(kv.keys('incoming'), [[sender.id, 5]])
  t.ok(parts.sessions.has(DEVICE))
  t.ok(parts.sessions.has(sender.id))
  t.match(await all(outgoing.stream(client)), [{ topic: 'a', qos: 1, dup: false }])
  await outgoing.enqueue([], publication('b'))
  t.equal(kv.writes, 1, 'for nobody')
  t.same(await all(outgoing.stream({ id: DEVICE, clean: true })), [], 'a clean session has no queue')
})

t.test('a QoS 2 packet is in flight until PUBCOMP, and is resent as PUBREL after PUBREC', async t => {
  const { outgoing } = makeParts()
  const packet = publication('a', { qos: 2 })
  await outgoing.enqueue([{ clientId: DEVICE, qos: 2 }], packet)
  await outgoing.update(client, { ...packet, messageId: 3 })
  t.equal(outgoing.isInFlight(DEVICE, 3), true)
  t.equal(outgoing.isInFlight(DEVICE, 4), false)
  t.equal(outgoing.isInFlight(`${BOB}:pad`, 3), false)
  t.equal(outgoing.countReleased(DEVICE), 0)
  t.equal(await outgoing.acknowledged(DEVICE, undefined), undefined)
  t.equal(outgoing.isInFlight(DEVICE, 3), true, 'no identifier, no acknowledgement')
  await outgoing.update(client, { cmd: 'pubrel', messageId: 3 })
  t.equal(outgoing.countReleased(DEVICE), 1)
  t.match(await all(outgoing.stream({ ...client })), [{ cmd: 'pubrel', messageId: 3 }])
  t.match(await outgoing.acknowledged(DEVICE, 3), { messageId: 3 })
  t.equal(outgoing.isInFlight(DEVICE, 3), false)
  t.equal(await outgoing.acknowledged(DEVICE, 3), undefined, 'a second time')
  t.same(await all(outgoing.stream({ ...client })), [])
})

t.test('beyond the limit the oldest packet is dropped, and that is reported', async t => {
  const dropped: unknown[] = []
  const { outgoing } = makeParts({ maxQueuedMessages: 2, onDropped: (...args) => dropped.push(args) })
  for (const topic of ['a', 'b', 'c']) await outgoing.enqueue([{ clientId: DEVICE }], publication(topic))
  t.same(payloads(await all(outgoing.stream(client))), ['b', 'c'])
  t.same(dropped, [[DEVICE, 1]])
})

t.test('packets queued after a stream has begun are not part of it', async t => {
  const { outgoing } = makeParts()
  const [before, behind] = [publication('a'), publication('b')]
  await outgoing.enqueue([{ clientId: DEVICE }], before)
  t.equal(outgoing.isStreamed(client, before), true, 'it will, when the stream begins')
  const stream = outgoing.stream(client)
  await outgoing.enqueue([{ clientId: DEVICE }], behind)
  t.equal(outgoing.isStreamed(client, before), true)
  t.equal(outgoing.isStreamed(client, behind), false)
  t.equal(outgoing.isStreamed({ id: `${BOB}:pad`, clean: false }, before), false)
  t.equal(outgoing.isStreamed(client, publication('c')), false, 'never queued')
  t.same(payloads(await all(stream)), ['a'])
})
