import t from 'tap'
import { createLogger } from '../../src/core/log.js'
import { Metrics } from '../../src/core/metrics.js'
import { type Cursor, type InboxRow, pairConversation } from '../../src/core/model.js'
import type { Mover } from '../../src/inbox/cursors.js'
import type { Inbox } from '../../src/inbox/inbox.js'
import { InboxReader } from '../../src/inbox/reader.js'
import type { Delivery, ReaderOptions } from '../../src/inbox/sink.js'

const row = (seq: number, expiresAt?: number): InboxRow => ({
  expiresAt,
  seq,
  id: `id ${seq}`,
  kind: 'message',
  sender: 'bob',
  conversation: pairConversation('ann', 'bob'),
  text: `text ${seq}`,
})
const seqs = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)
const turn = () => new Promise(resolve => setImmediate(resolve))

interface Setting extends Partial<Pick<ReaderOptions, 'windowMessages' | 'windowChars'>> {
  /** Rows in the log: 1 to this. */
  readonly rows?: number
  readonly cursor?: Partial<Cursor>
}

/** An inbox reader over a fake log, and everything that it did. */
function setUp({ rows = 0, cursor = {}, windowMessages = 1000, windowChars = 1e6 }: Setting = {}) {
  const log = seqs(1, rows).map(seq => row(seq))
  const delivered: [number, Delivery][] = []
  const gaps: [number, number][] = []
  const moves: Cursor[] = []
  const readers = new Set<InboxReader>()
  const reads: [number, number][] = []
  const state = { canTake: true, fails: 0, isEarly: false }
  const inbox = {
    store: {
      // As on a slow server, the answer is of a moment after the question, or (isEarly) comes late.
      lastSeq: async () => {
        const asked = log.at(-1)?.seq ?? 0
        await turn()
        return state.isEarly ? asked : (log.at(-1)?.seq ?? 0)
      },
      readInbox: async (_userId: string, after: number, limit: number) => {
        reads.push([after, limit])
        if (state.fails-- > 0) throw new Error('disk')
        return log.filter(({ seq }) => seq > after).slice(0, limit)
      },
    },
    cursors: {
      load: async () => ({ confirmed: 0, sent: 0, released: [], ...cursor }),
      moved: ({ place }: Mover) => void moves.push(place),
      moveNow: async (move: Cursor) => void moves.push(move),
    },
    attach: (one: InboxReader) => void readers.add(one),
    detach: (one: InboxReader) => void readers.delete(one),
  }
  const sink = {
    front: 'json' as const,
    get canTake() {
      return state.canTake
    },
    deliver: ({ seq }: InboxRow, how: Delivery) => void delivered.push([seq, how]),
    gap: (from: number, to: number) => void gaps.push([from, to]),
  }
  const options = { userId: 'ann', device: 'd', sink, windowMessages, windowChars }
  const silent = createLogger({ level: 'silent', pretty: 'never' })
  const session = new InboxReader(inbox as unknown as Inbox, new Metrics(), silent, options)
  /** Appends to the log, then notifies as the inbox does. */
  const append = (seq: number, notify = true, expiresAt?: number) => {
    log.push(row(seq, expiresAt))
    if (notify) for (const reader of readers) reader.offer(row(seq, expiresAt))
  }
  const got = () => delivered.map(([seq]) => seq)
  return { session, append, got, delivered, gaps, moves, readers, reads, state, log }
}

t.test('waiting messages after the cursor are delivered in order, then new ones', async t => {
  const { session, append, got } = setUp({ rows: 700, cursor: { confirmed: 3, sent: 3 } })
  await session.start()
  t.same(got(), seqs(4, 700))
  append(701)
  append(702)
  t.same(got(), seqs(4, 702))
})

t.test(
  'a message that has expired is passed over and told, unless the device was sent it before',
  async t => {
    const { session, append, got, gaps, moves, log } = setUp({ cursor: { confirmed: 1, sent: 3 } })
    const past = Date.now() - 1
    const later = Date.now() + 1e9
    log.push(row(1), row(2), row(3, past), row(4, past), row(5, past), row(6, later), row(7, past))
    await session.start()
    t.same(got(), [2, 3, 6])
    t.same(gaps, [
      [4, 5],
      [7, 7],
    ])
    session.confirmUpTo(6)
    t.equal(moves.at(-1)?.confirmed, 7)
    append(8, true, past)
    t.same(gaps.at(-1), [8, 8])
    t.equal(moves.at(-1)?.confirmed, 8, 'nobody need confirm it')
    append(9, true, later)
    t.same(got(), [2, 3, 6, 9])
  },
)

t.test('what an earlier connection has settled is not sent, nor told', async t => {
  const cursor = { confirmed: 1, sent: 6, settled: [[3, 4]] as const }
  const { session, append, got, gaps, delivered, moves } = setUp({ rows: 6, cursor })
  await session.start()
  t.same(got(), [2, 5, 6])
  t.ok(delivered.every(([, { again }]) => again))
  t.same(gaps, [])
  append(7)
  session.confirmOne(5)
  t.same(got(), [2, 5, 6, 7])
  session.close()
  t.match(moves.at(-1), { confirmed: 1, sent: 7, settled: [[3, 5]] })
})

t.test('expired messages that fill whole pages do not stop the reader', async t => {
  const { session, append, got, gaps, log } = setUp()
  log.push(...seqs(1, 700).map(seq => row(seq, 1)), row(701))
  await session.start()
  t.same(got(), [701])
  t.same(gaps, [[1, 700]])
  append(702)
  t.same(got(), [701, 702])
})

t.test('a drain before the cursor is known does not start delivery', async t => {
  const { session, append, got, reads } = setUp({ rows: 3, cursor: { confirmed: 2, sent: 2 } })
  const starting = session.start()
  session.resume()
  await turn()
  t.same(reads[0], [2, 256])
  append(4)
  await starting
  t.same(got(), [3, 4])
  const late = setUp({ rows: 0 })
  const startingLate = late.session.start()
  late.session.resume()
  late.append(1, false)
  await startingLate
  t.same(late.got(), [1], 'what was stored while it started is read')
})

t.test('live rows cost no read of the store', async t => {
  const { session, append, reads } = setUp()
  await session.start()
  const before = reads.length
  for (const seq of seqs(1, 100)) append(seq)
  t.equal(reads.length, before)
})

t.test('a row is marked as waiting since the start, sent before, or new', async t => {
  const { session, append, delivered } = setUp({ rows: 3, cursor: { confirmed: 1, sent: 2, released: [2] } })
  await session.start()
  append(4)
  t.same(delivered, [
    [2, { waited: true, again: true, released: true }],
    [3, { waited: true, again: false, released: false }],
    [4, { waited: false, again: false, released: false }],
  ])
})

t.test(
  'a message stored while the reader starts does not count as waiting, even if the store returns it',
  async t => {
    const { session, append, delivered } = setUp({ rows: 1 })
    const starting = session.start()
    append(2)
    append(3)
    await starting
    t.same(
      delivered.map(([seq, { waited }]) => [seq, waited]),
      [
        [1, true],
        [2, false],
        [3, false],
      ],
    )
  },
)

t.test('a lost notification costs a read and loses no message', async t => {
  const { session, append, got } = setUp()
  await session.start()
  append(1)
  append(2, false)
  append(3)
  await turn()
  t.same(got(), [1, 2, 3])
  append(4)
  t.same(got(), [1, 2, 3, 4], 'and it is live again')
})

t.test('a row that was delivered already, or is offered twice, is not delivered again', async t => {
  const { session, append, got } = setUp({ rows: 2 })
  await session.start()
  session.offer(row(1))
  append(3)
  session.offer(row(3))
  await turn()
  t.same(got(), [1, 2, 3])
})

t.test('where nothing waits no page is read, unless something comes while it starts', async t => {
  const idle = setUp({ rows: 3, cursor: { confirmed: 3, sent: 3 } })
  await idle.session.start()
  t.equal(idle.session.state, 'live')
  idle.append(4)
  t.same([idle.got(), idle.reads], [[4], []])
  const busy = setUp({ rows: 3, cursor: { confirmed: 3, sent: 3 } })
  busy.state.isEarly = true
  const starting = busy.session.start()
  busy.append(4)
  await starting
  busy.append(5)
  t.same(busy.got(), [4, 5])
  t.match(busy.delivered, [
    [4, { waited: false }],
    [5, { waited: false }],
  ])
})

t.test('messages appended while the backlog is read are delivered after it', async t => {
  const { session, append, got } = setUp({ rows: 600 })
  const starting = session.start()
  for (const seq of seqs(601, 650)) {
    append(seq)
    await turn()
  }
  await starting
  await turn()
  t.same(got(), seqs(1, 650))
})

t.test('no more messages than the window are unconfirmed; confirming opens it', async t => {
  const { session, append, got, moves } = setUp({ rows: 10, windowMessages: 3 })
  await session.start()
  t.same(got(), [1, 2, 3])
  append(11)
  await turn()
  t.same(got(), [1, 2, 3])
  session.confirmUpTo(2)
  await turn()
  t.same(got(), [1, 2, 3, 4, 5])
  t.match(moves.at(-1), { confirmed: 2 })
  for (const seq of [5, 8, 11]) {
    session.confirmUpTo(seq)
    await turn()
  }
  t.same(got(), seqs(1, 11))
  append(12)
  t.same(got(), seqs(1, 12), 'and it is live again')
})

t.test('a window in characters lets one message through, however long', async t => {
  const { session, got } = setUp({ rows: 3, windowChars: 1 })
  await session.start()
  t.same(got(), [1])
  session.confirmOne(1)
  await turn()
  t.same(got(), [1, 2])
})

t.test('confirmed out of order, the cursor waits for the oldest', async t => {
  const { session, moves } = setUp({ rows: 4 })
  await session.start()
  const before = moves.length
  session.confirmOne(2)
  session.confirmOne(4)
  t.equal(moves.length, before)
  session.confirmOne(1)
  t.match(moves.at(-1), { confirmed: 2, sent: 4 })
  session.confirmOne(3)
  t.match(moves.at(-1), { confirmed: 4 })
})

t.test('confirming a message that is not in flight changes nothing', async t => {
  const { session, moves, append } = setUp({ rows: 2 })
  await session.start()
  session.confirmUpTo(1)
  const before = moves.length
  session.confirmUpTo(1)
  session.confirmUpTo(0)
  session.confirmOne(1)
  session.confirmOne(99)
  t.equal(moves.length, before)
  session.confirmUpTo(1_000_000)
  t.match(moves.at(-1), { confirmed: 2 })
  append(3)
  t.equal(session.confirmed, 2, 'a row of the future is not confirmed beforehand')
})

t.test('PUBREC is stored before it is answered, and removed with PUBCOMP', async t => {
  const { session, moves } = setUp({ rows: 2 })
  await session.start()
  await session.release(2)
  t.match(moves.at(-1), { released: [2], confirmed: 0 })
  const before = moves.length
  await session.release(99)
  t.equal(moves.length, before)
  session.confirmOne(1)
  session.confirmOne(2)
  t.match(moves.at(-1), { released: [], confirmed: 2 })
})

t.test('nothing is delivered while the socket is full, and resume goes on', async t => {
  const { session, append, got, state } = setUp({ rows: 2 })
  await session.start()
  state.canTake = false
  append(3)
  append(4)
  await turn()
  t.same(got(), [1, 2])
  state.canTake = true
  session.resume()
  await turn()
  t.same(got(), [1, 2, 3, 4])
})

t.test('a trimmed log has a gap, and the device is told of it', async t => {
  const { session, append, got, gaps, log } = setUp({ rows: 10, cursor: { confirmed: 2, sent: 2 } })
  log.splice(0, 6)
  await session.start()
  t.same(got(), seqs(7, 10))
  t.same(gaps, [[3, 6]])
  append(11)
  t.same(gaps.length, 1)
})

t.test('a failed read is tried again, and nothing is lost', async t => {
  const { session, got, state } = setUp({ rows: 3 })
  state.fails = 1
  await session.start()
  t.same(got(), [])
  session.resume()
  await turn()
  t.same(got(), [1, 2, 3])
})

t.test('a closed reader delivers nothing, has unsubscribed, and has stored its cursor', async t => {
  const { session, append, got, moves, readers } = setUp({ rows: 3 })
  await session.start()
  session.confirmUpTo(2)
  t.equal(readers.size, 1)
  session.close()
  session.close()
  t.equal(readers.size, 0)
  append(4)
  session.resume()
  await turn()
  t.same(got(), [1, 2, 3])
  t.match(moves.at(-1), { confirmed: 2, sent: 3 })
})

t.test('a reader that is closed before its cursor is read never starts', async t => {
  const { session, got, moves, readers } = setUp({ rows: 3 })
  const starting = session.start()
  session.close()
  await starting
  t.same([got(), moves, readers.size], [[], [], 0])
})

t.test('a reader that is closed before it starts does not subscribe', async t => {
  const { session, readers } = setUp({ rows: 3 })
  session.close()
  await session.start()
  t.equal(readers.size, 0)
})

t.test('the cursor of a device is stored even if nothing was delivered', async t => {
  const { session, moves } = setUp({ rows: 3, cursor: { confirmed: 3, sent: 3 } })
  await session.start()
  t.match(moves, [{ confirmed: 3, sent: 3 }])
})
