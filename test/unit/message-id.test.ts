import t from 'tap'
import { madeAt } from '../../src/core/model.js'
import { MessageIds } from '../../src/inbox/message-id.js'
import type { KvValue, KvWrite } from '../../src/store/store.js'

/** A store that outlives its users. */
class Kept {
  value: KvValue | undefined
  async kvGet() {
    return this.value
  }
  async kvWrite(writes: readonly KvWrite[]) {
    for (const write of writes) if ('put' in write) this.value = write.value
  }
}

const DAY_MS = 86_400_000

t.test('ids always increase: when the clock is set back, over a stop and over a kill', async t => {
  const store = new Kept()
  const clock = Date.now()
  const { now } = Date
  t.teardown(() => {
    Date.now = now
  })
  const given: string[] = []
  for (const [offset, isStopped] of [
    [0, true],
    [-DAY_MS, true],
    [-DAY_MS, false],
    [-2 * DAY_MS, false],
    [DAY_MS, false],
    [0, true],
    [365 * DAY_MS, true],
    [0, true],
  ] as const) {
    Date.now = () => clock + offset
    const ids = new MessageIds(store)
    await ids.open()
    for (let i = 0; i < 100; i++) given.push(ids.next(Date.now() - (i % 7)))
    given.push(ids.next(Date.now() + DAY_MS), ids.next(Date.now()))
    if (isStopped) await ids.close()
  }
  t.same(given, given.toSorted())
  t.equal(new Set(given).size, given.length)
})

t.test('ids contain the time, unless the clock was set back', async t => {
  const ids = new MessageIds(new Kept())
  await ids.open()
  t.teardown(() => ids.close())
  const now = Date.now()
  t.equal(madeAt(ids.next(now)), now)
  t.equal(madeAt(ids.next(now + 5)), now + 5)
  t.equal(madeAt(ids.next(now - DAY_MS)), now + 5)
  t.ok(madeAt(ids.next(now + DAY_MS)) < now + DAY_MS, 'and no further ahead than the store knows')
})
