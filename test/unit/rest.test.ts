/** The parts of the REST API that decide something by themselves; over real HTTP: test/wire/rest*.test.ts. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import t from 'tap'
import { CODES, type CodeName, GatewayError, RefusedUntil } from '../../src/core/errors.js'
import { whenOver } from '../../src/http/ends.js'
import { GIVEN, TAKEN } from '../../src/protocol/rest.js'
import { bodyBytes, checkJsonType, checkType, decodeText, readBody } from '../../src/rest/body.js'
import { openApi, refusedStatuses } from '../../src/rest/document.js'
import { checkAccept, crossOrigin, etagOf, namesTag, optionsHeaders } from '../../src/rest/headers.js'
import { Held } from '../../src/rest/held.js'
import { renderPage } from '../../src/rest/page.js'
import { HttpRefusal, problemOf } from '../../src/rest/problem.js'
import { RestFront } from '../../src/rest/route.js'
import { OPERATIONS } from '../../src/rest/routes/index.js'

const request = (headers: Record<string, string>) => ({ headers }) as unknown as IncomingMessage
const refusal = (status: number) => ({ status, name: 'GatewayError' })

t.test('what is held: all together, and an eighth of it by one', t => {
  const held = new Held(800)
  t.ok(held.take('a', 100))
  t.notOk(held.take('a', 1), 'more than an eighth')
  for (const who of 'bcdefgh') t.ok(held.take(who, 100))
  t.equal(held.bytes, 800)
  t.notOk(held.take('i', 1), 'more than all')
  held.free('a', 100)
  t.ok(held.take('i', 100))
  held.add('i', 1000)
  t.notOk(held.take('j', 1), 'an answer that is there counts, though it is above')
  held.free('i', 1000)
  held.free('i', 100)
  t.ok(held.take('i', 100))
  t.end()
})

t.test('entity tags: a list, weak or not', t => {
  const tag = etagOf('x')
  t.not(tag, etagOf('y'))
  for (const list of [tag, `"a", ${tag}`, `${tag},"b"`, '*', ' * ']) t.ok(namesTag(list, tag, false), list)
  for (const list of ['', '"a"', tag.slice(1, -1), `W/${tag}`]) t.notOk(namesTag(list, tag, false), list)
  t.ok(namesTag(`W/${tag}`, tag, true))
  t.end()
})

t.test('Accept', t => {
  for (const accept of [
    undefined,
    '',
    '*/*',
    'application/json',
    'text/html, */* ; q=0.1',
    'APPLICATION/JSON',
  ])
    t.doesNotThrow(() => checkAccept({ ...(accept !== undefined && { accept }) }), accept ?? 'none')
  for (const accept of ['text/html', 'application/json;q=0', ','])
    t.throws(() => checkAccept({ accept }), refusal(406), accept)
  t.end()
})

t.test('pages', t => {
  const some = { isOrigin: (origin: string) => origin === 'https://a', isOpen: false }
  t.equal(crossOrigin({}, some)['Access-Control-Allow-Origin'], undefined)
  t.equal(crossOrigin({ origin: 'https://a' }, some)['Access-Control-Allow-Origin'], 'https://a')
  t.throws(() => crossOrigin({ origin: 'https://b' }, some), refusal(403))
  const all = { isOrigin: () => true, isOpen: true }
  t.equal(crossOrigin({ origin: 'https://b' }, all)['Access-Control-Allow-Origin'], '*')
  t.match(optionsHeaders({}, 'GET, HEAD'), { Allow: 'GET, HEAD', Vary: /Access-Control-Request-Method/ })
  const asked = optionsHeaders({ 'access-control-request-method': 'GET' }, 'GET, HEAD')
  t.equal(asked['Access-Control-Allow-Methods'], 'GET, HEAD')
  t.end()
})

t.test('the length and type of a body', t => {
  t.equal(bodyBytes(request({}), 10), 0)
  t.equal(bodyBytes(request({ 'content-length': '10' }), 10), 10)
  t.throws(() => bodyBytes(request({ 'content-length': '11' }), 10), refusal(413))
  t.throws(() => bodyBytes(request({ 'transfer-encoding': 'chunked' }), 10), refusal(411))
  t.throws(() => bodyBytes(request({ 'content-length': '1', upgrade: 'h2c' }), 10), refusal(400))
  for (const type of ['application/json', 'application/json;charset=UTF-8'])
    t.doesNotThrow(() => checkJsonType(request({ 'content-type': type })), type)
  const merge = 'application/merge-patch+json'
  const change = Object.assign(request({ 'content-type': merge }), { method: 'PATCH' })
  t.doesNotThrow(() => checkJsonType(change))
  for (const type of ['', 'text/json', 'application/jsonx', 'application/json; charset=latin1', merge])
    t.throws(() => checkJsonType(request({ 'content-type': type })), refusal(415), type)
  t.equal(checkType(request({ 'content-type': 'Image/PNG; x=y' }), ['image/png']), 'image/png')
  t.throws(() => checkType(request({ 'content-type': 'image/svg+xml' }), ['image/png']), refusal(415))
  t.equal(decodeText(Buffer.from('ä')), 'ä')
  t.throws(() => decodeText(Buffer.from([0xff])), { name: 'GatewayError', kind: 'BAD_JSON' })
  t.end()
})

t.test('a body that comes, that does not, and one whose client leaves', async t => {
  // Their timers keep no process.
  const kept = setInterval(() => undefined, 1000)
  t.teardown(() => clearInterval(kept))
  const whole = new PassThrough()
  const read = readBody(whole as unknown as IncomingMessage, 10_000)
  whole.write('a')
  whole.end('b')
  t.equal((await read).toString(), 'ab')
  const late = readBody(new PassThrough() as unknown as IncomingMessage, 1)
  await t.rejects(late, refusal(408))
  const gone = new PassThrough()
  const broken = readBody(gone as unknown as IncomingMessage, 10_000)
  gone.destroy()
  await t.rejects(broken, { name: 'GatewayError', kind: 'ERROR_CONNECTION_CLOSED' })
})

t.test('each code is a problem with its status', t => {
  for (const kind of Object.keys(CODES) as CodeName[]) {
    const { status, body } = problemOf(new GatewayError(kind), 'en', false)
    t.equal(status, CODES[kind].http)
    t.match(body, { code: CODES[kind].code, title: CODES[kind].en, retry: CODES[kind].retry })
    if (CODES[kind].code < 500) continue
    t.ok(status >= 400 && status < 600, kind)
    t.equal(CODES[kind].retry && status === 500, false, kind)
  }
  t.end()
})

t.test('what a problem says besides', t => {
  const wait = new RefusedUntil('TOO_MANY_ATTEMPTS', { reason: 'wait 30 s' }, 30)
  t.equal(problemOf(wait, 'en', false).headers['Retry-After'], '30')
  t.equal(problemOf(new GatewayError('SHUTDOWN'), 'en', false).headers['Retry-After'], '10')
  const wrong = new GatewayError('ERROR_AUTH')
  t.equal(problemOf(wrong, 'en', false).headers['WWW-Authenticate'], 'Bearer')
  t.equal(problemOf(wrong, 'en', true).status, 403, 'the token is good')
  t.equal(problemOf(new GatewayError('SECOND_FACTOR_REQUIRED'), 'en', true).status, 403)
  const token = new GatewayError('ERROR_AUTH', { field: 'token', reason: 'has expired' })
  t.match(problemOf(token, 'en', false).headers['WWW-Authenticate'], 'invalid_token')
  const own = problemOf(new HttpRefusal(405, 'method', 'x', { Allow: 'GET' }), 'zh-TW', false)
  t.match(own, { status: 405, headers: { Allow: 'GET' }, body: { code: 10102, title: '未知的請求' } })
  t.end()
})

t.test('document and page have every operation, and schemas without what only checks read', t => {
  const document = openApi() as { paths: Record<string, Record<string, { responses: object }>> }
  const page = renderPage()
  for (const one of OPERATIONS) {
    const described = document.paths[one.path]?.[one.method.toLowerCase()]
    t.ok(described, one.id)
    const statuses = Object.keys(described?.responses ?? {}).map(Number)
    for (const status of [one.status, ...refusedStatuses(one)])
      t.ok(statuses.includes(status), `${one.id} ${status}`)
    t.match(page, `id="${one.id}"`)
  }
  t.notMatch(JSON.stringify(document), '"reason"')
  t.ok(Object.keys(GIVEN).every(name => JSON.stringify(document).includes(`"${name}":`)))
  t.notOk('token' in TAKEN.login.properties, 'a login by REST is by a password')
  t.end()
})

t.test('other paths are not its own', t => {
  const front = new RestFront({ origins: [] } as unknown as ConstructorParameters<typeof RestFront>[0])
  const none = {} as Parameters<RestFront['route']>[1]
  for (const url of ['/', '/apis', '/API/v1/me', '//api', 'http://x/api'])
    t.equal(front.route({ url } as IncomingMessage, none), false, url)
  t.end()
})

t.test(
  'the end of an answer is told, also of those whose turn had not come when their socket closed',
  async t => {
    const ended: number[] = []
    let asked = 0
    const all = new Promise<void>(resolve => {
      const server = createServer((request, response) => {
        const number = asked++
        whenOver(request.socket, response, () => {
          ended.push(number)
          if (ended.length === 3) resolve()
        })
        if (number === 2) client.destroy()
      })
      t.teardown(() => server.close())
      let client = new Socket()
      server.listen(0, '127.0.0.1', () => {
        client = connect((server.address() as AddressInfo).port, '127.0.0.1')
        client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(3))
      })
    })
    await all
    t.same(ended.sort(), [0, 1, 2])
    const gone = { destroyed: true } as Socket
    whenOver(gone, {} as ServerResponse, () => ended.push(3))
    t.equal(ended.length, 4, 'at once where it is over')
  },
)
