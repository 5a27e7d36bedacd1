import t from 'tap'
import { Metrics } from '../../src/core/metrics.js'
import type { Cursor } from '../../src/core/model.js'
import type { Cursors, Mover } from '../../src/inbox/cursors.js'
import { DevicePlace } from '../../src/inbox/device-place.js'

/** A place that is driven by the test. */
class Place extends DevicePlace {
  readonly front = 'json'
  resumed = 0

  resume(): void {
    this.resumed++
  }

  found(cursor: Cursor): this {
    this.begin(cursor)
    return this
  }

  sendUpTo(seq: number): void {
    while (this.sent < seq) this.send(this.sent + 1, 1)
  }

  pass(seq: number): void {
    this.passOver(seq)
  }

  settles(seq: number): boolean {
    return this.isSettled(seq)
  }

  knows(seq: number): [wasSent: boolean, isReleased: boolean] {
    return [this.wasSent(seq), this.isReleased(seq)]
  }
}

const seqs = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

function setUp(cursor: Partial<Cursor> = {}) {
  const moves: [confirmed: number, sent: number, released: readonly number[]][] = []
  const note = ({ place: { confirmed, sent, released } }: Mover) =>
    void moves.push([confirmed, sent, released])
  const cursors = {
    moved: note,
    moveNow: async (place: Mover['place']) => note({ place }),
  } as unknown as Cursors
  const place = new Place('ann', 'phone', cursors, new Metrics(), { windowMessages: 4, windowChars: 100 })
  return { place, moves, begin: () => place.found({ confirmed: 0, sent: 0, released: [], ...cursor }) }
}

t.test('what became of a message: written, confirmed also out of order, or neither yet', async t => {
  const { place, begin } = setUp({ confirmed: 2 })
  const states = () => [2, 3, 4, 5, 6, 7].map(seq => place.stateOf(seq))
  t.same(states(), Array(6).fill(undefined), 'before it is known where the device stands')
  begin()
  place.sendUpTo(5)
  t.same(states(), ['confirmed', 'sent', 'sent', 'sent', undefined, undefined])
  place.confirmOne(4)
  place.pass(6)
  t.same(states(), ['confirmed', 'sent', 'confirmed', 'sent', 'confirmed', undefined])
})

t.test('a place is kept when it is found, and nothing of it before', async t => {
  const { place, moves, begin } = setUp({ confirmed: 2, sent: 5, released: [4] })
  place.touch()
  t.same(moves, [])
  begin()
  t.same(moves, [[2, 5, [4]]])
  t.match(place, { confirmed: 2, sent: 2 })
  t.same(
    [4, 5, 6].map(seq => place.knows(seq)),
    [
      [true, true],
      [true, false],
      [false, false],
    ],
  )
})

t.test(
  'the cursor is behind the oldest that is not confirmed, and every confirmation makes room',
  async t => {
    const { place, moves, begin } = setUp()
    begin().sendUpTo(4)
    t.ok(place.isHalfFull)
    place.confirmOne(2)
    place.confirmOne(2)
    t.match(place, { confirmed: 0, resumed: 1 })
    place.confirmOne(1)
    t.match(place, { confirmed: 2, resumed: 2 })
    place.confirmUpTo(3)
    t.same(moves.at(-1), [3, 4, []])
    place.confirmUpTo(3)
    t.equal(place.resumed, 3, 'nothing new')
  },
)

t.test('what is passed over need not be confirmed, once all before it is', async t => {
  const { place, begin } = setUp()
  begin().pass(1)
  t.equal(place.confirmed, 1)
  place.sendUpTo(2)
  place.pass(3)
  t.match(place, { confirmed: 1, sent: 3 })
  place.confirmOne(2)
  t.equal(place.confirmed, 3)
})

t.test('what is settled behind the cursor is kept, over connections, too', async t => {
  const { place, begin } = setUp({
    confirmed: 1,
    sent: 9,
    settled: [
      [3, 4],
      [7, 8],
    ],
  })
  begin()
  t.same(
    seqs(2, 9).filter(seq => place.settles(seq)),
    [3, 4, 7, 8],
  )
  t.same(
    place.place.settled,
    [
      [3, 4],
      [7, 8],
    ],
    'nothing is sent yet',
  )
  place.sendUpTo(2)
  place.pass(3)
  t.same(place.place.settled, [
    [3, 3],
    [4, 4],
    [7, 8],
  ])
  place.pass(4)
  place.sendUpTo(6)
  place.confirmOne(6)
  t.same(place.place.settled, [
    [3, 4],
    [6, 6],
    [7, 8],
  ])
  place.confirmOne(2)
  t.match(place.place, {
    confirmed: 4,
    sent: 9,
    settled: [
      [6, 6],
      [7, 8],
    ],
  })
  place.pass(7)
  place.pass(8)
  place.confirmOne(5)
  t.match(place.place, { confirmed: 8, settled: undefined })
})

t.test('a PUBREC is written at once, and forgotten with PUBCOMP', async t => {
  const { place, moves, begin } = setUp()
  begin().sendUpTo(2)
  await place.release(2)
  t.same(moves.at(-1), [0, 2, [2]])
  await place.release(9)
  t.equal(moves.length, 2, 'not in flight')
  place.confirmOne(2)
  place.confirmOne(1)
  t.same(moves.at(-1), [2, 2, []])
})
