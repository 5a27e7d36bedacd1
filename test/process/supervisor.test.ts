/** What systemd is told (sd_notify(3)): on a datagram socket as systemd has one, with the real `systemd-notify`. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { FREE_PORTS, mumi, planted, serve } from '../helpers/program.js'

t.setTimeout(120_000)

/** Prints what comes, a line of JSON a message; what is sent along (the barrier of systemd-notify) is closed, as systemd does. */
const RECEIVER = `
import array, json, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('[]', flush=True)
while True:
    data, more, _, _ = s.recvmsg(8192, 1024)
    for _, _, fds in more:
        for fd in array.array('i', fds): os.close(fd)
    if data != b'BARRIER=1': print(json.dumps(data.decode().split('\\n')), flush=True)
`

interface Receiver {
  readonly socket: string
  /** The next message; with a word the next that has it. */
  next(word?: string): Promise<readonly string[]>
}

async function receiver(t: Test): Promise<Receiver> {
  t.testdir()
  // Its path must be short.
  const dir = mkdtempSync(join(tmpdir(), 'mumi-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const socket = join(dir, 'notify')
  const child = spawn('python3', ['-c', RECEIVER, socket], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill())
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  await lines.next()
  const next = async (word?: string) => {
    for (;;) {
      const { value, done } = await lines.next()
      if (done) throw new Error(`the receiver ended before ${word ?? 'a message'}`)
      const words: string[] = JSON.parse(value)
      if (word === undefined || words.includes(word)) return words
    }
  }
  return { socket, next }
}

const missing = ['systemd-notify', 'python3'].filter(
  command => spawnSync(command, ['--version']).error !== undefined,
)
const skip = missing.length > 0 && `NOT TESTED: no ${missing.join(' and ')}`

t.test(
  'systemd hears of the start, each reload, that the event loop turns, and of the end',
  { skip },
  async t => {
    const { socket, next } = await receiver(t)
    const dir = join(t.testdirName, 'data')
    const keys = [`--data.dir=${dir}`, '--shutdown.spread=7s', '--shutdown.timeout=9s']
    const env = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '900000' }
    const { child, ended, logged } = mumi(t, ['serve', ...FREE_PORTS, ...keys], env)
    await next('STATUS=starting')
    const { http, mqtt } = (await logged('gateway.ready')) as Record<'http' | 'mqtt', { port: number }>
    const status = `STATUS=serving http://127.0.0.1:${http.port} mqtt://127.0.0.1:${mqtt.port}`
    t.same(await next('READY=1'), ['READY=1', status])
    t.same(await next('WATCHDOG=1'), ['WATCHDOG=1'])
    const before = process.hrtime.bigint() / 1000n
    child.kill('SIGHUP')
    const [, at = '', reading] = await next('RELOADING=1')
    t.equal(reading, 'STATUS=reading the config again')
    const began = BigInt(at.replace('MONOTONIC_USEC=', ''))
    t.ok(
      began >= before && began <= process.hrtime.bigint() / 1000n,
      'when it began, by the clock of systemd',
    )
    t.same(await next('READY=1'), ['READY=1', status])
    const reload = mumi(t, ['reload', `--data.dir=${dir}`])
    await next('RELOADING=1')
    await next('READY=1')
    t.match(await reload.ended, { code: 0 })
    await next('WATCHDOG=1')
    child.kill('SIGTERM')
    t.same(await next('STOPPING=1'), ['STOPPING=1', 'EXTEND_TIMEOUT_USEC=18000000', 'STATUS=closing'])
    t.match(await ended, { code: 0, stderr: '' })
  },
)

t.test('an event loop that stands still is not told of as one that turns', { skip }, async t => {
  const { socket, next } = await receiver(t)
  const env = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '300000' }
  // At SIGUSR2 it turns no more.
  const stuck = planted(`process.on('SIGUSR2', () => { console.log('{"event":"stuck"}'); for (;;) {} })`)
  const gateway = mumi(t, ['serve', ...FREE_PORTS, `--data.dir=${t.testdirName}/data`], { ...env, ...stuck })
  await next('READY=1')
  await next('WATCHDOG=1')
  gateway.child.kill('SIGUSR2')
  await gateway.logged('stuck')
  const late = next('WATCHDOG=1').then(() => next('WATCHDOG=1'))
  const silence = new Promise(resolve => setTimeout(resolve, 2000, 'silence'))
  t.equal(await Promise.race([late, silence]), 'silence')
  late.catch(() => undefined)
})

t.test('where systemd-notify is missing or finds nobody, the gateway says so once and serves', async t => {
  const bin = join(t.testdir(), 'bin')
  mkdirSync(bin)
  symlinkSync(process.execPath, join(bin, 'node'))
  const env = { NOTIFY_SOCKET: join(t.testdirName, 'nobody'), WATCHDOG_USEC: '30000', PATH: bin }
  for (const PATH of skip ? [bin] : [bin, process.env.PATH ?? '']) {
    const gateway = serve(t, [], { ...env, PATH })
    const said = await gateway.logged('supervisor.not-told')
    t.match(said, { level: 'warn', reason: PATH === bin ? 'ENOENT' : /.+/ })
    await gateway.logged('gateway.ready')
    gateway.child.kill('SIGTERM')
    const { code, stdout } = await gateway.ended
    t.equal(code, 0)
    t.equal(stdout.split('supervisor.not-told').length, 2, 'once')
  }
})

t.test(
  'what is meant for another process is not used, and nothing is left for those that this one starts',
  { skip },
  async t => {
    const { socket, next } = await receiver(t)
    const show = planted(
      `setInterval(() => process.env.NOTIFY_SOCKET === undefined && console.log('{"event":"gone"}'), 10).unref()`,
    )
    const env = { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '1000', WATCHDOG_PID: '1', ...show }
    const gateway = mumi(t, ['serve', ...FREE_PORTS, `--data.dir=${t.testdirName}/data`], env)
    await gateway.logged('gone')
    await next('READY=1')
    gateway.child.kill('SIGTERM')
    t.equal((await next())[0], 'STOPPING=1', 'no ping before it')
  },
)
