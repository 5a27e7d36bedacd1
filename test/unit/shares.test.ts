/** Shared subscriptions: whose turn it is, what is queued for whom, and what another member gets. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { sharedFilter } from '../../src/core/topic-filter.js'
import { LiveConnections } from '../../src/live/live.js'
import { HeldPackets } from '../../src/mqtt/routing/held.js'
import { makePacket, type RoutedPacket } from '../../src/mqtt/routing/packet.js'
import type { Subscriber } from '../../src/mqtt/routing/route.js'
import { Router } from '../../src/mqtt/routing/router.js'
import { SharedTopics } from '../../src/mqtt/routing/shared-topics.js'
import { Shares } from '../../src/mqtt/routing/shares.js'
import { BrokerState } from '../../src/mqtt/routing/state.js'
import { SharedInFlight, sharedOf } from '../../src/mqtt/routing/unsettled.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { all } from '../helpers/broker-persistence.js'
import { dataDir } from '../helpers/gateway.js'

class Member implements Subscriber {
  readonly got: RoutedPacket[] = []
  hasRoom = true
  mayRead = true

  constructor(
    readonly clientId: string,
    readonly isKept = false,
  ) {}

  mayGet(): boolean {
    return this.mayRead
  }

  deliver(packet: RoutedPacket): void {
    this.got.push(packet)
  }
}

t.test('the filter behind the name', async t => {
  t.equal(sharedFilter('$share/g/a/#'), 'a/#')
  t.equal(sharedFilter('$share/g//'), '/')
  for (const other of [
    'a',
    '$share',
    '$share/',
    '$share/g',
    '$share/g/',
    '$share//a',
    '$share/+/a',
    '$shared/g/a',
  ])
    t.equal(sharedFilter(other), undefined, other)
})

t.test('members take turns; who has no room is passed over, and who may not read gets nothing', async t => {
  const router = new Router()
  const [a, b, c] = ['a', 'b', 'c'].map(name => new Member(name)) as [Member, Member, Member]
  for (const one of [a, b, c]) router.add('$share/g/t/#', { qos: 1 }, one)
  const next = () => router.shares.choose('t/1').map(({ subscriber }) => subscriber.clientId)
  t.same([next(), next(), next(), next()], [['a'], ['b'], ['c'], ['a']])
  b.hasRoom = false
  t.same([next(), next(), next()], [['c'], ['a'], ['c']])
  a.hasRoom = false
  c.hasRoom = false
  t.same([next(), next(), next()], [['a'], ['b'], ['c']], 'where none has room each one waits in turn')
  a.mayRead = false
  t.same([next(), next()], [['b'], ['c']])
  t.equal(router.shares.chooseOf('$share/g/t/#', 't/1', 'b')?.subscriber.clientId, 'c', 'another than b')
  t.equal(router.shares.chooseOf('$share/other/t/#', 't/1'), undefined)
})

t.test(
  'each group that matches has one member; a topic that begins with $ has none by a wildcard',
  async t => {
    const shares = new Shares()
    const router = new Router()
    const one = new Member('one')
    router.add('$share/g/#', { qos: 0 }, one)
    router.add('$share/h/t', { qos: 0 }, one)
    router.add('$share/h/u', { qos: 0 }, one)
    router.add('t', { qos: 0 }, one)
    t.same(
      router.shares
        .choose('t')
        .map(({ share }) => share)
        .sort(),
      ['$share/g/#', '$share/h/t'],
    )
    t.same(router.shares.choose('$SYS'), [])
    t.same(shares.choose('t'), [])
  },
)

t.test('who leaves a group gets nothing, and the last one takes the group away', async t => {
  const router = new Router()
  const [a, b] = [new Member('a'), new Member('b')]
  const [first, second] = [a, b].map(one => router.add('$share/g/t', { qos: 0 }, one))
  if (first === undefined || second === undefined) throw new Error('no routes')
  router.remove('$share/g/t', first)
  t.same(
    router.shares.choose('t').map(({ subscriber }) => subscriber.clientId),
    ['b'],
  )
  router.remove('$share/g/t', second)
  router.remove('$share/g/t', second)
  t.same(router.shares.choose('t'), [])
})

t.test('what was sent at QoS 1 is another member’s until it is acknowledged', async t => {
  const sent = new SharedInFlight()
  const packet = { ...makePacket('t', 'x', 1), share: '$share/g/t' }
  const outgoing = { packet, retain: false }
  sent.sent({ ...outgoing, qos: 1, messageId: 1 })
  sent.sent({ ...outgoing, qos: 1, messageId: 2 })
  sent.sent({ ...outgoing, qos: 2, messageId: 3 })
  sent.sent({ ...outgoing, qos: 0, messageId: undefined })
  sent.acknowledged(1)
  sent.acknowledged(9)
  t.same(sent.all(), [{ packet, messageId: 2 }])
})

t.test('packets are held up to a number of bytes; those of a kept session are in its queue', async t => {
  const held = new HeldPackets(500)
  const packet = { ...makePacket('t', 'x', 1), share: '$share/g/t' }
  const due = { packet, grant: 1, isStored: false }
  t.equal(held.isEmpty, true)
  t.equal(held.push(due), true)
  t.equal(held.push({ ...due, isStored: true }), true)
  t.same(sharedOf(held.takeAll()), [{ packet, messageId: undefined }])
  held.push(due)
  t.equal(held.shift(), due)
  t.equal(held.shift(), undefined)
  t.same([held.push(due), held.push(due), held.push(due)], [true, true, false])
  t.equal(held.lost, 0, 'another member gets them')
  held.push({ ...due, packet: makePacket('t', 'x', 1) })
  t.equal(held.lost, 1)
  held.push({ ...due, packet: makePacket('t', 'x', 1), isStored: true })
  t.equal(held.lost, 1)
  const block = { ...packet, block: Buffer.alloc(300) }
  t.equal(new HeldPackets(500).push({ ...due, packet: block }), false, 'properties count')
})

async function setUp(t: Test) {
  const store = new EmbeddedStore({ dir: join(dataDir(t), 'store'), durability: 'commit', dedupWindowMs: 0 })
  await store.open()
  t.teardown(() => store.close())
  const state = new BrokerState(store.kv, new LiveConnections('allow'), { isConnected: () => false })
  await state.setup({ id: 'broker' })
  const router = new Router()
  let count = 0
  const shared = new SharedTopics({
    router,
    state,
    mayRead: clientId => clientId !== 'deaf',
    numbered: packet => ({ ...packet, brokerId: 'broker', brokerCounter: ++count }),
  })
  const subscribe = (id: string, filter: string, qos = 1) =>
    state.addSubscriptions({ id, clean: false }, [{ topic: filter, qos }])
  const queueOf = async (id: string) =>
    (await all(state.outgoing.stream({ id, clean: false }))).map(({ payload, share }) => [
      `${payload}`,
      share,
    ])
  /** Stores and routes it, as TopicStore does. */
  const publish = async (packet: RoutedPacket): Promise<number> => {
    await state.outgoing.enqueueAll(shared.share(packet))
    return router.route(packet).connections
  }
  return { state, router, shared, subscribe, queueOf, publish }
}

const packet = (payload: string, qos: 0 | 1 = 1): RoutedPacket => makePacket('t', payload, qos)

t.test('a copy is queued for the member whose session is kept, and for it alone', async t => {
  const { router, subscribe, queueOf, publish } = await setUp(t)
  const [kept, clean] = [new Member('kept', true), new Member('clean')]
  for (const one of [kept, clean]) router.add('$share/g/t', { qos: 1, retainAsPublished: true }, one)
  await subscribe('kept', '$share/g/t')
  for (const payload of ['1', '2', '3']) t.equal(await publish(packet(payload)), 1)
  t.same(await queueOf('kept'), [
    ['1', '$share/g/t'],
    ['3', '$share/g/t'],
  ])
  t.same(
    [kept, clean].map(({ got }) => got.map(({ payload }) => `${payload}`)),
    [['1', '3'], ['2']],
  )
  t.equal(await publish(packet('at 0', 0)), 1)
  t.equal((await queueOf('kept')).length, 2, 'QoS 0 is not queued')
})

t.test('where no member is connected a session that is away gets it, if it may read the topic', async t => {
  const { subscribe, queueOf, publish } = await setUp(t)
  t.equal(await publish(packet('nobody')), 0)
  await subscribe('deaf', '$share/g/t')
  t.equal(await publish(packet('nobody may')), 0)
  await subscribe('away', '$share/g/t')
  await subscribe('other', '$share/h/+', 1)
  await subscribe('zero', '$share/i/t', 0)
  t.equal(await publish(packet('1')), 2, 'a subscriber gets it')
  t.equal(await publish(packet('at 0', 0)), 0)
  t.same(
    [await queueOf('away'), await queueOf('other'), await queueOf('zero')],
    [[['1', '$share/g/t']], [['1', '$share/h/+']], []],
  )
})

t.test(
  'what a member left goes to another one, which has it in its queue before the first has not',
  async t => {
    const { state, router, shared, subscribe, queueOf, publish } = await setUp(t)
    const [one, two] = [new Member('one', true), new Member('two', true)]
    const route = router.add('$share/g/t', { qos: 1 }, one)
    await subscribe('one', '$share/g/t')
    await publish(packet('x'))
    const [left] = one.got
    if (left === undefined) throw new Error('nothing was delivered')
    await state.outgoing.update({ id: 'one', clean: false }, { ...left, messageId: 7 })
    router.remove('$share/g/t', route)
    await shared.passOn({ id: 'one', clean: false }, [{ packet: left, messageId: 7 }])
    t.same(await queueOf('one'), [['x', '$share/g/t']], 'nobody else is there')
    router.add('$share/g/t', { qos: 1 }, two)
    await subscribe('two', '$share/g/t')
    await shared.passOn({ id: 'one', clean: false }, [{ packet: left, messageId: 7 }])
    t.same([await queueOf('one'), await queueOf('two')], [[], [['x', '$share/g/t']]])
    t.match(two.got, [{ payload: Buffer.from('x'), dup: false, messageId: undefined }])
  },
)

t.test(
  'a member that vanished between store and route: its queue has the copy, or another member gets it',
  async t => {
    const { state, router, shared } = await setUp(t)
    const [gone, here] = [new Member('gone'), new Member('here')]
    const route = router.add('$share/g/t', { qos: 1 }, gone)
    const one = packet('x')
    await state.outgoing.enqueueAll(shared.share(one))
    router.remove('$share/g/t', route)
    router.add('$share/g/t', { qos: 1 }, here)
    t.equal(router.route(one).connections, 1)
    t.equal(here.got.length, 1)
    t.equal(gone.got.length, 0)
  },
)
