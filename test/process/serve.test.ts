import { once } from 'node:events'
import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { FREE_PORTS, mumi, planted, serve } from '../helpers/program.js'

t.test('serve logs its version, then that it is ready, with its addresses', async t => {
  const { child, ended, logged } = serve(t)
  const ready = await logged('gateway.ready')
  t.match(await logged('gateway.starting'), {
    version: /^\d+\.\d+\.\d+/,
    pid: child.pid,
    dataDir: join(t.testdirName, 'data'),
  })
  t.match(ready, {
    level: 'info',
    http: { host: '127.0.0.1', port: Number },
    mqtt: { host: '127.0.0.1', port: Number },
    ops: { host: '127.0.0.1', port: Number },
  })
  t.notMatch(ready, { http: { port: 0 } })
  child.kill('SIGTERM')
  t.match(await ended, { code: 0, signal: null, stderr: '' })
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`${signal} closes the gateway and ends with exit code 0 after the last log line`, async t => {
    const { child, ended, logged } = serve(t)
    await logged('gateway.ready')
    child.kill(signal)
    const { code, stdout, stderr } = await ended
    t.equal(code, 0)
    t.equal(stderr, '')
    const events = stdout.split('\n').map(line => JSON.parse(line))
    t.match(events[0], { event: 'gateway.starting' })
    t.match(
      events.filter(({ event }) => event === 'gateway.closing'),
      [{ signal }],
    )
    t.match(events.at(-1), { event: 'gateway.closed' })
  })
}

/** `Server.close` as it is while a socket will not go: it never calls back. */
const STUCK = `import net from 'node:net'; net.Server.prototype.close = function () { return this }`

t.test('a second signal ends the process at once', async t => {
  for (const [first, second, code] of [
    ['SIGTERM', 'SIGINT', 130],
    ['SIGINT', 'SIGTERM', 143],
  ] as const) {
    const { child, ended, logged } = serve(t, [], planted(STUCK))
    await logged('gateway.ready')
    child.kill(first)
    await logged('gateway.closing')
    child.kill(second)
    t.match(await ended, { code })
  }
})

t.test('the echo of Ctrl-C that npm sends is not a second signal', async t => {
  const twice = `process.on('SIGUSR2', () => { process.emit('SIGINT', 'SIGINT'); process.emit('SIGINT', 'SIGINT') })`
  const { child, ended, logged } = serve(t, [], planted(twice))
  await logged('gateway.ready')
  child.kill('SIGUSR2')
  t.match(await ended, { code: 0 })
})

t.test('a shutdown that takes longer than shutdown.timeout ends with exit code 1', async t => {
  const { child, ended, logged } = serve(t, ['--shutdown.timeout', '50ms'], planted(STUCK))
  await logged('gateway.ready')
  child.kill('SIGTERM')
  t.match(await ended, { code: 1, stdout: 'gateway.close-timed-out' })
})

t.test(
  'SIGHUP loads the certificate again; without TLS it does nothing, and SIGUSR1 opens no inspector',
  async t => {
    const pem = (name: string) => fileURLToPath(new URL(`../helpers/tls/old.${name}.pem`, import.meta.url))
    const secure = serve(t, ['--mqtts.port', '0', '--tls.cert', pem('cert'), '--tls.key', pem('key')])
    t.match(await secure.logged('gateway.ready'), { mqtts: { host: '127.0.0.1' } })
    secure.child.kill('SIGHUP')
    t.match(await secure.logged('tls.reloaded'), { cert: pem('cert') })
    secure.child.kill('SIGTERM')
    t.match(await secure.ended, { code: 0 })
    const plain = serve(t)
    await plain.logged('gateway.ready')
    for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGHUP', 'SIGUSR1'] as const) plain.child.kill(signal)
    const { http } = (await plain.logged('gateway.ready')) as { http: { port: number } }
    for (let i = 0; i < 3; i++) t.equal((await fetch(`http://127.0.0.1:${http.port}/readyz`)).status, 200)
    plain.child.kill('SIGTERM')
    t.match(await plain.ended, { code: 0, stderr: '' }, 'no "Debugger listening"')
  },
)

t.test('SIGHUP reads the config again; one with a fault is logged, and the process goes on', async t => {
  const file = join(t.testdir({ 'config.json': '{}' }), 'config.json')
  const { child, ended, logged } = mumi(t, [
    ...['serve', ...FREE_PORTS, '--data.dir', join(t.testdirName, 'data'), '--config', file],
  ])
  await logged('gateway.ready')
  writeFileSync(file, '{ log: { level: "loud" } }')
  child.kill('SIGHUP')
  t.match(await logged('config.refused'), { level: 'error', faults: [/^log\.level/] })
  writeFileSync(file, '{ http: { port: 81 }, query: { limit: 3 } }')
  child.kill('SIGHUP')
  t.match(
    await logged('config.reloaded'),
    { changed: ['query.limit'], atRestart: [] },
    'options win over files',
  )
  child.kill('SIGTERM')
  t.match(await ended, { code: 0, stderr: '' })
})

t.test(
  'an exception that no handler caught is logged with its stack and counted, and serve continues',
  async t => {
    for (const fault of [`throw new Error('planted')`, `Promise.reject(new Error('planted'))`]) {
      const { child, ended, logged } = serve(t, [], planted(`process.on('SIGUSR2', () => { ${fault} })`))
      const { http, ops } = (await logged('gateway.ready')) as Record<'http' | 'ops', { port: number }>
      child.kill('SIGUSR2')
      t.match(await logged('process.failed'), {
        level: 'fatal',
        err: { message: 'planted', stack: /planted/ },
      })
      t.equal((await fetch(`http://127.0.0.1:${http.port}/readyz`)).status, 200)
      const metrics = await (await fetch(`http://127.0.0.1:${ops.port}/metrics`)).text()
      t.match(metrics, 'mumi_faults_total{where="process"} 1')
      child.kill('SIGTERM')
      t.match(await ended, { code: 0 })
    }
  },
)

t.test('new files are private, and the permissions of older ones are tightened and logged', async t => {
  const audit = join(t.testdir(), 'audit.log')
  const data = join(t.testdirName, 'data')
  const store = join(data, 'store')
  const all = [data, store, join(store, 'data.mdb'), join(store, 'lock.mdb'), audit]
  const modes = () => all.map(path => (statSync(path).mode & 0o777).toString(8))
  const args = [
    '--http.port=0',
    '--mqtt.port=0',
    '--ops.port=0',
    `--data.dir=${data}`,
    `--audit.file=${audit}`,
  ]
  const first = mumi(t, ['serve', ...args])
  await first.logged('gateway.ready')
  t.same(modes(), ['700', '700', '600', '600', '600'])
  first.child.kill('SIGTERM')
  await first.ended
  all.forEach(path => {
    chmodSync(path, 0o755)
  })
  const { code, stderr } = await mumi(t, ['check', ...args]).ended
  t.equal(code, 0)
  for (const path of all) t.match(stderr, `mumi: warning: ${path}: others may read it (mode 755)`)
  const second = mumi(t, ['serve', ...args])
  t.match(await second.logged('file.exposed'), { level: 'warn', mode: '755', isTightened: true })
  await second.logged('gateway.ready')
  t.same(
    modes().map(mode => mode.slice(1)),
    ['00', '00', '00', '00', '00'],
  )
  second.child.kill('SIGTERM')
  t.match(await second.ended, { code: 0 })
})

t.test('a data folder with other files keeps its mode', async t => {
  const data = t.testdir({ 'index.html': '' })
  chmodSync(data, 0o775)
  const { child, ended, logged } = mumi(t, [
    'serve',
    '--http.port=0',
    '--mqtt.port=0',
    '--ops.port=0',
    `--data.dir=${data}`,
  ])
  await logged('gateway.ready')
  t.equal(statSync(data).mode & 0o777, 0o775)
  const fault = `${data}: group or others may write to this folder (mode 775)`
  t.match(await logged('data.writable'), { level: 'warn', msg: fault })
  t.match((await mumi(t, ['check', `--data.dir=${data}`]).ended).stderr, `mumi: warning: ${fault}`)
  t.equal(statSync(join(data, 'store', 'data.mdb')).mode & 0o777, 0o600)
  child.kill('SIGTERM')
  t.match(await ended, { code: 0 })
})

t.test('a signal during the start ends it cleanly, too', async t => {
  const early = `
    import net from 'node:net'
    const { listen } = net.Server.prototype
    let isSignalled = false
    net.Server.prototype.listen = function (...args) {
      if (!isSignalled) process.emit('SIGTERM', 'SIGTERM')
      isSignalled = true
      return listen.apply(this, args)
    }`
  const { ended, logged } = serve(t, [], planted(early))
  await logged('gateway.closing')
  const end = await ended
  t.match(end, { code: 0, stderr: '' })
  t.notMatch(end.stdout, 'gateway.ready')
})

/** From the first one that main.ts loads behind its signals to the last rooms of the gateway. */
const LOADED = [
  'cli/node-version.js',
  'config/config.js',
  'app/gateway.js',
  'mqtt/broker.js',
  'lmdb/index.js',
]

/** Environment that sends the process `signals` when Node begins to load each of `files`. */
const whileLoading = (files: readonly string[], ...signals: NodeJS.Signals[]) => {
  const hooks = `
    export async function load(url, context, next) {
      if (${JSON.stringify(files)}.some(file => url.endsWith('/' + file)))
        for (const signal of ${JSON.stringify(signals)}) process.kill(process.pid, signal)
      return next(url, context)
    }`
  const address = JSON.stringify(`data:text/javascript,${encodeURIComponent(hooks)}`)
  return planted(`import { register } from 'node:module'; register(${address})`)
}

t.test('SIGTERM or SIGINT while modules load ends it with exit code 0', async t => {
  for (const file of LOADED)
    for (const signals of [['SIGTERM'], ['SIGINT', 'SIGINT']] as const) {
      const end = await serve(t, [], whileLoading([file], ...signals)).ended
      t.match(end, { code: 0, signal: null, stderr: '' }, `${signals} at ${file}`)
      t.notMatch(end.stdout, 'gateway.ready')
      if (file !== LOADED[0]) continue
      t.equal(end.stdout, '', 'at once, nothing is open yet')
      t.notOk(existsSync(join(t.testdirName, 'data')))
    }
})

t.test('SIGTERM right after its first log line ends it with exit code 0', async t => {
  const { child, ended, logged } = serve(t)
  await logged('gateway.starting')
  child.kill('SIGTERM')
  t.match(await ended, { code: 0, signal: null, stdout: /gateway\.closed/, stderr: '' })
})

t.test(
  'SIGHUP and SIGUSR1 while modules load have no effect: serve becomes ready, without inspector',
  async t => {
    const { child, ended, logged } = serve(t, [], whileLoading(LOADED, 'SIGHUP', 'SIGUSR1'))
    await logged('gateway.starting')
    child.kill('SIGHUP')
    child.kill('SIGUSR1')
    await logged('gateway.ready')
    child.kill('SIGTERM')
    t.match(await ended, { code: 0, signal: null, stderr: '' }, 'no "Debugger listening"')
  },
)

t.test('other commands end by SIGTERM, and open no inspector either', async t => {
  const check = (...signals: NodeJS.Signals[]) =>
    mumi(t, ['check'], whileLoading(['cli/node-version.js', 'app/stores.js'], ...signals)).ended
  t.testdir()
  t.match(await check('SIGTERM'), { code: null, signal: 'SIGTERM' })
  t.match(await check('SIGUSR1'), { code: 0, signal: null, stdout: /^config is good/, stderr: '' })
})

t.test('a port in use gives one line with the config key, and exit code 1', async t => {
  const other = createServer().listen(0, '127.0.0.1')
  t.teardown(() => other.close())
  await once(other, 'listening')
  const address = other.address()
  const port = typeof address === 'object' && address !== null ? String(address.port) : ''
  const { code, stderr } = await serve(t, ['--http.port', port]).ended
  t.equal(code, 1)
  t.equal(stderr, `mumi: http.port: 127.0.0.1:${port} is in use already; choose another port\n`)
})

t.test('an invalid address gives one line with the config key, and exit code 1', async t => {
  // TEST-NET-1 (RFC 5737), and a top-level domain that never exists (RFC 6761).
  for (const [key, host, words] of [
    ['http.host', '192.0.2.1', '192.0.2.1 is no address of this machine'],
    ['mqtt.host', 'nowhere.invalid', 'no such host as nowhere.invalid'],
  ] as const) {
    const { code, stderr } = await serve(t, [`--${key}`, host, '--http.port', '0']).ended
    t.equal(code, 1)
    t.match(stderr, new RegExp(`^mumi: [^\n]*${key.replace('.', '\\.')}[^\n]*: ${words}[^\n]*\n$`))
  }
})

t.test('a data folder in use gives one line and exit code 1', async t => {
  const first = serve(t)
  await first.logged('gateway.ready')
  const args = [...FREE_PORTS, '--data.dir', join(t.testdirName, 'data')]
  t.match(await mumi(t, ['serve', ...args]).ended, {
    code: 1,
    stderr: /^mumi: .* in use by process \d+.*\n$/,
  })
  first.child.kill('SIGTERM')
  t.match(await first.ended, { code: 0 })
})
