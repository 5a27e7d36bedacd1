/** Receiving by REST alone: the inbox of a device, its confirmation, and waiting for a message. */
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { askAdmin } from '../helpers/admin.js'
import { authenticator, enrol } from '../helpers/factor.js'
import { loggedIn, register, startGateway, type TestAccount } from '../helpers/gateway.js'
import { askRest, problem, type RestRequest, rawHttp } from '../helpers/rest.js'

const MAX_CONNECTIONS = 3
const gateway = await startGateway(t, {
  'sessions.multiple': 'allow',
  'limits.connectionsPerAccount': MAX_CONNECTIONS,
})
const ask = (where: string, request: RestRequest = {}) => askRest(gateway, where, request)

async function tokenOf({ email, password }: TestAccount, device?: string): Promise<string> {
  const reply = await ask('POST /login', { body: { email, password, ...(device && { device }) } })
  return reply.json.token
}

/** An account, what sends to it, and what reads its inbox. */
async function setUp(t: Test) {
  const ann = await register(t, gateway)
  const bob = await loggedIn(t, gateway)
  const send = async (...contents: string[]) => {
    for (const content of contents) {
      const sent = await bob.ask({ type: 'message', data: { recipient: ann.id, content }, id: content })
      t.equal(sent.code, 201)
    }
  }
  const read = async (token: string, query = '') => {
    const reply = await ask(`GET /inbox${query}`, { token })
    t.equal(reply.status, 200)
    const contents = reply.json.messages.map(({ content }: { content: string }) => content)
    return { ...reply, contents }
  }
  const confirm = (token: string, seq: number) => ask('PUT /inbox/confirmed', { token, body: { seq } })
  return { ann, bob, send, read, confirm }
}

/** Until so many requests wait. */
async function waiting(count: number, of: { readonly http: string } = gateway): Promise<void> {
  const line = `mumi_sessions{front="rest",state="live"} ${count}\n`
  while (!(await (await fetch(`${of.http}/metrics`)).text()).includes(line));
}

t.test('messages come until they are confirmed, in pages whose links lead to the end', async t => {
  const { ann, bob, send, read, confirm } = await setUp(t)
  const token = await tokenOf(ann)
  t.match((await read(token)).json, { messages: [], upTo: 0, confirmed: 0, more: false })
  await send('1', '2', '3', '4', '5')
  const all: string[] = []
  let next: string | undefined = 'inbox?limit=2'
  while (next !== undefined) {
    const page = await ask(`GET /${next}`, { token })
    all.push(...page.json.messages.map(({ content }: { content: string }) => content))
    next = /^<([^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1]
  }
  t.same(all, ['1', '2', '3', '4', '5'])
  const first = await read(token, '?limit=1')
  t.match(first.json, { messages: [{ seq: 1, sender: bob.userId, recipient: ann.id }], upTo: 1, more: true })
  t.same((await read(token)).contents, all, 'not confirmed')
  t.same((await confirm(token, 3)).json, { confirmed: 3 })
  t.same((await read(token)).contents, ['4', '5'])
  t.same((await confirm(token, 1)).json, { confirmed: 3 }, 'never taken back')
  t.same((await confirm(token, 1000)).json, { confirmed: 5 }, 'nor confirmed before it is there')
  await send('6')
  t.same((await read(token)).contents, ['6'])
  t.same((await read(token, '?after=4')).contents, ['5', '6'])
  t.same((await read(token, '?after=0')).contents, [...all, '6'], 'history is kept')
  for (const query of ['?after=99', '?after=99&wait=30'])
    t.match((await read(token, query)).json, { messages: [], upTo: 6, more: false }, 'beyond the end')
  for (const query of ['?after=-1', '?limit=0', '?limit=101', '?wait=31', '?wait=x', '?from=1'])
    problem(t, await ask(`GET /inbox${query}`, { token }), 400)
  problem(t, await ask('GET /inbox'), 401)
  problem(t, await confirm(token, -1), 400)
})

t.test('each device has its own place, which a JSON connection of the same name shares', async t => {
  const { ann, send, read, confirm } = await setUp(t)
  const [script, robot] = [await tokenOf(ann, 'script'), await tokenOf(ann, 'robot')]
  for (const one of [script, robot]) t.same((await read(one)).contents, [])
  await send('1', '2')
  t.same((await read(script)).contents, ['1', '2'])
  t.equal((await confirm(script, 1)).status, 200)
  t.same((await read(robot)).contents, ['1', '2'])
  t.same((await read(await tokenOf(ann, 'script'))).contents, ['2'], 'of the device, not of the session')
  t.same((await read(await tokenOf(ann, 'late'))).contents, ['2'], 'behind the furthest that is confirmed')
  const desktop = await loggedIn(t, gateway, ann, { device: 'script' })
  t.match(await desktop.next(), { content: '2' })
  await desktop.close()
})

t.test('a broadcast comes, too; over other ways the request is refused', async t => {
  const { ann, bob, read } = await setUp(t)
  const token = await tokenOf(ann, 'script')
  const desktop = await loggedIn(t, gateway, ann)
  await read(token)
  t.equal((await bob.ask({ type: 'broadcast', data: { content: 'all' } })).code, 204)
  await desktop.next()
  const [message] = (await read(token)).json.messages
  t.match(message, { sender: bob.userId, content: 'all', seq: 1 })
  t.notOk('recipient' in message)
  t.equal((await desktop.action('inbox', {})).code, 10110)
})

t.test('who waits is answered when a message comes, and is not online', async t => {
  const { ann, bob, send, read } = await setUp(t)
  const token = await tokenOf(ann, 'script')
  const came = read(token, '?wait=30')
  await waiting(1)
  t.match((await bob.action('query', { id: ann.id })).data, [{ isLogin: false }])
  t.equal((await ask('GET /me', { token })).status, 200, 'others of the account do not wait behind it')
  await send('at last')
  t.same((await came).contents, ['at last'])
  t.same((await read(token, '?wait=30')).contents, ['at last'], 'what is there is answered at once')
  t.same((await read(token, '?after=1&wait=1')).contents, [], 'after a while without one')
  await waiting(0)
})

t.test('who waits counts as a connection, and no more when it leaves', async t => {
  const { ann, read } = await setUp(t)
  const token = await tokenOf(ann, 'script')
  const head = `GET /api/v1/inbox?wait=30 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`
  const sockets = Array.from({ length: MAX_CONNECTIONS }, () => connect(gateway.httpPort, '127.0.0.1'))
  for (const socket of sockets) socket.write(head)
  await waiting(MAX_CONNECTIONS)
  t.match(problem(t, await ask('GET /inbox?wait=1', { token }), 429), { code: 10123, retry: true })
  t.equal((await read(token)).status, 200, 'without waiting it is answered')
  for (const socket of sockets) socket.destroy()
  await waiting(0)
  t.same((await read(token, '?wait=1')).contents, [])
})

/** What ends a login by `token`; `other` is another session of the account. */
const ENDINGS: Record<string, (of: TestAccount & { token: string; other: string }) => Promise<unknown>> = {
  'DELETE /sessions': ({ other: token }) => ask('DELETE /sessions?others=true', { token }),
  'POST /logout': ({ token }) => ask('POST /logout', { token }),
  'PUT /me/password': ({ other: token, password }) =>
    ask('PUT /me/password', { token, body: { password, newPassword: 'battery staple' } }),
  'DELETE /me': ({ other: token, password }) => ask('DELETE /me', { token, body: { password } }),
  'a second factor': account => enrol(t, gateway, account),
  'session kick': ({ id: user }) => askAdmin(gateway, 'session.kick', { user, revoke: true }),
  'user disable': ({ id: user }) => askAdmin(gateway, 'user.disable', { user }),
  'user reset-password': ({ id: user }) => askAdmin(gateway, 'user.reset-password', { user }),
}

t.test('what ends a login answers its requests that wait at once, and they count no more', async t => {
  const begun = performance.now()
  const prepare = async ([what, endLogin]: [string, (typeof ENDINGS)[string]]) => {
    const { ann } = await setUp(t)
    const token = await tokenOf(ann, 'script')
    const other = await tokenOf(ann, 'other')
    const all = Array.from({ length: MAX_CONNECTIONS }, () => ask('GET /inbox?wait=30', { token }))
    return { what, all, end: () => endLogin({ ...ann, token, other }) }
  }
  const prepared = await Promise.all(Object.entries(ENDINGS).map(prepare))
  await waiting(prepared.length * MAX_CONNECTIONS)
  await Promise.all(prepared.map(({ end }) => end()))
  for (const { what, all } of prepared)
    for (const one of all) t.match(problem(t, await one, 401), { code: 10007 }, what)
  t.ok(performance.now() - begun < 29_000, 'before their time')
  await waiting(0)
})

t.test('a request goes on to wait when another login of its account ends', async t => {
  const { ann, send } = await setUp(t)
  const token = await tokenOf(ann, 'script')
  const other = await tokenOf(ann, 'other')
  const came = ask('GET /inbox?wait=30', { token })
  await waiting(1)
  t.equal((await ask('POST /logout', { token: other })).status, 204)
  await send('still here')
  t.match((await came).json, { messages: [{ content: 'still here' }] })
})

t.test('who switches the second factor on by a token waits on with it', async t => {
  const { ann, send } = await setUp(t)
  const token = await tokenOf(ann, 'script')
  const came = ask('GET /inbox?wait=30', { token })
  await waiting(1)
  const { json } = await ask('POST /me/second-factor', { token, body: { password: ann.password } })
  const body = { secret: json.secret, code: authenticator(json.secret)() }
  t.equal((await ask('POST /me/second-factor/confirm', { token, body })).status, 200)
  await send('mine still')
  t.match((await came).json, { messages: [{ content: 'mine still' }] })
})

t.test('a gateway that closes ends the wait', async t => {
  const own = await startGateway(t)
  const { email, password } = await register(t, own)
  const { json } = await askRest(own, 'POST /login', { body: { email, password } })
  const head = `GET /api/v1/inbox?wait=30 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${json.token}\r\n\r\n`
  const answer = rawHttp(own.httpPort, head)
  await waiting(1, own)
  await own.close()
  t.match(await answer, /^HTTP\/1\.1 200 OK\r\n.*Connection: close\r\n.*"messages":\[\]/is)
})
