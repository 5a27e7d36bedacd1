/** Dropped messages of trimming, the cost of JSON texts, and MongoDB's cache of ends of inboxes; without a store. */
import t from 'tap'
import { CODES, isFixed } from '../../src/core/codes.js'
import { createLogger } from '../../src/core/log.js'
import { Metrics } from '../../src/core/metrics.js'
import { Cursors } from '../../src/inbox/cursors.js'
import { Trimmer } from '../../src/inbox/trimmer.js'
import { isTooManyValues } from '../../src/protocol/json-size.js'
import type { InboxDocument, MessageDocument } from '../../src/store/mongodb/documents.js'
import { MongoEnds } from '../../src/store/mongodb/ends.js'
import type { MongoEnv } from '../../src/store/mongodb/env.js'
import { rowId } from '../../src/store/mongodb/keys.js'
import type { CursorMove, CursorStore, Roles } from '../../src/store/store.js'
import { ANN, BOB, move } from '../helpers/store-samples.js'

interface Log {
  first: number
  readonly last: number
  readonly slowest: number | undefined
  readonly furthest: number
}

/** An inbox of rows `first` to `last`. */
function makeTrimmer(inbox: Log, deviceExpiryMs = 0) {
  const logs: Record<string, unknown>[] = []
  const calls: number[] = []
  const asked: number[] = []
  const store = {
    inbox: {
      firstSeq: async () => inbox.first,
      trimInbox: async (_userId: string, upTo: number, limit: number) => {
        const removed = Math.max(0, Math.min(limit, Math.min(upTo, inbox.last) - inbox.first + 1))
        inbox.first += removed
        calls.push(removed)
        return removed
      },
    },
    cursors: {
      slowest: async (_userId: string, since: number) => {
        asked.push(since)
        return inbox.slowest
      },
      furthest: async () => inbox.furthest,
    },
  }
  const metrics = new Metrics()
  const log = createLogger(
    { level: 'debug', pretty: 'never' },
    { write: line => logs.push(JSON.parse(line)) },
  )
  const trimmer = new Trimmer(store as unknown as Roles, deviceExpiryMs, metrics, log)
  const dropped = async () => (await metrics.dropped.get()).values
  return { trimmer, calls, asked, logs, dropped }
}

t.test('rows that some device had not confirmed are counted as dropped', async t => {
  for (const [slowest, dropped] of [
    [undefined, 6],
    [0, 10],
    [14, 6],
    [9, 10],
    [19, 1],
    [20, 0],
    [30, 0],
  ] as const) {
    const { trimmer, logs, dropped: counted } = makeTrimmer({ first: 11, last: 30, slowest, furthest: 14 })
    await trimmer.remove(ANN, 20, 'inbox.maxMessages')
    const values = dropped === 0 ? [] : [{ labels: { limit: 'inbox.maxMessages' }, value: dropped }]
    t.match(await counted(), values, `confirmed up to ${slowest}`)
    t.equal((await counted()).length, values.length)
    t.match(logs, dropped === 0 ? [] : [{ event: 'message.dropped', userId: ANN, dropped, upTo: 20 }])
    t.equal(logs.length, values.length)
  }
})

t.test('rows are removed in chunks of 500, until one is not full', async t => {
  const few = makeTrimmer({ first: 1, last: 2000, slowest: 2000, furthest: 2000 })
  await few.trimmer.remove(ANN, 1001, 'x')
  t.same(few.calls, [500, 500, 1])
  const exact = makeTrimmer({ first: 1, last: 500, slowest: 500, furthest: 500 })
  await exact.trimmer.remove(ANN, 500, 'x')
  t.same(exact.calls, [500, 0])
  const closed = makeTrimmer({ first: 1, last: 2000, slowest: 0, furthest: 0 })
  const removing = closed.trimmer.remove(ANN, 2000, 'x')
  closed.trimmer.close()
  await removing
  t.same(closed.calls, [])
  t.same(closed.logs, [], 'nothing was removed')
  const some = makeTrimmer({ first: 11, last: 30, slowest: 14, furthest: 14 })
  t.same(await some.trimmer.remove(ANN, 20, 'operator'), { removed: 10, dropped: 6 })
  t.same(await some.trimmer.remove(ANN, 20, 'operator'), { removed: 0, dropped: 0 })
})

t.test('an expired device does not count; without an expiry all devices do', async t => {
  const { trimmer, asked } = makeTrimmer({ first: 1, last: 9, slowest: 3, furthest: 5 })
  t.equal(await trimmer.confirmedByAll(ANN), 3)
  t.same(asked, [0])
  const expiring = makeTrimmer({ first: 1, last: 9, slowest: undefined, furthest: 5 }, 60_000)
  const before = Date.now()
  t.equal(await expiring.trimmer.confirmedByAll(ANN), 5, 'no device: the furthest')
  const since = (expiring.asked[0] ?? 0) + 60_000
  t.ok(since >= before && since <= Date.now())
})

t.test('values of a JSON text are counted up to the limit, without the contents of strings', async t => {
  const members = (count: number) => JSON.stringify(Array.from({ length: count }, () => 0))
  t.equal(isTooManyValues(members(5), 5), false)
  t.equal(isTooManyValues(members(6), 5), true)
  t.equal(isTooManyValues(JSON.stringify({ a: 1, b: 2, c: 3 }), 3), false)
  t.equal(isTooManyValues(JSON.stringify({ a: 1, b: 2, c: 3, d: 4 }), 3), true)
  t.equal(isTooManyValues('[[[[[[]]]]]]', 5), true)
  t.equal(isTooManyValues('[[[[[[]]]]]]', 6), false)
  t.equal(isTooManyValues(JSON.stringify([',[{'.repeat(100)]), 1), false, 'one string')
  t.equal(isTooManyValues(JSON.stringify(['",'.repeat(100)]), 1), false, 'escaped quotes')
  t.equal(isTooManyValues(JSON.stringify(['\\', 1, 2]), 2), true, 'an escaped backslash before the quote')
  t.equal(isTooManyValues(JSON.stringify(['\\"', 1]), 2), false)
  t.equal(isTooManyValues(`["${',['.repeat(100)}`, 1), false, 'a string without an end holds the rest')
  t.equal(isTooManyValues(`"${',['.repeat(100)}`, 0), false, 'from the beginning on')
  t.equal(isTooManyValues('""'.padEnd(9, ','), 3), true, 'an empty string ends at once')
  t.equal(isTooManyValues('', 0), false)
})

/** The part of a MongoDB that MongoEnds reads. */
function makeServer() {
  const rows: MessageDocument[] = []
  const inboxes = new Map<string, InboxDocument>()
  const log: string[] = []
  const env = {
    messages: {
      find: ({ _id: { $gt, $lt } }: { _id: { $gt: string; $lt: string } }) => {
        log.push('messages')
        const found = rows.filter(({ _id }) => _id > $gt && _id < $lt)
        const cursor = {
          sort: () => cursor,
          limit: () => cursor,
          toArray: async () => found.reverse().slice(0, 1),
        }
        return cursor
      },
    },
    inboxes: {
      findOne: async ({ _id }: { _id: string }) => inboxes.get(_id) ?? null,
      find: ({ _id: { $in } }: { _id: { $in: string[] } }) => {
        log.push(`trimmed ${$in}`)
        return { toArray: async () => $in.flatMap(id => inboxes.get(id) ?? []) }
      },
    },
  }
  const add = (inbox: string, seq: number, end?: number) =>
    rows.push({
      _id: rowId(inbox, seq),
      inbox,
      seq,
      id: '',
      storedAt: new Date(),
      ...(end !== undefined && { end }),
    })
  return { ends: new MongoEnds(env as unknown as MongoEnv), inboxes, log, add }
}

t.test('the end of an inbox is its newest row or its highest trimmed seq', async t => {
  const { ends, inboxes, add } = makeServer()
  t.same(await ends.read(ANN), { seq: 0, end: 0 })
  add(ANN, 9, 90)
  add(ANN, 10, 100)
  add(BOB, 3)
  t.same(await ends.read(ANN), { seq: 10, end: 100 }, 'as numbers, not as text')
  t.same(await ends.read(BOB), { seq: 3, end: 0 }, 'a row from before bytes were counted')
  inboxes.set(ANN, { _id: ANN, trimmed: 12 })
  t.same(await ends.read(ANN), { seq: 12, end: 100 })
  inboxes.set(ANN, { _id: ANN, trimmed: 4 })
  t.same(await ends.read(ANN), { seq: 10, end: 100 })
})

t.test('an end is read once, and cached until it is forgotten', async t => {
  const { ends, log, add } = makeServer()
  add(ANN, 1, 10)
  const first = await ends.load([ANN, ANN, BOB])
  t.match(first.get(ANN), { seq: 1, end: 10 })
  t.match(first.get(BOB), { seq: 0, end: 0 })
  await ends.load([ANN, BOB])
  t.equal(log.length, 2, 'once an inbox')
  ends.remember({ inbox: ANN, seq: 5, end: 50 })
  t.match((await ends.load([ANN])).get(ANN), { seq: 5, end: 50 })
  ends.forget(ANN)
  t.match((await ends.load([ANN])).get(ANN), { seq: 1, end: 10 })
  t.equal(log.length, 3)
})

t.test('after a second the cache checks for trimming by another gateway', async t => {
  const { ends, inboxes, log } = makeServer()
  const now = performance.now
  t.teardown(() => {
    performance.now = now
  })
  let time = 10_000
  performance.now = () => time
  ends.remember({ inbox: ANN, seq: 5, end: 50 })
  inboxes.set(ANN, { _id: ANN, trimmed: 5 })
  time += 1000
  t.match((await ends.load([ANN])).get(ANN), { seq: 5, end: 50 })
  t.same(log, [], 'fresh until then')
  time += 1
  t.match((await ends.load([ANN])).get(ANN), { seq: 5, end: 50 })
  t.same(log, [`trimmed ${ANN}`], 'nothing beyond it was removed')
  inboxes.set(ANN, { _id: ANN, trimmed: 8 })
  t.match((await ends.load([ANN])).get(ANN), { seq: 8, end: 0 })
})

t.test('the numbers of codes are unique, and those of the old server fixed', async t => {
  const numbers = Object.values(CODES).map(({ code }) => code)
  t.equal(new Set(numbers).size, numbers.length)
  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)
  const fixed = (Object.keys(CODES) as (keyof typeof CODES)[]).filter(isFixed).map(name => CODES[name].code)
  t.same(fixed, [...range(200, 204), 500, ...range(10_000, 10_011)])
  t.ok(numbers.filter(code => !fixed.includes(code)).every(code => code >= 10_100))
  t.ok(Object.isFrozen(CODES))
})

/** Cursors over a store that a test can hold or make fail. */
function makeCursors(furthest = 0) {
  const written: CursorMove[][] = []
  const state = { isFailing: false, reads: 0 }
  const store = {
    devices: async () => [
      { device: '', confirmed: 4, sent: 4, released: [], seenAt: 5 },
      { device: 'a', confirmed: 4, sent: 6, released: [], seenAt: 5 },
    ],
    cursor: async () => {
      state.reads++
      return undefined
    },
    furthest: async () => furthest,
    moveCursors: async (moves: CursorMove[]) => {
      if (state.isFailing) throw new Error('store')
      written.push(moves)
    },
  }
  const logs: string[] = []
  const log = createLogger(
    { level: 'error', pretty: 'never' },
    { write: line => logs.push(JSON.parse(line).event) },
  )
  return { cursors: new Cursors(store as unknown as CursorStore, log), written, state, logs }
}

t.test('a new device begins at the furthest confirmed message, durably; the default one at 0', async t => {
  const { cursors, written } = makeCursors(7)
  t.same(await cursors.load(ANN, ''), { confirmed: 0, sent: 0, released: [] })
  t.same(written, [])
  t.match(await cursors.load(ANN, 'phone'), { confirmed: 7, sent: 7 })
  t.match(written, [[{ device: 'phone', confirmed: 7 }]])
  t.match(await cursors.load(ANN, 'tablet', 'start'), { confirmed: 0, sent: 0 })
  await cursors.close()
})

t.test('moves are seen at once, never go back, and are written together at the latest at close', async t => {
  const { cursors, written } = makeCursors(7)
  cursors.moved({ place: move(ANN, 'a', { confirmed: 9, sent: 9 }) })
  cursors.moved({ place: move(ANN, 'a', { confirmed: 8, sent: 8, seenAt: 2000 }) })
  cursors.moved({ place: move(BOB, 'a', { confirmed: 1 }) })
  t.match(await cursors.load(ANN, 'a'), { confirmed: 9, sent: 9, seenAt: 2000 })
  t.equal(await cursors.furthest(ANN), 9, 'of what is written and what is not')
  t.equal(await cursors.furthest(BOB), 7)
  const of = async (user: string) =>
    (await cursors.devices(user, 9)).map(({ device, confirmed }) => [device, confirmed])
  t.same(await of(ANN), [
    ['', 4],
    ['a', 9],
  ])
  t.same(
    await of(BOB),
    [
      ['', 4],
      ['a', 4],
    ],
    'a move that is behind what is stored',
  )
  await cursors.writeNow(ANN)
  t.match(written, [[{ userId: ANN, confirmed: 9 }]])
  await cursors.close()
  t.equal(written.at(-1)?.length, 2)
})

t.test('a device that moves again and again is asked for its place once', async t => {
  const { cursors, written } = makeCursors()
  let asked = 0
  const mover = {
    get place() {
      asked++
      return move(ANN, 'a', { confirmed: 5, sent: 5 })
    },
  }
  for (let i = 0; i < 5; i++) cursors.moved(mover)
  t.equal(asked, 0)
  t.match(await cursors.load(ANN, 'a'), { confirmed: 5 }, 'whoever asks has it')
  await cursors.close()
  t.equal(asked, 1)
  t.match(written, [[{ confirmed: 5 }]])
})

t.test(
  'of a deleted account no move is written, and what could not be written is kept for close',
  async t => {
    const { cursors, written, state, logs } = makeCursors()
    state.isFailing = true
    cursors.moved({ place: move(ANN, 'a', { confirmed: 1 }) })
    cursors.moved({ place: move(BOB, 'a', { confirmed: 1 }) })
    await t.rejects(cursors.moveNow(move(BOB, 'a', { confirmed: 2 })))
    cursors.forget(ANN)
    cursors.moved({ place: move(ANN, 'a', { confirmed: 3 }) })
    await t.rejects(cursors.close())
    t.same(logs, ['store.failed'])
    state.isFailing = false
    await cursors.close()
    t.match(written, [[{ userId: BOB, confirmed: 2 }]])
    t.equal(written[0]?.length, 1)
  },
)
