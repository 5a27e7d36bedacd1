/** Several requests in one segment, of which a later one is an upgrade or not HTTP (RFC 9112, 9.3.2). */
import { Server } from 'node:http'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { jsonClient, startGateway } from '../helpers/gateway.js'

const pem = (name: string) => fileURLToPath(new URL(`../helpers/tls/${name}.pem`, import.meta.url))

const H2C = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n'
const WEBSOCKET =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n'

const get = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`
const post = (path: string, headers = '') =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n${headers}\r\nhello`

interface Door {
  readonly port: number
  readonly isTls?: boolean
}

/** Everything that comes back until the gateway closes, or `enough` of it. */
async function raw(t: Test, { port, isTls }: Door, sent: string, enough?: RegExp): Promise<string> {
  const socket = isTls
    ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
    : connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => undefined)
  socket.write(sent, 'latin1')
  let answer = ''
  try {
    for await (const chunk of socket) {
      answer += chunk
      if (enough?.test(answer)) break
    }
  } catch (error) {
    // A close with bytes that nobody read is a reset (RFC 1122 4.2.2.13): also an end.
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
  }
  return answer
}

const statuses = (answer: string) =>
  [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))

t.test('requests before an offer of h2c are answered, and then that request, without an upgrade', async t => {
  const secure = await startGateway(t, { 'tls.cert': pem('old.cert'), 'tls.key': pem('old.key') })
  const plain = await startGateway(t)
  const doors: Record<string, Door> = {
    http: { port: plain.httpPort },
    https: { port: secure.httpPort, isTls: true },
    ops: { port: plain.opsPort },
  }
  for (const [name, door] of Object.entries(doors)) {
    for (const first of ['/', '/test', '/nothing', '/readyz']) {
      for (const second of ['/', '/test', '/readyz']) {
        const answer = await raw(t, door, get(first) + get(second, H2C))
        t.equal(statuses(answer).length, 2, `${name} ${first} ${second}: ${answer}`)
        t.equal(statuses(answer)[1], statuses(await raw(t, door, get(second, H2C)))[0], 'as it is alone')
      }
    }
    t.same(
      statuses(await raw(t, door, get('/healthz').repeat(50) + get('/healthz', H2C))),
      Array(51).fill(200),
    )
    const refused = name === 'ops' ? 404 : 426
    t.same(statuses(await raw(t, door, post('/') + post('/', H2C))), [refused, refused])
    t.same(
      statuses(await raw(t, door, get('/test') + get('/', 'Upgrade: x\r\nConnection: Upgrade\r\n'))),
      name === 'ops' ? [404, 404] : [200, 200],
    )
  }
  await jsonClient(t, plain)
})

t.test('a WebSocket handshake after other requests waits for their answers', async t => {
  const gateway = await startGateway(t, { 'limits.handshakeTimeout': '2s' })
  const door = { port: gateway.httpPort }
  const greeted = await raw(t, door, get('/readyz') + get('/test') + get('/', WEBSOCKET), /"key":"/)
  t.same(statuses(greeted), [200, 200, 101])
  t.same(statuses(await raw(t, door, get('/test') + get('/nothing', WEBSOCKET))), [200, 404])
  t.same(statuses(await raw(t, door, get('/readyz') + get('/mqtt', WEBSOCKET))), [200, 400])
  t.same(statuses(await raw(t, door, get('/test', 'Connection: close\r\n') + get('/', WEBSOCKET))), [200])
})

t.test('bytes that are not HTTP get their 400 after the answers to earlier requests', async t => {
  const gateway = await startGateway(t)
  for (const first of ['/', '/readyz'])
    t.same(statuses(await raw(t, { port: gateway.httpPort }, `${get(first)}nonsense\r\n\r\n`)), [200, 400])
  t.same(
    statuses(await raw(t, { port: gateway.httpPort }, `${get('/') + get('/test', H2C)}nonsense\r\n\r\n`)),
    [200, 200],
  )
})

t.test('an upgrade after too many unanswered requests is refused', async t => {
  const gateway = await startGateway(t)
  for (const count of [999, 1_000, 1_001, 3_000]) {
    const requests = get('/nothing').repeat(count) + get('/', WEBSOCKET)
    t.notMatch(await raw(t, { port: gateway.httpPort }, requests), /HTTP\/1\.1 101/, `${count} requests`)
  }
  await jsonClient(t, gateway)
})

/** Requests that Node's parser found, whatever became of them. */
function parsed(t: Test): () => number {
  const { emit } = Server.prototype
  let count = 0
  Server.prototype.emit = function (name: string, ...args: unknown[]) {
    if (name === 'request') count++
    return Reflect.apply(emit, this, [name, ...args])
  }
  t.teardown(() => {
    Server.prototype.emit = emit
  })
  return () => count
}

t.test('requests pipelined after a refusal are not parsed', async t => {
  const limits = { 'limits.exempt': '', 'limits.httpRequests': 1, 'limits.handshakesPerAddress': 1000 }
  const count = parsed(t)
  const secure = { 'tls.cert': pem('old.cert'), 'tls.key': pem('old.key') }
  for (const [name, settings] of Object.entries({ http: {}, https: secure })) {
    const gateway = await startGateway(t, { ...limits, ...settings })
    const door = { port: gateway.httpPort, isTls: name === 'https' }
    for (const one of [get('/'), post('/nothing'), 'GET / HTTP/1.1\r\nHost:\r\n\r\n']) {
      const before = count()
      const answer = await raw(t, door, one.repeat(2000))
      t.ok(statuses(answer).length <= 11, 'one address has a burst of ten')
      t.ok(count() - before < 50, `${name}: ${count() - before} of 2000`)
    }
  }
})

t.test('a request in any pieces, an upgrade and a frame behind it among them, is the same', async t => {
  const gateway = await startGateway(t)
  const hello = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x7b, 0x7d]).toString('latin1')
  for (const length of [0, 1, 400, 480, 511, 512, 513, 1500, 9000]) {
    const answer = await raw(
      t,
      { port: gateway.httpPort },
      get('/test', `X: ${'x'.repeat(length)}\r\n`) +
        get('/', `X: ${'x'.repeat(length)}\r\n${WEBSOCKET}`) +
        hello,
      /"code":10\d+/,
    )
    t.same(statuses(answer), [200, 101], String(length))
    t.match(answer, /"code":10\d+/, 'the frame in the same segment is answered')
  }
})
