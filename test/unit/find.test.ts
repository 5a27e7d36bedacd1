/** A message is found by its id, in inboxes that are nearly in the order of time. */
import t from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { findEverywhere, findRow } from '../../src/inbox/find.js'
import type { InboxLog } from '../../src/store/store.js'

const NOW = Date.UTC(2026, 0, 31)
const MINUTE = 60_000

/** Inboxes whose messages were made at these times, of which the first `gone` are removed. Counts reads. */
function makeLog(inboxes: Record<string, readonly number[]>, gone = 0) {
  const rows = new Map(
    Object.entries(inboxes).map(([user, times]) => [
      user,
      times.map((msecs, i) => ({ seq: i + 1, id: uuidv7({ msecs }) })),
    ]),
  )
  const of = (user: string) => rows.get(user) ?? []
  const counted = { reads: 0 }
  const log = {
    firstSeq: async (user: string) => Math.min(gone, of(user).length) + 1,
    lastSeq: async (user: string) => of(user).length,
    readInbox: async (user: string, after: number, limit: number) => {
      counted.reads++
      const from = Math.max(after, gone)
      return of(user).slice(from, from + limit)
    },
  } as unknown as InboxLog
  const id = (user: string, seq: number) => of(user)[seq - 1]?.id ?? ''
  return { log, id, counted }
}

const everyMinute = (count: number, end = NOW) =>
  Array.from({ length: count }, (_, i) => end - (count - i) * MINUTE)

t.test('each message of an inbox is found, and none that is not there', async t => {
  const { log, id } = makeLog({ ann: everyMinute(300), bob: everyMinute(300) }, 7)
  for (let seq = 8; seq <= 300; seq++) t.match(await findRow(log, 'ann', id('ann', seq)), { seq }, `${seq}`)
  for (const seq of [1, 7]) t.equal(await findRow(log, 'ann', id('ann', seq)), undefined, 'removed')
  for (const seq of [1, 150, 300]) t.equal(await findRow(log, 'ann', id('bob', seq)), undefined)
  for (const msecs of [0, NOW - 1e9, NOW + 1e9])
    t.equal(await findRow(log, 'ann', uuidv7({ msecs })), undefined)
  t.equal(await findRow(log, 'nobody', id('ann', 9)), undefined)
})

t.test('it is found in few reads, and an inbox that ended before it costs one', async t => {
  const { log, id, counted } = makeLog({ ann: everyMinute(100_000), old: everyMinute(9, NOW - 1e10) })
  t.match(await findRow(log, 'ann', id('ann', 31_415)), { seq: 31_415 })
  t.ok(counted.reads < 22, `${counted.reads} reads`)
  counted.reads = 0
  t.equal(await findRow(log, 'old', id('ann', 31_415)), undefined)
  t.equal(counted.reads, 1)
})

t.test('messages that came up to two minutes out of order are found', async t => {
  const times = Array.from({ length: 2000 }, (_, i) => NOW + i * 1000 + (i % 7) * 19_000)
  const { log, id } = makeLog({ ann: times })
  for (let seq = 1; seq <= 2000; seq += 13) t.match(await findRow(log, 'ann', id('ann', seq)), { seq })
})

t.test('all accounts are looked through, page by page', async t => {
  const names = Array.from({ length: 1203 }, (_, i) => String(100_000_000 + i))
  const { log, id } = makeLog(Object.fromEntries(names.map((name, i) => [name, everyMinute(i % 3)])))
  const page = async (limit: number, after = '') =>
    names
      .filter(name => name > after)
      .slice(0, limit)
      .map(id => ({ id }))
  for (const [name, seq] of [
    ['100000001', 1],
    ['100000500', 2],
    ['100001202', 0],
    ['100001201', 1],
  ] as const) {
    const found = []
    for await (const { inbox, row } of findEverywhere(log, page, id(name, seq))) found.push([inbox, row.seq])
    t.same(found, seq === 0 ? [] : [[name, seq]], name)
  }
})
