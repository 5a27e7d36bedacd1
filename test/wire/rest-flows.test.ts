/** What people and programs do over REST: each flow from its beginning, beside WebSocket and MQTT clients. */
import t from 'tap'
import { jsonClient, loggedIn, mqttClient, startGateway } from '../helpers/gateway.js'
import { askRest, problem, restAccount } from '../helpers/rest.js'

const gateway = await startGateway(t, {
  locale: 'en',
  'query.limit': 3,
  'accounts.verify': 'soft',
})
const ask = (where: string, request = {}) => askRest(gateway, where, request)

t.test('register, log in, send: a desktop client gets the message', async t => {
  const person = { email: 'ann@chat.example', password: 'correct horse', firstName: 'Ann', lastName: 'Lee' }
  const made = await ask('POST /register', { body: person })
  t.equal(made.status, 201)
  t.match(made.json.id, /^\d{9}$/)
  t.match(problem(t, await ask('POST /register', { body: person }), 409), { code: 10003 })
  const { email, password } = person
  const wrong = await ask('POST /login', { body: { email, password: 'wrong' } })
  t.match(problem(t, wrong, 401), { code: 10000 })
  const login = await ask('POST /login', { body: { email, password } })
  t.equal(login.status, 200)
  t.equal(login.headers.get('cache-control'), 'no-store')
  const { token, refresh, id } = login.json
  t.equal(id, made.json.id)

  const bob = await loggedIn(t, gateway)
  const sent = await ask('POST /messages', { token, body: { recipient: bob.userId, content: 'hello' } })
  t.equal(sent.status, 201)
  t.match(await bob.next(), { sender: id, recipient: bob.userId, content: 'hello' })

  const pair = await ask('POST /refresh', { body: { token: refresh } })
  t.equal(pair.headers.get('cache-control'), 'no-store')
  t.equal((await ask('POST /logout', { token: pair.json.token })).status, 204)
  problem(t, await ask('GET /me', { token }), 401)
  problem(t, await ask('POST /refresh', { body: { token: pair.json.refresh } }), 401)
})

t.test('a login by REST is not online, and does not end the one of a desktop client', async t => {
  const ann = await restAccount(t, gateway)
  const { json } = await ask(`GET /users/${ann.id}`, { token: ann.token })
  t.equal(json.online, false)
  const desktop = await loggedIn(t, gateway, ann)
  const { email, password } = ann
  t.equal((await ask('POST /login', { body: { email, password } })).status, 200)
  t.equal((await ask(`GET /users/${ann.id}`, { token: ann.token })).json.online, true)
  t.equal((await desktop.action('query', { id: ann.id })).code, 200, 'it is still there')
})

t.test('the same message with the same key is stored once, and another one is refused', async t => {
  const ann = await restAccount(t, gateway)
  const bob = await loggedIn(t, gateway)
  const body = { recipient: bob.userId, content: 'once' }
  const send = (key: string, other: object = {}) =>
    ask('POST /messages', {
      token: ann.token,
      body: { ...body, ...other },
      headers: { 'idempotency-key': key },
    })
  const first = await send('"a b"')
  for (const key of ['"a b"', '"a b"']) t.same((await send(key)).json, first.json)
  for (const other of [{ content: 'twice' }, { recipient: ann.id }])
    t.match(problem(t, await send('"a b"', other), 422), { code: 10138, retry: false })
  t.same((await send('"a b"')).json, first.json, 'and is still that of the first')
  t.not((await send('other')).json.id, first.json.id)
  const desktop = await loggedIn(t, gateway, ann)
  const counted = { ...body, content: 'of a client that counts its ids' }
  t.match(await desktop.ask({ type: 'message', data: counted, id: 'a b' }), { code: 201 })
  t.match(await bob.next(), { content: 'once' })
  t.match(await bob.next(), { content: 'once' })
  t.match(await bob.next(), counted)
  t.equal(bob.unread.length, 0)
  for (const key of ['', '""', 'x'.repeat(65), '"a', 'a b', 'ä']) problem(t, await send(key), 400)
})

t.test('messages of a conversation in pages, whose links lead to the end', async t => {
  const [ann, bob] = [await restAccount(t, gateway), await restAccount(t, gateway)]
  for (const content of ['1', '2', '3', '4', '5']) {
    const [from, to] = Number(content) % 2 ? [ann, bob] : [bob, ann]
    const body = { recipient: to.id, content }
    t.equal((await ask('POST /messages', { token: from.token, body })).status, 201)
  }
  const contents: string[] = []
  let next: string | undefined = `messages?with=${bob.id}&limit=2`
  while (next !== undefined) {
    const page = await ask(`GET /${next}`, { token: ann.token })
    t.equal(page.status, 200)
    contents.push(...page.json.messages.map(({ content }: { content: string }) => content))
    next = /^<([^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1]
  }
  t.same(contents, ['5', '4', '3', '2', '1'])
  for (const query of [
    '',
    '?with=x',
    `?with=${bob.id}&limit=0`,
    `?with=${bob.id}&limit=101`,
    `?with=${bob.id}&x=1`,
  ])
    problem(t, await ask(`GET /messages${query}`, { token: ann.token }), 400)
})

t.test('users in pages, by the same privacy rules as over WebSocket', async t => {
  const { token, email } = await restAccount(t, gateway)
  const ids: string[] = []
  let next: string | undefined = 'users?lastName=Last'
  while (next !== undefined) {
    const page = await ask(`GET /${next}`, { token })
    for (const { id, password } of page.json.users) {
      ids.push(id)
      t.equal(password, undefined)
    }
    next = /^<([^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1]
  }
  t.ok(ids.length > 3)
  t.equal(new Set(ids).size, ids.length)
  t.match(problem(t, await ask('GET /users'), 401), { code: 10007 })
  t.match(problem(t, await ask('GET /users/123456789', { token }), 404), { code: 10010 })
  problem(t, await ask('GET /users/me', { token }), 400)
  const anonymous = await ask(`GET /users?email=${email}`)
  const client = await jsonClient(t, gateway)
  t.equal(anonymous.status === 200, (await client.action('query', { email })).code === 200)
})

t.test('credentials of devices, and sessions', async t => {
  const ann = await restAccount(t, gateway)
  const { token } = ann
  const minted = await ask('POST /devices', { token, body: { device: 'lamp' } })
  t.equal(minted.status, 201)
  t.equal(minted.headers.get('cache-control'), 'no-store')
  const { session, password } = minted.json
  const lamp = await mqttClient(t, gateway, { clientId: 'lamp', username: ann.id, password })
  const listed = await ask('GET /devices', { token })
  t.match(listed.json, { devices: [{ id: session, device: 'lamp', online: true }] })
  const own = (await ask('GET /sessions', { token })).json.sessions.find(
    (one: { current: boolean }) => one.current,
  )
  t.match(problem(t, await ask(`DELETE /devices/${own.id}`, { token }), 404), { field: 'id' })
  const closed = new Promise<void>(resolve => lamp.mqtt.once('close', () => resolve()))
  t.equal((await ask(`DELETE /devices/${session}`, { token })).status, 204)
  await closed
  problem(t, await ask(`DELETE /devices/${session}`, { token }), 404)
  problem(t, await ask(`DELETE /sessions/${session}`, { token }), 404)
  const other = await ask('POST /login', { body: { email: ann.email, password: ann.password } })
  t.equal((await ask('DELETE /sessions?others=true', { token })).json.revoked, 1)
  problem(t, await ask('GET /me', { token: other.json.token }), 401)
  problem(t, await ask('DELETE /sessions', { token }), 400)
  t.equal((await ask(`DELETE /sessions/${own.id}`, { token })).status, 204)
  problem(t, await ask('GET /me', { token }), 401)
})

t.test('a changed account has another ETag, and of two who change the same one is refused', async t => {
  const { token } = await restAccount(t, gateway)
  const etag = (await ask('GET /me', { token })).headers.get('etag') ?? ''
  const body = { language: 'zh-TW' }
  const change = () => ask('PATCH /me', { token, body, headers: { 'if-match': etag } })
  const [first, second] = await Promise.all([change(), change()])
  t.same([first.status, second.status].sort(), [200, 412])
  const me = await ask('GET /me', { token, headers: { 'if-none-match': etag } })
  t.equal(me.status, 200)
  t.equal(me.json.language, 'zh-TW')
  const merge = { 'content-type': 'application/merge-patch+json' }
  t.equal((await ask('PATCH /me', { token, body: { language: 'en' }, headers: merge })).status, 200)
})

t.test('a password: a wrong one is no reason to log in anew; the right one ends other logins', async t => {
  const ann = await restAccount(t, gateway)
  const { token, password } = ann
  const other = await ask('POST /login', { body: { email: ann.email, password } })
  const wrong = { password: 'wrong', newPassword: 'battery staple' }
  t.match(problem(t, await ask('PUT /me/password', { token, body: wrong }), 403), { code: 10000 })
  const body = { password, newPassword: 'battery staple' }
  const changed = await ask('PUT /me/password', { token: other.json.token, body })
  t.equal(changed.status, 200)
  t.equal(changed.headers.get('cache-control'), 'no-store')
  for (const ended of [token, other.json.token]) problem(t, await ask('GET /me', { token: ended }), 401)
  problem(t, await ask('POST /refresh', { body: { token: other.json.refresh } }), 401)
  t.equal((await ask('GET /me', { token: changed.json.token })).status, 200, 'who asked goes on')
  t.equal((await ask('POST /refresh', { body: { token: changed.json.refresh } })).status, 200)
  problem(t, await ask('POST /login', { body: { email: ann.email, password } }), 401)
})

t.test('what changes something may be sent again: the answers are those of docs/rest.md', async t => {
  const { token, email, password, refresh } = await restAccount(t, gateway)
  const twice = async (where: string, body?: object, as: string | undefined = token) => {
    const request = { ...(as !== undefined && { token: as }), ...(body !== undefined && { body }) }
    return [await ask(where, request), await ask(where, request)] as const
  }
  const statuses = async (where: string, body?: object, as?: string) =>
    (await twice(where, body, as)).map(({ status }) => status)
  t.same(await statuses('PATCH /me', { firstName: 'Ann' }), [200, 200])
  const person = { email: 'again@example.com', password: 'battery staple', firstName: 'A', lastName: 'B' }
  t.same(await statuses('POST /register', person, ''), [201, 409])
  const logins = await twice('POST /login', { email, password }, '')
  t.not(logins[0].json.token, logins[1].json.token)
  const pairs = await twice('POST /refresh', { token: refresh }, '')
  t.same(pairs[0].json, pairs[1].json)
  const lamps = await twice('POST /devices', { device: 'lamp' })
  const lamp = lamps[1].json.session
  t.match((await ask('GET /devices', { token })).json, { devices: [{ id: lamp }] })
  t.same(await statuses(`DELETE /devices/${lamp}`), [204, 404])
  const apps = await twice('POST /app-passwords', { name: 'app', password })
  t.same(await statuses(`DELETE /sessions/${apps[0].json.session}`), [404, 404])
  t.same(await statuses(`DELETE /sessions/${apps[1].json.session}`), [204, 404])
  const files = await twice('POST /files', { name: 'a', size: 1 })
  t.not(files[0].json.id, files[1].json.id)
  t.same(await statuses(`DELETE /files/${files[0].json.id}`), [204, 404])
  t.same(await statuses('DELETE /me/passkeys/none', { password }), [404, 404])
  t.same(await statuses('DELETE /me/image'), [204, 204])
  t.same(await statuses('DELETE /me/second-factor', { password }), [400, 400])
  t.same(await statuses('POST /email-verifications', {}), [202, 202])
  t.same(await statuses('POST /me/email', { password, email: 'other@example.com' }), [202, 202])
  const ends = await twice('DELETE /sessions?others=true')
  t.same(
    ends.map(({ json }) => json.revoked > 0),
    [true, false],
  )
  const changed = await twice('PUT /me/password', { password, newPassword: 'battery staple' })
  t.same(
    changed.map(({ status }) => status),
    [200, 401],
  )
  t.same(await statuses('POST /logout', undefined, changed[0].json.token), [204, 401])
  const again = await ask('POST /login', { body: { email, password: 'battery staple' } })
  const mine = again.json.token
  t.same(await statuses('DELETE /me', { password: 'battery staple' }, mine), [200, 401])
})

t.test('an account is deleted, and its token with it', async t => {
  const { token, password, id } = await restAccount(t, gateway)
  problem(t, await ask('DELETE /me', { token, body: { password: 'wrong' } }), 403)
  t.equal((await ask('GET /me', { token })).status, 200)
  t.same((await ask('DELETE /me', { token, body: { password } })).json, { deleted_at: null })
  problem(t, await ask('GET /me', { token }), 401)
  const bob = await restAccount(t, gateway)
  problem(t, await ask('POST /messages', { token: bob.token, body: { recipient: id, content: 'x' } }), 404)
})

t.test('a file is announced, uploaded, sent, read, and removed', async t => {
  const [ann, bob] = [await restAccount(t, gateway), await restAccount(t, gateway)]
  const { token } = ann
  const slot = await ask('POST /files', { token, body: { name: 'note.txt', size: 5, type: 'text/plain' } })
  t.equal(slot.status, 201)
  t.equal(slot.headers.get('cache-control'), 'no-store')
  const { id, method, url, headers } = slot.json
  const put = await fetch(new URL(url, gateway.http), { method, headers, body: 'hello' })
  t.ok(put.ok, String(put.status))
  t.match((await ask('GET /files', { token })).json, {
    files: [{ id, name: 'note.txt', uploaded: true }],
    bytes: 5,
  })
  problem(t, await ask(`GET /files/${id}`, { token: bob.token }), 404)
  const sent = await ask('POST /messages', { token, body: { recipient: bob.id, files: [id] } })
  t.equal(sent.status, 201)
  const [message] = (await ask(`GET /messages?with=${ann.id}`, { token: bob.token })).json.messages
  t.match(message, { text: '', files: [{ id, name: 'note.txt', size: 5 }] })
  const link = await ask(`GET /files/${id}`, { token: bob.token })
  t.equal(link.status, 200)
  t.equal(await (await fetch(new URL(link.json.url, gateway.http))).text(), 'hello')
  problem(t, await ask(`DELETE /files/${id}`, { token: bob.token }), 404)
  t.equal((await ask(`DELETE /files/${id}`, { token })).status, 204)
  problem(t, await ask(`GET /files/${id}`, { token }), 404)
  problem(t, await ask('POST /messages', { token, body: { recipient: bob.id } }), 400)
})

t.test(
  'a message with a file is sent again with its key when the file is gone: the first is answered',
  async t => {
    const [ann, bob] = [await restAccount(t, gateway), await restAccount(t, gateway)]
    const { token } = ann
    const uploaded = async () => {
      const { json } = await ask('POST /files', { token, body: { name: 'a', size: 5 } })
      await fetch(new URL(json.url, gateway.http), {
        method: json.method,
        headers: json.headers,
        body: 'hello',
      })
      return json.id
    }
    const files = [await uploaded(), await uploaded()]
    const send = (key: string, other: object = {}) =>
      ask('POST /messages', {
        token,
        body: { recipient: bob.id, content: 'look', files, ...other },
        headers: { 'idempotency-key': key },
      })
    const first = await send('k')
    t.equal(first.status, 201)
    t.equal((await ask(`DELETE /files/${files[0]}`, { token })).status, 204)
    const again = await send('k')
    t.equal(again.status, 201)
    t.same(again.json, first.json)
    t.match(problem(t, await send('other'), 404), { code: 10170 }, 'it is no repeat')
    for (const other of [{ content: 'x' }, { files: [files[0]] }, { recipient: ann.id }])
      t.match(problem(t, await send('k', other), 422), { code: 10138 })
    const { json } = await ask(`GET /messages?with=${ann.id}`, { token: bob.token })
    t.equal(json.messages.length, 1)
    const client = await loggedIn(t, gateway, ann)
    const message = { type: 'message', id: 'm', data: { recipient: bob.id, files: [files[1]] } }
    const sent = await client.ask(message)
    await client.action('removeFile', { file: files[1] }, 'r')
    t.same(await client.ask(message), sent, 'the same over WebSocket')
    t.match(await client.ask({ ...message, id: 'n' }), { code: 10170 })
  },
)

t.test('letters: the answer tells nothing of accounts', async t => {
  const { email, token } = await restAccount(t, gateway)
  for (const address of [email, 'nobody@chat.example'])
    t.equal((await ask('POST /password-resets', { body: { email: address } })).status, 202)
  t.equal((await ask('POST /email-verifications', { token, body: {} })).status, 202)
  problem(t, await ask('POST /email-verifications', { body: {} }), 400)
  const wrong = { email, code: 'AAAAA-AAAAA', newPassword: 'battery staple' }
  problem(t, await ask('POST /password-resets/confirm', { body: wrong }), 401)
  problem(t, await ask('POST /email-verifications/confirm', { token, body: { code: 'AAAAA-AAAAA' } }), 403)
  problem(
    t,
    await ask('POST /email-changes/undo', { body: { token: 'x', newPassword: 'battery staple' } }),
    401,
  )
  const unverified = await ask('POST /broadcasts', { token, body: { content: 'x' } })
  t.match(problem(t, unverified, 403), { code: 10140 })
})

t.test('log, metrics and audit know the front end', async t => {
  const { token } = await restAccount(t, gateway)
  await ask('GET /me', { token })
  await ask('GET /sessions', { token })
  const metrics = await (await fetch(`${gateway.http}/metrics`)).text()
  t.match(metrics, /mumi_requests_total\{front="rest",request="sessions",code="200"\} [1-9]/)
  t.match(metrics, /mumi_logins_total\{front="rest",outcome="accepted"\} [1-9]/)
  t.match(metrics, /mumi_registrations_total\{front="rest",outcome="taken"\} [1-9]/)
  t.ok(gateway.logs.some(({ event, front }) => event === 'account.logged-in' && front === 'rest'))
})
