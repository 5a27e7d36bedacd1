/** log.file, log.redact, log.connections, and what `check` warns of besides. */
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { risks } from '../../src/app/risks.js'
import { LoginLog } from '../../src/auth/login-log.js'
import { loadConfig } from '../../src/config/config.js'
import { openAudit } from '../../src/core/audit.js'
import { createLogger } from '../../src/core/log.js'
import { LogFile } from '../../src/core/log-file.js'
import { Metrics } from '../../src/core/metrics.js'
import { networkOf, redacted } from '../../src/core/redact.js'

const flushed = (file: LogFile) => new Promise<void>(resolve => file.flush(resolve))

t.test('lines go on in a new file where the old one was renamed', async t => {
  const dir = join(t.testdir(), 'made')
  mkdirSync(dir)
  const path = join(dir, 'log')
  const file = new LogFile(path)
  for (let i = 0; i < 1000; i++) file.write(`${i}\n`)
  renameSync(path, `${path}.1`)
  file.reopen()
  await flushed(file)
  file.write('new\n')
  await flushed(file)
  t.match(`${readFileSync(`${path}.1`)}${readFileSync(path)}`.trim().split('\n'), {
    length: 1001,
    999: '999',
  })
  t.equal(readFileSync(path, 'utf8').trim().split('\n').at(-1), 'new')
  rmSync(dir, { recursive: true })
  t.match(file.reopen(), { code: 'ENOENT' })
  file.write('to the one before\n')
  await flushed(file)
  t.throws(() => new LogFile('/dev'), { code: 'EISDIR' })
})

t.test('a full disk loses lines and stops nobody', async t => {
  const file = new LogFile('/dev/full')
  file.write('lost\n')
  await flushed(file)
  file.write(`${'x'.repeat(20 * 2 ** 20)}\n`)
  await flushed(file)
  t.pass('both were given up')
})

t.test('addresses', async t => {
  for (const [address, network] of [
    ['203.0.113.77', '203.0.113.0'],
    ['::ffff:203.0.113.77', '203.0.113.0'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1::'],
    ['2001:db8::1', '2001:db8:0::'],
    ['fe80::1%eth0', 'fe80:0:0::'],
    ['::1', '0:0:0::'],
    ['a path', undefined],
  ] as const)
    t.equal(networkOf(address), network, address)
  const about = { event: 'x', remoteAddress: '203.0.113.77' }
  t.equal(redacted(about, 'none'), about)
  t.same(redacted(about, 'all'), { event: 'x', remoteAddress: undefined })
  const lines: string[] = []
  const options = { level: 'info', pretty: 'never', redact: 'network', repeatWindow: 0 } as const
  const log = createLogger(options, { write: line => lines.push(line) })
  log.info(about, 'seen')
  t.match(JSON.parse(lines[0] ?? ''), { remoteAddress: '203.0.113.0', msg: 'seen' })
  const path = join(t.testdir(), 'audit')
  const events = { onError: () => undefined, onDropped: () => undefined }
  const audit = await openAudit(path, events, 'all')
  audit.record({ event: 'logout', remoteAddress: '203.0.113.77' })
  await audit.close()
  t.notMatch(readFileSync(path, 'utf8'), /203/)
})

t.test('lines of logins and ends have a level of their own', async t => {
  const lines: string[] = []
  const options = { level: 'info', pretty: 'never', repeatWindow: 0 } as const
  const log = createLogger(options, { write: line => lines.push(JSON.parse(line).level) })
  for (const level of ['debug', 'warn', 'silent'] as const) {
    const one = new LoginLog(log, new Metrics(), level)
    one.accepted({ front: 'json', userId: '100000001' })
    one.ended({ front: 'json', userId: '100000001' }, 'left', 0)
  }
  t.same(lines, ['warn', 'warn'])
})

const config = (settings: Record<string, string>) =>
  loadConfig({ argv: Object.entries(settings).map(([key, value]) => `--${key}=${value}`), env: {} })

t.test('a data folder on a network file system', async t => {
  const on = (type: number, settings = {}) =>
    risks(config({ 'data.dir': '/a/b/c', ...settings }), [], () => type)
  t.match(on(0x6969), [/data\.dir: \/a\/b\/c is on a network file system \(NFS\)/])
  t.match(on(0xff534d42 | 0), [/CIFS/], 'as a signed number, too')
  t.match(on(0x65735546), [/FUSE/])
  t.same(on(0xef53), [], 'ext4')
  t.same(on(0x6969, { 'store.type': 'mongodb' }), [])
  const looked: string[] = []
  const typeOf = (path: string) => {
    looked.push(path)
    if (path !== '/') throw new Error('ENOENT')
    return 0x6969
  }
  t.match(risks(config({ 'data.dir': '/a/b' }), [], typeOf), [/NFS/], 'it is not made yet')
  t.same(looked, ['/a/b', '/a', '/'])
  t.same(risks(config({ 'data.dir': t.testdir() }), []), [], 'by the system itself')
})

t.test('files with secrets that everybody may read', async t => {
  const dir = t.testdir()
  mkdirSync(join(dir, 'etc'))
  const [key, file] = [join(dir, 'etc/key.pem'), join(dir, 'etc/mumi.json')]
  for (const path of [key, file]) writeFileSync(path, 'x', { mode: 0o644 })
  const settings = { 'tls.cert': key, 'tls.key': key, 'store.mongodb.url': 'mongodb://u:secret@host' }
  const found = risks(config(settings), [file, '/not/there'])
  t.match(found, [/^tls\.key: everybody may read .*key\.pem/, /mumi\.json: everybody may read it/])
  t.notMatch(found.join(), /secret@/)
  for (const path of [key, file]) chmodSync(path, 0o640)
  t.same(risks(config(settings), [file]), [])
  chmodSync(file, 0o644)
  t.same(risks(config({}), [file]), [], 'it has no secret')
})

t.test('origins that match nothing', async t => {
  const of = (origins: string, settings = {}) => risks(config({ 'http.origins': origins, ...settings }), [])
  t.match(of('https://chat.example'), [/https:\/\/chat\.example matches nothing.*trustProxy/])
  t.same(of('https://chat.example', { 'http.trustProxy': '127.0.0.1' }), [])
  t.same(of('http://chat.example,null'), [])
  const label = 'a'.repeat(60)
  const long = `http://*.${`${label}.`.repeat(4)}example.org`
  t.match(of(long), [/matches nothing: no host has so long a name/])
})
