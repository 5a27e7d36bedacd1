/** The stored state as the command files get it, and as a PUBLISH to other topics changes it; over a real store. */

import { join } from 'node:path'
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { LiveConnections } from '../../src/live/live.js'
import { TopicAccess } from '../../src/mqtt/acl/access.js'
import { makePacket } from '../../src/mqtt/routing/packet.js'
import type { PersistenceOptions } from '../../src/mqtt/routing/persistence/options.js'
import { Router } from '../../src/mqtt/routing/router.js'
import { BrokerState } from '../../src/mqtt/routing/state.js'
import { TopicStore } from '../../src/mqtt/routing/topic-store.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { all, payloads } from '../helpers/broker-persistence.js'
import { dataDir } from '../helpers/gateway.js'

const ANN = '100000001'
const GONE = { areRevoked: true }

async function setUp(t: Test, options: PersistenceOptions = {}) {
  const store = new EmbeddedStore({ dir: join(dataDir(t), 'store'), durability: 'commit', dedupWindowMs: 0 })
  await store.open()
  const live = new LiveConnections('allow')
  const state = new BrokerState(store.kv, live, { ...options, isConnected: () => false })
  await state.setup({ id: 'broker' })
  const topics = new TopicStore(new Router(), state, new TopicAccess('open'), {
    maxUnreleased: 1,
    onTooMany: () => undefined,
    onCopies: () => undefined,
    onMatched: () => undefined,
  })
  t.teardown(() => store.close())
  const retained = async (...filters: string[]) =>
    payloads(await all(Readable.from(state.retainedOf(filters))))
  return { state, live, topics, retained }
}

const packet = (topic: string, payload: string, more = {}) => ({ ...makePacket(topic, payload, 1), ...more })
const from = (permissions?: typeof GONE) => ({
  owner: ANN,
  permissions,
  publisher: undefined,
  receiver: undefined,
})

t.test('presence is sent as retained, but not stored', async t => {
  const { state, live, retained } = await setUp(t)
  const presence = `users/${ANN}/presence`
  t.same(await retained(presence, 'users/+/presence'), ['offline'])
  live.add(ANN, { front: 'mqtt', probe: async () => true, end: () => undefined })
  t.same(await retained(presence), ['online'])
  t.same(await retained('users/+/presence'), ['online'])
  t.same(await retained('users/#'), [])
  t.same(await all(state.createRetainedStream('#')), [])
})

t.test('a retained message over the limits is not kept, but is routed', async t => {
  const dropped: string[] = []
  const { topics, retained } = await setUp(t, { maxRetained: 1, onNotRetained: limit => dropped.push(limit) })
  for (const topic of ['a', 'b', 'a'])
    t.equal((await topics.store(packet(topic, `in ${topic}`, { retain: true }), from())).topic, topic)
  t.same(await retained('#'), ['in a'])
  t.same(dropped, ['mqtt.maxRetained'])
  await topics.store(packet('a', '', { retain: true }), from())
  t.same(await retained('#'), [], 'an empty payload removes [MQTT-3.3.1-10]')
})

t.test('a revoked login leaves nothing in the store, in whichever turn it was revoked', async t => {
  const { topics, retained } = await setUp(t)
  await t.rejects(topics.store(packet('a', 'x', { retain: true }), from(GONE)), {
    kind: 'ERROR_UNAUTHORIZED',
  } as never)
  await t.rejects(topics.store(packet('a', 'x', { qos: 0 }), from(GONE)), {
    kind: 'ERROR_UNAUTHORIZED',
  } as never)
  const permissions = { areRevoked: false }
  const late = topics.store(packet('a', 'x', { retain: true }), from(permissions))
  permissions.areRevoked = true
  await t.rejects(late, { kind: 'ERROR_UNAUTHORIZED' } as never)
  t.throws(() => topics.route(packet('a', 'x'), from(GONE)), { kind: 'ERROR_UNAUTHORIZED' } as never)
  t.same(await retained('#'), [])
})

t.test('absent sessions get a packet once, at the highest QoS of their filters that match', async t => {
  const { state, topics } = await setUp(t)
  const away = { id: `${ANN}:away`, clean: false }
  await state.addSubscriptions(away, [
    { topic: 'a/+', qos: 1 },
    { topic: 'a/#', qos: 2 },
    { topic: 'b', qos: 0 },
  ])
  for (const topic of ['a/b', 'b', 'c']) await topics.store(packet(topic, topic, { qos: 2 }), from())
  await topics.store(packet('a/c', 'a/c', { qos: 1 }), from())
  const queued = await all(state.outgoingStream(away))
  t.same(
    queued.map(({ topic, qos }) => [topic, qos]),
    [
      ['a/b', 2],
      ['a/c', 1],
    ],
  )
})
