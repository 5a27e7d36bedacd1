/** Operators over HTTP, each with a token, on a gateway with the other fronts. */
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import t from 'tap'
import { type AdminAnswer, askAdmin } from '../helpers/admin.js'
import { dataDir, limited, loggedIn, register, startGateway } from '../helpers/gateway.js'

async function post(port: number, token: string, name: string, data: object = {}) {
  const response = await fetch(`http://127.0.0.1:${port}/v1/${name}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(data),
  })
  return { ...((await response.json()) as AdminAnswer), status: response.status }
}

const create = async (gateway: { dir: string }, name: string, more: object = {}): Promise<string> =>
  (await askAdmin(gateway, 'admin-token.create', { name, ...more })).data.token

t.test(
  'a token lets in as far as its role goes, until it is revoked, and the audit has its name',
  async t => {
    const dir = dataDir(t)
    const file = join(dir, 'audit.log')
    const gateway = await startGateway(t, { 'data.dir': dir, 'admin.http': true, 'audit.file': file })
    const [ann, client] = [await register(t, gateway), await loggedIn(t, gateway)]
    const viewer = await create(gateway, 'grafana')
    const operator = await create(gateway, 'night-shift', { role: 'operator' })
    const admin = await create(gateway, 'boss', { role: 'admin', expires: '2999-01-01' })
    const ask = (token: string, name: string, data?: object) => post(gateway.adminPort, token, name, data)
    t.match(await ask(viewer, 'stats'), { status: 200, data: { pid: process.pid } })
    t.match(await ask(viewer, 'user.show', { user: ann.id }), { status: 200, data: { email: ann.email } })
    const kick = { user: client.userId }
    t.match(await ask(viewer, 'session.kick', kick), { status: 403, data: { reason: /role operator/ } })
    t.match(await ask(operator, 'session.kick', kick), { status: 200, data: { ended: 1 } })
    t.equal((await client.closed)[0], 4501)
    t.match(await ask(operator, 'user.disable', { user: ann.id }), { status: 403 })
    t.match(await ask(admin, 'user.disable', { user: ann.id }), { status: 200 })
    t.match(await ask(admin, 'admin-token.create', { name: 'mine', role: 'admin' }), { status: 403 })
    t.match(await ask(admin, 'backup', { file: join(dir, 'b.mdb') }), {
      status: 403,
      data: { reason: /admin socket/ },
    })
    const { tokens } = (await ask(admin, 'admin-token.list')).data
    t.match(tokens, [
      { name: 'grafana', role: 'viewer', expires_at: '', expired: false },
      { name: 'night-shift', role: 'operator' },
      { name: 'boss', role: 'admin', expires_at: '2999-01-01T00:00:00Z' },
    ])
    t.notOk(JSON.stringify(tokens).includes('hash'))
    t.match(await ask(admin, 'admin-token.revoke', { name: 'grafana' }), { status: 200 })
    t.match(await ask(admin, 'admin-token.revoke', { name: 'grafana' }), { status: 400 })
    t.match(await ask(viewer, 'stats'), { status: 401, code: 10000 })
    for (const bad of [
      { name: '' },
      { name: 'a b' },
      { name: 'x', role: 'king' },
      { name: 'x', expires: '1999-01-01' },
      { name: 'x', expires: 'soon' },
    ])
      t.match(await askAdmin(gateway, 'admin-token.create', bad), { status: 400 }, JSON.stringify(bad))
    await gateway.close()
    const lines = readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    const of = (event: string) => lines.filter(one => one.event === event)
    t.match(of('session.kicked'), [{ operator: 'night-shift', remoteAddress: '127.0.0.1', front: 'admin' }])
    t.match(of('account.disabled'), [{ operator: 'boss', userId: ann.id }])
    t.match(of('admin-token.created')[0], { token: 'grafana' })
    t.notOk('operator' in of('admin-token.created')[0], 'by the socket')
    t.match(of('admin.refused')[0], { operator: 'grafana', request: 'session.kick', code: 10110 })
    t.match(of('admin.denied'), [{ remoteAddress: '127.0.0.1' }])
    for (const token of [viewer, operator, admin])
      t.notOk(readFileSync(file, 'utf8').includes(token.slice(-43)))
    const again = await startGateway(t, { 'data.dir': dir, 'admin.http': true })
    t.match(await post(again.adminPort, admin, 'stats'), { status: 200 }, 'it outlives the process')
  },
)

t.test('wrong tokens are delayed, and say nothing', async t => {
  const gateway = await startGateway(t, { 'admin.http': true, 'limits.failedLogins': 3 })
  const good = await create(gateway, 'good')
  const guess = (secret: string) => post(gateway.adminPort, `${good.slice(0, 20)}${secret}`, 'stats')
  const answers = []
  for (let i = 0; i < 6; i++) answers.push(await guess(String(i).repeat(43)))
  t.same(
    answers.map(({ status }) => status),
    [401, 401, 401, 429, 429, 429],
  )
  t.match(answers.at(-1), { code: 10122, data: { reason: /^wait \d+ s$/ } })
  t.match(await post(gateway.adminPort, good, 'stats'), { status: 429 }, 'whoever it is, of this address')
  t.match(await askAdmin(gateway, 'stats'), { status: 200 }, 'the socket is nobody else’s')
  t.ok((await limited(gateway, 'limits.failedLoginsPerAddress')) > 0)
  t.equal(gateway.logs.filter(({ event }) => event === 'admin.denied').length, 3)
})

t.test(
  'with the certificate of the gateway it is https, and no client of chat has to do with it',
  async t => {
    const pem = (name: string) => join(import.meta.dirname, `../helpers/tls/${name}.pem`)
    const gateway = await startGateway(t, {
      'admin.http': true,
      'tls.cert': pem('old.cert'),
      'tls.key': pem('old.key'),
      'http.tls': false,
    })
    const token = await create(gateway, 'remote')
    const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }
    const options = { port: gateway.adminPort, host: '127.0.0.1', path: '/v1/stats', method: 'POST', headers }
    const reply = await new Promise((resolve, reject) => {
      request(
        { ...options, ca: readFileSync(pem('old.cert')), checkServerIdentity: () => undefined },
        response => json(response).then(resolve, reject),
      )
        .on('error', reject)
        .end('{}')
    })
    t.match(reply, { code: 200, data: { pid: process.pid } })
    await t.rejects(post(gateway.adminPort, token, 'stats'), 'not without TLS')
    t.equal((await fetch(`${gateway.http}/v1/stats`, { method: 'POST', headers })).status, 404)
    const off = await startGateway(t)
    t.equal(off.adminPort, 0)
  },
)
