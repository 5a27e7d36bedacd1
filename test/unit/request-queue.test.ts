import t from 'tap'
import { type Message, RequestQueue } from '../../src/json/request-queue.js'

/** A queue whose requests the test completes; those that begin with 'now' complete at once. */
function setUp() {
  const started: Message[] = []
  const done: (() => void)[] = []
  const state = { mayRun: true }
  const queue = new RequestQueue({
    get mayBegin() {
      return state.mayRun
    },
    begin: frame => {
      started.push(frame)
      return frame?.startsWith('now') ? undefined : new Promise<void>(resolve => done.push(resolve))
    },
  })
  const finish = async () => {
    done.shift()?.()
    await new Promise(resolve => setImmediate(resolve))
  }
  return { queue, started, state, finish }
}

t.test('synchronous requests run at once', async t => {
  const { queue, started } = setUp()
  for (const frame of ['now 1', 'now 2']) queue.push(frame, frame?.length ?? 0)
  t.same(started, ['now 1', 'now 2'])
  t.equal(queue.length, 0)
})

t.test('an asynchronous request delays those after it, binary frames too', async t => {
  const { queue, started, finish } = setUp()
  for (const frame of ['slow 1', 'now 2', undefined, 'now 4']) queue.push(frame, frame?.length ?? 0)
  t.same(started, ['slow 1'])
  t.equal(queue.length, 3)
  t.equal(queue.bytes, 10)
  await finish()
  t.same(started, ['slow 1', 'now 2', undefined])
  queue.push('now 5', 5)
  t.same(started, ['slow 1', 'now 2', undefined], 'a new one does not overtake those that wait')
  await finish()
  t.same(started, ['slow 1', 'now 2', undefined, 'now 4', 'now 5'])
  t.equal(queue.bytes, 0)
})

t.test('nothing starts while paused, and resume continues in order', async t => {
  const { queue, started, state, finish } = setUp()
  state.mayRun = false
  for (const frame of ['now 1', 'slow 2', 'now 3']) queue.push(frame, frame?.length ?? 0)
  queue.resume()
  t.same(started, [])
  state.mayRun = true
  queue.push('now 4', 5)
  t.same(started, [], 'what is pushed waits behind them')
  queue.resume()
  t.same(started, ['now 1', 'slow 2'])
  state.mayRun = false
  await finish()
  t.same(started, ['now 1', 'slow 2'])
  state.mayRun = true
  queue.resume()
  t.same(started, ['now 1', 'slow 2', 'now 3', 'now 4'])
})

t.test('resume does not start a second request while one is running', async t => {
  const { queue, started } = setUp()
  for (const frame of ['slow 1', 'slow 2']) queue.push(frame, frame?.length ?? 0)
  queue.resume()
  t.same(started, ['slow 1'])
})

t.test('clear drops what has not started', async t => {
  const { queue, started, finish } = setUp()
  for (const frame of ['slow 1', 'now 2']) queue.push(frame, frame?.length ?? 0)
  queue.clear()
  await finish()
  t.same(started, ['slow 1'])
  t.same([queue.length, queue.bytes], [0, 0])
})
