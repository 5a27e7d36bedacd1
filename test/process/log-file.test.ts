/** log.file and audit.file, renamed as logrotate does it. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { dataDir, register } from '../helpers/gateway.js'
import { plain } from '../helpers/plain-node.js'
import { FREE_PORTS, MAIN, mumi, planted, serve, watch } from '../helpers/program.js'

type Line = Record<string, unknown>

function lines(path: string): Line[] {
  if (!existsSync(path)) return []
  const whole = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  return whole.map(line => JSON.parse(line))
}

async function until<T>(look: () => T | undefined): Promise<T> {
  for (;;) {
    const found = look()
    if (found !== undefined) return found
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

t.test('after a rename and SIGHUP lines go to new files, and none is lost', async t => {
  t.testdir()
  const dir = dataDir(t)
  // Folders in data.dir are made.
  const [log, audit] = [join(dir, 'data/log/mumi.log'), join(dir, 'data/log/audit.log')]
  const args = Object.entries({
    'data.dir': join(dir, 'data'),
    'log.file': log,
    'audit.file': audit,
    'log.redact': 'all',
  })
  const words = [
    'serve',
    ...FREE_PORTS,
    '--passwords.cost=4',
    ...args.map(([key, value]) => `--${key}=${value}`),
  ]
  const { child, ended } = mumi(t, words)
  const ready = await until(() => lines(log).find(({ event }) => event === 'gateway.ready'))
  const gateway = { httpPort: (ready.http as { port: number }).port }
  const first = await register(t, gateway)
  await until(() => lines(audit).find(({ userId }) => userId === first.id))
  for (const path of [log, audit]) renameSync(path, `${path}.1`)
  child.kill('SIGHUP')
  await until(() => lines(log).find(({ event }) => event === 'config.reloaded'))
  await until(() => (existsSync(audit) ? true : undefined))
  const second = await register(t, gateway)
  child.kill('SIGTERM')
  t.match(await ended, { code: 0, stdout: '', stderr: '' })
  t.equal(lines(log).at(-1)?.event, 'gateway.closed', 'the last line is there')
  const ofSecond = (path: string) => lines(path).filter(({ userId }) => userId === second.id).length
  t.ok(ofSecond(log) > 0 && ofSecond(audit) > 0)
  t.equal(ofSecond(`${log}.1`) + ofSecond(`${audit}.1`), 0)
  for (const path of [log, audit]) t.equal(statSync(path).mode & 0o777, 0o600)
  const all = [log, audit, `${log}.1`, `${audit}.1`].map(path => readFileSync(path, 'utf8')).join('')
  t.notMatch(all, /remoteAddress/)
})

t.test('a log file that cannot be opened is a clear error', async t => {
  t.testdir()
  const dir = dataDir(t)
  const data = `--data.dir=${join(dir, 'data')}`
  const fifo = join(dir, 'fifo')
  execFileSync('mkfifo', [fifo])
  for (const key of ['log.file', 'audit.file'])
    for (const [path, fault] of [
      ['/dev', 'is a folder'],
      [fifo, 'is a FIFO'],
      [join(dir, 'none/log'), 'the folder .*/none is not there; make it first'],
    ] as const)
      for (const command of [['check'], ['serve', ...FREE_PORTS]]) {
        const end = await mumi(t, [...command, data, `--${key}=${path}`]).ended
        t.match(end, { code: 1, stderr: new RegExp(`^mumi: ${key}: .*${fault}.*\n$`) }, `${key} ${path}`)
      }
  t.same(readdirSync(dir), ['fifo'], 'nothing was made')
})

t.test('lines go to a device, which stays as it is, and to the stdout that is a pipe', async t => {
  const { mode } = statSync('/dev/null')
  const settings = [`--data.dir=${dataDir(t)}`, '--log.file=/dev/stdout', '--audit.file=/dev/null']
  // Node gives its children sockets.
  const piped = ['sh', '-c', '"$0" "$@" | cat', process.execPath, MAIN, 'serve', ...FREE_PORTS, ...settings]
  const { ended, logged } = watch(t, spawn(...plain(piped)))
  const pid = Number((await logged('gateway.starting')).pid)
  await logged('gateway.ready')
  process.kill(pid, 'SIGHUP')
  await logged('config.reloaded')
  process.kill(pid, 'SIGTERM')
  t.match(await ended, { code: 0, stdout: /gateway\.closed/, stderr: '' })
  t.equal(statSync('/dev/null').mode, mode)
  t.notMatch(await ended, { stdout: /file\.exposed/ })
})

t.test('a FIFO in the place of the file at a SIGHUP stops nothing: lines go to the one before', async t => {
  const dir = dataDir(t)
  t.testdir()
  const [log, audit] = [join(dir, 'log'), join(dir, 'audit')]
  const words = [`--data.dir=${dir}`, `--log.file=${log}`, `--audit.file=${audit}`]
  const { child, ended } = mumi(t, ['serve', ...FREE_PORTS, ...words])
  await until(() => lines(log).find(({ event }) => event === 'gateway.ready'))
  for (const path of [log, audit]) {
    renameSync(path, `${path}.1`)
    execFileSync('mkfifo', [path])
  }
  child.kill('SIGHUP')
  const now = () => lines(`${log}.1`).map(({ event }) => event)
  await until(() => (now().includes('config.reloaded') && now().includes('audit.failed') ? true : undefined))
  t.ok(now().includes('log.failed'))
  child.kill('SIGTERM')
  t.match(await ended, { code: 0, stderr: '' })
})

t.test('the process ends where a listener of its exit throws', async t => {
  const { child, ended, logged } = serve(
    t,
    [],
    planted("process.on('exit', () => { throw new Error('no flush') })"),
  )
  await logged('gateway.ready')
  child.kill('SIGTERM')
  t.match(await ended, { code: 0, signal: null })
})
