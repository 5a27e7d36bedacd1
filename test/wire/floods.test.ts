/** Floods of one address before login: an innocent pair is still served. The cost of a flood is counted, not timed. */
import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import {
  type JsonClient,
  jsonClient,
  loggedIn,
  type RunningGateway,
  register,
  startGateway,
} from '../helpers/gateway.js'

const start = (t: Test, settings: Record<string, unknown> = {}) =>
  startGateway(t, { 'http.trustProxy': '127.0.0.1', ...settings })

const from = (address: string) => ({ headers: { 'X-Forwarded-For': address } })

/** A client's frame with an all-zero mask (RFC 6455 5.2). */
const frame = (opcode: number, text = '', isFinal = true): Buffer => {
  const payload = Buffer.from(text)
  return Buffer.concat([Buffer.of((isFinal ? 0x80 : 0) | opcode, 0x80 | payload.length, 0, 0, 0, 0), payload])
}

/** Two users; `talk` proves that both are served. */
async function pair(t: Test, gateway: RunningGateway) {
  const [one, two] = [await loggedIn(t, gateway), await loggedIn(t, gateway)]
  return {
    async talk(): Promise<void> {
      one.send({ type: 'message', data: { recipient: two.userId, content: 'hello' } })
      const [message, reply] = [await two.next(), await one.next()]
      t.match({ ...message, ...reply }, { content: 'hello', code: 201 })
    },
  }
}

const raw = (client: JsonClient) => Reflect.get(client.ws, '_socket')

t.test('requests before login are counted for the address; excess ones wait', async t => {
  const gateway = await start(t, { 'limits.requestsBeforeLogin': 1, 'log.repeatWindow': '10s' })
  const innocent = await pair(t, gateway)
  const crowd = await Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      jsonClient(t, gateway, '/', from(`2001:db8:1:${i.toString(16)}::1`)),
    ),
  )
  const elsewhere = await jsonClient(t, gateway, '/', from('198.51.100.7'))
  for (const client of crowd) for (let i = 0; i < 200; i++) client.send('nonsense')
  // One address has a burst of ten, the /56 around all of these of forty.
  await innocent.talk()
  t.match(await elsewhere.action('query', { email: 'a@b.example' }), { code: 200 })
  await innocent.talk()
  const answered = crowd.reduce((sum, { unread }) => sum + unread.length, 0)
  t.ok(answered < 150, `${answered} of 2000 were looked at`)
  const lines = gateway.logs.filter(({ event }) => event === 'request.refused').length
  t.ok(lines <= 20, `${lines} lines`)
})

t.test('a large frame is not parsed before login, but after it', async t => {
  const gateway = await start(t)
  const account = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  const large = { type: 'message', data: { recipient: account.id, content: 'x'.repeat(50_000) } }
  t.match(await client.ask(large), { code: 10103 })
  t.match(await client.ask({ type: 'action', action: 'login', data: { token: 'x'.repeat(8192) } }), {
    code: 10000,
  })
  const { email, password } = account
  client.send({ type: 'action', action: 'login', data: { email, password } })
  client.send(large)
  t.match(await client.next(), { code: 202 })
  const codes = [await client.next(), await client.next()].map(({ code }) => code)
  t.ok(codes.includes(201), 'sent right behind the login, as before')
})

for (const [name, opcode] of [
  ['pings', 9],
  ['pongs', 10],
] as const)
  t.test(`a flood of ${name} is read later or cut off; the pair is served`, async t => {
    const gateway = await start(t, { 'limits.controlFrames': 100_000 })
    const innocent = await pair(t, gateway)
    const paced = await startGateway(t, { 'limits.controlFrames': 1 })
    const client = await jsonClient(t, paced)
    const flood = Buffer.concat(Array.from({ length: 20_000 }, () => frame(opcode)))
    const socket = raw(client)
    let isTaken = false
    for (let i = 0; i < 100; i++)
      socket.write(flood, (error?: Error | null) => {
        if (i === 99 && !error) isTaken = true
      })
    await innocent.talk()
    const other = await pair(t, paced)
    for (let i = 0; i < 20; i++) await other.talk()
    t.notOk(isTaken, 'most of it was not read')
    t.ok(paced.logs.length < 200)
    const few = await jsonClient(t, gateway)
    for (let i = 0; i < 50; i++) few.ws.ping()
    t.match(await few.action('query', { email: 'a@b.example' }), { code: 200 }, 'a few are nothing')
  })

for (const [path, protocols] of [
  ['/', []],
  ['/mqtt', ['mqtt']],
] as const)
  t.test(
    `a burst of pings to ${path} is answered by the pong of the last, and the connection goes on`,
    async t => {
      const gateway = await start(t)
      const ws = new WebSocket(`ws://127.0.0.1:${gateway.httpPort}${path}`, [...protocols])
      t.teardown(() => ws.terminate())
      await once(ws, 'open')
      const pings = Array.from({ length: 200 }, (_, i) => frame(9, String(i).padEnd(125, 'x')))
      const last = new Promise<string>(resolve => {
        ws.on('pong', payload => {
          if (String(payload).startsWith('199x')) resolve(String(payload))
        })
      })
      Reflect.get(ws, '_socket').write(Buffer.concat(pings))
      t.equal(await last, '199'.padEnd(125, 'x'))
      ws.ping('again')
      t.equal(String((await once(ws, 'pong'))[0]), 'again')
      if (path === '/') {
        ws.send('{"type":"action","action":"query","data":{"email":"a@b.example"}}')
        t.match(JSON.parse(String((await once(ws, 'message'))[0])), { code: 200 })
      }
    },
  )

t.test('pongs that answer our pings cost nothing', async t => {
  const gateway = await start(t, { 'limits.controlFrames': 1 })
  const innocent = await pair(t, gateway)
  for (let i = 0; i < 50; i++) await innocent.talk()
})

t.test('empty fragments end the connection (1008), empty frames are refusals', async t => {
  const gateway = await start(t)
  const innocent = await pair(t, gateway)
  const client = await jsonClient(t, gateway)
  raw(client).write(
    Buffer.concat([frame(1, '', false), ...Array.from({ length: 2000 }, () => frame(0, '', false))]),
  )
  t.equal((await client.closed)[0], 1008)
  const empty = await jsonClient(t, gateway)
  raw(empty).write(Buffer.concat(Array.from({ length: 5000 }, () => frame(1))))
  t.equal((await empty.closed)[0], 4500)
  await innocent.talk()
})

t.test('frames after a close are not processed', async t => {
  const gateway = await start(t)
  const innocent = await pair(t, gateway)
  const client = await jsonClient(t, gateway)
  const request = frame(1, '{"type":"nonsense"}')
  raw(client).write(Buffer.concat([frame(8), ...Array.from({ length: 2000 }, () => request)]))
  await client.closed
  await innocent.talk()
  t.notOk(gateway.logs.some(({ event }) => event === 'request.refused'))
})

t.test('pipelined HTTP requests are bounded, and closed beyond that', async t => {
  const gateway = await start(t, { 'limits.httpRequests': 5 })
  const innocent = await pair(t, gateway)
  const request = 'GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n'
  const answers = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const socket = connect(gateway.httpPort, '127.0.0.1').on('error', () => undefined)
      let text = ''
      socket.on('data', bytes => {
        text += bytes
      })
      socket.end(request.repeat(990))
      await once(socket, 'close')
      return text.split('HTTP/1.1 200').length - 1
    }),
  )
  const all = answers.reduce((sum, count) => sum + count, 0)
  t.ok(all <= 60, `${all} of 19,800 were answered`)
  await innocent.talk()
  const exempt = connect(gateway.httpPort, '127.0.0.1').on('error', () => undefined)
  exempt.resume().end('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(10))
  await once(exempt, 'close')
  t.match((await fetch(gateway.http)).status, 200)
})
