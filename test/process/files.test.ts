/** A process with few file descriptors, and clients that use them up. */

import { spawn } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { dataDir, type JsonClient, jsonClient, register } from '../helpers/gateway.js'
import { plain } from '../helpers/plain-node.js'
import { MAIN, watch } from '../helpers/program.js'

const FILES = 300

/** `mumi` that may open so many files. */
function limited(t: Test, command: string, settings: Record<string, string>) {
  const args = Object.entries(settings).map(([key, value]) => `--${key}=${value}`)
  const shell = `ulimit -n ${FILES}; exec "$0" "$@"`
  return watch(t, spawn(...plain(['sh', '-c', shell, process.execPath, MAIN, command, ...args])))
}

const settings = (t: Test) => ({
  'http.port': '0',
  'mqtt.port': '0',
  'ops.port': '0',
  'passwords.cost': '4',
  'limits.connectionsPerAccount': '1000',
  'data.dir': dataDir(t),
})

t.test('without a free descriptor it serves open connections, logs that, and recovers', async t => {
  const { child, ended, logged } = limited(t, 'serve', settings(t))
  t.match(await logged('files.too-few'), { level: 'warn' })
  const { http, mqtt, ops } = (await logged('gateway.ready')) as Record<string, { port: number }>
  const gateway = { httpPort: http?.port ?? 0 }
  const account = await register(t, gateway)
  const early = await jsonClient(t, gateway)
  const sockets: Socket[] = []
  const closed: Promise<unknown>[] = []
  for (let i = 0; i < 2 * FILES; i++) {
    const socket = connect(mqtt?.port ?? 0, '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.on('error', () => undefined)
    sockets.push(socket)
    closed.push(new Promise(resolve => socket.on('close', resolve)))
  }
  await Promise.any(closed)
  t.match(await logged('files.out'), { level: 'error', code: 'EMFILE' })
  const { email, password } = account
  t.match(await early.action('login', { email, password }), { code: 202 }, 'a password is checked')
  t.match(await early.ask({ type: 'message', id: 'm', data: { recipient: account.id, content: 'x' } }), {
    code: 201,
  })
  for (const socket of sockets) socket.destroy()
  await Promise.all(closed)
  let late: JsonClient | undefined
  while (late === undefined) late = await jsonClient(t, gateway).catch(() => undefined)
  t.match(await late.action('login', { email, password: 'wrong' }), { code: 10000 })
  const metrics = await (await fetch(`http://127.0.0.1:${ops?.port}/metrics`)).text()
  t.match(metrics, /mumi_out_of_files_total [1-9]/)
  child.kill('SIGTERM')
  t.match(await ended, { code: 0, stderr: /^$/ })
})

t.test('check warns if a process may open fewer files than limits.connections', async t => {
  const few = await limited(t, 'check', settings(t)).ended
  t.match(few, {
    code: 0,
    stderr: /^mumi: warning: limits.connections: 20000 is more than the 300 files.*\n$/,
  })
  const good = await limited(t, 'check', { ...settings(t), 'limits.connections': '50' }).ended
  t.match(good, { code: 0, stderr: /^$/ })
})
