import t from 'tap'
import { Flow, Meter, writeStamp } from '../../scripts/bench/flow.js'
import { aboveLimit, belowFloor, parseFloor, parseLimit } from '../../scripts/bench/judge.js'
import { cpuSeconds, runNanoseconds } from '../../scripts/bench/machine.js'
import { comparison, markdown } from '../../scripts/bench/report.js'
import { median, type Result, ratios } from '../../scripts/bench/results.js'
import { Schedule, takeTurns } from '../../scripts/bench/turns.js'

const STEP = '2000/s batching'

/** The n-th value is of round n + 1. */
const results = (peer: string, name: string, values: readonly number[], step = STEP): Result[] =>
  values.map((value, n) => ({
    scenario: 'load',
    wire: 'json',
    step,
    peer,
    round: n + 1,
    values: { [name]: value, lost: 0 },
  }))

const costs = (peer: string, values: readonly number[], step = STEP) =>
  results(peer, 'CPU µs a message', values, step)

t.test('median: the middle, between two the mean, nothing of nothing', async t => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2.5)
  t.equal(median([Number.NaN, 7]), 7)
  t.ok(Number.isNaN(median([])))
})

t.test('ratios compare the same step of the same round', async t => {
  const base = [...costs('mumi', [10, 30]), ...costs('mumi', [1, 1], 'window 16 batching')]
  t.same(ratios(base, costs('relay', [5, 10]), 'CPU µs a message'), [2, 3])
  t.same(ratios(base, costs('relay', [1, 1, 1]), 'CPU µs a message'), [10, 30], 'a round that only one has')
  t.same(ratios(base, costs('relay', [5]), 'p99 ms'), [], 'a value that nobody has')
})

t.test('a limit is judged by the median round of its step and its peer', async t => {
  const limit = parseLimit(`relay ${STEP}=2.5`, 'mumi')
  t.same(limit, { reference: 'mumi', peer: 'relay', step: STEP, most: 2.5 })
  const relay = costs('relay', [100, 100, 100])
  t.equal(aboveLimit([...costs('mumi', [240, 250, 900]), ...relay], limit), undefined)
  const others = [...costs('mumi', [9, 9, 9], 'window 16 batching'), ...costs('aedes', [1, 1, 1])]
  t.match(
    aboveLimit([...costs('mumi', [100, 260, 260]), ...relay, ...others], limit),
    /at 2000\/s batching: mumi ÷ relay is 2\.60, above 2\.5/,
  )
})

t.test('a limit fails when nothing was measured, or messages are missing', async t => {
  const limit = parseLimit(`relay ${STEP}=2.5`, 'mumi')
  t.match(aboveLimit([], limit), 'nothing was measured')
  t.match(aboveLimit(costs('mumi', [1]), limit), 'nothing was measured')
  const [cheap] = costs('mumi', [1])
  const faulty = { ...(cheap as Result), values: { 'CPU µs a message': 1, lost: 3 } }
  t.match(aboveLimit([faulty, ...costs('relay', [1])], limit), 'lost')
  t.throws(() => parseLimit('relay', 'mumi'), /PEER STEP=N/)
})

t.test('a floor is judged by the better of CPU time and clock', async t => {
  const both = (peer: string, clock: number, cpu: number) =>
    ['messages/s', 'messages/server CPU s'].flatMap((name, n) => results(peer, name, [n === 0 ? clock : cpu]))
  const merged = (some: readonly Result[]): Result[] => {
    const [a, b] = some as [Result, Result]
    return [{ ...a, values: { ...a.values, ...b.values } }]
  }
  const all = [...merged(both('mumi', 90, 150)), ...merged(both('relay', 100, 100))]
  t.equal(belowFloor(all, parseFloor('relay=1.5', 'mumi')), undefined)
  t.match(belowFloor(all, parseFloor('relay=1.6', 'mumi')), 'mumi ÷ relay is 1.50, below 1.6')
  t.match(belowFloor(all, parseFloor('aedes=1', 'mumi')), 'nothing was measured')
  t.match(belowFloor(all, parseFloor('relay', 'mumi')), 'nothing was measured')
})

t.test('a report shows ratios to each peer; the comparison of two builds shows the best round', async t => {
  const all = [...costs('mumi', [10, 12, 11]), ...costs('mumi@old', [20, 20, 20])]
  t.match(markdown(all, 'mumi'), /### load, json, 2000\/s batching\n\n.*mumi ÷ peer: CPU µs a message/)
  t.match(markdown(all, 'mumi'), '| mumi@old | **0.55 (0.50–0.60)** | 20 |')
  t.match(comparison(all, 'mumi', 'mumi@old'), '| load, json, 2000/s batching | 0.55, 0.50 | – |')
})

t.test(
  'an open loop is evenly spread over the senders, and what is late keeps the time it was due',
  async t => {
    const schedule = new Schedule(1000, 500, 2)
    const sent: [number, number][] = []
    const turn = (nowMs: number) => schedule.due(nowMs, (sender, dueMs) => sent.push([sender, dueMs]))
    turn(999)
    t.same(sent, [])
    turn(1000)
    turn(1001.9)
    t.same(sent, [[0, 1000]])
    turn(1007)
    t.same(sent, [
      [0, 1000],
      [1, 1002],
      [0, 1004],
      [1, 1006],
    ])
  },
)

t.test('a generator takes turns until it is stopped, and batching naps longer', async t => {
  const turnsIn = async (generator: 'single' | 'batching') => {
    let turns = 0
    const stop = takeTurns(generator, () => turns++)
    await new Promise(resolve => setTimeout(resolve, 60))
    stop()
    const taken = turns
    await new Promise(resolve => setTimeout(resolve, 10))
    t.equal(turns, taken)
    return taken
  }
  const batching = await turnsIn('batching')
  t.ok(batching > 0 && batching <= 300, `${batching} turns of 0.2 ms`)
  t.ok((await turnsIn('single')) > 0)
})

t.test(
  'a flow measures delivery and acknowledgement from the stamp, and counts each message once',
  async t => {
    const meter = new Meter()
    const flow = new Flow(meter)
    const content = (seq: number, at: number) => {
      const bytes = Buffer.alloc(100, 'x')
      writeStamp(bytes, 0, seq, 0)
      writeStamp(bytes, 8, at, 0)
      return bytes
    }
    flow.sent = 3
    flow.take(content(0, 0), 100, 50)
    meter.start()
    flow.take(content(2, 1000), 100, 1500)
    flow.take(content(2, 1000), 100, 1500)
    flow.acknowledge(2 ** 32 - 100, 100)
    t.equal(meter.delivered, 2)
    t.equal(meter.latency.max, 500)
    t.equal(meter.acknowledgement.max, 200, 'over the end of the 32 bits')
    t.match(flow, { acked: 1, duplicated: 1, lost: 1, damaged: 0, isSettled: false })
  },
)

t.test(
  'CPU time of a process counts nanoseconds and all threads',
  { skip: process.platform !== 'linux' },
  async t => {
    t.equal(runNanoseconds('45046866 30829985 97\n'), 45_046_866)
    const before = cpuSeconds(process.pid)
    const end = performance.now() + 20
    while (performance.now() < end);
    const used = cpuSeconds(process.pid) - before
    t.ok(used > 0.001 && used < 2, `${used} s`)
  },
)
