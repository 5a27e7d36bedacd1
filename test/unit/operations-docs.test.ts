/** docs/operations.md names every metric of the gateway, and no metric, config key or event of the log that is not there. */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { KEYS } from '../../src/config/schema.js'
import { Metrics } from '../../src/core/metrics.js'

const text = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')

const metrics = new Metrics()
metrics.watch({
  storeBytes: () => undefined,
  storePages: () => undefined,
  diskFreeBytes: () => undefined,
  passwords: () => ({ waiting: 0, running: 0 }),
  waitingMessages: () => 0,
  readers: () => [],
  unconfirmed: () => undefined,
})
const names = metrics.registry.getMetricsAsArray().map(({ name }) => name)

t.test('metrics', async t => {
  const named = new Set(text.match(/\b(?:mumi|process|nodejs)_[a-z0-9_]+[a-z0-9]\b/g))
  t.ok(named.size > 40)
  for (const name of named) t.ok(names.includes(name), `${name} is a metric`)
  for (const name of names.filter(name => name.startsWith('mumi_')))
    t.ok(named.has(name), `${name} is described`)
})

const SRC = new URL('../../src/', import.meta.url)

/** Events of the log and of the audit, as the sources write them. */
const events = new Set(
  readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.ts'))
    .flatMap(file =>
      Array.from(readFileSync(new URL(file, SRC), 'utf8').matchAll(/(?:event: |^ {2}\| )'([a-z.-]+)'/gm)),
    )
    .map(([, event = '']) => event),
)
const FILES = ['admin.sock', 'data.mdb']

t.test('config keys and events of the log', async t => {
  const sections = new Set(Array.from(KEYS.keys(), key => key.split('.', 1)[0] ?? ''))
  const prefixes = new Set([...sections, ...Array.from(events, event => event.split('.', 1)[0] ?? '')])
  const named = Array.from(text.matchAll(/`([a-z-]+)\.([A-Za-z][\w.-]*)`/g), ([, first = '', rest = '']) => ({
    first,
    name: `${first}.${rest}`,
  }))
  const ours = named.filter(({ first }) => prefixes.has(first)).map(({ name }) => name)
  t.ok(ours.length > 20)
  for (const name of ours)
    t.ok(KEYS.has(name) || events.has(name) || FILES.includes(name), `${name} is there`)
})
