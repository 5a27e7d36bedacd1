import t from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { createLogger } from '../../src/core/log.js'
import { Metrics } from '../../src/core/metrics.js'
import type { NewMessage } from '../../src/core/model.js'
import { Retention, type RetentionLimits } from '../../src/inbox/retention.js'
import type { Roles } from '../../src/store/store.js'

const DAY = 86_400_000
const NOW = Date.UTC(2024, 1, 29)

/** Inboxes by user: when each message was made, ms. */
function setUp(inboxes: Record<string, number[]>, limits: Partial<RetentionLimits>, slowest = 0) {
  const logs: Record<string, unknown>[] = []
  const log = createLogger(
    { level: 'debug', pretty: 'never' },
    { write: line => logs.push(JSON.parse(line)) },
  )
  const rows = new Map(
    Object.entries(inboxes).map(([user, times]) => [
      user,
      times.map((msecs, i) => ({ seq: i + 1, id: uuidv7({ msecs }), text: '' })),
    ]),
  )
  const forgotten: number[] = []
  const store = {
    forgetDevices: async (before: number) => void forgotten.push(before),
    findUsers: async (_query: object, limit: number, after = '') =>
      [...rows.keys()]
        .filter(id => id > after)
        .slice(0, limit)
        .map(id => ({ id })),
    readInbox: async (user: string, after: number, limit: number) =>
      (rows.get(user) ?? []).filter(({ seq }) => seq > after).slice(0, limit),
    lastSeq: async (user: string) => rows.get(user)?.at(-1)?.seq ?? 0,
    firstSeq: async (user: string) => rows.get(user)?.[0]?.seq ?? 1,
    slowest: async () => slowest,
    inboxBytes: async () => 0,
    trimInbox: async (user: string, upTo: number, limit: number) => {
      const all = rows.get(user) ?? []
      return all.splice(0, Math.min(limit, all.filter(({ seq }) => seq <= upTo).length)).length
    },
  }
  const all = { maxMessages: 1_000_000, maxBytes: 1_000_000_000, maxAgeMs: 0, deviceExpiryMs: 0, ...limits }
  const retention = new Retention(
    { users: store, inbox: store, cursors: store } as unknown as Roles,
    { writeNow: async () => undefined },
    all,
    new Metrics(),
    log,
  )
  const left = (user: string) => (rows.get(user) ?? []).map(({ seq }) => seq)
  return { retention, left, forgotten, logs, store }
}

const appended = (retention: Retention, seq: number) =>
  retention.appended({ inbox: 'ann', sender: 'bob', text: '' } as NewMessage, seq)

t.test(
  'a sweep removes messages older than maxAge from every inbox, and reports unconfirmed ones',
  async t => {
    const { retention, left, logs } = setUp(
      { ann: [NOW - 3 * DAY, NOW - 2 * DAY, NOW - 1], bob: [NOW], eve: [NOW - 9 * DAY] },
      { maxAgeMs: DAY },
      1,
    )
    await retention.sweep(NOW)
    t.same([left('ann'), left('bob'), left('eve')], [[3], [1], []])
    t.match(logs, [
      { event: 'message.dropped', level: 'warn', userId: 'ann', limit: 'inbox.maxAge', dropped: 1 },
    ])
  },
)

t.test('a message exactly maxAge old is kept', async t => {
  const { retention, left } = setUp({ ann: [NOW - DAY - 1, NOW - DAY] }, { maxAgeMs: DAY })
  await retention.sweep(NOW)
  t.same(left('ann'), [2])
})

t.test('trimming covers more than one page of users and of messages', async t => {
  const old = NOW - 2 * DAY
  const ids = Array.from({ length: 1100 }, (_, i) => `u${String(i).padStart(4, '0')}`)
  const inboxes = Object.fromEntries(ids.map(id => [id, [old]]))
  const { retention, left } = setUp({ ...inboxes, z: [...Array(1600).fill(old), NOW] }, { maxAgeMs: DAY })
  await retention.sweep(NOW)
  t.same(left('z'), [1601])
  t.same(ids.flatMap(left), [])
})

t.test('0 keeps messages and devices for ever', async t => {
  const { retention, left, forgotten } = setUp({ ann: [0] }, {})
  await retention.sweep(NOW)
  t.same([left('ann'), forgotten], [[1], []])
})

t.test('devices that stayed away longer than their expiry are forgotten', async t => {
  const { retention, forgotten } = setUp({}, { deviceExpiryMs: DAY })
  await retention.sweep(NOW)
  t.same(forgotten, [NOW - DAY])
})

t.test(
  'an inbox beyond maxMessages loses its oldest messages, without a log line if all are confirmed',
  async t => {
    const { retention, left, logs } = setUp({ ann: Array(1700).fill(NOW) }, { maxMessages: 100 }, 1700)
    appended(retention, 1700)
    appended(retention, 1700)
    while (left('ann').length > 100 && logs.length === 0) await new Promise(resolve => setImmediate(resolve))
    await retention.close()
    t.same([left('ann')[0], left('ann').length], [1601, 100])
    t.same(logs, [])
  },
)

t.test('an inbox at its limit loses nothing', async t => {
  const { retention, left } = setUp({ ann: Array(100).fill(NOW) }, { maxMessages: 100 })
  appended(retention, 100)
  await retention.close()
  t.equal(left('ann').length, 100)
})

t.test('a store failure is logged and has no other effect', async t => {
  const { retention, store, logs } = setUp({ ann: [0] }, { maxAgeMs: DAY, maxMessages: 1 })
  store.trimInbox = () => Promise.reject(new Error('disk'))
  await retention.sweep(NOW)
  appended(retention, 20)
  await retention.close()
  t.match(logs, [{ event: 'store.failed', operation: 'sweep' }])
})

t.test('an operator removes what is older than some time, or all, and there is room again', async t => {
  const times = Array.from({ length: 1200 }, (_, i) => NOW + i)
  const { retention, left, logs } = setUp({ ann: [...times] }, { maxMessages: 100 }, 100)
  await retention.ask('ann', 'bob')
  t.notOk(retention.admits('ann', 'bob'), 'it is full of what was not confirmed')
  t.same(await retention.purge('ann', NOW), { removed: 0, dropped: 0 })
  // The first look removed the hundred that were confirmed.
  t.same(await retention.purge('ann', NOW + 700), { removed: 600, dropped: 600 })
  t.equal(left('ann')[0], 701)
  t.same(await retention.purge('ann', undefined), { removed: 500, dropped: 500 })
  t.same(left('ann'), [])
  t.ok(retention.admits('ann', 'bob'))
  t.same(await retention.purge('nobody', undefined), { removed: 0, dropped: 0 })
  t.match(logs, [{ event: 'message.dropped', limit: 'operator', dropped: 600 }])
  await retention.close()
})
