/**
 * What lives for one message leaves nothing in V8's old generation. A Map does: it makes another table whenever it is emptied, in
 * the old generation as soon as one of them has grown old there, and each refers to the next one and still to its entries. So
 * they and all that they name are kept until all memory is collected, which stops everything for 10 to 40 ms.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import type { NewMessage } from '../../src/core/model.js'
import { Backlog } from '../../src/inbox/backlog.js'
import { Occupancy } from '../../src/inbox/occupancy.js'
import { Window } from '../../src/inbox/window.js'
import { Pending } from '../../src/store/embedded/pending.js'
import { JournalRow } from '../../src/store/embedded/rows.js'
import { ANN, BOB, message } from '../helpers/store-samples.js'

setFlagsFromString('--expose-gc')
const collectYoung = runInNewContext('() => gc({ type: "minor" })')

const OLD = new Set(['old_space', 'large_object_space'])
const oldBytes = () =>
  getHeapSpaceStatistics().reduce(
    (sum, { space_name, space_used_size }) => sum + (OLD.has(space_name) ? space_used_size : 0),
    0,
  )

const ROUNDS = 200
const MESSAGES = 500

/** @returns bytes that a message left in the old generation, with a collection of the young one after every MESSAGES of them */
function leftBy(one: (n: number) => void): number {
  // What is there grows old, and the code is made.
  for (let round = 0; round < 4; round++) collectYoung()
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < MESSAGES; i++) one(i)
    collectYoung()
  }
  const before = oldBytes()
  for (let round = 0; round < ROUNDS; round++) {
    for (let i = 0; i < MESSAGES; i++) one(i)
    collectYoung()
  }
  return (oldBytes() - before) / (ROUNDS * MESSAGES)
}

/** More than this, and a Map of it would be at work: that leaves 100 bytes or more. */
const FEW = 10

t.test('Maps that are filled and emptied leave their tables: the measure sees it', async t => {
  const maps = Array.from({ length: 40 }, () => new Map<string, object>())
  const left = leftBy(n => {
    maps[n % 40]?.set(`${n % 3}`, {})
    maps[n % 40]?.delete(`${n % 3}`)
  })
  t.ok(left > 4 * FEW, `${left} bytes`)
})

t.test('what waits in an inbox, for its commit and for its confirmation leaves nothing', async t => {
  const occupancy = new Occupancy({ maxMessages: 1000, maxBytes: 1_000_000 })
  const waiting = leftBy(n => {
    occupancy.accept(n % 3 === 0 ? ANN : BOB, 100)
    occupancy.settle(n % 3 === 0 ? ANN : BOB, 100)
  })
  t.ok(waiting < FEW, `occupancy ${waiting} bytes`)

  const backlog = new Backlog<{ message: NewMessage }>({ maxWaitingBytes: 1e6, batchBytes: 1e6 })
  const sample = message(ANN, BOB)
  const batches = leftBy(() => {
    backlog.push({ message: sample })
    backlog.take()
  })
  t.ok(batches < FEW, `backlog ${batches} bytes`)

  const window = new Window(100, 100_000)
  let seq = 0
  const inFlight = leftBy(n => {
    window.add(++seq, 100)
    if (n % 20 === 19) window.removeUpTo(seq)
  })
  t.ok(inFlight < FEW, `window ${inFlight} bytes`)

  const oldest = ++seq
  window.add(oldest, 100)
  const allButTheOldest = leftBy(() => {
    window.add(++seq, 100)
    window.remove(seq)
  })
  t.ok(
    allButTheOldest < FEW / 10,
    `window of a device that never confirms its oldest ${allButTheOldest} bytes`,
  )
  t.equal(window.oldest, oldest)
})

t.test('rows that wait for LMDB leave nothing', async t => {
  const pending = new Pending()
  const bytes = Buffer.alloc(100)
  let number = 0
  const rows = leftBy(n => {
    const row = new JournalRow(n % 40, ++number, 'id', undefined, `${n}`, 1, bytes, 0, 100, undefined)
    pending.add({ number, rows: [row] })
    if (pending.rows === 50) pending.applied(pending.oldest(45))
  })
  t.ok(rows < FEW, `${rows} bytes`)
})
