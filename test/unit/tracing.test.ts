/** Tracing by its bounds; test/wire/tracing.test.ts has the spans. */
import { createServer } from 'node:net'
import t from 'tap'
import { startTracing } from '../../src/app/tracing.js'
import { loadConfig } from '../../src/config/config.js'
import { createLogger } from '../../src/core/log.js'

const start = (settings: Record<string, unknown>) => {
  const argv = Object.entries(settings).map(([key, value]) => `--${key}=${value}`)
  const log = createLogger({ level: 'silent', pretty: 'never' })
  return startTracing(loadConfig({ argv, env: {} }), log)
}

t.test('off by default', async t => {
  t.equal(await start({}), undefined)
  for (const url of [
    'file:///etc/passwd',
    'http://',
    'http:host',
    'http://127.0.0.1:99999',
    'http://[::1',
    'https://a b',
  ])
    t.throws(
      () => start({ 'tracing.otlp.url': url }),
      { name: 'ConfigError', message: /^tracing\.otlp\.url: / },
      url,
    )
})

t.test('a collector that takes nothing holds nobody up', async t => {
  const silent = createServer(socket => t.teardown(() => socket.destroy()))
  await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => silent.close())
  const { port } = silent.address() as { port: number }
  const tracing = start({ 'tracing.otlp.url': `http://127.0.0.1:${port}`, 'tracing.sample': 1 })
  const made = await tracing
  if (made === undefined) return t.fail('no tracing')
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 20_000; i++) {
    const trace = made.begin('message', 'json', performance.now())
    const now = performance.now()
    trace?.stored({
      acceptedAt: now,
      storedAt: now,
      messages: 1,
      message: { id: `${i}`, seq: i, repeat: false },
    })
    made.delivered(`${i}`, i, 'mqtt')
    trace?.ended('MESSAGE_SUCCESS')
  }
  t.ok(process.memoryUsage().heapUsed - before < 100 * 2 ** 20, 'what waits is bounded')
  const since = performance.now()
  await made.close()
  t.ok(performance.now() - since < 10_000)
})

t.test('clients begin at most 100 traces a second, by a well-formed traceparent', async t => {
  const tracing = start({
    ...{ 'tracing.otlp.url': 'http://127.0.0.1:1', 'tracing.sample': 1_000_000, 'tracing.traceparent': true },
  })
  const made = await tracing
  if (made === undefined) return t.fail('no tracing')
  t.teardown(() => made.close())
  const asked = (parent: string) => made.begin('publish', 'mqtt', 0, () => parent) !== undefined
  const good = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  for (const bad of [
    '',
    'x',
    good.toUpperCase(),
    good.slice(1),
    `${good} `,
    `00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`,
  ])
    t.notOk(asked(bad), bad)
  t.notOk(asked(good.replace(/01$/, '00')), 'it is not to be sampled')
  let count = 0
  const since = performance.now()
  for (let i = 0; i < 1000; i++) if (asked(good)) count++
  const seconds = 1 + Math.ceil((performance.now() - since) / 1000)
  t.ok(count > 50 && count <= 100 * seconds, `${count}`)
})
