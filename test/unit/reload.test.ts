/** What a reload changes, by key. */
import t from 'tap'
import { assignDeep, Reload } from '../../src/app/reload.js'
import { type Config, ConfigError, loadConfig } from '../../src/config/config.js'
import { difference, withLive } from '../../src/config/reload.js'
import { createLogger } from '../../src/core/log.js'
import { ofKind } from '../helpers/kind.js'

const config = (...argv: string[]) => loadConfig({ argv, env: {} })
const ID = '271693512'

t.test('keys that differ are told apart: those that count now, and those at the next start', async t => {
  const to = config('--limits.requests', '3', '--http.port', '81', '--roles.admins', ID)
  t.same(difference(config(), to), {
    changed: ['limits.requests', 'roles.admins'],
    atRestart: ['http.port'],
  })
  t.same(difference(to, to), { changed: [], atRestart: [] })
})

t.test('only keys that count now get their new value', async t => {
  const from = config()
  const merged = withLive(from, config('--limits.requests', '3', '--http.port', '81', '--log.level', 'warn'))
  t.match(merged, { limits: { requests: 3 }, http: { port: 8080 }, log: { level: 'warn' } })
  t.equal(from.log.level, 'info', 'a copy')
})

t.test('members are given, objects stay the same', async t => {
  const rate = { perSecond: 1, burst: 10 }
  const list = [1]
  const target = { rate, list, plain: 1 }
  assignDeep(target, { rate: { perSecond: 2, burst: 20 }, list: [2], plain: 3 })
  t.equal(target.rate, rate)
  t.same(target, { rate: { perSecond: 2, burst: 20 }, list: [2], plain: 3 })
  t.same(list, [1])
})

t.test('a reload applies, tells, and takes the role from those who are named no more', async t => {
  const events: unknown[] = []
  const log = createLogger(
    { level: 'info', pretty: 'never' },
    { write: line => void events.push(JSON.parse(line).event) },
  )
  let next: () => Config = () => config('--limits.content', '9B')
  const reload = new Reload(
    {
      log,
      load: () => next(),
      apply: ({ limits }) => void events.push(limits.content),
      demote: async id => void events.push(id),
    },
    config('--roles.admins', ID),
  )
  t.match(await reload.run(), { changed: ['limits.content', 'roles.admins'] })
  t.same(events.splice(0), [9, 'config.reloaded', ID])
  log.level = 'warn'
  await reload.run()
  t.equal(log.level, 'info', 'what the config says')
  t.notOk(events.splice(0).includes(ID), 'once')
  next = () => {
    throw new ConfigError(['a: bad', 'b: worse'])
  }
  await t.rejects(
    reload.run(),
    ofKind('BAD_FIELD', { info: { field: 'config', reason: 'a: bad; b: worse' } }),
  )
  t.same(events, ['config.refused'])
})
