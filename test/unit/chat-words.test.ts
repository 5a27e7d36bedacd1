/** The parts of the chat that need no server: typed lines, texts, and the terminal. */
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import t from 'tap'
import { parseLine } from '../../src/chat/line.js'
import { Screen } from '../../src/chat/screen.js'
import { clock, HELP, mayRetry, printable, refusal } from '../../src/chat/words.js'
import { welcome } from '../../src/cli/welcome.js'

t.test('a typed line is a command, or goes to whom the user talks to', async t => {
  for (const [line, parsed] of [
    ['', { kind: 'nothing' }],
    ['  ', { kind: 'nothing' }],
    ['hello', { kind: 'say', text: 'hello' }],
    ['  indented', { kind: 'say', text: '  indented' }],
    ['//who', { kind: 'say', text: '/who' }],
    ['@bob  hello there', { kind: 'say', name: 'bob', text: 'hello there' }],
    ['@bob', { kind: 'say', text: '@bob' }],
    ['@bob ', { kind: 'say', text: '@bob ' }],
    ['/who', { kind: 'who' }],
    ['/help', { kind: 'help' }],
    ['/quit', { kind: 'quit' }],
    ['/to bob@example.com', { kind: 'to', name: 'bob@example.com' }],
    ['/to ', { kind: 'unknown', command: '/to' }],
    ['/all  hello', { kind: 'all', text: 'hello' }],
    ['/all', { kind: 'unknown', command: '/all' }],
    ['/history', { kind: 'history', count: 20 }],
    ['/history 3', { kind: 'history', count: 3 }],
    ['/history 9999', { kind: 'history', count: 500 }],
    ['/history x', { kind: 'unknown', command: '/history' }],
    ['/history 0', { kind: 'unknown', command: '/history' }],
    ['/', { kind: 'unknown', command: '/' }],
    ['/wat now', { kind: 'unknown', command: '/wat' }],
  ] as const)
    t.same(parseLine(line), parsed, line)
})

t.test('each command of the help is one', async t => {
  const commands = [...HELP.matchAll(/^ {2}(\/\w+)/gm)].map(([, command = '']) => command)
  t.same(commands, ['/to', '/who', '/all', '/history', '/help', '/quit'])
  for (const command of commands) t.not(parseLine(`${command} 1`).kind, 'unknown', command)
})

t.test('what others write cannot draw on the terminal', async t => {
  t.equal(printable('hello, 你好 👋'), 'hello, 你好 👋')
  t.equal(printable('a\u001b[2Jb\u0007c\u009bd\re\u202ef'), 'a\ufffd[2Jb\ufffdc\ufffdd\ufffde\ufffdf')
  t.equal(printable('one\r\ntwo\n\tthree'), 'one\n    two\n    \tthree')
})

t.test('a refusal is words: the message, the field and the reason', async t => {
  t.equal(refusal({ code: 10010, msg: 'user not found', data: null }), 'user not found')
  const data = { field: 'password', reason: 'is too short' }
  t.equal(refusal({ code: 10101, msg: 'bad field', data }), 'bad field: password is too short')
  t.equal(refusal({ code: 9, msg: '', data: { field: '' } }), 'the server gives no reason (code 9)')
  t.equal(refusal({ code: 10122, msg: 'later', data: { reason: 'in 2 s' } }), 'later: in 2 s')
})

t.test('the table of codes says what may be tried again', async t => {
  t.ok(mayRetry({ code: 10104, msg: '', data: null }))
  t.notOk(mayRetry({ code: 10000, msg: '', data: null }))
  t.notOk(mayRetry({ code: 1, msg: '', data: null }))
})

t.test('the time of a message has its date if that is not today', async t => {
  const now = new Date(2019, 6, 15, 9, 43)
  t.equal(clock(new Date(2019, 6, 15, 8, 5).toISOString(), now), '08:05')
  t.equal(clock(new Date(2018, 6, 15, 8, 5).toISOString(), now), '2018-07-15 08:05')
})

/** A screen on streams, and what was written to them. */
function screenOn({ isTTY }: { isTTY: boolean }) {
  const input = Object.assign(new PassThrough(), { isTTY })
  const output = new PassThrough({ encoding: 'utf8' })
  const screen = new Screen({ input, output })
  return { input, screen, written: () => output.read() ?? '' }
}

t.test('lines of a pipe come in order, also those that nobody waits for yet, and then the end', async t => {
  const { input, screen, written } = screenOn({ isTTY: false })
  const first = screen.readSecret('password: ')
  input.end('secret\none\ntwo')
  t.same([await first, await screen.readLine(), await screen.readLine()], ['secret', 'one', 'two'])
  t.equal(await screen.readLine(), undefined)
  screen.print('three')
  t.equal(written(), 'three\n', 'and neither questions nor prompts nor what came')
})

t.test('a terminal shows the question and not the password, and prints above what is typed', async t => {
  const { input, screen, written } = screenOn({ isTTY: true })
  const secret = screen.readSecret('password: ')
  input.write('secret')
  input.write('\r')
  t.equal(await secret, 'secret')
  t.equal(written(), 'password: \n')
  screen.talkTo('bob')
  const line = screen.readLine()
  input.write('hel')
  await new Promise(setImmediate)
  t.match(written(), /bob> .*hel/s)
  screen.print('a message')
  t.match(written(), /a message\n.*bob> hel/s)
  input.write('lo\r')
  t.equal(await line, 'hello')
  // The arrow key brings back the line, and not the password before it.
  for (const [keys, expected] of [
    ['\u001b[A\r', 'hello'],
    ['\u001b[A\u001b[A\r', ''],
  ] as const) {
    const again = screen.readLine()
    input.write(keys)
    t.equal(await again, expected)
  }
  const last = screen.readLine()
  input.write('\u0003')
  t.equal(await last, undefined, 'Ctrl-C is the end')
  t.equal(await screen.readLine(), undefined)
  screen.close()
  await once(input.end().resume(), 'end')
})

t.test('a gateway that is ready says where it is, where the data lies, and what to type', async t => {
  const at = (host: string, port: number) => ({ host, port })
  const all = {
    http: at('127.0.0.1', 8080),
    mqtt: at('127.0.0.1', 1883),
    mqtts: undefined,
    dataDir: '/srv/data',
    hasTls: false,
  }
  t.equal(
    welcome(all),
    `
MumiChat Gateway is ready. Ctrl-C stops it.

  open  http://127.0.0.1:8080
  MQTT  mqtt://127.0.0.1:1883
  data  /srv/data
  type  npx mumi chat ann@example.com

`,
  )
  const other = welcome({ ...all, http: at('::', 9000), mqtts: at('0.0.0.0', 8883), hasTls: true })
  t.match(other, 'https://[::1]:9000\n')
  t.match(other, 'mqtt://127.0.0.1:1883  mqtts://127.0.0.1:8883\n')
  t.match(other, 'npx mumi chat --server wss://[::1]:9000 ann@example.com\n')
  t.notMatch(welcome({ ...all, http: undefined, mqtt: undefined }), /open|MQTT|type/)
})
