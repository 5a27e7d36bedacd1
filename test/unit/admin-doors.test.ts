/** What a gateway opens beside its front ends: the doors of operators, and the watch of file descriptors. */
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openAdminDoors } from '../../src/app/admin-doors.js'
import { watchFileLimit } from '../../src/app/descriptors.js'
import { loadConfig } from '../../src/config/config.js'
import { createLogger } from '../../src/core/log.js'
import { Metrics } from '../../src/core/metrics.js'
import { dataDir } from '../helpers/gateway.js'

function setUp(t: Test, ...argv: string[]) {
  const dir = dataDir(t)
  const logs: { event: string }[] = []
  const log = createLogger(
    { level: 'debug', pretty: 'never' },
    { write: line => logs.push(JSON.parse(line)) },
  )
  const config = loadConfig({ argv: ['--data.dir', dir, ...argv], env: {} })
  const parts = { config, services: { log }, front: {}, metrics: new Metrics(), onFault: t.fail }
  const open = () => openAdminDoors(parts as unknown as Parameters<typeof openAdminDoors>[0])
  return { config, log, logs, open, path: join(dir, 'admin.sock') }
}

t.test('the socket is there until the close; without it nothing is opened', async t => {
  const { open, path, logs } = setUp(t)
  const doors = await open()
  t.equal(doors.address, undefined)
  t.ok(existsSync(path))
  await doors.close()
  t.notOk(existsSync(path))
  const off = setUp(t, '--admin.enabled', 'false')
  await (await off.open()).close()
  t.notOk(existsSync(off.path))
  t.same([...logs, ...off.logs], [])
})

t.test('where another process answers at the socket, there is none, and the log says so', async t => {
  const { open, path, logs } = setUp(t)
  const other = createServer().listen(path)
  await new Promise(resolve => other.once('listening', resolve))
  t.teardown(() => other.close())
  const doors = await open()
  t.match(logs, [{ event: 'admin.unavailable' }])
  await doors.close()
})

t.test('where the port cannot be opened, the socket is closed again', async t => {
  const { open, path } = setUp(t, '--admin.http', 'true')
  await t.rejects(open(), TypeError)
  t.notOk(existsSync(path))
})

t.test('too few file descriptors are told at the start', async t => {
  const { config, log, logs } = setUp(t, '--limits.connections', '1000000000')
  watchFileLimit(config, log, new Metrics())()
  t.match(logs, [{ event: 'files.too-few' }])
})
