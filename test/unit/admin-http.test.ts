/** Administration over HTTP: roles, tokens, and what is let in before a token is looked at. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect, createServer as createPort } from 'node:net'
import t, { type Test } from 'tap'
import { type AdminReply, adminReply, LOCAL, type Question } from '../../src/admin/ask.js'
import { AdminHttp } from '../../src/admin/http.js'
import { answerRequests, DEADLINE_HEADER } from '../../src/admin/requests.js'
import { openAdminHttp } from '../../src/app/admin-http.js'
import { type ADMIN_ROLES, AdminTokens } from '../../src/auth/admin-tokens.js'
import { loadConfig } from '../../src/config/config.js'
import { GatewayError } from '../../src/core/errors.js'
import type { UserId } from '../../src/core/model.js'
import { checkRole, NEEDED_ROLES } from '../../src/handle/admin/roles.js'
import type { AdminData, AdminName } from '../../src/protocol/admin.js'
import type { KeyValue, KvKey, KvWrite } from '../../src/store/store.js'
import { ofKind } from '../helpers/kind.js'

const text = (key: KvKey) => key.join(' ')

/** Keys and values in memory. */
function makeKv() {
  const rows = new Map<string, { key: KvKey; value: Uint8Array }>()
  const kv = {
    kvGet: async (_: string, key: KvKey) => rows.get(text(key))?.value,
    async *kvRange(_: string, [first]: KvKey) {
      for (const row of rows.values()) if (row.key[0] === first) yield row
    },
    kvWrite: async (writes: readonly KvWrite[]) => {
      for (const one of writes)
        if ('put' in one) rows.set(text(one.key), one)
        else rows.delete(text(one.key))
    },
  }
  return { kv: kv as unknown as KeyValue, rows }
}

const forEver = { role: 'viewer', expiresAt: 0 } as const

t.test('a token is shown once, found by its text, and kept as a hash', async t => {
  const { kv, rows } = makeKv()
  rows.set('other', { key: ['message-time'], value: Buffer.from('1') })
  const tokens = new AdminTokens(kv)
  const token = await tokens.create({ name: 'ci', role: 'operator', expiresAt: 0 })
  t.match(token, /^ma_[\w-]{16}_[\w-]{43}$/)
  t.match(await tokens.find(token), { name: 'ci', role: 'operator' })
  t.notOk([...rows.values()].some(({ value }) => Buffer.from(value).includes(token.slice(-43))))
  t.match(await tokens.list(), [{ name: 'ci', role: 'operator', expiresAt: 0, createdAt: Number }])
  t.notOk('hash' in ((await tokens.list())[0] ?? { hash: '' }))
  await t.rejects(tokens.create({ name: 'ci', ...forEver }), ofKind('BAD_FIELD', { info: { field: 'name' } }))
  const other = `${token.slice(0, 20)}${token.slice(20).split('').reverse().join('')}`
  for (const wrong of ['', 'ma_', token.slice(0, -1), `${token}A`, other, token.replace('ma_', 'md_')])
    t.equal(await tokens.find(wrong), undefined, wrong)
  const second = await tokens.create({ name: 'second', ...forEver })
  t.equal(await tokens.revoke('ci'), true)
  t.equal(await tokens.revoke('ci'), false)
  t.equal(await tokens.find(token), undefined)
  t.match(await tokens.find(second), { name: 'second' })
})

t.test('a token that has expired is listed and not found', async t => {
  const tokens = new AdminTokens(makeKv().kv)
  const [past, future] = [Date.now() - 1, Date.now() + 60_000]
  const old = await tokens.create({ name: 'old', role: 'admin', expiresAt: past })
  const good = await tokens.create({ name: 'good', role: 'admin', expiresAt: future })
  t.equal(await tokens.find(old), undefined)
  t.match(await tokens.find(good), { name: 'good' })
  t.equal((await tokens.list()).length, 2)
})

t.test('roles: what each may ask, and what no token may', async t => {
  const may = <N extends AdminName>(
    role: (typeof ADMIN_ROLES)[number] | 'local',
    name: N,
    data: object = {},
  ) => {
    try {
      checkRole(name, data as AdminData<N>, { name: 'x', role })
      return true
    } catch (thrown) {
      if (thrown instanceof GatewayError && thrown.kind === 'FORBIDDEN') return false
      throw thrown
    }
  }
  const allowed = (role: (typeof ADMIN_ROLES)[number] | 'local') =>
    (Object.keys(NEEDED_ROLES) as AdminName[]).filter(name => may(role, name)).sort()
  const viewer = allowed('viewer')
  t.ok(
    viewer.every(name => /\.(list|show|trace)$|^stats$|^log\.level$/.test(name)),
    viewer.join(),
  )
  t.ok(viewer.includes('inbox.show'))
  const operator = allowed('operator').filter(name => !viewer.includes(name))
  for (const name of ['session.kick', 'broadcast.send', 'reload', 'inbox.purge'])
    t.ok(operator.includes(name as AdminName))
  t.notOk(operator.some(name => name.startsWith('user.') || name.startsWith('admin-token.')))
  const admin = allowed('admin')
  for (const name of ['user.create', 'user.delete', 'user.grant', 'admin-token.revoke'])
    t.ok(admin.includes(name as AdminName), name)
  for (const name of ['backup', 'admin-token.create']) t.notOk(admin.includes(name as AdminName), name)
  t.equal(allowed('local').length, Object.keys(NEEDED_ROLES).length)
  t.notOk(may('operator', 'inbox.show', { text: true }), 'what people wrote')
  t.ok(may('admin', 'inbox.show', { text: true }))
  t.notOk(may('viewer', 'log.level', { level: 'debug' }))
  t.notOk(may('operator', 'broadcast.send', { from: 'ann' }), 'in the name of somebody')
  t.throws(() => checkRole('stats', {}, { name: undefined, role: undefined }), ofKind('FORBIDDEN'))
})

async function listening(t: Test, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** As askAdmin answers, where every request is good. */
const answered = async ({ body }: Question, data: unknown): Promise<AdminReply> =>
  body instanceof GatewayError ? adminReply(body.kind, body.info) : adminReply('SUCCESS', data)

t.test('what comes when whoever asked has given up is not begun', async t => {
  const asked: Question[] = []
  const ask = (question: Question) => {
    asked.push(question)
    return answered(question, null)
  }
  const port = await listening(
    t,
    createServer(answerRequests({ ask, admit: () => LOCAL, onFault: where => t.fail(where) })),
  )
  const post = (deadline: number) =>
    fetch(`http://127.0.0.1:${port}/v1/stats`, {
      method: 'POST',
      headers: { [DEADLINE_HEADER]: String(deadline) },
    })
  const late = await post(Date.now() - 1)
  t.equal(late.status, 503)
  t.match(await late.json(), { code: 10127, data: { reason: /given up/ } })
  t.match(asked.splice(0), [{ name: 'stats', body: ofKind('OVERLOADED') }], 'the audit hears of it')
  t.equal((await post(Date.now() + 60_000)).status, 200)
  t.match(asked, [{ name: 'stats', body: '', asker: LOCAL }])
})

/** @param requestTimeoutMs see AdminHttpOptions */
async function serve(t: Test, requestTimeoutMs = 60_000) {
  const checked: string[] = []
  const check = async (token: string) => {
    checked.push(token)
    if (token !== 'good') throw new GatewayError('ERROR_AUTH')
    return { name: 'ci', role: 'viewer', createdAt: 0, expiresAt: 0 } as const
  }
  const ask = (question: Question) => answered(question, { name: question.name, asker: question.asker })
  const http = new AdminHttp({ ask, check, requestTimeoutMs, onFault: where => t.fail(where) })
  const port = createPort(socket => http.take(socket.on('error', () => undefined))).listen(0, '127.0.0.1')
  t.teardown(() => port.close())
  await once(port, 'listening')
  const at = (port.address() as AddressInfo).port
  return { http, checked, at, url: `http://127.0.0.1:${at}/v1/stats` }
}

const GOOD = { Authorization: 'Bearer good', 'Content-Type': 'application/json' }

t.test('over HTTP: a token in its header, JSON, and nothing that a browser sends', async t => {
  const { url, checked } = await serve(t)
  const post = async (headers: Record<string, string>, body = '{}', method = 'POST') => {
    const response = await fetch(url, { method, headers, ...(method === 'POST' && { body }) })
    return { status: response.status, headers: response.headers, reply: await response.json() }
  }
  const good = await post(GOOD)
  t.match(good, {
    status: 200,
    reply: { data: { asker: { operator: { name: 'ci', role: 'viewer' }, remoteAddress: '127.0.0.1' } } },
  })
  t.equal(good.headers.get('cache-control'), 'no-store')
  t.equal(good.headers.get('access-control-allow-origin'), null)
  checked.length = 0
  for (const header of ['Origin', 'Cookie', 'Sec-Fetch-Site'])
    t.match(await post({ ...GOOD, [header]: 'https://evil.example' }), { status: 403 }, header)
  t.match(await post({ ...GOOD, Origin: 'null' }), { status: 403 })
  for (const authorization of ['', 'Bearer', 'Basic good', 'Bearer a b', `Bearer ${'x'.repeat(300)}`])
    t.match(await post({ ...GOOD, Authorization: authorization }), { status: 401 }, authorization)
  t.same(checked, [], 'none of these is looked up')
  const wrong = await post({ ...GOOD, Authorization: 'Bearer bad' })
  t.equal(wrong.status, 401)
  t.equal(wrong.headers.get('www-authenticate'), 'Bearer')
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp'])
    t.match(await post({ ...GOOD, 'Content-Type': type }), { status: 400 }, type)
  t.match(await post(GOOD, '{}', 'GET'), { status: 404 })
  t.match(await post(GOOD, '{}', 'OPTIONS'), { status: 404 })
  t.match(await post(GOOD, ' '.repeat(2 ** 20 + 1)).catch(() => ({ status: 413 })), { status: 413 })
})

/** @returns what comes on a connection that sends these bytes, until it is closed */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1').setEncoding('utf8')
  let text = ''
  socket.on('data', part => (text += part)).on('error', () => undefined)
  socket.write(bytes)
  await once(socket, 'close')
  return text
}

t.test('headers, time and requests of a connection are bounded', async t => {
  const { at, http } = await serve(t, 300)
  t.notMatch(await raw(at, `POST /v1/stats HTTP/1.1\r\nX: ${'x'.repeat(10_000)}\r\n\r\n`), /200/)
  t.equal(await raw(at, 'POST /v1/stats HTTP/1.1\r\nHost: a\r\n'), '', 'never finished')
  const headers = 'Host: a\r\nAuthorization: Bearer good\r\nContent-Type: application/json\r\n'
  const unfinished = `POST /v1/stats HTTP/1.1\r\n${headers}Content-Length: 9\r\n\r\n{`
  t.equal(await raw(at, unfinished), '', 'a body that does not come')
  const one = `POST /v1/stats HTTP/1.1\r\n${headers}Content-Length: 0\r\n\r\n`
  t.equal((await raw(at, one + one)).split('HTTP/1.1 200').length - 1, 1)
  t.notMatch(await raw(at, '\u0016\u0003\u0001 not HTTP\r\n\r\n'), /200/)
  const idle = raw(at, '')
  setImmediate(() => http.close())
  await idle
})

t.test('a listener on an address that others reach needs TLS, or a word that a proxy has it', async t => {
  const load = (...argv: string[]) => loadConfig({ argv: ['--admin.http', 'true', ...argv], env: {} })
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'chat.example.com', '127.example.com'])
    t.throws(() => load('--admin.host', host), { message: /^admin\.host: needs TLS/ }, host)
  t.throws(() => load('--admin.host=::', '--tls.cert=a', '--tls.key=b', '--admin.tls=false'), /admin\.host/)
  load('--admin.host', '::', '--tls.cert', 'a', '--tls.key', 'b')
  load('--admin.host', '::', '--admin.plain', 'true')
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) load('--admin.host', host)
  loadConfig({ argv: ['--admin.host', '::'], env: {} })
})

t.test('the port: so many connections of one address', async t => {
  let given: { admit(address?: UserId): boolean; left(address?: string): void } | undefined
  const front = {
    listenAdmin: async (options: NonNullable<typeof given>) => {
      given = options
      return { address: '127.0.0.1', port: 9 }
    },
  }
  const config = loadConfig({ argv: ['--admin.port', '9'], env: {} })
  const parts = { config, front, services: {}, ask: t.fail, onFault: t.fail }
  const { address } = await openAdminHttp(parts as unknown as Parameters<typeof openAdminHttp>[0])
  t.match(address, { port: 9 })
  const admitted = Array.from({ length: 20 }, () => given?.admit('10.0.0.1'))
  t.equal(admitted.filter(Boolean).length, 10)
  t.ok(given?.admit('10.0.0.2'))
  given?.left('10.0.0.1')
  t.ok(given?.admit('10.0.0.1'))
})
