/** Listening sockets that the process is given, as systemd does it: a restart refuses nobody. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { loggedIn, mqttClient, register } from '../helpers/gateway.js'
import { plainNode } from '../helpers/plain-node.js'
import { MAIN } from '../helpers/program.js'

/** A listening socket, and its file descriptor in this process. */
async function listening(): Promise<{ server: Server; port: number; fd: number }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle
  return { server, port, fd }
}

/** Starts the program each time that it ends, as systemd does, and keeps the sockets open meanwhile. */
const KEEPER = `while read -r go; do sh -c 'export LISTEN_PID=$$; exec "$0" "$@"' "$@" <&-; echo '{"event":"ended"}'; done`

async function keeper(t: Test) {
  const [http, mqtt] = [await listening(), await listening()]
  const options = [`--data.dir=${join(t.testdir(), 'data')}`, '--ops.port=0', '--passwords.cost=4']
  const [command, args] = plainNode([MAIN, 'serve', ...options, '--shutdown.spread=1s'])
  const child = spawn('sh', ['-c', KEEPER, 'sh', command, ...args], {
    stdio: ['pipe', 'pipe', 'inherit', http.fd, mqtt.fd],
    env: { PATH: process.env.PATH, LISTEN_FDS: '2', LISTEN_FDNAMES: 'http:mqtt' },
  })
  t.teardown(() => child.stdin?.end())
  await once(child, 'spawn')
  for (const { server } of [http, mqtt]) server.close()
  if (child.stdin === null || child.stdout === null) throw new Error('no pipes')
  let pid = 0
  const waiting = new Map<string, (entry: unknown) => void>()
  createInterface(child.stdout).on('line', line => {
    const entry = JSON.parse(line)
    if (entry.event === 'gateway.starting') pid = entry.pid
    waiting.get(entry.event)?.(entry)
  })
  const logged = (event: string) => new Promise(resolve => waiting.set(event, resolve))
  t.teardown(() => {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended.
    }
  })
  const { stdin } = child
  const start = () => {
    const ready = logged('gateway.ready')
    stdin.write('go\n')
    return ready
  }
  const stop = () => {
    const ended = logged('ended')
    process.kill(pid, 'SIGTERM')
    return ended
  }
  return { httpPort: http.port, mqttPort: mqtt.port, start, stop }
}

t.test(
  'the program listens there, and who comes while it is restarted is served by the next one',
  async t => {
    const gateway = await keeper(t)
    const { httpPort, mqttPort, start, stop } = gateway
    t.match(await start(), { http: { port: httpPort }, mqtt: { port: mqttPort } })
    const account = await register(t, gateway)
    const before = await loggedIn(t, gateway, account)
    await stop()
    t.equal((await before.closed)[0], 1001)
    const socket = new WebSocket(`ws://127.0.0.1:${httpPort}/`)
    const greeted = once(socket, 'message')
    const lamp = mqttClient(t, gateway, { username: account.email, password: account.password })
    await start()
    const [greeting] = await greeted
    t.match(JSON.parse(String(greeting)), { key: /^[0-9A-F]{64}$/ })
    await lamp
    socket.terminate()
    await stop()
  },
)
