/** The REST API against clients that harm: long, slow and many bodies, foreign pages, odd JSON, guesses. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { limited, loggedIn, type RunningGateway, startGateway } from '../helpers/gateway.js'
import { askRest, problem, rawHttp, restAccount } from '../helpers/rest.js'

const gateway = await startGateway(t, {
  locale: 'en',
  'limits.handshakeTimeout': '2s',
  'rest.maxBufferedBytes': '1MiB',
  'http.origins': 'https://chat.example,https://*.apps.example',
})
const ask = (where: string, request = {}) => askRest(gateway, where, request)

/** A request whose body is begun: `bytes` are promised, and one comes. */
async function begun(t: Test, { httpPort }: RunningGateway, token: string, bytes: number): Promise<Socket> {
  const socket = connect(httpPort, '127.0.0.1').on('error', () => undefined)
  t.teardown(() => socket.destroy())
  socket.write(
    `POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${bytes}\r\n\r\n{`,
  )
  return socket
}

async function answerOf(socket: Socket): Promise<string> {
  let answer = ''
  socket.on('data', bytes => {
    answer += bytes
  })
  await once(socket, 'close')
  return answer
}

t.test('a body that does not come in time is 408, and the connection ends', async t => {
  const { token } = await restAccount(t, gateway)
  const answer = await answerOf(await begun(t, gateway, token, 100))
  t.match(answer, /^HTTP\/1\.1 408 /)
  t.match(answer, /connection: close/i)
  t.match(answer, /"field":"body"/)
})

t.test('a body is bounded before it is read, and lower before login', async t => {
  const { token, id } = await restAccount(t, gateway)
  const body = { email: 'a'.repeat(20_000), password: 'x' }
  const before = await ask('POST /login', { body })
  t.match(problem(t, before, 413), { code: 10103, field: 'content-length' })
  t.equal(before.headers.get('connection'), 'close')
  const long = { recipient: id, content: 'x'.repeat(70_000) }
  t.match(problem(t, await ask('POST /messages', { token, body: long }), 413), { field: 'content' })
  const answer = await answerOf(await begun(t, gateway, token, 600_000))
  t.match(answer, /^HTTP\/1\.1 413 /, 'nothing of it was waited for')
})

t.test('what one account holds is bounded, and others are served meanwhile', async t => {
  const [ann, bob] = [await restAccount(t, gateway), await restAccount(t, gateway)]
  const before = await limited(gateway, 'rest.maxBufferedBytes')
  const held: Socket[] = []
  const message = { recipient: bob.id, content: 'x'.repeat(60_000) }
  // Until the gateway has read the request before it.
  let status = 0
  while (status !== 503) {
    held.push(await begun(t, gateway, ann.token, 100_000))
    const reply = await ask('POST /messages', { token: ann.token, body: message })
    status = reply.status
    if (status === 503) {
      t.match(problem(t, reply, 503), { code: 10127, retry: true })
      t.equal(reply.headers.get('retry-after'), '10')
    } else t.equal(status, 201)
  }
  t.equal((await ask('POST /messages', { token: bob.token, body: message })).status, 201)
  t.ok((await limited(gateway, 'rest.maxBufferedBytes')) > before)
  for (const socket of held) socket.destroy()
  while (status !== 201) status = (await ask('POST /messages', { token: ann.token, body: message })).status
  t.pass('there is room again')
})

t.test('clients that send much at once and leave hold nothing any more', async t => {
  const { token } = await restAccount(t, gateway)
  const get = `GET /api/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`
  for (let round = 0; round < 20; round++) {
    const socket = connect(gateway.httpPort, '127.0.0.1').on('error', () => undefined)
    socket.write(get.repeat(90))
    await once(socket, 'data')
    socket.destroy()
  }
  // What was begun is done by then.
  let reply = await ask('GET /me', { token })
  for (let tries = 0; reply.status === 503 && tries < 100; tries++) reply = await ask('GET /me', { token })
  t.equal(reply.status, 200)
  t.equal(
    (await Promise.all(Array.from({ length: 20 }, () => ask('GET /me', { token })))).filter(
      ({ status }) => status === 200,
    ).length,
    20,
  )
})

t.test('many who promise much are refused, and none of it is held for ever', async t => {
  const people = await Promise.all(Array.from({ length: 12 }, () => restAccount(t, gateway)))
  const sockets = await Promise.all(people.map(({ token }) => begun(t, gateway, token, 120_000)))
  const statuses = await Promise.all(
    sockets.map(async socket => (await answerOf(socket)).slice('HTTP/1.1 '.length, 12)),
  )
  t.ok(statuses.includes('408'), 'some were waited for')
  t.ok(
    statuses.every(status => status === '408' || status === '503'),
    statuses.join(),
  )
  t.equal((await ask('GET /me', people[0])).status, 200)
})

t.test('JSON that is none, or too much', async t => {
  const { token, id } = await restAccount(t, gateway)
  const send = (body: string) => ask('POST /messages', { token, body })
  const deep = `{"recipient":"${id}","content":${'['.repeat(50)}${']'.repeat(50)}}`
  const many = `{"x":[${'1,'.repeat(20_000)}1]}`
  for (const body of ['{', '[]', '"x"', 'null', '1', deep, many, '\ufeff{}'])
    t.match(problem(t, await send(body), 400), { code: 10100 }, body.slice(0, 20))
  t.match(problem(t, await send(`{"recipient":"${id}","content":"x","x":1}`), 400), { field: 'x' })
  t.match(problem(t, await send(`{"__proto__":{"content":"x"},"recipient":"${id}"}`), 400), {
    field: '__proto__',
  })
  t.match(problem(t, await send(`{"recipient":"${id}","content":"\\ud800"}`), 400), { field: 'content' })
  t.match(problem(t, await send(`{"recipient":"${id}","content":"\\u0000"}`), 400), { field: 'content' })
  t.equal(Object.hasOwn(Object.prototype, 'content'), false)
  const twice = await send(`{"recipient":"x","recipient":"${id}","content":"x"}`)
  t.equal(twice.status, 201, 'of a name that comes twice the last counts, as everywhere in the gateway')
})

t.test('bytes that are no UTF-8, and other types of body', async t => {
  const { token } = await restAccount(t, gateway)
  const head = (type: string, bytes: number) =>
    `POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${token}\r\n${type}\r\nContent-Length: ${bytes}\r\n\r\n`
  const json = 'Content-Type: application/json'
  const answer = await rawHttp(gateway.httpPort, head(json, 4), Buffer.from([0x22, 0xff, 0xfe, 0x22]))
  t.match(answer, /^HTTP\/1\.1 400 [\s\S]*not UTF-8/)
  for (const type of [
    'Content-Type: text/plain',
    'Content-Type:',
    `${json}, text/plain`,
    'X: y',
    `${json}; charset=latin1`,
    `${json}\r\nContent-Encoding: gzip`,
  ]) {
    const refused = await rawHttp(gateway.httpPort, head(type, 2), '{}')
    t.match(refused, /^HTTP\/1\.1 415 [\s\S]*"field":"content-(type|encoding)"/, type)
  }
  const upgrade = await rawHttp(gateway.httpPort, head(`${json}\r\nUpgrade: h2c`, 2), '{}')
  t.match(upgrade, /^HTTP\/1\.1 [24]/, 'an offer of HTTP/2 is ignored or refused')
})

t.test('headers that are too long are 431, and the connection ends', async t => {
  const answer = await rawHttp(
    gateway.httpPort,
    `GET /api/v1/me HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
  )
  t.match(answer, /^HTTP\/1\.1 431 /)
  t.match(answer, /application\/problem\+json/)
})

t.test('pages: only those of http.origins, and never with cookies', async t => {
  const { token } = await restAccount(t, gateway)
  for (const origin of ['https://chat.example', 'https://a.apps.example']) {
    const preflight = await ask('OPTIONS /me', {
      headers: {
        origin,
        'access-control-request-method': 'PATCH',
        'access-control-request-headers': 'authorization',
      },
    })
    t.equal(preflight.status, 204)
    t.equal(preflight.headers.get('access-control-allow-origin'), origin)
    t.match(preflight.headers.get('access-control-allow-methods'), /PATCH/)
    t.match(preflight.headers.get('access-control-allow-headers'), /Authorization/)
    const reply = await ask('GET /me', { token, headers: { origin } })
    t.equal(reply.status, 200)
    t.equal(reply.headers.get('access-control-allow-origin'), origin)
    t.equal(reply.headers.get('access-control-allow-credentials'), null)
    t.match(reply.headers.get('vary'), /Origin/)
  }
  for (const origin of [
    'https://evil.example',
    'null',
    'https://chat.example.evil.example',
    'http://chat.example',
  ]) {
    for (const where of ['GET /me', 'OPTIONS /me', 'POST /login', 'GET /nothing']) {
      const reply = await ask(where, { token, headers: { origin } })
      t.match(problem(t, reply, 403), { field: 'origin' })
      t.equal(reply.headers.get('access-control-allow-origin'), null)
    }
  }
})

t.test('every page may ask where http.origins is empty, with the rights of its token alone', async t => {
  const open = await startGateway(t)
  const reply = await askRest(open, 'GET /me', { headers: { origin: 'https://any.example', cookie: 'a=b' } })
  t.equal(reply.status, 401)
  t.equal(reply.headers.get('access-control-allow-origin'), '*')
  t.equal(reply.headers.get('access-control-allow-credentials'), null)
})

t.test('guesses of passwords are slowed down as over WebSocket, with Retry-After', async t => {
  const strict = await startGateway(t, { 'limits.exempt': '203.0.113.1', 'limits.failedLogins': 3 })
  const { email } = await restAccount(t, strict)
  const body = { email, password: 'wrong' }
  let reply = await askRest(strict, 'POST /login', { body })
  for (let guesses = 0; reply.status === 401 && guesses < 20; guesses++)
    reply = await askRest(strict, 'POST /login', { body })
  t.match(problem(t, reply, 429), { code: 10122, retry: true })
  t.match(reply.headers.get('retry-after'), /^\d+$/)
  t.equal(reply.json.detail, `wait ${reply.headers.get('retry-after')} s`)
})

t.test('rates: of an address before login, of an account, and of the port', async t => {
  const strict = await startGateway(t, {
    'limits.exempt': '203.0.113.1',
    'limits.requestsBeforeLogin': 1,
    'limits.accountRequests': 1,
  })
  const { token } = await restAccount(t, strict)
  const until429 = async (where: string, request = {}) => {
    for (let asked = 0; asked < 100; asked++) {
      const reply = await askRest(strict, where, request)
      if (reply.status === 429) return reply
    }
    return askRest(strict, where, request)
  }
  const stranger = await until429('POST /refresh', { body: { token: 'x' } })
  t.match(problem(t, stranger, 429), { code: 10120 })
  t.equal(stranger.headers.get('retry-after'), '10')
  t.match(problem(t, await until429('GET /users/123456789', { token }), 429), { code: 10120 })
  t.equal(
    (await askRest(strict, 'GET /sessions', { token })).status,
    200,
    'the owner may look after the account',
  )
})

t.test('a password is no secret that ends up in the log', async t => {
  const secret = 'the-secret-nobody-logs'
  const { token } = await restAccount(t, gateway)
  await ask('POST /login', { body: { email: 'a@chat.example', password: secret } })
  await ask(`GET /users?email=${secret}`, { token: secret })
  await ask(`GET /${secret}`, { token })
  await ask('PUT /me/password', { token, body: { password: secret, newPassword: secret } })
  t.notMatch(JSON.stringify(gateway.logs), secret)
  t.notMatch(JSON.stringify(gateway.logs), token)
})

t.test('rights that end while a request is under way count', async t => {
  const ann = await restAccount(t, gateway)
  const bob = await loggedIn(t, gateway)
  const desktop = await loggedIn(t, gateway, ann)
  const body = { recipient: bob.userId, content: 'x' }
  const sent = Array.from({ length: 10 }, () => ask('POST /messages', { token: ann.token, body }))
  const revoked = desktop.action('revoke', { others: true }, 'r')
  const statuses = (await Promise.all(sent)).map(({ status }) => status)
  t.equal((await revoked).code, 200)
  t.ok(
    statuses.every(status => [201, 401, 503].includes(status)),
    statuses.join(),
  )
  problem(t, await ask('POST /messages', { token: ann.token, body }), 401)
})
