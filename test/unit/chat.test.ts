/** The chat against a real gateway, in this process. */
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:net'
import { PassThrough } from 'node:stream'
import t, { type Test } from 'tap'
import { WebSocketServer } from 'ws'
import { chat, idOf } from '../../src/chat/chat.js'
import { Conversation } from '../../src/chat/conversation.js'
import { type Arrival, Link, LinkLost, Unfit } from '../../src/chat/link.js'
import { askPassword, inWords, isKnown, LOGGED_IN, logIn } from '../../src/chat/login.js'
import { People } from '../../src/chat/people.js'
import { Screen } from '../../src/chat/screen.js'
import { Session } from '../../src/chat/session.js'
import { chatArguments } from '../../src/cli/chat.js'
import { enrol } from '../helpers/factor.js'
import { jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'

const address = ({ httpPort }: { httpPort: number }) => new URL(`ws://127.0.0.1:${httpPort}/?lang=en`)

/** A chat on pipes. `shows` resolves when this was printed. */
function person(
  t: Test,
  gateway: { httpPort: number },
  email: string,
  { partner, isTTY = false }: { partner?: string; isTTY?: boolean } = {},
) {
  const input = Object.assign(new PassThrough(), { isTTY })
  const output = new PassThrough({ encoding: 'utf8' })
  const screen = new Screen({ input, output })
  t.teardown(() => screen.close())
  let printed = ''
  output.on('data', text => {
    printed += text
  })
  const shows = async (text: string) => {
    while (!printed.includes(text)) await once(output, 'data')
  }
  const done = chat({ url: address(gateway), email, partner, screen })
  return {
    done,
    shows,
    says: (line: string) => input.write(`${line}\n`),
    leaves: () => input.end(),
    printed: () => printed,
  }
}

t.test('two people find each other, talk, and each sees who is there', async t => {
  const gateway = await startGateway(t)
  const ann = person(t, gateway, 'ann@example.com')
  ann.says('ann’s password')
  await ann.shows('ann@example.com is new here')
  await ann.shows('nobody else is here.')
  const bob = person(t, gateway, 'bob@example.com', { partner: 'ann' })
  bob.says('bob’s password')
  await bob.shows('here: ann@example.com')
  bob.says('hello ann')
  await ann.shows('bob@example.com: hello ann')
  ann.says('hello bob')
  await bob.shows('ann@example.com: hello bob')
  ann.says('/all good evening')
  await bob.shows('ann@example.com (to all): good evening')
  bob.says('/history')
  await bob.shows('bob@example.com: hello ann')
  ann.leaves()
  t.equal(await ann.done, true)
  bob.leaves()
  t.equal(await bob.done, true)
})

t.test('what is sent to one who is away comes at the next login, once', async t => {
  const gateway = await startGateway(t)
  const ann = await register(t, gateway, 'ann@example.com')
  const bob = await loggedIn(t, gateway)
  for (const content of ['one', 'two\nlines', '\u001b[2Jthree'])
    await bob.ask({ type: 'message', data: { recipient: ann.id, content } })
  const first = person(t, gateway, ann.email)
  first.says(ann.password)
  await first.shows('three')
  t.match(first.printed(), /: one\n.*: two\n {4}lines\n.*: \ufffd\[2Jthree\n/)
  first.leaves()
  t.equal(await first.done, true)
  const again = person(t, gateway, ann.email)
  again.says(ann.password)
  await bob.ask({ type: 'message', data: { recipient: ann.id, content: 'four' } })
  await again.shows('four')
  t.notMatch(again.printed(), 'three')
  again.leaves()
  t.equal(await again.done, true)
})

t.test('refusals are words, and from a pipe the exit says that there were some', async t => {
  const gateway = await startGateway(t, { 'limits.content': 10 })
  const ann = person(t, gateway, 'ann@example.com')
  ann.says('secret')
  for (const [line, answer] of [
    ['hello', 'to whom? /to NAME says it'],
    ['/history', 'with whom? /to NAME says it'],
    ['/to nobody@example.com', 'nobody@example.com is not here'],
    ['/to nobody', 'nobody is not here'],
    ['/wat', '/wat is no command'],
    ['/help', '/quit'],
    ['/to ann', ''],
    ['a long line', 'not sent: too large: content'],
  ] as const) {
    ann.says(line)
    await ann.shows(answer)
  }
  const second = person(t, gateway, 'ann@example.com')
  second.says('secret')
  t.equal(await second.done, false)
  t.match(second.printed(), 'ann@example.com is logged in already, in another terminal or program')
  const wrong = person(t, gateway, 'ann@example.com')
  wrong.says('wrong')
  t.equal(await wrong.done, false)
  t.match(wrong.printed(), 'not logged in: wrong email or password')
  ann.says('/quit')
  t.equal(await ann.done, false)
})

t.test('an account with a second factor needs an app password, and is told so', async t => {
  const gateway = await startGateway(t)
  const ann = await register(t, gateway)
  const { code } = await enrol(t, gateway, ann)
  const refused = person(t, gateway, ann.email)
  refused.says(ann.password)
  t.equal(await refused.done, false)
  t.match(refused.printed(), 'has a second factor: make an app password, on the page /account/app-password')
  const client = await jsonClient(t, gateway)
  const owner = { email: ann.email, password: ann.password, code: code() }
  const { data } = await client.action('mintAppPassword', { ...owner, name: 'chat' })
  const welcome = person(t, gateway, ann.email)
  welcome.says((data as { password: string }).password)
  await welcome.shows('you are logged in')
  welcome.leaves()
  t.equal(await welcome.done, true)
})

t.test('a name that may be several people is nobody', async t => {
  const gateway = await startGateway(t)
  await register(t, gateway, 'bob@one.example')
  await register(t, gateway, 'bob@two.example')
  const ann = person(t, gateway, 'ann@example.com')
  ann.says('secret')
  ann.says('@bob hello')
  await ann.shows('bob may be bob@one.example or bob@two.example')
  ann.says('@bob@two.example hello')
  await ann.shows('bob@two.example is away, and gets it later.')
  ann.leaves()
  t.equal(await ann.done, false)
})

t.test('a person may mistype a password, and types a new one twice', async t => {
  const gateway = await startGateway(t)
  const ann = person(t, gateway, 'ann@example.com', { isTTY: true })
  for (const [question, answer] of [
    ['password for', 'secret'],
    ['the same again', 'secrt'],
    ['these were two different ones', 'secret'],
  ] as const) {
    await ann.shows(question)
    ann.says(answer)
  }
  ann.says('secret')
  await ann.shows('you are logged in')
  ann.says('/quit')
  t.equal(await ann.done, true)
  t.notMatch(ann.printed(), 'secret')
  const again = person(t, gateway, 'ann@example.com', { isTTY: true })
  for (const password of ['one', 'two', 'three']) again.says(password)
  t.equal(await again.done, false, 'but not more than three times')
  const left = person(t, gateway, 'ann@example.com', { isTTY: true })
  left.leaves()
  t.equal(await left.done, false)
  const patient = person(t, gateway, 'ann@example.com', { isTTY: true })
  patient.says('secret')
  await patient.shows('you are logged in')
  await gateway.close()
  await patient.shows('trying again')
  patient.says('/who')
  patient.leaves()
  t.equal(await patient.done, true, 'a person can leave while there is no server')
})

t.test(
  'after an outage it logs in again, sends what was typed and gets what was missed, each once',
  async t => {
    const gateway = await startGateway(t)
    const ann = await register(t, gateway, 'ann@example.com')
    const bob = await register(t, gateway, 'bob@example.com')
    const writer = await jsonClient(t, gateway)
    await writer.action('login', { email: bob.email, password: bob.password })
    const news = new EventEmitter()
    const got: string[] = []
    const notices: string[] = []
    const session = new Session({
      url: address(gateway),
      credentials: { email: ann.email, password: ann.password },
      retryMs: [1, 10],
      events: {
        onMessage: async ({ content }: Arrival) => {
          got.push(content)
          news.emit('news')
        },
        onNotice: text => {
          notices.push(text)
          news.emit('news')
        },
      },
    })
    const over = session.run()
    t.equal(await session.userIdOnceIn(), ann.id)
    await writer.ask({ type: 'message', data: { recipient: ann.id, content: 'one' } })
    while (got.length < 1) await once(news, 'news')
    await gateway.close()
    while (notices.length < 1) await once(news, 'news')
    t.match(notices[0], /^connection lost.*; trying again$/)
    const typed = session.ask({
      type: 'message',
      data: { recipient: bob.id, content: 'typed meanwhile' },
    })
    const settings = { 'data.dir': gateway.dir, 'http.port': gateway.httpPort }
    const next = await startGateway(t, settings)
    t.match(await typed, { code: 201 })
    const back = await jsonClient(t, next)
    t.match(await back.action('login', { email: bob.email, password: bob.password }), { code: 202 })
    t.match(await back.next(), { content: 'typed meanwhile' })
    await back.ask({ type: 'message', data: { recipient: ann.id, content: 'two' } })
    while (got.length < 2) await once(news, 'news')
    t.same(got, ['one', 'two'])
    t.equal(notices.at(-1), 'connected again')
    await session.close()
    t.equal(await over, true)
    await t.rejects(session.ask({ type: 'broadcast', data: { content: 'late' } }), LinkLost)
  },
)

t.test('a chat whose account is deleted elsewhere ends', async t => {
  const gateway = await startGateway(t, { 'sessions.multiple': 'allow' })
  const ann = person(t, gateway, 'ann@example.com')
  ann.says('secret')
  await ann.shows('nobody else is here.')
  const other = await jsonClient(t, gateway)
  await other.action('login', { email: 'ann@example.com', password: 'secret' })
  await other.action('delete', { password: 'secret' })
  t.equal(await ann.done, false)
  t.match(ann.printed(), /connection lost \(.+\)\n/)
})

t.test('the id of a user, without a login', async t => {
  const gateway = await startGateway(t)
  const { id, email } = await register(t, gateway)
  t.equal(await idOf(address(gateway), email), id)
  await t.rejects(idOf(address(gateway), 'nobody@example.com'), {
    message: 'nobody@example.com is not here',
  })
  const shy = await startGateway(t, { 'query.anonymous': 'none' })
  await t.rejects(idOf(address(shy), email), { message: 'please login first' })
})

t.test(
  'where the server does not say who is known, a new address is registered and a known one not',
  async t => {
    const gateway = await startGateway(t, { 'query.anonymous': 'none' })
    const link = await Link.open(address(gateway))
    t.equal(await isKnown(link, 'ann@example.com'), undefined)
    link.close()
    for (const [password, isIn] of [
      ['secret', true],
      ['wrong', false],
      ['secret', true],
    ] as const) {
      const input = new PassThrough()
      const output = new PassThrough({ encoding: 'utf8' })
      const screen = new Screen({ input, output })
      input.end(`${password}\n`)
      const credentials = await askPassword(address(gateway), 'ann@example.com', screen)
      t.same(credentials, isIn ? { email: 'ann@example.com', password } : undefined)
      if (!isIn) t.match(output.read(), 'not logged in: wrong password')
    }
  },
)

t.test('a login that is refused is told in words', async t => {
  t.equal(inWords({ code: 10000, msg: 'no', data: null }, 'a@b.c'), 'not logged in: no')
  t.match(inWords({ code: 10005, msg: 'no', data: null }, 'a@b.c'), 'a@b.c is logged in already')
})

/** A server that answers each request by the next of `frames`, behind a greeting. @returns its URL */
async function strange(t: Test, frames: readonly object[], greeting: string | undefined = '{"key":"AB"}') {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  t.teardown(() => {
    for (const socket of server.clients) socket.terminate()
    server.close()
  })
  await once(server, 'listening')
  const left = [...frames]
  server.on('connection', socket => {
    if (greeting !== '') socket.send(greeting)
    socket.on('message', text => {
      const frame = left.shift()
      if (frame !== undefined) socket.send(JSON.stringify({ ...frame, id: JSON.parse(String(text)).id }))
    })
  })
  return { httpPort: (server.address() as { port: number }).port }
}

const KNOWN = { code: 200, msg: 'success', data: [{ id: '271693512', email: 'ann@example.com' }] }
const IN = { code: 202, msg: 'login success', data: null }

t.test('a server whose answers lack what chat needs is told so in words, and the chat ends', async t => {
  for (const [frames, words] of [
    [[KNOWN, IN, IN], /answer to login lacks what this chat needs/],
    [
      [KNOWN, { code: 10000, msg: '', data: null }],
      /not logged in: the server gives no reason \(code 10000\)\n/,
    ],
    [[KNOWN, { code: 10000 }], /not logged in: the server gives no reason \(code 10000\)\n/],
  ] as const) {
    const ann = person(t, await strange(t, frames), 'ann@example.com')
    ann.says('secret')
    t.equal(await ann.done, false)
    t.match(ann.printed(), words)
  }
  const isIn = { ...IN, data: { id: '271693512' } }
  for (const [frames, asked] of [
    [[{ code: 200, msg: '', data: null }], 'query'],
    [[KNOWN, isIn, isIn, { code: 200, msg: '', data: null }], 'query'],
    [[KNOWN, isIn, isIn, { code: 200, msg: '', data: [null] }], 'query'],
    [[KNOWN, isIn, isIn, KNOWN, KNOWN, { code: 200, msg: '', data: null }], 'history'],
  ] as const) {
    const ann = person(t, await strange(t, frames), 'ann@example.com', { partner: 'ann' })
    for (const line of ['secret', '/history']) ann.says(line)
    await t.rejects(ann.done, new Unfit(asked))
  }
  await t.rejects(idOf(address(await strange(t, [{ code: 200, msg: '', data: {} }])), 'a@b.c'), Unfit)
})

t.test('a server that says nothing is told so, and left', async t => {
  const silent = /the server takes connections, and says nothing for 0\.05 s/
  const lost = { name: 'LinkLost', message: silent }
  const idle = await Link.open(address(await startGateway(t)), undefined, 50)
  const tcp = createServer().listen(0, '127.0.0.1')
  t.teardown(() => tcp.close())
  await once(tcp, 'listening')
  const { port } = tcp.address() as { port: number }
  await t.rejects(Link.open(address({ httpPort: port }), undefined, 50), lost, 'not to the handshake')
  await t.rejects(Link.open(address(await strange(t, [], '')), undefined, 50), lost, 'no greeting')
  const link = await Link.open(address(await strange(t, [])), undefined, 50)
  await t.rejects(logIn(link, { email: 'a', password: 'b' }), lost, 'no reply')
  t.match(await isKnown(idle, 'a@b.c'), false, 'who owes nothing may say nothing')
  idle.close()
})

t.test('a session that cannot log in says why, once', async t => {
  const later = { code: 10122, msg: 'later', data: null }
  const notices: string[] = []
  const news = new EventEmitter()
  const isIn = { ...IN, data: { id: '271693512' } }
  const session = new Session({
    url: address(await strange(t, [later, later, isIn])),
    credentials: { email: 'a@b.c', password: 'secret' },
    retryMs: [1, 1],
    events: {
      onMessage: async () => undefined,
      onNotice: text => {
        notices.push(text)
        news.emit('news')
      },
    },
  })
  const over = session.run()
  t.equal(await session.userIdOnceIn(), '271693512')
  t.same(notices, ['no connection (later); trying again'])
  await session.close()
  t.equal(await over, true)
})

t.test('a server that speaks another language is left, and what was asked is lost', async t => {
  for (const hello of ['hello', '[1]']) {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    t.teardown(() => server.close())
    await once(server, 'listening')
    server.on('connection', socket => {
      socket.send(hello)
      socket.on('message', () => socket.terminate())
    })
    const { port } = server.address() as { port: number }
    const link = await Link.open(address({ httpPort: port }))
    await t.rejects(logIn(link, { email: 'a', password: 'b' }), LinkLost)
    t.match(await link.ended, { code: 1006 })
    await t.rejects(link.ask({ type: 'broadcast', data: {} }), LinkLost)
  }
})

t.test('names are asked for once, and one who is gone is an id', async t => {
  const gateway = await startGateway(t)
  const { id, email, password } = await register(t, gateway)
  const link = await Link.open(address(gateway))
  t.match(await logIn(link, { email, password }), { code: LOGGED_IN })
  let asked = 0
  const people = new People(request => {
    asked++
    return link.ask(request)
  })
  t.equal(await people.nameOf(id), email)
  t.equal(await people.nameOf(id), email)
  t.equal(asked, 1)
  t.equal(await people.nameOf('100000001'), '100000001')
  t.match(await people.find(id), [{ email }])
  link.close()
})

t.test('a broadcast does not choose to whom one talks, and long lists are cut', async t => {
  const printed: string[] = []
  const users = Array.from({ length: 60 }, (_, i) => ({ id: `${i}`, email: `${i}@x`, isLogin: true }))
  const ask = async () => ({ code: 200, msg: '', data: users })
  const talkTo: string[] = []
  const conversation = new Conversation({
    people: new People(ask),
    ask,
    print: text => void printed.push(text),
    onTalkTo: name => void talkTo.push(name),
    userId: () => '0',
  })
  const created_at = new Date().toISOString()
  await conversation.show({ seq: 1, sender: '7', content: 'all', created_at }, Date.now() + 60_000)
  t.same(talkTo, [])
  t.equal(printed[0], 'while you were away:')
  await conversation.show({ seq: 2, sender: '7', recipient: '0', content: 'you', created_at }, 0)
  t.same(talkTo, ['7@x'])
  await conversation.who()
  t.match(printed.at(-1), /^here: 1@x, .*50@x, and 9 more$/)
})

t.test('the command line of chat', async t => {
  const parsed = (...argv: string[]) => chatArguments(argv, { CHAT_URL: 'chat.example:9000' })
  const of = (href: string, rest: object) => ({
    server: new URL(href),
    partner: undefined,
    onlyId: false,
    ...rest,
  })
  t.same(parsed('ann@x'), of('ws://chat.example:9000/?lang=en', { email: 'ann@x' }))
  t.same(chatArguments(['ann@x'], {}), of('ws://127.0.0.1:8080/?lang=en', { email: 'ann@x' }))
  t.same(
    parsed('--server', 'https://chat.example?lang=zh-TW', 'ann@x', 'bob'),
    of('wss://chat.example/?lang=zh-TW', { email: 'ann@x', partner: 'bob' }),
  )
  t.match(parsed('--id', 'ann@x'), { onlyId: true })
  for (const wrong of [[], ['a', 'b', 'c'], ['--id', 'a', 'b'], ['--x', 'a'], ['--server', 'ftp://x', 'a']])
    t.equal(parsed(...wrong), undefined, wrong.join(' '))
})
