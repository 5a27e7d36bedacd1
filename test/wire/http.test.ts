import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { WebSocket } from 'ws'
import { jsonClient, loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'

const gateway = await startGateway(t)

/** Everything that comes back on a TCP connection until it is closed. */
async function raw(port: number, text: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.write(text)
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

t.test('GET /test is answered like the old server, byte for byte', async t => {
  for (const path of ['/test', '/test?x=1']) {
    const response = await fetch(gateway.http + path)
    t.equal(response.status, 200)
    t.equal(response.headers.get('content-type'), 'application/json; charset=utf-8')
    t.equal(await response.text(), '{"message":"test"}')
  }
  const head = await fetch(`${gateway.http}/test`, { method: 'HEAD' })
  t.equal(head.status, 200)
  t.equal(head.headers.get('content-length'), '18')
})

t.test('GET / answers with a page that describes the server', async t => {
  const response = await fetch(gateway.http)
  t.equal(response.status, 200)
  t.match(response.headers.get('content-type'), /^text\/html/)
  t.match(await response.text(), /WebSocket[\s\S]*<a href="account">[\s\S]*<a href="api">/)
  for (const path of ['account', 'api'])
    t.equal((await fetch(new URL(path, `${gateway.http}/`))).status, 200, path)
  const bare = await startGateway(t, { 'accounts.pages': false, 'rest.enabled': false })
  t.notMatch(await (await fetch(bare.http)).text(), 'href')
})

t.test('any other request to / is told to upgrade, and its body does not matter', async t => {
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    const body = method === 'POST' ? 'x'.repeat(200_000) : undefined
    const response = await fetch(gateway.http, { method, ...(body && { body }) })
    t.equal(response.status, 426, method)
    t.equal(response.headers.get('upgrade'), 'websocket')
    t.match(response.headers.get('connection'), /upgrade/i)
    await response.text()
  }
})

t.test('unknown paths are 404', async t => {
  for (const path of ['/nothing', '/tests', '/test/', '//', '/mqtt', '/%00', '/__proto__']) {
    const response = await fetch(gateway.http + path)
    t.equal(response.status, 404, path)
    await response.text()
  }
})

t.test('requests on one connection are answered one after the other', async t => {
  const answers = await raw(
    gateway.httpPort,
    'GET /test HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\nGET /test HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
  )
  t.same(answers.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 200'])
})

t.test('bytes that are not HTTP get 400, and the connection is closed', async t => {
  for (const text of ['nonsense\r\n\r\n', '\x10\x20\x00\x04MQTT\x04\r\n\r\n']) {
    t.match(await raw(gateway.httpPort, text), /^HTTP\/1\.1 400 /, text.slice(0, 10))
  }
  const long = await raw(gateway.httpPort, `GET / HTTP/1.1\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`)
  t.match(long, /^HTTP\/1\.1 431 /)
})

t.test('an upgrade to an unknown path is 404, one without a key 400, and the server lives on', async t => {
  const upgrade = (path: string, headers = '') =>
    raw(
      gateway.httpPort,
      `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${headers}\r\n`,
    )
  t.match(await upgrade('/nothing'), /^HTTP\/1\.1 404 /)
  t.match(await upgrade('/test'), /^HTTP\/1\.1 404 /)
  t.match(await upgrade('http://evil.example/'), /^HTTP\/1\.1 404 /)
  t.match(await upgrade('/'), /^HTTP\/1\.1 4\d\d /)
  t.match(await upgrade('/', 'Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n'), /^HTTP\/1\.1 400 /)
  t.match(
    await upgrade('/', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 7\r\n'),
    /Sec-WebSocket-Version: 13/i,
  )
  const ws = new WebSocket(`${gateway.http.replace('http', 'ws')}/nothing`)
  const [error] = await once(ws, 'error')
  t.match(error, { message: /404/ })
  await jsonClient(t, gateway)
})

t.test('an upgrade that is refused is closed, also by a client that keeps its own end open', async t => {
  const gateway = await startGateway(t)
  const socket = connect({ port: gateway.httpPort, host: '127.0.0.1', allowHalfOpen: true })
  t.teardown(() => socket.destroy())
  const upgrade = ['Host: x', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13']
  socket.write(
    `GET /mqtt HTTP/1.1\r\n${upgrade.join('\r\n')}\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
  )
  socket.resume()
  await once(socket, 'end')
  // What comes for a socket that is closed is answered by a reset.
  const reset = new Promise(resolve => socket.on('error', resolve))
  const probe = setInterval(() => socket.write('x'), 5)
  t.teardown(() => clearInterval(probe))
  t.match(await reset, { code: /ECONNRESET|EPIPE/ })
})

t.test('a request that offers another protocol is answered as if it did not', async t => {
  const offer = (path: string, protocol: string, method = 'GET') =>
    raw(
      gateway.httpPort,
      `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ${protocol}\r\nHTTP2-Settings: AAMAAABk\r\n\r\n`,
    )
  t.match(await offer('/test', 'h2c'), /^HTTP\/1\.1 200 .*Connection: close.*\{"message":"test"\}$/s)
  t.match(await offer('/metrics', 'TLS/1.2, HTTP/1.1'), /^HTTP\/1\.1 200 .*mumi_connections/s)
  t.match(await offer('/nothing', 'h2c'), /^HTTP\/1\.1 404 /)
  t.match(await offer('/', 'h2c', 'POST'), /^HTTP\/1\.1 426 /)
})

t.test('an upgrade is for HTTP/1.1: of another version the header is passed over', async t => {
  const gateway = await startGateway(t)
  const ask = (version: string) =>
    raw(
      gateway.httpPort,
      `GET / ${version}\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    )
  for (const version of ['HTTP/0.9', 'HTTP/1.0', 'HTTP/2.0'])
    t.match(await ask(version), /^HTTP\/1\.1 200 .*Connection: close/s, version)
})

t.test('a connection over limits.connections is refused with 503, until another one closes', async t => {
  const small = await startGateway(t, { 'limits.connections': 2 })
  const [first] = [await jsonClient(t, small), await jsonClient(t, small)]
  const third = new WebSocket(`ws://127.0.0.1:${small.httpPort}/`)
  const [error] = await once(third, 'error')
  t.match(error, { message: /503/ })
  t.equal((await fetch(`${small.http}/test`)).status, 200, 'plain HTTP goes on')
  await first?.close()
  // The gateway counts a connection until its own end of the socket is closed.
  for (;;) {
    const ws = new WebSocket(`ws://127.0.0.1:${small.httpPort}/`)
    const opened = await Promise.race([
      once(ws, 'open').then(() => true),
      once(ws, 'error').then(() => false),
    ])
    ws.terminate()
    if (opened) break
  }
})

t.test('/healthz answers alive, /readyz ready', async t => {
  for (const [path, status] of [
    ['/healthz', 'alive'],
    ['/readyz', 'ready'],
  ]) {
    const response = await fetch(gateway.http + path)
    t.equal(response.status, 200)
    t.strictSame(await response.json(), { status })
  }
  t.equal((await fetch(`${gateway.http}/healthz`, { method: 'POST' })).status, 404)
})

/** Samples by name and labels, as they stand in the text format. */
async function metrics(http: string): Promise<Map<string, number>> {
  const text = await (await fetch(`${http}/metrics`)).text()
  return new Map(
    text
      .split('\n')
      .filter(line => line !== '' && !line.startsWith('#'))
      .map(line => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  )
}

t.test('/metrics counts connections, requests by code, and messages by outcome', async t => {
  const own = await startGateway(t)
  const sender = await loggedIn(t, own)
  const recipient = await loggedIn(t, own)
  const away = await register(t, own)
  const device = await mqttClient(t, own, { username: away.email, password: away.password })
  const send = (id: string, content = 'x') =>
    sender.ask({ type: 'message', data: { recipient: id, content } })
  await send(recipient.userId)
  await send(recipient.userId)
  await send(away.id)
  await send('100000000')
  await sender.ask('nonsense')
  await recipient.next()
  await recipient.next()
  await recipient.action('login')
  await recipient.action('login')
  let seen = await metrics(own.http)
  // The ping that confirms the second message leaves after a pause.
  while ((seen.get('mumi_messages_confirmed_total') ?? 0) < 2) seen = await metrics(own.http)
  const requests = (request: string, code: number) =>
    seen.get(`mumi_requests_total{front="json",request="${request}",code="${code}"}`)
  t.equal(seen.get('mumi_connections{front="json"}'), 2)
  t.equal(seen.get('mumi_connections{front="mqtt"}'), 1)
  t.equal(requests('register', 203), 3)
  t.equal(requests('login', 202), 2)
  t.equal(requests('login', 10005), 2)
  t.equal(requests('message', 201), 3)
  t.equal(requests('message', 10010), 1)
  t.equal(requests('invalid', 10100), 1)
  t.equal(seen.get('mumi_messages_accepted_total'), 3)
  t.equal(seen.get('mumi_messages_delivered_total'), 2)
  t.equal(seen.get('mumi_messages_confirmed_total'), 2)
  t.equal(seen.get('mumi_store_seconds_count'), 3)
  t.equal(seen.get('mumi_deliver_seconds_count'), 2)
  t.ok([...seen.keys()].some(name => name.startsWith('nodejs_eventloop_lag')))
  await device.mqtt.endAsync()
})

t.test('a repeated message is not counted as accepted again', async t => {
  const own = await startGateway(t)
  const client = await loggedIn(t, own)
  for (let i = 0; i < 3; i++) {
    client.send({ type: 'message', id: 'same', data: { recipient: client.userId, content: 'x' } })
  }
  for (let i = 0; i < 4; i++) await client.next()
  t.equal((await metrics(own.http)).get('mumi_messages_accepted_total'), 1)
})

t.test('by default, metrics are served on the ops address, and gathered once a second', async t => {
  const shipped = await startGateway(t, { 'metrics.public': false, 'metrics.cache': '1s' })
  const ops = `http://127.0.0.1:${shipped.opsPort}`
  for (const path of ['/healthz', '/readyz']) {
    t.equal((await fetch(shipped.http + path)).status, 200, path)
    t.equal((await fetch(ops + path)).status, 200, path)
  }
  t.equal((await fetch(`${shipped.http}/metrics`)).status, 404)
  t.equal((await fetch(`${ops}/test`)).status, 404)
  const first = await (await fetch(`${ops}/metrics`)).text()
  t.match(first, /mumi_connections/)
  const began = performance.now()
  await jsonClient(t, shipped)
  const second = await (await fetch(`${ops}/metrics`)).text()
  if (performance.now() - began < 900) t.equal(second, first, 'the same within the second')
  while ((await (await fetch(`${ops}/metrics`)).text()) === first);
  const waited = performance.now() - began
  t.ok(waited > 500 && waited < 5000, `and another after it: ${waited} ms`)
})

t.test('if the ops port is in use, the gateway runs without it and logs that', async t => {
  const other = await startGateway(t, { 'ops.port': gateway.opsPort })
  t.equal(other.opsPort, 0)
  t.equal((await fetch(`${other.http}/readyz`)).status, 200)
  t.match(
    other.logs.find(({ event }) => event === 'ops.unavailable'),
    { level: 'error', port: gateway.opsPort },
  )
})

t.test('health and metrics can be switched off', async t => {
  const quiet = await startGateway(t, { 'health.enabled': false, 'metrics.enabled': false })
  for (const path of ['/healthz', '/readyz', '/metrics'])
    t.equal((await fetch(quiet.http + path)).status, 404, path)
  t.equal((await fetch(`${quiet.http}/test`)).status, 200)
})

t.test('a client that sends half a request delays no other client', async t => {
  const socket = connect(gateway.httpPort, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.write('GET /test HT')
  t.equal((await fetch(`${gateway.http}/test`)).status, 200)
})

t.test('a client that disconnects during the handshake has no effect', async t => {
  for (let i = 0; i < 20; i++) {
    const socket = connect(gateway.httpPort, '127.0.0.1')
    socket.write(
      'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n',
    )
    if (i % 2) await once(socket, 'data')
    else await once(socket, 'connect')
    socket.resetAndDestroy()
  }
  t.match(await (await jsonClient(t, gateway)).action('login'), { code: 10000 })
})
