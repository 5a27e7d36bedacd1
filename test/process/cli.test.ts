import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  accessSync,
  closeSync,
  constants,
  copyFileSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { jsonClient, register } from '../helpers/gateway.js'
import { FREE_PORTS, MAIN, mumi, planted, serve } from '../helpers/program.js'
import { withTokens } from '../helpers/tokens.js'

/** What package.json names as the command. */
const COMMAND = fileURLToPath(new URL('../../scripts/mumi.mjs', import.meta.url))

const PACKAGE = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

t.test('the built file is a program, with the options that npm start gives', async t => {
  for (const file of [MAIN, COMMAND]) {
    accessSync(file, constants.X_OK)
    const [, options] = /^#!\/usr\/bin\/env -S node (.+)\n/.exec(readFileSync(file, 'utf8')) ?? []
    t.equal(PACKAGE.scripts.start, `node ${options} dist/main.js serve`)
  }
})

t.test('the command is there before the build, and says what builds it', async t => {
  const dir = t.testdir({ scripts: {} })
  copyFileSync(COMMAND, join(dir, 'scripts/mumi.mjs'))
  const { status, stdout, stderr } = spawnSync(join(dir, 'scripts/mumi.mjs'), ['--version'], {
    encoding: 'utf8',
  })
  t.match({ status, stdout, stderr }, { status: 1, stdout: '', stderr: /^mumi: not built yet: npm start / })
  const built = spawnSync(COMMAND, ['--version'], { encoding: 'utf8' })
  t.match(built, { status: 0, stdout: `${PACKAGE.version}\n` })
})

t.test('--help, --version, no command, unknown command', async t => {
  t.testdir()
  for (const args of [['--help'], ['-h'], ['serve', '--help']]) {
    t.match(await mumi(t, args).ended, { code: 0, stdout: /Usage: mumi/, stderr: '' }, args.join(' '))
  }
  t.match(await mumi(t, ['--version']).ended, { code: 0, stdout: /^\d+\.\d+\.\d+/, stderr: '' })
  t.match(await mumi(t, []).ended, { code: 2, stdout: '', stderr: /Usage: mumi/ })
  t.match(await mumi(t, ['server']).ended, {
    code: 2,
    stdout: '',
    stderr: /^mumi: unknown command 'server'.*\n$/,
  })
})

t.test('an invalid config ends with exit code 1 and names each key, without a stack', async t => {
  t.testdir()
  for (const command of ['serve', 'check', 'config']) {
    const { code, stdout, stderr } = await mumi(t, [command, '--http.port', 'x'], { MUMI_LOCALE: 'de' }).ended
    t.equal(code, 1)
    t.equal(stdout, '')
    t.match(stderr.trimEnd().split('\n'), [
      /^mumi: locale: .*MUMI_LOCALE/,
      /^mumi: http\.port: .*--http\.port/,
    ])
    t.notMatch(stderr, /\n {4}at /)
  }
})

t.test('config prints the effective config, --docs the key table, --defaults the shipped file', async t => {
  t.testdir()
  const { stdout } = await mumi(t, ['config', '--http.port', '81'], { MUMI_MQTT_PORT: '82' }).ended
  t.match(JSON.parse(stdout), { http: { port: 81 }, mqtt: { port: 82 }, data: { dir: './data' } })
  t.match((await mumi(t, ['config', '--docs']).ended).stdout, '| `http.port` |')
  t.match((await mumi(t, ['config', '--defaults']).ended).stdout, /http: \{[^}]*port: 8080,/)
})

t.test('--docs and --defaults accept no other option', async t => {
  t.testdir()
  const { code, stderr } = await mumi(t, ['config', '--docs', '--http.port', '81']).ended
  t.equal(code, 1)
  t.equal(stderr, 'mumi: --docs: only by itself\n')
})

t.test('check creates no store, and reports a folder where none can be created', async t => {
  const dir = t.testdir({ file: 'not a folder', empty: {} })
  for (const data of ['empty', 'new', 'new/deep']) {
    const { code, stdout, stderr } = await mumi(t, ['check', '--data.dir', join(dir, data)]).ended
    t.match({ code, stderr }, { code: 0, stderr: '' })
    t.equal(stdout, `config is good; no store yet in ${join(dir, data)}: serve makes it`)
  }
  t.same(readdirSync(dir).sort(), ['empty', 'file'])
  t.same(readdirSync(join(dir, 'empty')), [])
  for (const data of ['file', 'file/data']) {
    const bad = await mumi(t, ['check', '--data.dir', join(dir, data)]).ended
    t.match(bad, { code: 1, stdout: '', stderr: /^mumi: .*not a directory.*\n$/ }, data)
  }
})

t.test('check opens an existing store, and does not open one in use', async t => {
  const { child, ended, logged } = serve(t)
  await logged('gateway.ready')
  const check = () => mumi(t, ['check', '--data.dir', join(t.testdirName, 'data')]).ended
  const inUse = await check()
  t.match(inUse, { code: 0, stderr: '' })
  t.equal(inUse.stdout, `config is good; store is in use by process ${child.pid}, not checked`)
  child.kill('SIGTERM')
  t.match(await ended, { code: 0 })
  t.match(await check(), { code: 0, stderr: '', stdout: 'config is good; store is good' })
})

t.test(
  'keys rotate: a new key signs; older tokens stay valid until they expire, or are void with --now',
  async t => {
    const dir = join(t.testdir(), 'data')
    const audit = join(t.testdirName, 'audit.log')
    const rotate = (...args: string[]) =>
      mumi(t, ['keys', 'rotate', ...args, '--data.dir', dir, '--audit.file', audit]).ended
    const lacks = await rotate()
    t.match(lacks, { code: 1, stdout: '', stderr: `mumi: data.dir: no store in ${dir}\n` })
    t.match(await mumi(t, ['keys', 'eat']).ended, { code: 1, stderr: /^mumi: keys: must be keys rotate/ })
    let tokens = { token: '', refresh: '' }
    const code = { kept: 0, void: 0, refreshed: 0 }
    await running(t, async port => {
      const account = await register(t, { httpPort: port })
      tokens = (await withTokens(t, { httpPort: port }, account)).tokens
      const inUse = await rotate('--now')
      t.match(inUse, { code: 1, stdout: '', stderr: /^mumi: .* is in use by process \d+.*\n$/ })
    })
    const login = async (port: number) =>
      (await jsonClient(t, { httpPort: port })).action('login', { token: tokens.token })
    t.match(await rotate(), { code: 0, stderr: '', stdout: /good until they expire/ })
    await running(t, async port => {
      code.kept = (await login(port)).code
    })
    t.match(await rotate('--now'), { code: 0, stderr: '', stdout: /void/ })
    await running(t, async port => {
      code.void = (await login(port)).code
      const client = await jsonClient(t, { httpPort: port })
      const pair = (await client.action('refresh', { token: tokens.refresh })).data as typeof tokens
      tokens = pair
      code.refreshed = (await login(port)).code
    })
    t.same(code, { kept: 202, void: 10000, refreshed: 202 })
    const events = readFileSync(audit, 'utf8').trim().split('\n')
    t.same(
      events.map(line => JSON.parse(line).event),
      ['keys.rotated', 'keys.rotated'],
    )
  },
)

/** While the program runs on the data of the test's folder. @param work gets its HTTP port */
async function running(t: Test, work: (port: number) => Promise<void>): Promise<void> {
  const dir = join(t.testdirName, 'data')
  const { child, ended, logged } = mumi(t, ['serve', ...FREE_PORTS, '--data.dir', dir])
  const { http } = (await logged('gateway.ready')) as { http: { port: number } }
  await work(http.port)
  child.kill('SIGTERM')
  t.match(await ended, { code: 0 })
}

t.test('a Node that is too old gives one line and exit code 1', async t => {
  t.testdir()
  const old = planted(
    `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.4' } })`,
  )
  for (const command of ['serve', 'check', '--version']) {
    const end = { code: 1, stdout: '', stderr: 'mumi: needs Node 20.19 or later; this is 18.20.4\n' }
    t.match(await mumi(t, [command], old).ended, end, command)
  }
})

t.test('config is read from files, too', async t => {
  const dir = t.testdir()
  const file = join(dir, 'mumi.json5')
  writeFileSync(
    file,
    `{http: {port: 0}, mqtt: {enabled: false}, data: {dir: ${JSON.stringify(join(dir, 'data'))}}}`,
  )
  const { child, logged, ended } = mumi(t, ['serve', '--config', file])
  const ready = await logged('gateway.ready')
  t.notOk(ready.mqtt)
  child.kill('SIGTERM')
  t.match(await ended, { code: 0 })
})

t.test('a command whose reader has gone ends as if it were read; a full disk is told', async t => {
  const dir = t.testdir({})
  const ended = async (words: readonly string[], stdout: 'pipe' | number) => {
    const child = spawn(process.execPath, [MAIN, ...words], { stdio: ['ignore', stdout, 'pipe'] })
    child.stdout?.destroy()
    const [stderr] = await Promise.all([text(child.stderr as Readable), once(child, 'exit')])
    return { code: child.exitCode, stderr }
  }
  const full = openSync('/dev/full', 'w')
  t.teardown(() => closeSync(full))
  for (const words of [
    ['--help'],
    ['user', 'list', '--help'],
    ['config'],
    ['completion', 'bash'],
    ['check', '--data.dir', join(dir, 'data')],
  ]) {
    t.same(await ended(words, 'pipe'), { code: 0, stderr: '' }, words.join(' '))
    const stderr = /^mumi: cannot write the output: ENOSPC: [^\n]+\n$/
    t.match(await ended(words, full), { code: 1, stderr })
  }
})

t.test('words that are not UTF-8 are refused: they would name another file', async t => {
  const dir = t.testdir({})
  const words = `exec "$0" "$1" user create ann@example.com --data.dir "$2/$(printf 'd\\377')"`
  const { status, stderr } = spawnSync('sh', ['-c', words, process.execPath, MAIN, dir], { encoding: 'utf8' })
  t.equal(status, 2)
  t.match(stderr, /is not UTF-8\n$/)
  t.same(readdirSync(dir), [], 'and nothing is made')
})

t.test('a data folder that cannot be looked into is not one without a store', async t => {
  const dir = t.testdir({})
  symlinkSync('loop', join(dir, 'loop'))
  for (const command of ['verify', 'check']) {
    const { code, stderr } = await mumi(t, [command, `--data.dir=${join(dir, 'loop')}`]).ended
    t.equal(code, 1)
    t.match(stderr, 'data.dir: cannot look into it as this user', command)
  }
})
