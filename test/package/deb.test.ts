/** The Debian package: made by scripts/deb, looked into, run from a folder, and installed by dpkg into another root. */
import { execFile, spawn, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { plain } from '../helpers/plain-node.js'
import { FREE_PORTS, watch } from '../helpers/program.js'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)
/** npm tells the scripts that it runs about the project that it runs them for. */
const ENV = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm|tap|_tap|node)_/i.test(name)),
)
const DOC = 'usr/share/doc/mumi-gateway'
const manPage = readFileSync(join(ROOT, 'docs/mumi.1'), 'utf8')
const { version, engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

t.setTimeout(480_000)

if (spawnSync('dpkg-deb', ['--version']).error !== undefined) {
  t.test('the Debian package', { skip: 'NOT TESTED: no dpkg-deb' }, async () => {})
} else {
  const dir = mkdtempSync(join(tmpdir(), 'mumi-deb-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const { stdout } = await run(join(ROOT, 'scripts/deb'), [dir], { cwd: dir, env: ENV, maxBuffer: 2 ** 26 })
  const deb = stdout.trimEnd()
  const out = async (command: string, ...args: string[]) =>
    (await run(command, args, { env: ENV, maxBuffer: 2 ** 26 })).stdout

  t.test('its name, version and needs are those of package.json', async t => {
    const field = async (name: string) => (await out('dpkg-deb', '--field', deb, name)).trim()
    t.equal(await field('Version'), version.replace('-', '~'))
    const arch = (await out('dpkg', '--print-architecture')).trim()
    t.equal(deb, join(dir, `mumi-gateway_${version}_${arch}.deb`))
    t.match(await field('Depends'), `nodejs (>= ${engines.node.replace('>=', '')})`)
    const listed = (await out('dpkg-deb', '--contents', deb)).trimEnd().split('\n')
    t.ok(listed.length > 500, 'and something is in it')
    t.same(
      listed.filter(line => !/^\S+ root\/root /.test(line) || /^.{5}w|^.{8}w/.test(line.replace(/^l.*/, ''))),
      [],
      'all is of root, and nobody else may write',
    )
  })

  t.test('what it installs runs', async t => {
    const root = join(dir, 'files')
    await out('dpkg', '-x', deb, root)
    t.equal(gunzipSync(readFileSync(join(root, 'usr/share/man/man1/mumi.1.gz'))).toString(), manPage)
    for (const [, link = ''] of readFileSync(join(root, DOC, 'README.md'), 'utf8').matchAll(
      /\]\((?!\w+:)([^)#\s]+)/g,
    ))
      t.ok(existsSync(join(root, DOC, link)), `${link} is there for the README`)
    const found = spawnSync('grep', ['-rlF', ROOT.replace(/\/$/, ''), root], { encoding: 'utf8' }).stdout
    t.equal(found, '', 'no path of the machine that made it')
    const mumi = join(root, 'usr/bin/mumi')
    t.equal(await out(mumi, '--version'), `${version}\n`)
    const config = join(root, 'etc/mumi/mumi.json5')
    t.equal(JSON.parse(await out(mumi, 'config', '--config', config)).data.dir, '/var/lib/mumi')
    const args = ['serve', '--config', config, `--data.dir=${join(dir, 'data')}`, ...FREE_PORTS]
    const gateway = watch(t, spawn(...plain([mumi, ...args]), { env: ENV }))
    const { ops } = (await gateway.logged('gateway.ready')) as { ops: { port: number } }
    t.equal((await fetch(`http://127.0.0.1:${ops.port}/readyz`)).status, 200)
    gateway.child.kill('SIGTERM')
    t.match(await gateway.ended, { code: 0 })
  })

  t.test('its unit is that of config/, with a user that stays', async t => {
    const unit = await out(
      'sh',
      '-c',
      `dpkg-deb --fsys-tarfile '${deb}' | tar -xO ./usr/lib/systemd/system/mumi.service`,
    )
    const lines = (text: string) => text.split('\n').filter(line => /^\w+=/.test(line))
    const ours = lines(readFileSync(join(ROOT, 'config/mumi.service'), 'utf8'))
    t.same(
      lines(unit).filter(line => !ours.includes(line)),
      [
        'ExecStart=/usr/bin/mumi serve --config /etc/mumi/mumi.json5',
        'EnvironmentFile=-/etc/mumi/mumi.env',
        'User=mumi',
      ],
    )
    t.equal(lines(unit).length, ours.length)
  })

  const missing = [
    ...(process.getuid?.() === 0 ? [] : ['root']),
    ...(spawnSync('systemd-sysusers', ['--version']).error === undefined ? [] : ['systemd-sysusers']),
  ]
  t.test(
    'dpkg installs, installs again, removes and purges it; config and data stay as the operator has them',
    { skip: missing.length > 0 && `NOT TESTED: needs ${missing.join(', ')}` },
    async t => {
      const root = join(dir, 'root')
      for (const folder of ['updates', 'info'])
        mkdirSync(join(root, 'var/lib/dpkg', folder), { recursive: true })
      for (const file of ['status', 'available']) writeFileSync(join(root, 'var/lib/dpkg', file), '')
      mkdirSync(join(root, 'etc'))
      const dpkg = (...args: string[]) => {
        const options = [`--root=${root}`, '--force-script-chrootless', '--force-depends', '--force-confdef']
        return out('dpkg', ...options, ...args)
      }
      await dpkg('--install', deb)
      const [, user, group] =
        /^mumi:x:(\d+):(\d+):/m.exec(readFileSync(join(root, 'etc/passwd'), 'utf8')) ?? []
      t.ok(user, 'it has a user')
      const config = join(root, 'etc/mumi/mumi.json5')
      const { gid, mode } = statSync(config)
      t.equal(gid, Number(group))
      t.equal(mode & 0o777, 0o640, 'it may hold a password')
      appendFileSync(config, '// mine\n')
      mkdirSync(join(root, 'var/lib/mumi'))
      writeFileSync(join(root, 'var/lib/mumi/message'), '')
      await dpkg('--install', deb)
      t.match(readFileSync(config, 'utf8'), '// mine')
      await dpkg('--remove', 'mumi-gateway')
      t.notOk(existsSync(join(root, 'usr/bin/mumi')))
      t.ok(existsSync(config))
      rmSync(config)
      await dpkg('--install', deb)
      t.notOk(existsSync(config), 'what the operator has removed is not missed')
      await dpkg('--purge', 'mumi-gateway')
      t.notOk(existsSync(join(root, 'usr/bin/mumi')))
      t.ok(existsSync(join(root, 'var/lib/mumi/message')), 'messages are removed by hand')
    },
  )
}
