import t from 'tap'
import { BrokerPersistence } from '../../src/mqtt/routing/persistence/persistence.js'
import { aedesSuite } from '../helpers/aedes-suite.js'
import { all, dump, publication, STORES, start, WatchedKv } from '../helpers/broker-persistence.js'
import { ofKind } from '../helpers/kind.js'

const sub = (topic: string, qos = 1) => ({ topic, qos })

for (const { name, open } of STORES) {
  t.test(`${name}: aedes-persistence's own suite passes`, async t => {
    aedesSuite(t, async t => new BrokerPersistence((await open(t)).kv))
  })

  t.test(`${name}: subscriptions, wills and half-received QoS 2 packets survive a restart`, async t => {
    const store = await open(t)
    const before = await start(store.kv, {}, { id: 'before' })
    await before.addSubscriptions({ id: 'c' }, [sub('a/+', 2), sub('b', 0)])
    await before.putWill({ id: 'c' }, { topic: 'died', payload: Buffer.from('!'), qos: 1, retain: true })
    await before.incomingStorePacket({ id: 'c' }, publication('up', { qos: 2, messageId: 7 }))

    const after = await start(store.kv, {}, { id: 'after' })
    t.match(await after.subscriptionsByClient({ id: 'c' }), [sub('a/+', 2), sub('b', 0)])
    t.match(await after.subscriptionsByTopic('a/x'), [{ clientId: 'c', topic: 'a/+', qos: 2 }])
    t.same(await after.subscriptionsByTopic('b'), [], 'nothing is queued for QoS 0')
    t.match(await after.incomingGetPacket({ id: 'c' }, { messageId: 7 }), { messageId: 7 })
    t.same(await all(after.streamWill({ before: Date.now() })), [], 'the broker that has it lives')
    const [will] = await all(after.streamWill({ after: Date.now() }))
    t.match(will, { topic: 'died', qos: 1, retain: true, brokerId: 'before', clientId: 'c' })
    t.equal(String(will?.payload), '!')
  })

  t.test(`${name}: client u1 does not read the keys of client u10`, async t => {
    const store = await open(t)
    const persistence = await start(store.kv)
    for (const id of ['u1', 'u10']) {
      await persistence.addSubscriptions({ id }, [sub('t')])
      await persistence.outgoingEnqueue({ clientId: id }, publication('t', { payload: Buffer.from(id) }))
      await persistence.incomingStorePacket({ id }, publication('t', { messageId: 1 }))
    }
    await persistence.sessions.clear('u1')
    t.same(await dump(store.kv), [
      'subscriptions ["u10","t"]',
      'queue ["u10",2]',
      'incoming ["u10",1]',
      'meta ["session","u10"]',
    ])
  })

  t.test(`${name}: client ids and topics beyond U+00FF are found again`, async t => {
    const store = await open(t)
    const before = await start(store.kv)
    const id = '裝置😀'
    await before.addSubscriptions({ id }, [sub('訊息/+'), sub('😀/#')])
    await before.outgoingEnqueue({ clientId: id }, publication('訊息/一'))
    const after = await start(store.kv)
    t.match(await after.subscriptionsByTopic('😀/ÿ/Ā'), [{ clientId: id, topic: '😀/#' }])
    t.match(await all(after.outgoingStream({ id })), [{ topic: '訊息/一' }])
    t.ok(after.sessions.has(id))
  })

  t.test(
    `${name}: + matches an empty level, # its parent, and neither a topic that begins with $`,
    async t => {
      const persistence = await start((await open(t)).kv)
      const filters = ['+', '+/+', '/+', 'a/+', 'a//b', 'a/+/b', 'a/#', '#', '$x/#']
      await persistence.addSubscriptions(
        { id: 'c' },
        filters.map(filter => sub(filter)),
      )
      const matching = async (topic: string) =>
        (await persistence.subscriptionsByTopic(topic)).map(({ topic }) => topic).sort()
      t.same(await matching('/finance'), ['#', '+/+', '/+'])
      t.same(await matching('a/'), ['#', '+/+', 'a/#', 'a/+'])
      t.same(await matching('a//b'), ['#', 'a/#', 'a/+/b', 'a//b'])
      t.same(await matching('a'), ['#', '+', 'a/#'])
      t.same(await matching('$x/y'), ['$x/#'])
    },
  )

  t.test(`${name}: a SUBSCRIBE of many filters is stored once, not once a filter`, async t => {
    const kv = new WatchedKv((await open(t)).kv)
    const persistence = await start(kv)
    const packet = Array.from({ length: 100 }, (_, i) => sub(`t/${i}`))
    await Promise.all(packet.map(() => persistence.addSubscriptions({ id: 'c' }, packet)))
    t.equal(kv.writes.length, 1)
    t.equal((await persistence.countOffline()).subsCount, 100)
  })

  t.test(`${name}: an UNSUBSCRIBE right after its SUBSCRIBE wins, in memory and in the store`, async t => {
    const store = await open(t)
    const before = await start(store.kv)
    await Promise.all([
      before.addSubscriptions({ id: 'c' }, [sub('t')]),
      before.removeSubscriptions({ id: 'c' }, ['t']),
    ])
    t.same(await before.subscriptionsByClient({ id: 'c' }), [])
    t.same(await (await start(store.kv)).subscriptionsByClient({ id: 'c' }), [])
  })

  t.test(`${name}: a session without subscriptions is a session, after a restart too`, async t => {
    const store = await open(t)
    const before = await start(store.kv)
    t.notOk(before.sessions.has('c'))
    t.equal(await before.sessions.touch('c', false), false)
    t.ok(before.sessions.has('c'))
    const after = await start(store.kv)
    t.ok(after.sessions.has('c'))
    t.equal(await after.sessions.touch('c', false), true)
    t.equal(await after.sessions.touch('c', true), false)
    t.notOk(after.sessions.has('c'))
  })

  t.test(`${name}: a clean session removes everything of the one before [MQTT-3.1.2-6]`, async t => {
    const store = await open(t)
    const persistence = await start(store.kv)
    await persistence.sessions.touch('c', false)
    await persistence.addSubscriptions({ id: 'c' }, [sub('t')])
    await persistence.incomingStorePacket({ id: 'c' }, publication('t', { messageId: 1 }))
    // Still under way when the session ends.
    const queued = persistence.outgoingEnqueue({ clientId: 'c' }, publication('t'))
    await Promise.all([queued, persistence.cleanSubscriptions({ id: 'c' })])
    t.same(await dump(store.kv), [])
    t.same(await persistence.subscriptionsByTopic('t'), [])
    t.same(await all(persistence.outgoingStream({ id: 'c' })), [])
  })

  t.test(`${name}: an interrupted removal of a session continues at the next start`, async t => {
    const kv = new WatchedKv((await open(t)).kv)
    const before = await start(kv)
    await before.addSubscriptions({ id: 'c' }, [sub('t')])
    await before.outgoingEnqueue({ clientId: 'c' }, publication('t'))
    const clearing = before.sessions.clear('c')
    kv.isFailing = true
    await t.rejects(clearing, ofKind('STORE_UNAVAILABLE'))
    kv.isFailing = false
    t.ok((await dump(kv)).includes('queue ["c",1]'))
    t.notOk((await start(kv)).sessions.has('c'))
    t.same(await dump(kv), [])
  })

  t.test(`${name}: a client with a stored queue has a session even if its first write failed`, async t => {
    const kv = new WatchedKv((await open(t)).kv)
    const before = await start(kv)
    kv.isFailing = true
    await t.rejects(before.outgoingEnqueue({ clientId: 'c' }, publication('t')))
    kv.isFailing = false
    await before.outgoingEnqueue({ clientId: 'c' }, publication('t'))
    const after = await start(kv)
    t.ok(after.sessions.has('c'))
    t.ok((await dump(kv)).includes('meta ["session","c"]'))
  })

  t.test(`${name}: sessions that expired are removed, connected ones are not`, async t => {
    const store = await open(t)
    const clients = { here: {} }
    const persistence = await start(store.kv, { sessionExpiryMs: 1000 }, { id: 'b', clients })
    for (const id of ['here', 'gone']) {
      await persistence.sessions.touch(id, false)
      await persistence.outgoingEnqueue({ clientId: id }, publication('t'))
    }
    t.equal(await persistence.expire(Date.now() + 500), 0)
    t.equal(await persistence.expire(Date.now() + 1500), 1)
    t.same(await dump(store.kv), ['queue ["here",1]', 'meta ["session","here"]'])
    const restarted = await start(store.kv, { sessionExpiryMs: 1000 })
    t.equal(await restarted.expire(Date.now() + 2000), 0, 'that it was connected is in the store')
    t.equal(await restarted.expire(Date.now() + 3000), 1)
  })

  t.test(`${name}: sessions never expire if expiry is 0`, async t => {
    const persistence = await start((await open(t)).kv, { sessionExpiryMs: 0 })
    await persistence.sessions.touch('c', false)
    t.equal(await persistence.expire(Number.MAX_SAFE_INTEGER), 0)
  })

  t.test(`${name}: only the identifier of a half-received QoS 2 packet is stored`, async t => {
    const kv = new WatchedKv((await open(t)).kv)
    const persistence = await start(kv)
    const packet = publication('t', { qos: 2, messageId: 7, payload: Buffer.alloc(1_000_000) })
    await persistence.incomingStorePacket({ id: 'c' }, packet)
    for await (const { value } of kv.kvRange('incoming', [])) t.ok(value.byteLength < 10)
    t.same(await persistence.incomingGetPacket({ id: 'c' }, { messageId: 7 }), { messageId: 7 })
    t.same([...persistence.incomingIds({ id: 'c' })], [7])
    await persistence.incomingDelPacket({ id: 'c' }, { messageId: 7 })
    await t.rejects(persistence.incomingGetPacket({ id: 'c' }, { messageId: 7 }))
    t.same(await all(kv.kvRange('incoming', [])), [])
  })

  t.test(`${name}: a half-received packet whose identifier was not stored is not known`, async t => {
    const kv = new WatchedKv((await open(t)).kv)
    const persistence = await start(kv)
    await persistence.sessions.touch('c', false)
    kv.isFailing = true
    const storing = persistence.incomingStorePacket({ id: 'c' }, publication('t', { messageId: 7 }))
    const known = persistence.hasIncoming({ id: 'c' }, { messageId: 7 })
    await t.rejects(storing, ofKind('STORE_UNAVAILABLE'))
    t.equal(await known, false)
    t.same([...persistence.incomingIds({ id: 'c' })], [])
  })

  t.test(`${name}: clients without half-received packets cost no store access`, async t => {
    const kv = new WatchedKv((await open(t)).kv)
    const persistence = await start(kv)
    kv.reset()
    kv.isFailing = true
    await t.rejects(persistence.incomingGetPacket({ id: 'c' }, { messageId: 7 }), {
      message: 'no such packet',
    })
    await persistence.cleanIncoming({ id: 'c' })
    await persistence.cleanIncoming({ id: null as unknown as string })
    t.same(kv.writes, [])
  })

  t.test(`${name}: half-received QoS 2 packets of a clean session end with the process`, async t => {
    const store = await open(t)
    const before = await start(store.kv)
    await before.incomingStorePacket({ id: 'c', clean: true }, publication('t', { messageId: 1 }))
    await start(store.kv)
    t.same(await dump(store.kv), [])
  })

  t.test(
    `${name}: the end of a connection that was taken over does not remove the new one's will`,
    async t => {
      const persistence = await start((await open(t)).kv)
      const old = { id: 'c', closed: false }
      const next = { id: 'c', closed: false }
      await persistence.putWill(old, { topic: 'old', payload: '' })
      await persistence.delWill(next)
      await persistence.putWill(next, { topic: 'new', payload: '' })
      old.closed = true
      await persistence.delWill({ id: 'c' })
      t.match(await persistence.getWill({ id: 'c' }), { topic: 'new' })
      next.closed = true
      t.match(await persistence.delWill({ id: 'c' }), { topic: 'new' })
      t.equal(await persistence.getWill({ id: 'c' }), undefined)
    },
  )

  t.test(`${name}: a store failure is reported where Aedes does not handle a rejection`, async t => {
    const kv = new WatchedKv((await open(t)).kv)
    const errors: unknown[] = []
    const persistence = await start(kv, { onError: error => errors.push(error) })
    kv.isFailing = true
    t.equal(await persistence.delWill({ id: 'c' }), undefined)
    t.same(await all(persistence.createRetainedStreamCombi(['t', '#'])), [])
    t.match(errors, [{ kind: 'STORE_UNAVAILABLE' }, { kind: 'STORE_UNAVAILABLE' }])
    await t.rejects(persistence.addSubscriptions({ id: 'c' }, [sub('t')]), ofKind('STORE_UNAVAILABLE'))
    await t.rejects(persistence.outgoingEnqueue({ clientId: 'c' }, publication('t')))
  })
}
