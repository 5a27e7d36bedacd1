import t, { type Test } from 'tap'
import type { BrokerPacket } from '../../src/mqtt/routing/persistence/kv.js'
import type { BrokerPersistence } from '../../src/mqtt/routing/persistence/persistence.js'
import { all, dump, payloads, publication, STORES, start, WatchedKv } from '../helpers/broker-persistence.js'
import { ofKind } from '../helpers/kind.js'

/** Queues a packet, then sends it under a packet identifier, as Aedes does for a connected client. */
async function queueAndSend(persistence: BrokerPersistence, client: { id: string }, packet: BrokerPacket) {
  await persistence.outgoingEnqueue({ clientId: client.id }, packet)
  await persistence.outgoingUpdate(client, packet)
}

/** @param first its `brokerCounter`, from which the others rise */
function numbered(persistence: BrokerPersistence, count: number, first = 1): BrokerPacket[] {
  return Array.from({ length: count }, (_, i) =>
    publication('t', {
      brokerId: persistence.broker.id,
      brokerCounter: first + i,
      payload: Buffer.from(String(first + i)),
    }),
  )
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => String(from + i))

async function waiting(t: Test, persistence: BrokerPersistence, expected: string[]): Promise<void> {
  t.same(payloads(await all(persistence.outgoingStream({ id: 'c' }))), expected)
}

for (const { name, open } of STORES) {
  t.test(`${name}: the limit of queued bytes applies to all sessions of one account together`, async t => {
    const store = await open(t)
    const options = { accountQueuedBytes: 10_000 }
    const count = async (persistence: BrokerPersistence, id: string) =>
      (await all(persistence.outgoingStream({ id }))).length
    const fill = async (persistence: BrokerPersistence, clientId: string) => {
      for (const packet of numbered(persistence, 30))
        await persistence.outgoingEnqueue({ clientId }, { ...packet, payload: Buffer.alloc(400) })
    }
    const first = await start(store.kv, options)
    await fill(first, 'ann:phone')
    const most = await count(first, 'ann:phone')
    t.ok(most > 10 && most < 25, `${most} of 30`)
    const persistence = await start(store.kv, options)
    await fill(persistence, 'ann:tablet')
    t.equal(await count(persistence, 'ann:tablet'), 0, 'its account has all that it may')
    await fill(persistence, 'bob:phone')
    t.equal(await count(persistence, 'bob:phone'), most)
    await persistence.sessions.clear('ann:phone')
    await fill(persistence, 'ann:tablet')
    t.equal(await count(persistence, 'ann:tablet'), most)
  })

  t.test(`${name}: a queue is read in the order in which it was filled`, async t => {
    const persistence = await start((await open(t)).kv)
    const packets = numbered(persistence, 1000)
    await Promise.all(packets.map(packet => persistence.outgoingEnqueue({ clientId: 'c' }, packet)))
    await waiting(t, persistence, range(1, 1000))
  })

  t.test(`${name}: a broker whose counter restarts overwrites and reorders no packets`, async t => {
    const store = await open(t)
    for (const id of ['first', 'second', 'second']) {
      const persistence = await start(store.kv, {}, { id })
      for (const packet of numbered(persistence, 3)) {
        await persistence.outgoingEnqueue({ clientId: 'c' }, packet)
      }
    }
    await waiting(t, await start(store.kv), [...range(1, 3), ...range(1, 3), ...range(1, 3)])
  })

  t.test(`${name}: a queue of any length costs one read and one write per packet`, async t => {
    const kv = new WatchedKv((await open(t)).kv)
    const persistence = await start(kv)
    const client = { id: 'c' }
    const packets = numbered(persistence, 2000)
    await Promise.all(packets.map(packet => persistence.outgoingEnqueue({ clientId: 'c' }, packet)))
    kv.reset()
    let messageId = 0
    for await (const packet of persistence.outgoingStream(client)) {
      messageId += 1
      await persistence.outgoingUpdate(client, { ...(packet as BrokerPacket), messageId })
    }
    t.equal(kv.walked, 2000)
    t.equal(kv.gets, 0)
    t.equal(kv.writes.length, 2000)
    kv.reset()
    await Promise.all(packets.map((_, i) => persistence.outgoingClearMessageId(client, { messageId: i + 1 })))
    t.equal(kv.walked, 0)
    t.equal(kv.gets, 2000)
    t.equal(kv.writes.length, 2000)
    await waiting(t, persistence, [])
  })

  t.test(
    `${name}: many subscribers are one write, and a client with overlapping filters one entry`,
    async t => {
      const kv = new WatchedKv((await open(t)).kv)
      const persistence = await start(kv)
      kv.reset()
      const targets = [
        { clientId: 'a', qos: 1 },
        { clientId: 'a', qos: 2 },
        { clientId: 'a', qos: 0 },
        { clientId: 'b', qos: 1 },
      ]
      await persistence.outgoingEnqueueCombi(targets, publication('t', { qos: 2, retain: true }))
      t.equal(kv.writes.length, 1)
      t.match(await all(persistence.outgoingStream({ id: 'a' })), [{ qos: 2, retain: false }])
      t.match(await all(persistence.outgoingStream({ id: 'b' })), [{ qos: 1, retain: false }])
    },
  )

  t.test(`${name}: sending a packet twice without an identifier removes nothing from the queue`, async t => {
    const persistence = await start((await open(t)).kv)
    const packets = numbered(persistence, 2)
    for (const packet of packets) await persistence.outgoingEnqueue({ clientId: 'c' }, packet)
    t.equal(await persistence.outgoingClearMessageId({ id: 'c' }, publication('t')), undefined)
    await waiting(t, persistence, ['1', '2'])
  })

  t.test(`${name}: the same PUBACK twice at once removes one packet`, async t => {
    const persistence = await start((await open(t)).kv, { maxQueuedMessages: 2 })
    const client = { id: 'c' }
    for (const packet of numbered(persistence, 2)) {
      await queueAndSend(persistence, client, { ...packet, messageId: packet.brokerCounter })
    }
    const cleared = await Promise.all(
      [1, 1].map(id => persistence.outgoingClearMessageId(client, { messageId: id })),
    )
    t.match(cleared, [{ messageId: 1 }, undefined])
    await persistence.outgoingEnqueue({ clientId: 'c' }, publication('t', { payload: '3' }))
    await waiting(t, persistence, ['2', '3'])
  })

  t.test(`${name}: only packets that were sent are resent with DUP and their identifier`, async t => {
    const store = await open(t)
    const before = await start(store.kv)
    const connection = { id: 'c' }
    const [sent = {}, unsent = {}] = numbered(before, 2)
    await queueAndSend(before, connection, { ...sent, messageId: 9 })
    await before.outgoingEnqueue({ clientId: 'c' }, unsent)
    const expected = (dup: boolean) => [
      { payload: sent.payload, messageId: 9, dup },
      { payload: unsent.payload, messageId: undefined, dup: false },
    ]
    t.match(await all(before.outgoingStream(connection)), expected(false), 'on the connection it was sent on')
    t.match(await all(before.outgoingStream({ id: 'c' })), expected(true), 'on the next')
    t.match(await all((await start(store.kv)).outgoingStream({ id: 'c' })), expected(true), 'after a restart')
  })

  t.test(`${name}: QoS 2 resumes with PUBREL after a restart`, async t => {
    const store = await open(t)
    const before = await start(store.kv)
    const [packet = {}] = numbered(before, 1)
    await queueAndSend(before, { id: 'c' }, { ...packet, qos: 2, messageId: 9 })
    await before.outgoingUpdate({ id: 'c' }, { cmd: 'pubrel', messageId: 9 })
    const kv = new WatchedKv(store.kv)
    const after = await start(kv)
    t.same(await all(after.outgoingStream({ id: 'c' })), [{ cmd: 'pubrel', messageId: 9 }])
    await after.outgoingUpdate({ id: 'c' }, { cmd: 'pubrel', messageId: 9 })
    t.equal(kv.writes.length, 0, 'it is stored so')
    await after.outgoingClearMessageId({ id: 'c' }, { messageId: 9 })
    t.same(await all(after.outgoingStream({ id: 'c' })), [])
  })

  t.test(
    `${name}: a PUBREC of a packet that was not queued, such as a retained message, stores its PUBREL`,
    async t => {
      const persistence = await start((await open(t)).kv)
      await persistence.outgoingUpdate({ id: 'c' }, { cmd: 'pubrel', messageId: 3 })
      t.same(await all(persistence.outgoingStream({ id: 'c' })), [{ cmd: 'pubrel', messageId: 3 }])
      await persistence.outgoingClearMessageId({ id: 'c' }, { messageId: 3 })
      t.same(await all(persistence.outgoingStream({ id: 'c' })), [])
    },
  )

  t.test(`${name}: packets queued while the queue is read are not part of that read`, async t => {
    const persistence = await start((await open(t)).kv)
    await persistence.outgoingEnqueue({ clientId: 'c' }, publication('early'))
    const stream = persistence.outgoingStream({ id: 'c' })
    await persistence.outgoingEnqueue({ clientId: 'c' }, publication('late'))
    t.same(payloads(await all(stream)), ['early'])
  })

  t.test(`${name}: a queue over maxQueuedMessages drops its oldest packets and reports it`, async t => {
    const store = await open(t)
    const dropped: unknown[] = []
    const options = {
      maxQueuedMessages: 10,
      onDropped: (clientId: string, count: number) => dropped.push({ clientId, count }),
    }
    const before = await start(store.kv, options)
    for (const packet of numbered(before, 10)) await before.outgoingEnqueue({ clientId: 'c' }, packet)
    t.same(dropped, [])
    const after = await start(store.kv, options)
    for (const packet of numbered(after, 2, 11)) await after.outgoingEnqueue({ clientId: 'c' }, packet)
    await after.outgoingEnqueue({ clientId: 'other' }, publication('t'))
    t.same(dropped, [
      { clientId: 'c', count: 1 },
      { clientId: 'c', count: 1 },
    ])
    await waiting(t, after, range(3, 12))
  })

  t.test(`${name}: a burst leaves the newest of a queue, and the count stays right`, async t => {
    let dropped = 0
    const options = {
      maxQueuedMessages: 10,
      onDropped: (_: string, count: number) => {
        dropped += count
      },
    }
    const persistence = await start((await open(t)).kv, options)
    const packets = numbered(persistence, 500)
    await Promise.all(packets.map(packet => persistence.outgoingEnqueue({ clientId: 'c' }, packet)))
    t.equal(dropped, 490)
    await waiting(t, persistence, range(491, 500))
    await persistence.outgoingEnqueue({ clientId: 'c' }, publication('t', { payload: '501' }))
    t.equal(dropped, 491)
  })

  t.test(`${name}: a queue over maxQueuedBytes drops its oldest packets`, async t => {
    const persistence = await start((await open(t)).kv, { maxQueuedBytes: 3000 })
    for (const text of ['a', 'b', 'c', 'd']) {
      await persistence.outgoingEnqueue({ clientId: 'c' }, publication('t', { payload: text.repeat(1000) }))
    }
    await waiting(t, persistence, ['c'.repeat(1000), 'd'.repeat(1000)])
  })

  t.test(`${name}: a dropped packet in flight can still be acknowledged and is not resent`, async t => {
    const store = await open(t)
    const persistence = await start(store.kv, { maxQueuedMessages: 1 })
    const client = { id: 'c' }
    const [first = {}, second = {}, third = {}] = numbered(persistence, 3)
    await queueAndSend(persistence, client, { ...first, messageId: 1 })
    await persistence.outgoingEnqueue({ clientId: 'c' }, second)
    t.equal(await persistence.outgoingClearMessageId(client, { messageId: 1 }), undefined)
    await persistence.outgoingEnqueue({ clientId: 'c' }, third)
    await persistence.outgoingUpdate(client, { ...second, messageId: 2 })
    await waiting(t, persistence, ['3'])
    t.same(await dump(store.kv), ['queue ["c",3]', 'meta ["session","c"]'])
  })

  t.test(`${name}: packets of an ended session are not delivered to the next one`, async t => {
    const persistence = await start((await open(t)).kv)
    const [old = {}, fresh = {}, fresher = {}] = numbered(persistence, 3)
    await persistence.outgoingEnqueue({ clientId: 'c' }, old)
    await persistence.sessions.clear('c')
    await persistence.outgoingEnqueue({ clientId: 'c' }, fresh)
    await persistence.outgoingUpdate({ id: 'c' }, { ...old, messageId: 1 })
    await persistence.outgoingEnqueue({ clientId: 'c' }, fresher)
    await waiting(t, persistence, ['2', '3'])
  })

  t.test(`${name}: an identifier that could not be stored is reported, not thrown`, async t => {
    const kv = new WatchedKv((await open(t)).kv)
    const errors: unknown[] = []
    const persistence = await start(kv, { onError: error => errors.push(error) })
    const [one = {}, two = {}] = numbered(persistence, 2)
    for (const packet of [one, two]) {
      await persistence.outgoingEnqueue({ clientId: 'c' }, { ...packet, qos: 2 })
    }
    const [three = {}] = numbered(persistence, 1, 3)
    await persistence.outgoingEnqueue({ clientId: 'c' }, three)
    kv.isFailing = true
    await persistence.outgoingUpdate({ id: 'c' }, { ...three, messageId: 3 })
    await t.rejects(
      persistence.outgoingUpdate({ id: 'c' }, { ...one, messageId: 1 }),
      ofKind('STORE_UNAVAILABLE'),
    )
    kv.isFailing = false
    await waiting(t, persistence, ['1', '2', '3'])
    t.match(errors, [{ kind: 'STORE_UNAVAILABLE' }])
  })
}
