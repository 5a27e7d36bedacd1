/** mosquitto_pub, mosquitto_sub and mosquitto_rr with `-V mqttv5`, and the properties that they can send and show. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { register, type TestAccount } from '../helpers/gateway.js'
import { type Program, startProgram } from '../helpers/program.js'

const isInstalled = spawnSync('mosquitto_pub', ['--help']).error === undefined
t.setTimeout(120_000)

type Tool = 'mosquitto_pub' | 'mosquitto_sub' | 'mosquitto_rr'

function start(
  t: Test,
  tool: Tool,
  { mqttPort }: Program,
  account: TestAccount,
  args: string[],
): ChildProcess {
  const login = ['-V', 'mqttv5', '-u', account.email, '-P', account.password]
  const child = spawn(tool, ['-h', '127.0.0.1', '-p', `${mqttPort}`, ...login, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill())
  return child
}

/** Runs it to its end. */
async function run(t: Test, tool: Tool, program: Program, account: TestAccount, args: string[]) {
  const child = start(t, tool, program, account, args)
  const { stdout, stderr } = child
  if (!stdout || !stderr) throw new Error('no pipes')
  const [out, err, [code]] = await Promise.all([text(stdout), text(stderr), once(child, 'close')])
  return { code, lines: out.split('\n').filter(Boolean), stderr: err }
}

/** A retained message that is there: whoever gets it has subscribed to all before it. */
const READY = 'ready'

async function subscribed(t: Test, program: Program, account: TestAccount, args: string[]) {
  const child = start(t, 'mosquitto_sub', program, account, [...args, '-t', READY])
  if (!child.stdout) throw new Error('no pipe')
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next()
    if (done) throw new Error('mosquitto_sub ended')
    return value
  }
  t.match(await next(), READY)
  return { next, kill: () => child.kill('SIGKILL') }
}

const property = (packet: string, name: string, ...values: string[]): string[] => [
  '-D',
  packet,
  name,
  ...values,
]

if (isInstalled) {
  const program = await startProgram(t, { 'mqtt.acl': 'open' })
  const bob = await register(t, program)
  await run(t, 'mosquitto_pub', program, bob, ['-r', '-t', READY, '-m', READY])

  t.test('properties of a PUBLISH are shown as they were sent', async t => {
    const format = '%t|%p|%C|%R|%D|%F|%E|%P'
    const seen = await subscribed(t, program, bob, ['-q', '1', '-t', 'shown/#', '-F', format])
    const properties = [
      ...property('publish', 'content-type', 'text/plain'),
      ...property('publish', 'response-topic', 'answers'),
      ...property('publish', 'correlation-data', 'abc'),
      ...property('publish', 'payload-format-indicator', '1'),
      ...property('publish', 'message-expiry-interval', '1000'),
      ...property('publish', 'user-property', 'b', '1'),
      ...property('publish', 'user-property', 'a', '2'),
    ]
    const args = ['-q', '1', '-t', 'shown/here', '-m', 'hello', ...properties]
    t.match(await run(t, 'mosquitto_pub', program, bob, args), { code: 0 })
    t.equal(await seen.next(), 'shown/here|hello|text/plain|answers|abc|1|1000|b:1 a:2')
  })

  t.test('a refused PUBLISH is told', async t => {
    const { stderr, lines } = await run(t, 'mosquitto_pub', program, bob, [
      '-d',
      '-q',
      '1',
      '-t',
      'users/999999999/inbox',
      '-m',
      'x',
    ])
    t.match(`${lines}${stderr}`, /RC:144|Topic Name invalid/i)
  })

  t.test('a session that is kept, and one that expires at once', async t => {
    for (const [expiry, expected] of [
      ['600', ['while away']],
      ['0', []],
    ] as const) {
      const all = ['-i', `away${expiry}`, '-c', '-q', '1', '-t', `away${expiry}`]
      const session = ['-x', expiry]
      const first = await subscribed(t, program, bob, [...all, ...session])
      first.kill()
      await run(t, 'mosquitto_pub', program, bob, ['-q', '1', '-t', `away${expiry}`, '-m', 'while away'])
      const { lines } = await run(t, 'mosquitto_sub', program, bob, [
        ...all,
        ...session,
        '-C',
        '1',
        '-W',
        '3',
      ])
      t.same(lines, expected, `session expiry ${expiry}`)
    }
  })

  t.test('a will with a delay and its properties', async t => {
    const seen = await subscribed(t, program, bob, ['-q', '1', '-t', 'wills/#', '-F', '%t %p %P'])
    const gone = await subscribed(t, program, bob, [
      '-i',
      'fragile',
      ...['--will-topic', 'wills/fragile', '--will-payload', 'gone', '--will-qos', '1'],
      ...property('will', 'will-delay-interval', '1'),
      ...property('will', 'user-property', 'why', 'killed'),
      ...['-x', '60'],
    ])
    gone.kill()
    t.equal(await seen.next(), 'wills/fragile gone why:killed')
  })

  t.test('mosquitto_rr gets the answer on its own topic', async t => {
    const request = JSON.stringify({ type: 'action', action: 'query', id: 'x', data: { id: bob.id } })
    const topics = ['-t', `users/${bob.id}/requests`, '-e', `users/${bob.id}/replies/rr`]
    const args = ['-q', '1', ...topics, '-m', request, '-W', '20']
    const { lines } = await run(t, 'mosquitto_rr', program, bob, args)
    t.match(JSON.parse(lines[0] ?? ''), { code: 200, id: 'x', data: [{ email: bob.email }] })
  })
}
