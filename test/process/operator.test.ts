/** The commands for operators, as a program: on a gateway that runs, and on the store of one that does not. */
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { dataDir, jsonClient, loggedIn } from '../helpers/gateway.js'
import { FREE_PORTS, mumi, serve } from '../helpers/program.js'

const dataOf = (t: Test) => ['--data.dir', join(t.testdirName, 'data'), '--passwords.cost', '4']

async function run(t: Test, words: string, input?: string) {
  const child = mumi(t, [...words.split(' '), ...dataOf(t)])
  child.child.stdin.end(input)
  return child.ended
}

async function json(t: Test, words: string) {
  const { code, stdout, stderr } = await run(t, `${words} --json`)
  if (code !== 0) throw new Error(`${words}: ${stderr}`)
  return JSON.parse(stdout)
}

t.test('the first admin is made by a command before the first start, and is one then', async t => {
  t.testdir()
  t.match(await run(t, 'user list'), { code: 1, stdout: '', stderr: /^mumi: data\.dir: no store in / })
  const made = await json(t, 'user create ann@example.com --admin')
  t.match(made, { email: 'ann@example.com', role: 'admin', password: /^[\w-]{16}$/ })
  t.match(await run(t, 'user list'), {
    code: 0,
    stdout: /^ID {9}EMAIL.*\n\d{9} {2}ann@example\.com .* admin /,
  })
  const gateway = mumi(t, ['serve', ...FREE_PORTS, ...dataOf(t)])
  const { http } = (await gateway.logged('gateway.ready')) as { http: { port: number } }
  const ann = await loggedIn(t, { httpPort: http.port }, made)
  t.match(await ann.action('sessions', { user: '999999999' }, 'i'), { code: 200 }, 'an admin')
  gateway.child.kill('SIGTERM')
  t.match(await gateway.ended, { code: 0 })
})

t.test('accounts and sessions of a gateway that runs', async t => {
  const { child, ended, logged } = serve(t, ['--passwords.cost=4'])
  const { http } = (await logged('gateway.ready')) as { http: { port: number } }
  const gateway = { httpPort: http.port }
  const made = await json(t, 'user create bob@example.com')
  const bob = await loggedIn(t, gateway, made)
  t.match(await json(t, 'sessions list'), { total: 1, sessions: [{ user: made.id, front: 'json' }] })
  t.match(await run(t, 'sessions list'), { code: 0, stdout: new RegExp(`^USER.*\\n${made.id} `) })
  t.match(await run(t, 'user disable bob@example.com'), {
    code: 0,
    stdout: `disabled ${made.id} (bob@example.com); 1 connections ended`,
  })
  await bob.closed
  const { email, password } = made
  t.match(await (await jsonClient(t, gateway)).action('login', { email, password }), { code: 10129 })
  t.match(await run(t, 'user enable bob@example.com'), { code: 0 })
  t.match(await run(t, 'user reset-password bob@example.com --password-stdin', 'new one\n'), { code: 0 })
  const again = await loggedIn(t, gateway, { ...made, password: 'new one' })
  t.match(await run(t, 'broadcast --from bob@example.com hi'), { code: 0 })
  t.match(await run(t, 'sessions kick bob@example.com'), { stdout: '1 sessions ended, 0 of them revoked' })
  await again.closed
  t.match(await json(t, 'stats'), { pid: child.pid, mumi_connections: Number, store: 'embedded' })
  t.match(await run(t, 'log-level warn'), { code: 0, stdout: 'warn' })
  t.match(await run(t, 'log-level'), { stdout: 'warn' })
  t.match(await run(t, 'user delete bob@example.com'), { code: 1, stderr: /--yes/ })
  t.match(await run(t, 'user delete bob@example.com --yes'), { code: 0, stdout: /^deleted/ })
  t.match(await run(t, 'user show bob@example.com'), {
    code: 1,
    stdout: '',
    stderr: 'mumi: user not found: user: no such user (10010)\n',
  })
  child.kill('SIGTERM')
  t.match(await ended, { code: 0, stderr: '' })
})

t.test('exit codes: 2 for wrong usage, 3 where no gateway runs; help is 0', async t => {
  t.testdir()
  t.match(await run(t, 'user nothing'), { code: 2, stdout: '', stderr: /^mumi: unknown command/ })
  t.match(await run(t, 'user show'), { code: 2, stderr: /^mumi: missing required argument/ })
  t.match(await run(t, 'stats'), { code: 3, stdout: '', stderr: /^mumi: no gateway runs on / })
  t.match(await run(t, 'user create --help'), { code: 0, stdout: /Examples:/, stderr: '' })
  t.match(await run(t, 'user list --data.dri x'), { code: 1, stderr: 'mumi: --data.dri: no such option\n' })
  t.match(await mumi(t, ['completion', 'bash']).ended, { code: 0, stdout: /complete -F _mumi/ })
})

t.test('a killed gateway leaves a socket that is in nobody’s way', async t => {
  const first = serve(t)
  await first.logged('gateway.ready')
  first.child.kill('SIGKILL')
  await first.ended
  t.match(await run(t, 'user create ann@example.com'), { code: 0 }, 'on the idle store')
  const second = mumi(t, ['serve', ...FREE_PORTS, ...dataOf(t)])
  await second.logged('gateway.ready')
  t.match(await json(t, 'stats'), { pid: second.child.pid })
  t.match(await json(t, 'user list'), { users: [{ email: 'ann@example.com' }] })
})

t.test('without the socket, a gateway that runs keeps its store to itself', async t => {
  const { child, logged } = serve(t, ['--admin.enabled=false'])
  await logged('gateway.ready')
  t.match(await run(t, 'user list'), { code: 1, stderr: new RegExp(`in use by process ${child.pid}`) })
})

t.test(
  'whoever is not the user of the gateway is told so',
  { skip: process.getuid?.() === 0 && 'root may open any socket' },
  async t => {
    const { logged } = serve(t)
    await logged('gateway.ready')
    chmodSync(join(t.testdirName, 'data', 'admin.sock'), 0)
    t.match(await run(t, 'stats'), { code: 1, stderr: /no right to open it/ })
  },
)

t.test('a gateway that ends before it has answered is told, without a stack', async t => {
  t.testdir()
  const dir = dataDir(t)
  const server = createServer(request => request.socket.destroy())
  await new Promise<void>(resolve => server.listen(join(dir, 'admin.sock'), resolve))
  t.teardown(() => server.close())
  t.match(await mumi(t, ['stats', `--data.dir=${dir}`]).ended, {
    code: 1,
    stderr: /^mumi: .*admin\.sock: the gateway ended before it had answered; what had begun may be done\n$/,
  })
})

t.test('a server of another kind at the socket is named', async t => {
  t.testdir()
  const dir = dataDir(t)
  let answer = ''
  const server = createServer((_request, response) => response.end(answer))
  await new Promise<void>(resolve => server.listen(join(dir, 'admin.sock'), resolve))
  t.teardown(() => server.close())
  for (answer of ['{}', 'null', '[1]', 'hello', '', '{"code":200}'])
    t.match(
      await mumi(t, ['stats', `--data.dir=${dir}`]).ended,
      {
        code: 1,
        stdout: '',
        stderr: /^mumi: .*admin\.sock: is not the admin address of a gateway\n$/,
      },
      answer,
    )
})

t.test('a reader that stops reading does not hang a command', async t => {
  t.testdir()
  const { child, ended } = mumi(t, ['user', '--help'])
  child.stdout.destroy()
  await Promise.race([ended, once(child, 'exit')])
  t.pass('it has ended')
})
