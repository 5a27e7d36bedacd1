import t from 'tap'
import { isMuch, Occupancy, Tally } from '../../src/inbox/occupancy.js'

const LIMITS = { maxMessages: 12, maxBytes: 1_200 }

/** Accepts and stores as many messages as it admits. */
function send(occupancy: Occupancy, sender: string, count: number, units = 1) {
  let stored = 0
  for (let i = 0; i < count && occupancy.admits(sender); i++) {
    occupancy.accept(sender, units)
    stored++
  }
  return stored
}

/** A tally with this many messages of each sender. */
function tally(counts: Record<string, number>) {
  const made = new Tally(new Map())
  for (const [sender, count] of Object.entries(counts)) made.change(sender, count, count)
  return made
}

t.test(
  'waiting messages count: one sender gets half, each further one less the fuller the inbox is',
  async t => {
    const occupancy = new Occupancy(LIMITS)
    occupancy.endAnswer(tally({}), 0)
    t.equal(send(occupancy, 'ann', 20), 6)
    t.equal(send(occupancy, 'bob', 20), 3)
    t.equal(send(occupancy, 'ann', 20), 0)
    t.equal(send(occupancy, 'eve', 20), 1)
  },
)

t.test('characters are shared like messages', async t => {
  const occupancy = new Occupancy(LIMITS)
  occupancy.endAnswer(tally({}), 0)
  t.equal(send(occupancy, 'ann', 20, 300), 2)
  t.equal(send(occupancy, 'bob', 20, 300), 1)
})

t.test('a refused message no longer counts', async t => {
  const occupancy = new Occupancy(LIMITS)
  occupancy.endAnswer(tally({}), 0)
  t.equal(send(occupancy, 'ann', 20), 6)
  for (let i = 0; i < 6; i++) occupancy.settle('ann', 1)
  t.notOk(occupancy.hasWaiting)
  t.equal(send(occupancy, 'ann', 20), 6)
})

t.test('if the senders are unknown, all messages may be from the sender who asks', async t => {
  const occupancy = new Occupancy(LIMITS)
  t.notOk(occupancy.isKnown)
  const little = new Tally(undefined)
  little.change('', 3, 3)
  occupancy.endAnswer(little, 3)
  t.ok(occupancy.isKnown)
  t.equal(send(occupancy, 'ann', 20), 3)
  t.ok(occupancy.isUndecided('ann'), 'if the 3 are not hers, she has room')
  t.notOk(occupancy.hasGrown)
})

t.test('messages stored while the store was asked are counted once', async t => {
  const occupancy = new Occupancy(LIMITS)
  occupancy.beginAnswer()
  for (const seq of [1, 2, 3]) occupancy.add('ann', 1, seq)
  occupancy.endAnswer(tally({ ann: 2 }), 2)
  t.equal(send(occupancy, 'ann', 20), 3)
  t.equal(send(occupancy, 'bob', 20), 3)
})

t.test('it has grown if it is large and the senders are unknown', async t => {
  const occupancy = new Occupancy(LIMITS)
  for (const seq of [1, 2, 3]) occupancy.add('ann', 1, seq)
  t.notOk(occupancy.hasGrown)
  occupancy.add('ann', 1, 4)
  t.ok(occupancy.hasGrown)
  occupancy.endAnswer(tally({ ann: 4 }), 4)
  t.ok(occupancy.isLarge)
  t.notOk(occupancy.hasGrown)
})

t.test('a full inbox has no room for any sender', async t => {
  const occupancy = new Occupancy(LIMITS)
  occupancy.endAnswer(tally({ ann: 6, bob: 3, eve: 3 }), 12)
  for (const sender of ['ann', 'bob', 'zoe']) t.notOk(occupancy.admits(sender))
  t.notOk(occupancy.isUndecided('zoe'))
})

t.test('up to a quarter of either limit is not large', async t => {
  t.notOk(isMuch(3, 300, LIMITS))
  t.ok(isMuch(4, 0, LIMITS))
  t.ok(isMuch(0, 301, LIMITS))
})

t.test('of several senders who wait, each has what is left of its own', async t => {
  const occupancy = new Occupancy(LIMITS)
  occupancy.endAnswer(tally({}), 0)
  for (const sender of ['ann', 'ann', ...Array(6).fill('bob')]) occupancy.accept(sender, 1)
  t.ok(occupancy.admits('ann'), '2 of 8')
  t.notOk(occupancy.admits('bob'), '6 of 8')
  t.ok(occupancy.admits('eve'))
  for (let i = 0; i < 5; i++) occupancy.settle('bob', 1)
  t.ok(occupancy.admits('bob'), '1 of 3')
  occupancy.settle('ann', 1)
  occupancy.settle('ann', 1)
  t.ok(occupancy.hasWaiting)
  occupancy.settle('bob', 1)
  t.notOk(occupancy.hasWaiting)
  t.equal(send(occupancy, 'ann', 20), 6, 'as if nobody had waited')
})
