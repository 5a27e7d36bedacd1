/** The examples of the README with mosquitto_pub, mosquitto_sub and mosquitto_rr. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { loggedIn, register, type TestAccount } from '../helpers/gateway.js'
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
  const login = ['-u', account.email, '-P', account.password]
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

/** A mosquitto_sub that has subscribed, and its lines as they come. */
async function subscribe(t: Test, program: Program, account: TestAccount, args: string[]) {
  const child = start(t, 'mosquitto_sub', program, account, [...args, '-t', READY])
  if (!child.stdout) throw new Error('no pipe')
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next()
    if (done) throw new Error('mosquitto_sub ended')
    return value
  }
  t.match(await next(), READY)
  const stop = async () => {
    const gone = once(child, 'exit')
    child.kill('SIGINT')
    await gone
  }
  return { next, stop, kill: () => child.kill('SIGKILL') }
}

if (isInstalled) {
  const program = await startProgram(t, { 'mqtt.acl': 'open' })
  const inbox = ({ id }: TestAccount) => `users/${id}/inbox`
  await run(t, 'mosquitto_pub', program, await register(t, program), ['-r', '-t', READY, '-m', READY])

  t.test('a JSON client and mosquitto exchange messages', async t => {
    const bob = await register(t, program)
    const ann = await loggedIn(t, program)
    const phone = await subscribe(t, program, bob, ['-i', 'phone', '-q', '1', '-t', `${inbox(bob)}/#`])
    t.match(await ann.ask({ type: 'message', data: { recipient: bob.id, content: 'hello, 你好' } }), {
      code: 201,
    })
    t.match(JSON.parse(await phone.next()), { seq: 1, sender: ann.userId, content: 'hello, 你好' })
    const args = ['-q', '1', '-t', `users/${ann.userId}/inbox`, '-m', 'hello back']
    t.match(await run(t, 'mosquitto_pub', program, bob, args), { code: 0 })
    t.match(await ann.next(), { sender: bob.id, content: 'hello back' })
  })

  for (const qos of ['0', '1', '2']) {
    for (const args of [['-c'], [], ['-V', 'mqttv31']]) {
      t.test(
        `what was sent while mosquitto_sub was stopped comes when it starts: -q ${qos} ${args.join(' ')}`,
        async t => {
          const bob = await register(t, program)
          const ann = await loggedIn(t, program)
          const all = ['-i', 'tablet', '-q', qos, '-t', `${inbox(bob)}/#`, '-F', '%r %q %t %p', ...args]
          const send = async (content: string) => {
            t.match(await ann.ask({ type: 'message', data: { recipient: bob.id, content } }), { code: 201 })
          }
          const one = await subscribe(t, program, bob, all)
          await send('first')
          t.match(await one.next(), `0 ${qos} ${inbox(bob)}/1 {`)
          await one.stop()
          await send('second')
          await send('third')
          const { code, lines } = await run(t, 'mosquitto_sub', program, bob, [...all, '-C', '2'])
          t.equal(code, 0)
          t.equal(lines.length, 2)
          t.match(lines[0], `1 ${qos} ${inbox(bob)}/2 {`)
          t.match(lines[1], `1 ${qos} ${inbox(bob)}/3 {`)
        },
      )
    }
  }

  t.test('each mosquitto_pub is a new message, although all use the same packet id', async t => {
    const bob = await register(t, program)
    for (const qos of ['0', '1', '2', '1']) {
      const args = ['-i', 'same', '-q', qos, '-t', inbox(bob), '-m', 'again']
      t.match(await run(t, 'mosquitto_pub', program, bob, args), { code: 0 })
    }
    const args = ['-i', 'reader', '-q', '1', '-t', `${inbox(bob)}/+`, '-C', '4', '-W', '20']
    const { lines } = await run(t, 'mosquitto_sub', program, bob, args)
    t.same(
      lines.map(line => JSON.parse(line)).map(({ seq, content }) => `${seq} ${content}`),
      ['1 again', '2 again', '3 again', '4 again'],
    )
  })

  t.test('mosquitto_rr gets the reply to a request', async t => {
    const bob = await register(t, program)
    const request = JSON.stringify({ type: 'action', action: 'query', id: 'x', data: { id: bob.id } })
    const topics = ['-t', `users/${bob.id}/requests`, '-e', `users/${bob.id}/replies`]
    const args = ['-V', 'mqttv311', '-q', '1', ...topics, '-m', request, '-W', '20']
    const { lines } = await run(t, 'mosquitto_rr', program, bob, args)
    t.match(JSON.parse(lines[0] ?? ''), { code: 200, id: 'x', data: [{ email: bob.email }] })
  })

  t.test('retained messages and wills of mosquitto_pub and mosquitto_sub', async t => {
    const bob = await register(t, program)
    const seen = await subscribe(t, program, bob, [
      '-i',
      'seen',
      '-t',
      'wills/#',
      '-t',
      'kept/#',
      '-F',
      '%r %t %p',
    ])
    const will = ['--will-topic', 'wills/bob', '--will-payload', 'gone', '--will-qos', '1']
    const dying = await subscribe(t, program, bob, ['-i', 'dying', ...will])
    const kept = ['-q', '1', '-r', '-t', 'kept/x', '-m', 'kept']
    t.match(await run(t, 'mosquitto_pub', program, bob, kept), { code: 0 })
    t.equal(await seen.next(), '0 kept/x kept')
    dying.kill()
    t.equal(await seen.next(), '0 wills/bob gone')
    const late = ['-t', 'kept/#', '-F', '%r %t %p', '-C', '1', '-W', '20']
    t.same((await run(t, 'mosquitto_sub', program, bob, late)).lines, ['1 kept/x kept'])
  })

  t.test('a wrong password is refused with a reason that mosquitto prints, in each version', async t => {
    const bob = await register(t, program)
    const args = ['-t', inbox(bob), '-m', 'x']
    for (const [version, reason] of [
      ['mqttv31', /bad user name or password/i],
      ['mqttv311', /bad user name or password/i],
      ['mqttv5', /not authorized|bad user name or password/i],
    ] as const) {
      const wrong = await run(t, 'mosquitto_pub', program, { ...bob, password: 'wrong' }, [
        '-V',
        version,
        ...args,
      ])
      t.not(wrong.code, 0)
      t.match(wrong.stderr, reason, version)
      t.match(await run(t, 'mosquitto_pub', program, bob, ['-V', version, ...args]), { code: 0 })
    }
  })

  t.test('messages acknowledged to mosquitto_pub survive kill -9', async t => {
    const bob = await register(t, program)
    const publish = (content: string) =>
      run(t, 'mosquitto_pub', program, bob, ['-q', '2', '-t', inbox(bob), '-m', content])
    t.match(await publish('before'), { code: 0 })
    await program.kill()
    await program.start()
    t.match(await publish('after'), { code: 0 })
    const args = ['-i', 'reader', '-q', '2', '-t', `${inbox(bob)}/#`, '-C', '2', '-W', '20']
    const { lines } = await run(t, 'mosquitto_sub', program, bob, args)
    t.same(
      lines.map(line => JSON.parse(line).content),
      ['before', 'after'],
    )
  })
} else {
  const skip = 'NOT TESTED: mosquitto-clients is not installed (apt-get install mosquitto-clients)'
  t.test("the story with mosquitto's own clients", { skip }, async () => {})
}
