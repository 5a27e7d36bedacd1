/** What metrics are made of: histograms, samples of messages, and rounds over devices, inboxes and pages. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { v7 } from 'uuid'
import { startWatching } from '../../src/app/watched.js'
import { Buckets } from '../../src/core/histogram.js'
import { Metrics } from '../../src/core/metrics.js'
import type { UserId } from '../../src/core/model.js'
import { Samples } from '../../src/core/samples.js'
import { READER_STATES, watch } from '../../src/core/watched.js'
import { Census } from '../../src/inbox/census.js'
import { UnconfirmedRounds } from '../../src/inbox/unconfirmed.js'
import { spaceOf } from '../../src/store/embedded/space.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { ANN, BOB, message, user } from '../helpers/store-samples.js'

t.test('a histogram counts each value once, in the form of Prometheus', async t => {
  const buckets = new Buckets([1, 2, 4])
  for (const value of [0, 1, 1.5, 4, 5, 100]) buckets.observe(value)
  t.equal(buckets.count, 6)
  t.same(buckets.cumulative, [
    [1, 2],
    [2, 3],
    [4, 4],
    ['+Inf', 6],
  ])
  t.same(buckets.samples('m', { front: 'json' }).slice(-3), [
    { metricName: 'm_bucket', labels: { le: '+Inf', front: 'json' }, value: 6 },
    { metricName: 'm_sum', labels: { front: 'json' }, value: 111.5 },
    { metricName: 'm_count', labels: { front: 'json' }, value: 6 },
  ])
})

t.test('one message in 32 is followed to its confirmation', async t => {
  const [lag, confirmed] = [new Buckets([1]), new Buckets([1])]
  const samples = new Samples(lag, { json: confirmed })
  const [ann, bob] = [{}, {}]
  const id = v7({ msecs: Date.now() - 5000 })
  for (let seq = 1; seq <= 31; seq++) samples.handed(ann, seq, id)
  t.equal(lag.count, 0)
  samples.handed(ann, 32, id)
  t.same(lag.cumulative, [
    [1, 0],
    ['+Inf', 1],
  ])
  samples.settled(bob, 'json', 99)
  samples.settled(ann, 'json', 31)
  t.equal(confirmed.count, 0, 'it is not that message')
  samples.settled(ann, 'json', 40)
  samples.settled(ann, 'json', 41)
  t.equal(confirmed.count, 1)
  for (let seq = 1; seq <= 32; seq++) samples.handed(bob, seq, v7({ msecs: Date.now() + 60_000 }))
  samples.forget(bob)
  samples.settled(bob, 'json', 99)
  t.equal(confirmed.count, 1, 'it went without a confirmation')
  t.equal(lag.cumulative[0]?.[1], 1, 'a clock that went back makes no negative time')
})

t.test('devices are counted a part at a time, and told of when the round is whole', async t => {
  const devices = Array.from({ length: 2500 }, (_, i) => ({
    front: i % 2 === 0 ? 'json' : 'mqtt',
    state: READER_STATES[i % 5 === 0 ? 2 : 0] ?? 'live',
  }))
  const census = new Census(
    () => devices.values(),
    () => devices.length,
  )
  t.teardown(() => census.stop())
  const all = () => [...census.counts()].map(([, , count]) => count)
  census.run()
  census.run()
  t.same(all(), [0, 0, 0, 0, 0, 0, 0])
  census.run()
  t.same(all(), [1000, 0, 250, 1000, 0, 250, 0], 'the last of requests by REST that wait')
  devices.length = 1
  census.run()
  t.same(all(), [0, 0, 1, 0, 0, 0, 0], 'the next round begins anew')
})

async function openStore(t: Test): Promise<EmbeddedStore> {
  const dir = join(t.testdir(), 'db')
  const store = new EmbeddedStore({ dir, durability: 'commit', dedupWindowMs: 0 })
  await store.open()
  t.teardown(() => store.close())
  return store
}

t.test('rounds over inboxes find the most and the oldest that is not confirmed', async t => {
  const store = await openStore(t)
  const eve = '100000003'
  for (const id of [ANN, BOB, eve]) await store.users.createUser(user(id))
  const old = v7({ msecs: Date.now() - 3_700_000 })
  await store.inbox.append([message(BOB, ANN, { id: old }), message(BOB, ANN), message(BOB, ANN)])
  await store.inbox.append(Array.from({ length: 12 }, () => message(ANN, BOB)))
  const place = { device: '', sent: 12, released: [], seenAt: Date.now() }
  await store.cursors.moveCursors([{ ...place, userId: BOB, confirmed: 12 }])
  let fails = true
  const confirmed = async (id: UserId) => {
    if (id === BOB && fails) throw new Error('disk')
    return (await store.cursors.slowest(id)) ?? 0
  }
  const rounds = new UnconfirmedRounds(store, confirmed, 2)
  t.teardown(() => rounds.stop())
  await rounds.step()
  fails = false
  await rounds.step()
  t.equal(rounds.found, undefined, 'two a step: Eve is missing')
  await rounds.step()
  t.match(rounds.found, { mostMessages: 3 })
  const { messages, ages, oldestSeconds = 0 } = rounds.found ?? {}
  t.same(messages?.cumulative.slice(0, 3), [
    [0, 2],
    [1, 2],
    [10, 3],
  ])
  t.equal(messages?.count, 3, 'each inbox once, although the store failed in between')
  t.equal(ages?.count, 1)
  t.ok(oldestSeconds >= 3700 && oldestSeconds < 4000)
  await store.inbox.append([message(BOB, eve)])
  await rounds.step()
  t.match(rounds.found, { mostMessages: 3 }, 'the next round is not due')
  const off = new UnconfirmedRounds(store, confirmed, 0)
  off.start()
  await off.stop()
  t.equal(off.found, undefined)
})

t.test('free pages of the file are those that a removal left', async t => {
  const store = await openStore(t)
  await store.users.createUser(user(ANN))
  const text = `{"content":"${'x'.repeat(8000)}"}`
  await store.inbox.append(Array.from({ length: 200 }, () => message(BOB, ANN, { text })))
  // It gives what is in the journal to LMDB.
  await store.inbox.trimInbox(ANN, 0, 1)
  const before = store.space
  t.ok(before && before.mapBytes > 200 * 8000)
  await store.inbox.trimInbox(ANN, 200, 500)
  await store.ping()
  const freed = (store.space?.freeBytes ?? 0) - (before?.freeBytes ?? 0)
  t.ok(freed > 150 * 8000 && freed < 400 * 8000, `${freed}`)
  await store.close()
  t.equal(store.space, undefined)
  t.type(spaceOf, 'function')
  t.type(startWatching, 'function', 'test/wire/metrics.test.ts runs it')
})

t.test('what cannot be told has no value, and sums have no buckets', async t => {
  const metrics = new Metrics()
  t.type(watch, 'function')
  metrics.watch({
    storeBytes: () => undefined,
    storePages: () => undefined,
    diskFreeBytes: () => 7,
    passwords: () => ({ waiting: 2, running: 1 }),
    waitingMessages: () => 3,
    readers: () => [['json', 'live', 4]],
    unconfirmed: () => undefined,
  })
  metrics.stored(5, 0.001)
  const text = await metrics.registry.metrics()
  for (const line of [
    'mumi_disk_free_bytes 7',
    'mumi_passwords_waiting 2',
    'mumi_sessions{front="json",state="live"} 4',
    'mumi_store_rows_bucket{le="8"} 1',
    'mumi_store_rows_sum 5',
    'mumi_confirm_seconds_count{front="mqtt"} 0',
  ])
    t.ok(text.includes(`\n${line}\n`), line)
  t.notMatch(text, /^mumi_(store_bytes|store_free_bytes|inbox_unconfirmed_max|inbox_round_age_seconds) /m)
  const totals = await metrics.totals()
  t.match(totals, { mumi_disk_free_bytes: 7, mumi_sessions: 4 })
  t.notOk('mumi_store_seconds' in totals)
})
