/** The end of the program while clients are sent away: by signals, and by the command. */
import { once } from 'node:events'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { mumi, serve, type Watched } from '../helpers/program.js'

/** A gateway with two connections, of which one is sent away at once and one in half an hour. */
async function withTwo(t: Test, spread = '1h') {
  const gateway = serve(t, ['--shutdown.spread', spread])
  const { http } = (await gateway.logged('gateway.ready')) as { http: { port: number } }
  const sockets = await Promise.all([opened(http.port), opened(http.port)])
  return { ...gateway, sockets, dir: join(t.testdirName, 'data') }
}

async function opened(port: number): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`)
  socket.on('error', () => undefined)
  await once(socket, 'message')
  return socket
}

const closed = (socket: WebSocket) => new Promise<number>(resolve => socket.once('close', resolve))

const command = (t: Test, { dir }: { dir: string }, ...words: string[]): Watched =>
  mumi(t, ['drain', ...words, '--data.dir', dir])

t.test(
  'SIGTERM sends clients away over shutdown.spread; a second signal ends the process at once',
  async t => {
    const { child, logged, ended, sockets } = await withTwo(t)
    const first = Promise.race(sockets.map(closed))
    child.kill('SIGTERM')
    t.match(await logged('gateway.draining'), { connections: 2, seconds: 3600 })
    t.equal(await first, 1001)
    child.kill('SIGINT')
    t.match(await ended, { code: 130 })
  },
)

t.test('a shutdown ends in time, also where no client leaves by itself', async t => {
  const { child, logged, ended, sockets } = await withTwo(t, '1s')
  for (const socket of sockets) socket.pause()
  child.kill('SIGTERM')
  t.match(await ended, { code: 0, stderr: '' })
  t.ok(await logged('gateway.drained'))
})

t.test('mumi drain --wait returns when the gateway has ended', async t => {
  const gateway = await withTwo(t)
  t.match(await command(t, gateway, '--spread', '1', '--wait', '60').ended, {
    code: 0,
    stdout: '2 connections end within 1 s',
  })
  t.match(await gateway.ended, { code: 0, stderr: '' })
})

t.test('mumi drain says that it waited in vain; a signal ends what it has begun, cleanly', async t => {
  const gateway = await withTwo(t)
  const [one, two] = gateway.sockets.map(closed)
  t.match(await command(t, gateway, '--wait', '0', '--json').ended, {
    code: 1,
    stdout: `"connections":2`,
    stderr: `mumi: it runs after 0 s (process ${gateway.child.pid})\n`,
  })
  gateway.child.kill('SIGTERM')
  t.same(await Promise.all([one, two]), [1001, 1001])
  t.match(await gateway.ended, { code: 0, stderr: '' })
  t.match(await command(t, gateway).ended, { code: 3 }, 'no gateway runs')
})
