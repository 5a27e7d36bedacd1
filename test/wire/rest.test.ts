/** The REST API below /api: who asks, which form, and how refusals look. */
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { jsonClient, loggedIn, startGateway } from '../helpers/gateway.js'
import { askRest, problem, rawHttp, restAccount } from '../helpers/rest.js'

const gateway = await startGateway(t, { locale: 'en', 'limits.handshakeTimeout': '2s' })

t.test('an access token says who asks', async t => {
  const { token, id, email } = await restAccount(t, gateway)
  const me = await askRest(gateway, 'GET /me', { token })
  t.equal(me.status, 200)
  t.match(me.json, { id, email, firstName: 'First', lastName: 'Last', role: 'user', verifiedAt: null })
  const lower = await askRest(gateway, 'GET /me', { headers: { authorization: `bearer ${token}` } })
  t.equal(lower.status, 200)
})

t.test('without a token, or with one that is none, 401 says how to come', async t => {
  const none = await askRest(gateway, 'GET /me')
  t.match(problem(t, none, 401), { code: 10007, title: 'please login first', retry: false })
  t.equal(none.headers.get('www-authenticate'), 'Bearer')
  for (const authorization of ['Bearer x', 'Bearer', 'Basic YTpi', `Bearer ${'x'.repeat(9000)}`]) {
    const wrong = await askRest(gateway, 'GET /me', { headers: { authorization } })
    t.match(problem(t, wrong, 401), { code: 10000 })
    t.equal(wrong.headers.get('www-authenticate'), 'Bearer error="invalid_token"')
  }
})

t.test('a token is good no more when its login has ended', async t => {
  const account = await restAccount(t, gateway)
  const client = await jsonClient(t, gateway)
  await client.action('login', { token: account.token })
  t.equal((await client.action('revoke', { others: true }, 'a')).code, 200)
  t.equal((await askRest(gateway, 'GET /me', account)).status, 200, 'this is the one that asked')
  t.equal((await client.action('logout')).code, 200)
  problem(t, await askRest(gateway, 'GET /me', account), 401)
})

t.test('problems are in the language that is asked for', async t => {
  const headers = { 'accept-language': 'zh-TW,zh;q=0.9' }
  t.equal((await askRest(gateway, 'GET /me', { headers })).json.title, '請先進行登入')
})

t.test('what is not there, and what is not done there', async t => {
  for (const path of ['/', '/nothing', '/me/', '/ME', '/__proto__', '/me/%2e%2e'])
    t.match(problem(t, await askRest(gateway, `GET ${path}`), 404), { code: 10102, field: 'path' })
  problem(t, await askRest(gateway, 'GET /%zz'), 400)
  const put = await askRest(gateway, 'PUT /me', { body: {} })
  t.match(problem(t, put, 405), { field: 'method' })
  t.match(put.headers.get('allow'), /GET, HEAD.*OPTIONS/)
  const options = await askRest(gateway, 'OPTIONS /me')
  t.equal(options.status, 204)
  t.match(options.headers.get('allow'), /GET, HEAD.*OPTIONS/)
  for (const path of ['/api', '/api/openapi.json']) {
    const post = await fetch(gateway.http + path, { method: 'POST', body: 'x' })
    t.same([post.status, post.headers.get('allow')], [405, 'GET, HEAD, OPTIONS'])
  }
  for (const method of ['TRACE', 'PROPFIND', 'DELETE']) {
    const request = `${method} /api/v1/users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`
    const answer = await rawHttp(gateway.httpPort, request)
    t.match(answer, /^HTTP\/1\.1 405 .*\r\nallow: GET, HEAD, OPTIONS\r\n/is, method)
  }
  t.equal((await fetch(`${gateway.http}/apis`)).status, 404)
  t.equal((await fetch(`${gateway.http}/apis`)).headers.get('content-type'), 'text/plain; charset=utf-8')
})

t.test('HEAD has the headers of GET and no body; ETag and If-None-Match', async t => {
  const { token } = await restAccount(t, gateway)
  const get = await askRest(gateway, 'GET /me', { token })
  const etag = get.headers.get('etag') ?? ''
  t.match(etag, /^"[\w-]{27}"$/)
  t.equal(get.headers.get('cache-control'), 'private, no-cache')
  const head = await askRest(gateway, 'HEAD /me', { token })
  t.equal(head.status, 200)
  t.equal(head.text, '')
  t.equal(head.headers.get('etag'), etag)
  t.equal(head.headers.get('content-length'), String(Buffer.byteLength(get.text)))
  for (const list of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
    const known = await askRest(gateway, 'GET /me', { token, headers: { 'if-none-match': list } })
    t.equal(known.status, 304, list)
    t.equal(known.headers.get('etag'), etag)
  }
  const other = await askRest(gateway, 'GET /me', { token, headers: { 'if-none-match': '"x"' } })
  t.equal(other.status, 200)
})

t.test('Accept: JSON in any of its forms, or 406', async t => {
  const { token } = await restAccount(t, gateway)
  for (const accept of [
    'application/json',
    'text/html, application/*;q=0.5',
    '*/*',
    'application/problem+json',
  ])
    t.equal((await askRest(gateway, 'GET /me', { token, headers: { accept } })).status, 200, accept)
  for (const accept of ['text/html', 'application/json;q=0', 'application/xml, */*;q=0.0'])
    problem(t, await askRest(gateway, 'GET /me', { token, headers: { accept } }), 406)
})

t.test('a body in chunks is refused with 411, and the connection ends', async t => {
  const { token } = await restAccount(t, gateway)
  const answer = await rawHttp(
    gateway.httpPort,
    `GET /api/v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`,
  )
  t.match(answer, /^HTTP\/1\.1 411 /)
  t.match(answer, /application\/problem\+json/)
})

t.test('requests on one connection, and behind one with a body that nobody reads', async t => {
  const get = (end = '') => `GET /api/v1/me HTTP/1.1\r\nHost: x\r\n${end}\r\n`
  const put = `PUT /api/v1/me HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(100_000)}`
  const answer = await rawHttp(gateway.httpPort, get(), put, get('Connection: close\r\n'))
  t.same(
    [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
    ['401', '405', '401'],
  )
})

t.test('a body that nobody reads is answered at once, and does not keep its connection', async t => {
  const begin = (length: number) =>
    `POST /api/v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\nx`
  const socket = connect(gateway.httpPort, '127.0.0.1')
  socket.write(begin(100))
  const [bytes] = await once(socket, 'data')
  t.match(String(bytes), /^HTTP\/1\.1 404 .*"status":404/s, 'whole, before its body came')
  await once(socket, 'close')
  t.match(await rawHttp(gateway.httpPort, begin(10_000_000)), /\r\nconnection: close\r\n/i)
})

t.test('two tokens are none, and a merge patch is a change', async t => {
  const { token, email, password } = await restAccount(t, gateway)
  const twice = `Authorization: Bearer ${token}\r\n`.repeat(2)
  for (const where of ['GET /api/v1/me', 'HEAD /api/v1/uploads/x']) {
    const request = `${where} HTTP/1.1\r\nHost: x\r\n${twice}Connection: close\r\n\r\n`
    t.match(await rawHttp(gateway.httpPort, request), /^HTTP\/1\.1 400 /, where)
  }
  const headers = { 'content-type': 'application/merge-patch+json' }
  const login = await askRest(gateway, 'POST /login', { body: { email, password }, headers })
  t.match(problem(t, login, 415), { field: 'content-type' })
  t.equal(login.headers.get('accept'), 'application/json')
  t.equal((await askRest(gateway, 'PATCH /me', { token, body: { language: 'en' }, headers })).status, 200)
  const text = { token, body: '{}', headers: { 'content-type': 'text/plain' } }
  const patch = await askRest(gateway, 'PATCH /me', text)
  problem(t, patch, 415)
  t.match(patch.headers.get('accept-patch'), /merge-patch/)
})

t.test('what differs by page is told to caches; the next page is found behind a proxy', async t => {
  const preflight = (path: string, headers: Record<string, string>) =>
    fetch(gateway.http + path, { method: 'OPTIONS', headers: { origin: 'https://a.example', ...headers } })
  const asked = { 'access-control-request-method': 'POST' }
  for (const path of ['/api/v1/me', '/api/v1/uploads', '/files/x'])
    for (const headers of [{}, asked])
      t.match((await preflight(path, headers)).headers.get('vary'), /Origin/, path)
  t.match((await preflight('/api/v1/me', asked)).headers.get('vary'), /Access-Control-Request-Method/)
  const { token, id } = await restAccount(t, gateway)
  for (const content of ['1', '2'])
    await askRest(gateway, 'POST /messages', { token, body: { recipient: id, content } })
  const page = await askRest(gateway, 'GET /inbox?limit=1', { token })
  const [, link = ''] = /^<([^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '') ?? []
  const next = new URL(link, 'https://chat.example/mumi/api/v1/inbox?limit=1')
  t.equal(String(next), 'https://chat.example/mumi/api/v1/inbox?limit=1&after=1')
})

t.test('nobody reads an answer, and nobody is hurt', async t => {
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      const abort = new AbortController()
      const asked = fetch(`${gateway.http}/api/v1/me`, { signal: abort.signal }).catch(() => undefined)
      abort.abort()
      await asked
    }),
  )
  problem(t, await askRest(gateway, 'GET /me'), 401)
  t.notOk(gateway.logs.some(({ event }) => event === 'handler.failed'))
})

t.test('the API describes itself: a page without script, and a document, both with an ETag', async t => {
  for (const [path, type] of [
    ['/api', 'text/html; charset=utf-8'],
    ['/api/openapi.json', 'application/json; charset=utf-8'],
  ] as const) {
    const { status, headers } = await fetch(gateway.http + path)
    t.equal(status, 200)
    t.equal(headers.get('content-type'), type)
    t.match(headers.get('content-security-policy'), /^default-src 'none';/)
    t.notMatch(headers.get('content-security-policy'), 'script-src')
    const known = await fetch(gateway.http + path, {
      headers: { 'if-none-match': headers.get('etag') ?? '' },
    })
    t.equal(known.status, 304)
  }
  const page = await (await fetch(`${gateway.http}/api`)).text()
  t.notMatch(page, /<script|https?:\/\/|src=| on\w+=/)
  const refused = problem(t, await askRest(gateway, 'GET /me'), 401)
  t.match(page, `id="${refused.type.split('#')[1]}"`, 'where the type of a problem leads')
})

t.test('switched off, it is not there', async t => {
  const other = await startGateway(t, { 'rest.enabled': false })
  const answer = await fetch(`${other.http}/api/v1/me`)
  t.equal(answer.status, 404)
  t.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8')
})

t.test('while clients are sent away it is served, and connections end with their answer', async t => {
  const other = await startGateway(t, { 'shutdown.spread': '1h' })
  const { token } = await restAccount(t, other)
  // Somebody who stays, so that the drain lasts.
  await loggedIn(t, other)
  await loggedIn(t, other)
  void other.gateway.drain()
  const me = await askRest(other, 'GET /me', { token })
  t.equal(me.status, 200)
  t.equal(me.headers.get('connection'), 'close')
})

t.test('a gateway that closes answers what it has taken', async t => {
  const other = await startGateway(t)
  const { token } = await restAccount(t, other)
  await askRest(other, 'GET /me', { token })
  const asked = askRest(other, 'GET /me', { token })
  const closed = other.close()
  const settled = await asked.then(
    ({ status }) => status,
    () => 'refused',
  )
  t.ok(settled === 200 || settled === 503 || settled === 'refused', String(settled))
  await closed
})
