/** Rules of src/store and src/inbox, without a store and a server. */
import t from 'tap'
import { createLogger } from '../../src/core/log.js'
import { encodeMessage } from '../../src/core/message.js'
import { type NewMessage, pairConversation } from '../../src/core/model.js'
import { Window } from '../../src/inbox/window.js'
import { DeletedUsers, Remains } from '../../src/store/deleted.js'
import { AppendPlanner } from '../../src/store/embedded/append-plan.js'
import { DedupWindow } from '../../src/store/embedded/dedup.js'
import { Ends } from '../../src/store/embedded/ends.js'
import { boundedKey, readKey, writeKey } from '../../src/store/embedded/keys.js'
import { Pending } from '../../src/store/embedded/pending.js'
import { headOf, partsOf, Rows } from '../../src/store/embedded/rows.js'
import type { OpenTable } from '../../src/store/embedded/table.js'
import { keysUnder, MAX_SEQ, readTextKey, rowId, rowsBehind, textKey } from '../../src/store/mongodb/keys.js'
import { storedHeader } from '../../src/store/mongodb/texts.js'
import type { KeyValue, KvKey, KvWrite } from '../../src/store/store.js'
import { DATA_FORMAT, refuseNewer, Upgrade } from '../../src/store/upgrade.js'
import { StoreWatch } from '../../src/store/watch.js'
import { ofKind } from '../helpers/kind.js'
import { ANN, BOB, EVE } from '../helpers/store-samples.js'

const ID = '0190b5a0-0000-7000-8000-000000000000'
const TEXT = encodeMessage(ANN, BOB, 'x', 0)
const TO_ALL = encodeMessage(ANN, undefined, 'x', 0)
const PAIR = pairConversation(ANN, BOB)

/** Tables as maps: keys by their JSON; ranges in the order of keys that are put. */
function tables() {
  const all = new Map<string, Map<string, unknown>>()
  const open = (name: string) => {
    const rows = all.get(name) ?? new Map<string, unknown>()
    all.set(name, rows)
    return {
      get: (key: unknown) => rows.get(JSON.stringify(key)),
      put: (key: unknown, value: unknown) => rows.set(JSON.stringify(key), value),
      remove: (key: unknown) => rows.delete(JSON.stringify(key)),
      clearAsync: () => rows.clear(),
      getRange: () => Array.from(rows, ([key, value]) => ({ key: JSON.parse(key), value })),
    }
  }
  return { open: open as unknown as OpenTable, all }
}

t.test('a row stores its conversation only if it is not that of owner and sender', async t => {
  const header = { kind: 'message', sender: ANN, conversation: PAIR, expiresAt: undefined } as const
  const usual = headOf({ inbox: BOB, id: ID, ...header }, 77)
  const copy = headOf({ inbox: EVE, id: ID, ...header }, 77)
  t.equal(usual, `${ID}m${ANN}77`)
  t.equal(copy, `${ID}m${ANN}77 ${PAIR}`)
  t.same(partsOf(BOB, usual + TEXT), { id: ID, end: 77, header, text: TEXT })
  t.same(partsOf(EVE, copy + TEXT), { id: ID, end: 77, header, text: TEXT })
  const broadcast = { kind: 'broadcast', sender: ANN, conversation: undefined, expiresAt: undefined } as const
  const shared = headOf({ inbox: BOB, id: ID, ...broadcast }, 5)
  t.same(partsOf(BOB, shared), { id: ID, end: 5, header: broadcast, text: undefined })
})

t.test('a row stores when it expires, if it does', async t => {
  const header = { kind: 'message', sender: ANN, conversation: PAIR, expiresAt: 1_700_000_000_000 } as const
  for (const [inbox, value] of [
    [BOB, `${ID}m${ANN}77!1700000000000`],
    [EVE, `${ID}m${ANN}77 ${PAIR}!1700000000000`],
  ] as const) {
    t.equal(headOf({ inbox, id: ID, ...header }, 77), value)
    t.same(partsOf(inbox, value + TEXT), { id: ID, end: 77, header, text: TEXT })
  }
})

t.test('a row of data format 1 is read, and upgraded once', async t => {
  const { open } = tables()
  const rows = new Rows(open)
  rows.putText(ID, TO_ALL)
  t.match(rows.row(BOB, 3, `${ID}12${TEXT}`), { seq: 3, id: ID, sender: ANN, conversation: PAIR, text: TEXT })
  t.match(rows.row(BOB, 3, `${ID}12`), { kind: 'broadcast', sender: ANN, text: TO_ALL })
  for (const [old, upgraded] of [
    [`${ID}12${TEXT}`, `${ID}m${ANN}12${TEXT}`],
    [`${ID}${TEXT}`, `${ID}m${ANN}0${TEXT}`],
    [`${ID}12`, `${ID}b${ANN}12`],
  ] as const) {
    t.equal(rows.upgraded(BOB, old), upgraded)
    t.equal(rows.upgraded(BOB, upgraded), undefined)
  }
  t.equal(rows.upgraded(BOB, `${ID.replace('0', '1')}12`), undefined, 'its text is gone')
})

t.test('the end of an inbox is that of its last row, or its highest trimmed seq', async t => {
  const { open } = tables()
  const ends = new Ends(open, new Rows(open), new Pending())
  t.same(ends.read(7), { seq: 0, bytes: 0 })
  ends.putTrimmed(7, 9)
  t.same(ends.of(7), { seq: 9, bytes: 0 })
  ends.of(7).seq++
  t.equal(ends.of(7).seq, 10, 'kept in memory')
  ends.forgetAll()
  t.equal(ends.of(7).seq, 9)
  ends.remove(7)
  t.equal(ends.of(7).seq, 0)
})

t.test('an append plans seqs, repeats and refusals, and writes nothing', async t => {
  const { open, all } = tables()
  const rows = new Rows(open)
  const deleted = new DeletedUsers()
  const pending = new Pending()
  const ends = new Ends(open, rows, pending)
  const planner = new AppendPlanner(rows, ends, new DedupWindow(open, 1000), pending, deleted)
  const message = (id: string, more: Partial<NewMessage> = {}): NewMessage => ({
    inbox: BOB,
    id,
    kind: 'message',
    sender: ANN,
    conversation: PAIR,
    expiresAt: undefined,
    text: TEXT,
    dedupKey: undefined,
    isFirst: false,
    ...more,
  })
  const bytes = TEXT.length
  deleted.add(EVE)
  const { results, added, keyed } = planner.plan(
    [
      message('a', { dedupKey: 'k' }),
      message('b', { dedupKey: 'k' }),
      message('c', { dedupKey: 'k', isFirst: true }),
      message('d', { dedupKey: 'k', text: encodeMessage(ANN, BOB, 'y', 0) }),
      message('e', { mustRepeat: true }),
      message('f', { inbox: EVE }),
      message('g', { inbox: ANN }),
    ],
    1,
  )
  t.same(results, [
    { seq: 1, id: 'a', repeat: false },
    { seq: 1, id: 'a', repeat: true },
    { seq: 2, id: 'c', repeat: false },
    { seq: 3, id: 'd', repeat: false },
    { seq: 0, id: 'e', repeat: false, isFull: true },
    { seq: 0, id: 'f', repeat: false, isGone: true },
    { seq: 1, id: 'g', repeat: false },
  ])
  t.same(
    added.map(({ owner, seq, end }) => [owner, seq, end]),
    [
      [Number(BOB), 1, bytes],
      [Number(BOB), 2, 2 * bytes],
      [Number(BOB), 3, 3 * bytes],
      [Number(ANN), 1, bytes],
    ],
  )
  t.same(
    [...(keyed ?? [])].map(([key, { result }]) => [key, result]),
    [['k', { seq: 3, id: 'd', repeat: false }]],
    'the last message with a key has it',
  )
  t.same(
    [...all.values()].map(table => table.size),
    [...all.values()].map(() => 0),
  )
  t.throws(() => planner.plan([message('h', { inbox: 'nobody' })], 1), ofKind('ERROR_FIND_USER'))
})

t.test('a dedupKey is known for exactly its window, over the change of generations', async t => {
  const dedup = new DedupWindow(tables().open, 1000)
  const put = (key: string, seq: number, now: number) => {
    dedup.put([{ dedupKey: key, owner: 7, storedAt: now, seq, id: `id ${seq}` }], now)
    dedup.committed(now)
  }
  put('a', 1, 5000)
  t.same(dedup.find('a', 5999), { owner: 7, seq: 1, id: 'id 1' })
  t.equal(dedup.find('a', 6000), undefined)
  put('b', 2, 5900)
  put('c', 3, 6100)
  t.match(dedup.find('b', 6800), { seq: 2 }, 'in the older generation')
  put('d', 4, 7200)
  t.equal(dedup.find('a', 5500), undefined, 'emptied')
})

t.test('keys of LMDB: decoding reverses encoding, and their order is that of the tuples', async t => {
  const keys: KvKey[] = [[-1], [0], [1], [2 ** 40], [''], ['', 1], ['a'], ['a', 'b'], ['a\0'], ['中'], ['👋']]
  const bytes = keys.map(key => {
    const buffer = Buffer.alloc(100)
    const end = writeKey(key, buffer, 0)
    t.same(readKey(buffer, 0, end), key)
    return buffer.subarray(0, end)
  })
  t.same([...bytes].sort(Buffer.compare), bytes)
  t.throws(() => boundedKey(['k'.repeat(2000)]), ofKind('TOO_LARGE'))
  t.throws(() => boundedKey([]), ofKind('BAD_FIELD'))
})

t.test('keys of MongoDB: decoding reverses encoding, and their order is that of the tuples', async t => {
  const keys: KvKey[] = [
    [-1],
    [0],
    [1.5],
    [2 ** 40],
    [''],
    ['', 1],
    ['a'],
    ['a', 'b'],
    ['a\0'],
    ['a\ud800'],
    ['中'],
  ]
  for (const key of keys) t.same(readTextKey(textKey(key)), key)
  const texts = keys.slice(0, 8).map(key => textKey(key))
  t.same([...texts].sort(), texts)
  const { $gte, $lt } = keysUnder(['a'])
  t.ok(textKey(['a', 'b']) >= $gte && textKey(['a', 'b']) < $lt && textKey(['aa']) >= $lt)
  t.ok(rowId(ANN, 9) < rowId(ANN, 10) && rowId(ANN, MAX_SEQ) < rowsBehind(ANN, 0).$lt)
  t.ok(rowId(BOB, 1) > rowsBehind(ANN, 0).$lt, 'another inbox')
})

t.test('a header of MongoDB is stored, or derived from the text', async t => {
  const old = { inbox: BOB, seq: 1, id: ID }
  const header = { kind: 'message', sender: ANN, conversation: PAIR, expiresAt: undefined }
  t.same(storedHeader(old, TEXT), header)
  t.match(storedHeader({ ...old, kind: 'b', sender: EVE }, TO_ALL), { kind: 'broadcast', sender: EVE })
})

t.test('writes for a deleted account are dropped', async t => {
  const deleted = new DeletedUsers()
  const value = Buffer.from('v')
  const writes: KvWrite[] = [
    { put: 'queue', key: [`${ANN}:phone`, 1], value },
    { put: 'sessions', key: [ANN, 'login'], value },
    { put: 'meta', key: ['session', `${ANN}:phone`], value },
    { put: 'queue', key: [`${BOB}:phone`, 1], value },
    { remove: 'queue', key: [`${ANN}:phone`, 1] },
  ]
  t.same(deleted.without(writes), writes)
  deleted.add(ANN)
  t.same(deleted.without(writes), writes.slice(3))
  const retained: KvWrite[] = [
    { put: 'retained', key: ['a'], value },
    { put: 'meta', key: ['retained', ANN, 1], value },
  ]
  t.same(deleted.without(retained), [])
})

t.test('remaining data of an account is removed in every role', async t => {
  const removed: string[] = []
  const kv = {
    async *kvRange(collection: string, prefix: KvKey) {
      if (collection === 'sessions') yield { key: [...prefix, 'login'], value: Buffer.alloc(0) }
    },
    kvWrite: async (writes: readonly KvWrite[]) => {
      for (const { key } of writes) removed.push(key.join(' '))
    },
  } as unknown as KeyValue
  const role = (name: string) => ({ purge: async (id: string) => void removed.push(`${name} ${id}`) })
  await new Remains(kv, [role('inbox'), role('cursors')]).purge(ANN)
  t.same(removed, [`${ANN} login`, 'purged', `inbox ${ANN}`, `cursors ${ANN}`])
})

t.test('an upgrade goes on until nothing is left, and stops when it is told to', async t => {
  t.doesNotThrow(() => refuseNewer('it', DATA_FORMAT))
  t.throws(() => refuseNewer('it', DATA_FORMAT + 1), ofKind('STORE_UNAVAILABLE'))
  let steps = 0
  await new Upgrade({ upgradeSome: async () => ++steps < 3 }).done()
  t.equal(steps, 3)
  const endless = new Upgrade({ upgradeSome: async () => ++steps > 0 })
  await endless.stop()
  const after = steps
  await new Promise(resolve => setTimeout(resolve, 30))
  t.equal(steps, after)
  await new Upgrade({ upgradeSome: () => Promise.reject(new Error('disk')) }).done()
})

t.test('failure and recovery of a store are logged once each; concurrent callers share one ping', async t => {
  const logs: { event?: string }[] = []
  const log = createLogger({ level: 'info', pretty: 'never' }, { write: line => logs.push(JSON.parse(line)) })
  let isGood = true
  let pings = 0
  const ping = async () => {
    pings++
    if (!isGood) throw new Error('gone')
  }
  const watch = new StoreWatch({ ping }, log)
  t.teardown(() => watch.stop())
  t.same(await Promise.all([watch.isGood(), watch.isGood()]), [true, true])
  t.equal(pings, 1)
  isGood = false
  t.same([await watch.isGood(), await watch.isGood()], [false, false])
  isGood = true
  t.ok(await watch.isGood())
  t.same(
    logs.map(({ event }) => event),
    ['store.failed', 'store.recovered'],
  )
})

t.test(
  'a window takes a message of any size when it is empty, and is full by count, characters or span',
  async t => {
    const window = new Window(3, 100)
    t.ok(window.hasRoom(1e9))
    window.add(5, 1000)
    t.notOk(window.hasRoom(1), 'characters')
    t.equal(window.charsLeft, -900)
    t.ok(window.remove(5))
    t.notOk(window.remove(5))
    for (const seq of [6, 7]) window.add(seq, 10)
    t.ok(window.hasRoom(2))
    t.notOk(window.hasRoom(32_767), 'span')
    window.add(8, 10)
    t.notOk(window.hasRoom(3), 'count')
    t.equal(window.messagesLeft, 1)
    t.same([window.oldest, window.removeUpTo(7), window.oldest], [6, 2, 8])
    t.notOk(window.has(7))
  },
)

t.test('a window knows what is in flight, in whatever order it is confirmed', async t => {
  const window = new Window(1000, 1_000_000)
  const inFlight = new Map<number, number>()
  let random = 1
  const below = (n: number) => {
    random = (random * 48_271) % 2_147_483_647
    return random % n
  }
  let seq = 0
  for (let step = 0; step < 20_000; step++) {
    const what = below(100)
    if (what < 50 && inFlight.size < 300) {
      seq += 1 + Number(below(5) === 0)
      window.add(seq, what)
      inFlight.set(seq, what)
    } else if (what < 98) {
      const one = seq - below(400)
      if (window.remove(one) !== inFlight.delete(one)) t.fail(`${one} in step ${step}`)
    } else {
      const upTo = seq - below(what === 99 ? 1 : 200)
      const gone = [...inFlight.keys()].filter(one => one <= upTo)
      for (const one of gone) inFlight.delete(one)
      if (window.removeUpTo(upTo) !== gone.length) t.fail(`up to ${upTo} in step ${step}`)
    }
    const [oldest] = inFlight.keys()
    if (window.oldest !== oldest) t.fail(`the oldest in step ${step}`)
    if (step % 100 > 0) continue
    const chars = [...inFlight.values()].reduce((sum, one) => sum + one, 0)
    const all = Array.from({ length: 402 }, (_, i) => seq - 400 + i)
    const free = window
      .gaps(seq - 400, seq + 1)
      .flatMap(([from, to]) => all.filter(one => from <= one && one <= to))
    t.match(window, { messagesLeft: 1000 - inFlight.size, charsLeft: 1_000_000 - chars })
    t.same(
      free,
      all.filter(one => !inFlight.has(one)),
    )
    t.same(
      all.filter(one => window.has(one)),
      all.filter(one => inFlight.has(one)),
    )
  }
})
