/** The commands, run in this process: what they print and their exit codes. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { check } from '../../src/cli/check.js'
import { COMMANDS } from '../../src/cli/commands.js'
import { config } from '../../src/cli/config.js'
import { copy } from '../../src/cli/copy.js'
import { Exit } from '../../src/cli/exit.js'
import { EXIT_FAILURE, EXIT_USAGE } from '../../src/cli/exit-codes.js'
import { explain, fail } from '../../src/cli/explain.js'
import { printHelp, printUsage } from '../../src/cli/help.js'
import { keys } from '../../src/cli/keys.js'
import { refuseOldNode } from '../../src/cli/node-version.js'
import { serve } from '../../src/cli/serve.js'
import { answerSignals, holdSignals } from '../../src/cli/signals.js'
import { printVersion } from '../../src/cli/version.js'
import { ConfigError, loadConfig } from '../../src/config/config.js'
import { GatewayError } from '../../src/core/errors.js'
import type { Logger } from '../../src/core/log.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from '../helpers/gateway.js'

const PACKAGE = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
const sources = (...argv: string[]) => ({ argv, env: {} })

interface Said {
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: typeof process.exitCode
  readonly thrown?: unknown
}

/** Output and exit code of a command. No assertion may run meanwhile, since tap writes to stdout, too. */
async function said(run: () => unknown): Promise<Said> {
  const { stdout, stderr } = process
  const writes = { stdout: stdout.write, stderr: stderr.write }
  const texts = { stdout: '', stderr: '' }
  let thrown: unknown
  let exitCode: typeof process.exitCode
  const writer = (name: 'stdout' | 'stderr') => (text: string | Uint8Array) => {
    texts[name] += text
    return true
  }
  stdout.write = writer('stdout')
  stderr.write = writer('stderr')
  try {
    await run()
  } catch (error) {
    thrown = error
  } finally {
    stdout.write = writes.stdout
    stderr.write = writes.stderr
    exitCode = process.exitCode
    process.exitCode = undefined
  }
  return { ...texts, exitCode, thrown }
}

/** From now on the process does not end. @returns the codes with which it would have, and a promise of the first */
function held(t: Test) {
  const codes: unknown[] = []
  const first = new Promise<unknown>(resolve => {
    t.capture(process, 'exit', ((code?: number) => {
      codes.push(code)
      resolve(code)
    }) as typeof process.exit)
  })
  return { codes, first }
}

t.test('help names every command; without one it goes to stderr and is a failure', async t => {
  const help = await said(printHelp)
  t.equal(help.exitCode, undefined)
  t.equal(COMMANDS.size, 6)
  for (const name of COMMANDS.keys()) t.match(help.stdout, new RegExp(`^  ${name} `, 'm'))
  t.match(await said(() => printUsage(undefined)), { stdout: '', stderr: help.stdout, exitCode: EXIT_USAGE })
  const unknown = await said(() => printUsage('start'))
  t.match(unknown, { stderr: "mumi: unknown command 'start'; see mumi --help\n", exitCode: EXIT_USAGE })
})

t.test('the version is the one in package.json', async t => {
  t.equal((await said(printVersion)).stdout, `${PACKAGE.version}\n`)
})

t.test('a Node older than `engines` is refused', async t => {
  const { codes } = held(t)
  const [major = 0, minor = 0] = PACKAGE.engines.node.match(/\d+/g).map(Number)
  const ask = async (node: string) => {
    t.intercept(process, 'versions', { value: { ...process.versions, node } })
    return (await said(refuseOldNode)).stderr
  }
  for (const node of [`${major}.${minor}.0`, `${major}.${minor + 1}.0`, `${major + 1}.0.0`])
    t.equal(await ask(node), '', node)
  t.same(codes, [])
  for (const node of [`${major}.${minor - 1}.9`, `${major - 1}.99.0`])
    t.equal(await ask(node), `mumi: needs Node ${major}.${minor} or later; this is ${node}\n`, node)
  t.same(codes, [EXIT_FAILURE, EXIT_FAILURE])
})

t.test('an error that the operator can act on gives one line; a bug gives its stack', async t => {
  t.equal(explain(new ConfigError(['a: bad', 'b: worse'])), 'mumi: a: bad\nmumi: b: worse\n')
  t.equal(explain(new GatewayError('STORE_UNAVAILABLE', { reason: 'in use' })), 'mumi: in use\n')
  t.equal(explain('text'), 'mumi: text\n')
  const system = Object.assign(new Error('EACCES: /data'), { code: 'EACCES', syscall: 'open' })
  t.equal(explain(system), 'mumi: EACCES: /data\n')
  const fault = new TypeError('x is undefined')
  t.equal(explain(fault), `mumi: ${fault.stack}\n`)
  const inUse = { code: 'EADDRINUSE', syscall: 'listen', address: '127.0.0.1', port: 1883 }
  const port = explain(Object.assign(new Error('listen'), inUse), loadConfig(sources('--mqtt.port=1883')))
  t.match(port, /^mumi: mqtt\.port/)
  t.match(await said(() => fail(system)), { stderr: 'mumi: EACCES: /data\n', exitCode: EXIT_FAILURE })
})

function exit(t: Test, close: () => Promise<void>, timeoutMs = 10_000) {
  const events: string[] = []
  const log = {
    info: ({ event }: { event: string }) => void events.push(event),
    error: ({ event }: { event: string }) => void events.push(event),
    flush: (done: () => void) => done(),
  }
  // In a process that does not end, the deadline would end the test.
  t.intercept(globalThis, 'setTimeout', {
    value: (late: () => void) => timeoutMs < 10 && setImmediate(late),
  })
  return { one: new Exit(close, timeoutMs, log as unknown as Logger), events, ...held(t) }
}

t.test('Exit: the first signal closes; its echo is ignored, and any other ends at once', async t => {
  let closed = () => {}
  const { one, events, codes, first } = exit(t, () => new Promise(resolve => (closed = resolve)))
  one.onSignal('SIGINT')
  one.onSignal('SIGINT')
  t.same([codes, one.isLeaving], [[], true], 'npm passes the signal of the terminal on')
  closed()
  t.equal(await first, 0)
  t.same(events, ['gateway.closing', 'gateway.closed'])
  one.onSignal('SIGTERM')
  t.same(codes, [0, 128 + 15])
})

t.test('Exit: the highest code counts, and a failed close has code 1', async t => {
  const worse = exit(t, async () => undefined)
  worse.one.leave(EXIT_FAILURE)
  worse.one.leave(0)
  t.equal(await worse.first, EXIT_FAILURE)
  const failed = exit(t, () => Promise.reject(new Error('disk')))
  failed.one.leave(0)
  t.equal(await failed.first, EXIT_FAILURE)
  t.same(failed.events, ['gateway.close-failed'])
})

t.test('Exit: a close that takes too long is a failure', async t => {
  const { one, first, events } = exit(t, () => new Promise(() => undefined), 1)
  one.leave(0)
  t.equal(await first, EXIT_FAILURE)
  t.same(events, ['gateway.close-timed-out'])
})

/** What `holdSignals` listens with. */
function signals(t: Test, isService: boolean): Map<string, (signal: string) => void> {
  const listeners = new Map<string, (signal: string) => void>()
  const on = t.capture(
    process,
    'on',
    ((name: string, listener: (signal: string) => void) => void listeners.set(name, listener)) as never,
  )
  holdSignals(isService)
  on.restore()
  return listeners
}

t.test('signals: they end a command; a service handles them, and none opens the inspector', async t => {
  t.same([...signals(t, false).keys()], ['SIGUSR1'])
  const service = signals(t, true)
  t.same([...service.keys()].sort(), ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGUSR1'])
  const { codes } = held(t)
  service.get('SIGHUP')?.('SIGHUP')
  t.same(codes, [], 'no certificate is read yet')
  service.get('SIGTERM')?.('SIGTERM')
  t.same(codes, [undefined])
  const seen: string[] = []
  answerSignals({ end: signal => void seen.push(signal), reload: () => void seen.push('reload') })
  for (const name of ['SIGINT', 'SIGHUP', 'SIGTERM']) service.get(name)?.(name)
  t.same(seen, ['SIGINT', 'reload', 'SIGTERM'])
})

t.test('config: prints the effective config, or one of the documents', async t => {
  const { stdout } = await said(() => config(sources('--http.port=9000')))
  t.equal(JSON.parse(stdout).http.port, 9000)
  t.match((await said(() => config(sources('--docs')))).stdout, /`http\.port`/)
  t.match((await said(() => config(sources('--defaults')))).stdout, /^ +port: 8080,$/m)
  t.match((await said(() => config(sources('--docs', '--http.port=9000')))).thrown, {
    faults: ['--docs: only by itself'],
  })
})

t.test('check: describes the store and creates none; it warns of a file that others may read', async t => {
  const dir = dataDir(t)
  const here = sources(`--data.dir=${dir}`)
  const none = await said(() => check(here))
  t.equal(none.stdout, `config is good; no store yet in ${dir}: serve makes it\n`)
  await makeStore(dir)
  t.equal((await said(() => check(here))).stdout, 'config is good; store is good\n')
  const audit = join(dir, 'audit')
  writeFileSync(audit, '', { mode: 0o644 })
  const warned = await said(() => check(sources(`--data.dir=${dir}`, `--audit.file=${audit}`)))
  t.match(warned.stderr, new RegExp(`^mumi: warning: ${audit}: others may read it \\(mode 644\\)`, 'm'))
})

async function makeStore(dir: string): Promise<void> {
  const store = new EmbeddedStore({ dir: join(dir, 'store'), durability: 'commit', dedupWindowMs: 1 })
  await store.open()
  await store.close()
}

t.test('copy: needs two different stores, and a valid config of the target', async t => {
  const stores = 'must be one of embedded, mongodb'
  for (const [argv, fault] of [
    [[], `--from: ${stores}`],
    [['--from', 'lmdb', '--to', 'mongodb'], `--from: ${stores}`],
    [['--from', 'embedded'], `--to: ${stores}`],
    [['--from', 'mongodb', '--to', 'mongodb'], '--from, --to: must differ'],
    [['--from', 'embedded', '--to', 'mongodb', '--store.mongodb.url=http://h'], /^store\.mongodb\.url/],
  ] as const)
    t.match((await said(() => copy(sources(...argv)))).thrown, { faults: [fault] }, argv.join(' '))
})

t.test(
  'keys: accepts only `rotate` and `show`, and needs a store; old tokens stay valid or become void',
  async t => {
    const dir = dataDir(t)
    const run = (...argv: string[]) => said(() => keys(sources(...argv, `--data.dir=${dir}`)))
    t.match((await run('list')).thrown, { faults: [/must be keys rotate/] })
    t.match((await run('rotate')).thrown, { faults: [/no store in/] })
    await makeStore(dir)
    t.match((await run('rotate')).stdout, /those before are good until they expire\n$/)
    t.match((await run('rotate', '--now')).stdout, /those before are void\n$/)
    const { stdout } = await run('show')
    t.match(stdout, /^[0-9A-F]{64}\n$/)
    t.equal((await run('show')).stdout, stdout)
    t.match((await run('rotate', '--greeting', '--now')).thrown, { faults: [/--now is for tokens/] })
    t.match((await run('show', '--now')).thrown, { faults: [/--now/] })
    t.equal((await run('show')).stdout, stdout, 'unchanged')
    const renewed = (await run('rotate', '--greeting')).stdout
    t.notMatch(renewed, stdout.trim())
    t.ok(renewed.endsWith(`\n${(await run('show')).stdout}`))
  },
)

const TIMEOUT_MS = 77_000

/** In a process that does not end, the deadline of `Exit` would stay active. */
function serving(t: Test, ...argv: string[]) {
  const { setTimeout } = globalThis
  t.intercept(globalThis, 'setTimeout', {
    value: (...timer: Parameters<typeof setTimeout>) =>
      timer[1] === TIMEOUT_MS ? setTimeout(...timer).unref() : setTimeout(...timer),
  })
  const before = process.listeners('uncaughtException')
  t.teardown(() => {
    for (const listener of process.listeners('uncaughtException'))
      if (!before.includes(listener)) process.off('uncaughtException', listener)
  })
  // Each log of this process listens to both; the warning that there are many is none of `serve`.
  for (const stream of [process.stdout, process.stderr]) stream.setMaxListeners(0)
  const free = ['http', 'mqtt', 'ops'].map(part => `--${part}.port=0`)
  return said(() => serve(sources('--log.level=fatal', `--shutdown.timeout=${TIMEOUT_MS}`, ...free, ...argv)))
}

t.test('serve: ready until a signal, then closed with code 0', async t => {
  const dir = dataDir(t)
  const { codes, first } = held(t)
  const service = signals(t, true)
  t.match(await serving(t, `--data.dir=${dir}`), { stdout: '', stderr: '', thrown: undefined })
  t.same(codes, [])
  service.get('SIGTERM')?.('SIGTERM')
  t.equal(await first, 0)
  await t.resolves(makeStore(dir), 'the store was closed')
})

t.test('serve: a failed start gives one line and a failure code', async t => {
  const dir = join(dataDir(t), 'file')
  writeFileSync(dir, '')
  const { first } = held(t)
  t.match(await serving(t, `--data.dir=${dir}`), { stderr: /^mumi: [^\n]*\n$/, thrown: undefined })
  t.equal(await first, EXIT_FAILURE)
})
