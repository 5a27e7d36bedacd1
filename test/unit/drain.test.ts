/** Who is sent away when, and who waits for the end. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { Drain } from '../../src/app/drain.js'
import { ended } from '../../src/cli/operator/ask.js'
import type { Logger } from '../../src/core/log.js'
import { Metrics } from '../../src/core/metrics.js'

/** Connections that do as they are told. */
function crowd(size: number) {
  const dismissed: { readonly at: number; readonly after: number }[] = []
  return {
    dismissed,
    get connections() {
      return size - dismissed.length
    },
    dismiss(count: number, after: () => number) {
      for (let i = 0; i < count; i++) dismissed.push({ at: performance.now(), after: after() })
    },
  }
}

function drained(spreadMs: number) {
  const events: string[] = []
  const log = { info: ({ event }: { event: string }) => events.push(event) } as unknown as Logger
  const metrics = new Metrics()
  const entrance = { drain: () => events.push('shut') } as never
  return { drain: new Drain(spreadMs, log, metrics), events, metrics, entrance }
}

t.test('as many as are due leave at a time, and those who leave later are not asked back later', async t => {
  const { drain, events, metrics, entrance } = drained(1500)
  const [many, few, none] = [crowd(300), crowd(2), crowd(0)]
  const begun = performance.now()
  const done = drain.run(entrance, [many, few, none])
  t.ok(drain.isOn)
  t.match((await metrics.totals()).mumi_draining, 1)
  drain.spreadMs = 7
  t.equal(drain.spreadMs, 1500, 'it has begun')
  await drain.run(entrance, [many])
  await done
  t.same([many.connections, few.connections], [0, 0])
  t.same(events, ['shut', 'gateway.draining', 'gateway.drained'])
  for (const { at, after } of many.dismissed) {
    const left = Math.max(0, begun + 1500 - at) / 1000
    t.ok(
      after >= 1 && after <= 1 + Math.ceil(left + 1.6),
      'when the gateway is back, and within a second spread',
    )
  }
  const atOnce = many.dismissed.filter(({ at }) => at - begun < 300).length
  t.ok(atOnce < 300, `${atOnce} in the first fifth`)
})

t.test('nobody to send away takes no time; neither does no spread', async t => {
  const empty = drained(3_600_000)
  await empty.drain.run(empty.entrance, [crowd(0)])
  t.same(empty.events, ['shut', 'gateway.draining', 'gateway.drained'])
  const off = drained(0)
  await off.drain.run(off.entrance, [crowd(3)])
  t.same([off.events, off.drain.isOn], [[], false])
})

t.test('who is in a hurry does not wait, also before it begins', async t => {
  const { drain, entrance } = drained(3_600_000)
  const done = drain.run(entrance, [crowd(3)])
  drain.hurry()
  await done
  const early = drained(3_600_000)
  early.drain.hurry()
  const stays = crowd(3)
  await early.drain.run(early.entrance, [stays])
  t.equal(stays.connections, 3, 'the close ends them')
})

t.test('the end of a process is waited for, at most so long', async t => {
  const child = spawn(process.execPath, ['--eval', 'process.stdin.resume()'], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'spawn')
  const pid = child.pid ?? 0
  await t.rejects(ended(pid, 0), { message: `it runs after 0 s (process ${pid})`, exitCode: 1 })
  const over = ended(pid, 60)
  child.stdin.end()
  await over
  await ended(pid, 0)
})
