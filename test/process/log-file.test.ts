/** log.file and audit.file, renamed as logrotate does it. */
import { existsSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { dataDir, register } from '../helpers/gateway.js'
import { FREE_PORTS, mumi } from '../helpers/program.js'

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
  const [log, audit] = [join(dir, 'log/mumi.log'), join(dir, 'log/audit.log')]
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
  const { ended } = mumi(t, ['serve', ...FREE_PORTS, `--data.dir=${dataDir(t)}`, '--log.file=/dev'])
  t.match(await ended, { code: 1, stderr: /EISDIR.*\/dev/ })
})
