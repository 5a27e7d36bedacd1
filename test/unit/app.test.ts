/** Rules of the composition root: the options that parts get from the config, upkeep, checks and proxies. */
import { mkdirSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import { checkTls, exposedBy, fileLimitFault } from '../../src/app/checks.js'
import { greetingKey, renewGreetingKey } from '../../src/app/greeting-key.js'
import { rotateKeys } from '../../src/app/keys.js'
import {
  brokerOptions,
  handlerRules,
  jsonOptions,
  keyOptions,
  limitRules,
  loginRules,
  retentionLimits,
} from '../../src/app/options.js'
import { ProxyWarnings } from '../../src/app/proxy-warnings.js'
import { checkStore, hasStore } from '../../src/app/stores.js'
import { Upkeep } from '../../src/app/upkeep.js'
import { ConfigError, loadConfig } from '../../src/config/config.js'
import { ServerKey } from '../../src/encryption/server-key.js'
import type { KeyValue } from '../../src/store/store.js'
import { dataDir } from '../helpers/gateway.js'

const config = (...argv: string[]) => loadConfig({ argv, env: {} })

t.test('options: durations are ms, sizes bytes, and each key reaches its part', async t => {
  const key = ServerKey.generate()
  const { tokens, ...all } = config(
    ...['--json.encryption', 'require'],
    ...['--tokens.accessLifetime', '5m', '--tokens.refreshGrace', '2s', '--tokens.perAccount', '7'],
    ...['--inbox.maxAge', '1d', '--devices.expiry', '2d', '--limits.frame', '2MiB'],
    ...['--mqtt.keepaliveLimit', '1500ms', '--mqtt.presenceWindow', '3s', '--heartbeat.interval', '9s'],
  )
  const whole = { tokens, ...all }
  t.match(keyOptions(tokens), { accessLifetimeMs: 300_000 })
  t.match(loginRules(tokens), { refreshGraceMs: 2000, perAccount: 7 })
  t.match(retentionLimits(whole), { maxAgeMs: 86_400_000, deviceExpiryMs: 172_800_000 })
  t.match(
    jsonOptions(whole, key, () => undefined),
    { key, encryption: 'require', maxMessageBytes: 2 ** 21, pingIntervalMs: 9000 },
  )
  t.match(
    brokerOptions(whole),
    { keepaliveLimitSeconds: 2, presenceWindowMs: 3000 },
    'CONNECT has whole seconds',
  )
})

t.test('options: dedup is off if its window is 0', async t => {
  t.equal(handlerRules(config('--dedup.window', '0')).dedup, false)
  t.equal(handlerRules(config('--dedup.window', '1ms')).dedup, true)
})

t.test(
  'options: rates have ten seconds of burst; a share of the connections is reserved for known clients',
  async t => {
    const rules = limitRules(
      config(
        ...['--limits.requests', '5', '--limits.connections', '101', '--limits.knownShare', '50'],
        ...['--limits.registrations', '36', '--limits.warnings', '60', '--passwords.concurrency', '2'],
      ),
    )
    t.same(rules.requests, { perSecond: 5, burst: 50 })
    t.match(rules.crowd, { max: 101, reserved: 50 })
    t.same(rules.registrations, { perSecond: 0.01, burst: 36 }, 'an hour’s')
    t.same(rules.warnings, { perSecond: 1, burst: 60 }, 'a minute’s')
    t.equal(rules.passwords.concurrency, 3, 'one more than threads')
  },
)

t.test('the key of the greeting is made once: 64 upper-case hex digits', async t => {
  const kept = new Map<string, Uint8Array>()
  const kv = {
    kvGet: async (_name: string, [key]: string[]) => kept.get(String(key)),
    kvWrite: async (writes: { key: string[]; value: Uint8Array }[]) => {
      for (const { key, value } of writes) kept.set(String(key[0]), value)
    },
  } as unknown as KeyValue
  const key = await greetingKey(kv)
  t.match(key.public, /^[0-9A-F]{64}$/)
  t.equal((await greetingKey(kv)).public, key.public)
  t.equal(kept.size, 1)
  const renewed = await renewGreetingKey(kv)
  t.not(renewed.public, key.public)
  t.equal((await greetingKey(kv)).public, renewed.public)
})

t.test('Upkeep: a new key is recorded in the audit, and a failure in the log', async t => {
  const events: string[] = []
  const state = { isRotated: false, fails: false }
  let removals = 0
  const upkeep = new Upkeep(
    { rotateIfDue: async () => state.isRotated },
    [
      {
        sweep: async () => {
          if (state.fails) throw new Error('store')
        },
      },
      { sweep: async () => void removals++ },
    ],
    { record: ({ event }) => void events.push(event) },
    { error: (({ event }: { event: string }) => void events.push(event)) as never },
  )
  t.teardown(() => upkeep.stop())
  await upkeep.run()
  t.same(events, [])
  state.isRotated = true
  await upkeep.run()
  state.fails = true
  await upkeep.run()
  t.same(events, ['keys.rotated', 'store.failed'])
  t.equal(removals, 3)
})

t.test('checks: a file limit below the connections is a fault, as are unreadable TLS files', async t => {
  t.equal(fileLimitFault(config('--limits.connections', '1')), undefined)
  t.match(
    fileLimitFault(config('--limits.connections', '100000000')) ?? '',
    /^limits.connections: 100000000 is more/,
  )
  t.doesNotThrow(() => checkTls(config()))
  t.throws(() => checkTls(config('--tls.cert', '/none.pem', '--tls.key', '/none.pem')), {
    name: 'ConfigError',
  })
})

t.test(
  'stores: a check creates none; exposed files are found; keys are rotated only in an existing store',
  async t => {
    const dir = dataDir(t)
    const here = config('--data.dir', dir)
    t.notOk(hasStore(here))
    t.match(await checkStore(here), /^no store yet in /)
    await t.rejects(rotateKeys(here, 'verify'), ConfigError)
    t.notOk(hasStore(here))
    mkdirSync(join(dir, 'store'), { recursive: true })
    writeFileSync(join(dir, 'store', 'data.mdb'), '', { mode: 0o644 })
    t.ok(hasStore(here))
    t.ok(exposedBy(here, false).some(({ path, mode }) => path.endsWith('data.mdb') && mode === '644'))
    t.same(exposedBy({ ...here, store: { ...here.store, type: 'mongodb' } }, false), [])
  },
)

t.test('proxies: each fault is logged once; a trusted proxy that names its clients has none', async t => {
  const warned: string[] = []
  const log = { warn: (({ event }: { event: string }) => void warned.push(event)) as never }
  const warnings = new ProxyWarnings({ has: address => address === '10.0.0.1' }, log)
  const request = (remoteAddress: string, headers = {}) =>
    ({ socket: { remoteAddress }, headers }) as IncomingMessage
  warnings.look(request('192.0.2.1'), '192.0.2.1')
  warnings.look(request('10.0.0.1', { 'x-forwarded-for': '192.0.2.1' }), '192.0.2.1')
  t.same(warned, [])
  for (let i = 0; i < 2; i++) {
    warnings.look(request('10.0.0.1'), undefined)
    warnings.look(request('192.0.2.1', { 'x-forwarded-for': '192.0.2.9' }), '192.0.2.1')
  }
  t.same(warned, ['proxy.client-unknown', 'proxy.not-trusted'])
})
