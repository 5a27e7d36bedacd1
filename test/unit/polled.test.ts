/** An inbox that is asked for: what is passed over, what is kept of the place, and what ends a wait. Over a fake log. */
import t from 'tap'
import type { InboxRow } from '../../src/core/model.js'
import type { Mover } from '../../src/inbox/cursors.js'
import type { Inbox, LiveReader } from '../../src/inbox/inbox.js'
import { PolledInbox } from '../../src/inbox/polled.js'
import type { CursorMove } from '../../src/store/store.js'

const row = (seq: number, expiresAt?: number): InboxRow => ({
  ...{ seq, id: `id ${seq}`, kind: 'message', sender: 'bob', conversation: undefined },
  ...{ text: `text ${seq}`, expiresAt },
})

/** @param first of the log: what was before it was removed */
function setUp(log: InboxRow[], end = log.length) {
  let place: Partial<CursorMove> = { confirmed: 0, sent: 0, released: [] }
  const readers = new Set<LiveReader>()
  const counts = { delivered: 0, confirmed: 0 }
  const count = (name: keyof typeof counts) => ({
    inc: (by: number) => {
      counts[name] += by
    },
  })
  const state = { end }
  const inbox = {
    metrics: { delivered: count('delivered'), confirmed: count('confirmed') },
    store: {
      lastSeq: async () => state.end,
      readInbox: async (_id: string, after: number, limit: number) =>
        log.filter(({ seq }) => seq > after).slice(0, limit),
    },
    cursors: {
      load: async () => place,
      moved: (mover: Mover) => {
        place = mover.place
      },
      moveNow: async (move: CursorMove) => {
        place = move
      },
    },
    attach: (one: LiveReader) => void readers.add(one),
    detach: (one: LiveReader) => void readers.delete(one),
  }
  const polled = new PolledInbox(inbox as unknown as Inbox, 'ann', 'json x', 'rest')
  return { polled, counts, readers, state, placeNow: () => place }
}

const seqsOf = ({ rows }: { readonly rows: readonly InboxRow[] }) => rows.map(({ seq }) => seq)

t.test('what has expired is passed over, unless it was read before', async t => {
  const soon = Date.now() + 50
  const { polled, placeNow } = setUp([row(1, 1), row(2, soon), row(3)])
  t.same(seqsOf(await polled.read(10)), [2, 3])
  t.match(placeNow(), { confirmed: 0, sent: 3, device: 'json x' })
  while (Date.now() < soon) await new Promise(setImmediate)
  t.same(seqsOf(await polled.read(10)), [1, 2, 3], 'what was sent once does not expire')
  const gone = setUp([row(1, 1), row(2, 1), row(3)])
  t.match(await gone.polled.read(2), { rows: [], upTo: 2, confirmed: 2, more: true })
  t.match(await gone.polled.read(2), { rows: [{ seq: 3 }], upTo: 3, confirmed: 2, more: false })
})

t.test('what was removed is passed over, so that nobody waits in vain or asks without end', async t => {
  const { polled, counts } = setUp([], 7)
  t.match(await polled.read(10, 3), { rows: [], upTo: 7, confirmed: 0, more: false }, 'asked for by seq')
  t.match(await polled.read(10), { rows: [], upTo: 7, confirmed: 7, more: false })
  t.same(counts, { delivered: 0, confirmed: 0 })
})

t.test(
  'what a client says it has moves its place neither behind the end nor over what it was not sent',
  async t => {
    const beyond = setUp([row(1, 1), row(2)])
    t.match(await beyond.polled.read(10, 999), { rows: [], upTo: 2, confirmed: 0, more: false })
    t.match(beyond.placeNow(), { confirmed: 0, sent: 0 })
    t.equal(await beyond.polled.emptyUpTo(999), undefined, 'nobody waits for what cannot come')
    const { polled, placeNow } = setUp([row(1), row(2, 1), row(3), row(4)])
    t.same(seqsOf(await polled.read(1, 2)), [3])
    t.match(placeNow(), { confirmed: 0, sent: 0 }, 'the second one was not handed out')
    t.same(seqsOf(await polled.read(10)), [1, 3, 4], 'so that it has expired')
    t.match(placeNow(), { confirmed: 0, sent: 4 })
  },
)

t.test('whoever asks whether there is something was sent nothing', async t => {
  const { polled, placeNow, counts } = setUp([row(1), row(2)])
  t.equal(await polled.emptyUpTo(), undefined)
  t.equal(await polled.emptyUpTo(2), 2)
  t.match(placeNow(), { confirmed: 0, sent: 0 })
  t.equal(counts.delivered, 0)
})

t.test('confirmed is what is there, never less than before, and is counted', async t => {
  const { polled, counts } = setUp([row(1), row(2), row(3)])
  t.equal(await polled.confirm(2), 2)
  t.equal(await polled.confirm(1), 2)
  t.equal(await polled.confirm(Number.MAX_SAFE_INTEGER), 3)
  t.same(counts, { delivered: 0, confirmed: 3 })
})

t.test('a wait ends with a newer message, with its time, with its signal, or at once', async t => {
  const { polled, readers, state } = setUp([row(1)])
  // The timers of waits keep no process.
  const kept = setInterval(() => undefined, 1000)
  t.teardown(() => clearInterval(kept))
  const ending = new AbortController()
  const begin = async () => {
    const over = polled.arrival(1, 60_000, ending.signal)
    const [reader] = readers
    t.match(reader, { userId: 'ann', device: 'json x', front: 'rest', state: 'live' })
    await new Promise(setImmediate)
    return { over, reader }
  }
  const first = await begin()
  t.equal(first.reader?.offer(row(1)), false)
  t.equal(readers.size, 1, 'an older one ends nothing')
  first.reader?.offer(row(2))
  await first.over
  t.equal(readers.size, 0)
  await polled.arrival(1, 1, ending.signal)
  const last = await begin()
  ending.abort()
  await last.over
  await polled.arrival(1, 60_000, ending.signal)
  state.end = 2
  await polled.arrival(1, 60_000, new AbortController().signal)
  t.equal(readers.size, 0)
})
