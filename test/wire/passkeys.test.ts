/** Passkeys over JSON requests and REST, with an authenticator in software at the place of a browser. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { askAdmin } from '../helpers/admin.js'
import { enrol } from '../helpers/factor.js'
import { jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'
import { MailFolder } from '../helpers/mail.js'
import { SoftPasskey } from '../helpers/passkey.js'
import { askRest, problem, restAccount } from '../helpers/rest.js'
import { minted, sessionsOf } from '../helpers/tokens.js'

const auditFile = join(t.testdir(), 'audit.log')
const gateway = await startGateway(t, {
  'audit.file': auditFile,
  'limits.mails': 1000,
  'limits.failedLogins': 1000,
  'limits.failedLoginsPerAddress': 10_000,
  'sessions.multiple': 'allow',
})
const mail = new MailFolder(join(gateway.dir, 'mail'))
const { httpPort } = gateway
const HERE = { rpId: 'localhost', origin: `http://localhost:${httpPort}` }

type Challenge = { readonly challenge: string }
type Options = Challenge & { readonly user: { readonly id: string } }

/** Adds a passkey without a login. */
async function add(t: Test, who: object, name = 'phone') {
  const soft = new SoftPasskey(HERE)
  const asking = await jsonClient(t, gateway)
  const begun = await asking.action('beginPasskey', who, 'b')
  t.match(begun, { code: 200, data: { rp: { id: 'localhost' }, user: { id: /./ } } })
  const { email } = who as { email: string }
  const passkey = soft.register(begun.data as Options)
  const added = await asking.action('addPasskey', { email, name, passkey }, 'a')
  t.match(added, { code: 200, data: { id: passkey.id, name } })
  return { soft, id: passkey.id, passkey, asking }
}

/** Logs in by it. */
async function logIn(t: Test, soft: SoftPasskey, more: object = {}) {
  const client = await jsonClient(t, gateway)
  const { data } = await client.action('askPasskey', {}, 'o')
  const passkey = soft.answer(data as Challenge)
  const reply = await client.action('login', { passkey, ...more }, 'l')
  return { client, passkey, reply, code: reply.code }
}

async function audited(line: RegExp): Promise<void> {
  while (!line.test(readFileSync(auditFile, 'utf8'))) await new Promise(setImmediate)
}

const WRONG = { code: 10000, data: { field: 'passkey' } }

t.test('the password adds one, which logs in by itself, once an answer; the owner is told', async t => {
  const { id, email, password } = await register(t, gateway)
  const asking = await jsonClient(t, gateway)
  t.match(await asking.action('beginPasskey', { email, password: 'wrong' }, 'b'), { code: 10000, data: null })
  t.match(await asking.action('beginPasskey', { password }, 'b'), { code: 10101, data: { field: 'email' } })
  const { soft, passkey, asking: again } = await add(t, { email, password })
  t.match((await mail.next(email)).subject, '通行密鑰')
  t.match(await again.action('addPasskey', { email, name: 'x', passkey }, 'a'), WRONG)
  const { client, reply, passkey: answer } = await logIn(t, soft, { token: true, device: 'browser' })
  t.match(reply, { code: 202, data: { id, token: /^eyJ/, refresh: /^mr_/ } })
  t.match(await client.action('query', { id }), { code: 200 })
  t.match(await sessionsOf(client), [{ kind: 'token', device: 'browser', current: true }])
  const { client: passing } = await logIn(t, soft)
  t.match(
    (await sessionsOf(passing)).find(({ current }) => current),
    { kind: 'passkey' },
  )
  const thief = await jsonClient(t, gateway)
  t.match(await thief.action('login', { passkey: answer }, 'l'), WRONG)
  const owner = await logIn(t, soft)
  const listed = await owner.client.action('passkeys', {}, 'p')
  t.match(listed, { code: 200, data: { passkeys: [{ id: passkey.id, name: 'phone', created_at: /Z$/ }] } })
  await audited(new RegExp(`"event":"passkey.added","userId":"${id}"`))
  await audited(new RegExp(`"event":"login.succeeded","userId":"${id}".*"kind":"passkey"`))
})

t.test('with a second factor it needs a code to be added, and none to log in', async t => {
  const ann = await register(t, gateway)
  const { email, password } = ann
  const before = await add(t, { email, password })
  const { recoveryCodes } = await enrol(t, gateway, ann)
  t.match((await logIn(t, before.soft)).reply, WRONG, 'one that was made without a code has ended')
  const asking = await jsonClient(t, gateway)
  t.match(await asking.action('beginPasskey', { email, password }, 'b'), { code: 10145 })
  const { soft, id } = await add(t, { email, password, code: recoveryCodes[0] })
  t.equal((await logIn(t, soft)).code, 202)
  t.match((await jsonLogin(t, { email, password })).code, 10145, 'the password alone is as before')
  const remove = (code: object) =>
    asking.action('removePasskey', { email, password, passkey: id, ...code }, 'r')
  t.match(await remove({}), { code: 10145 })
  t.match(await remove({ code: recoveryCodes[1] }), { code: 200 })
  t.match(await remove({ code: recoveryCodes[2] }), { code: 10101, data: { field: 'passkey' } })
  t.match((await logIn(t, soft)).reply, WRONG)
  await audited(new RegExp(`"event":"passkey.removed","userId":"${ann.id}"`))
})

async function jsonLogin(t: Test, data: object) {
  return (await jsonClient(t, gateway)).action('login', data, 'l')
}

t.test('a new password ends them, also one that is being made; so does the operator', async t => {
  const ann = await register(t, gateway)
  const { email, password } = ann
  const { soft } = await add(t, { email, password })
  const thief = await jsonClient(t, gateway)
  const begun = await thief.action('beginPasskey', { email, password }, 'b')
  const owner = await loggedIn(t, gateway, ann)
  t.equal((await owner.action('password', { password, newPassword: 'new one' })).code, 200)
  t.match((await logIn(t, soft)).reply, WRONG)
  const passkey = new SoftPasskey(HERE).register(begun.data as Options)
  t.match(await thief.action('addPasskey', { email, name: 'x', passkey }, 'a'), WRONG)

  const second = await add(t, { email, password: 'new one' })
  t.match((await askAdmin(gateway, 'user.show', { user: email })).data, { passkeys: 1 })
  const { entries } = (await askAdmin(gateway, 'user.export', { user: email })).data as { entries: object[] }
  t.match(
    entries.find(one => 'section' in one && one.section === 'passkey'),
    { passkey: second.id, name: 'phone', createdAt: Number },
  )
  t.notMatch(JSON.stringify(entries), 'publicKey')
  await askAdmin(gateway, 'user.disable', { user: email })
  t.equal((await logIn(t, second.soft)).code, 10129)
  await askAdmin(gateway, 'user.enable', { user: email })
  t.equal((await logIn(t, second.soft)).code, 202)
  const off = await askAdmin(gateway, 'user.second-factor-off', { user: email })
  t.match(off.data, { wasOn: true })
  t.match((await askAdmin(gateway, 'user.show', { user: email })).data, { passkeys: 0 })
  t.match((await logIn(t, second.soft)).reply, WRONG)
})

t.test('what is no passkey of the account, or not one alone, is refused; devices make none', async t => {
  const ann = await register(t, gateway)
  const { email, password } = ann
  const { soft, id } = await add(t, { email, password })
  for (const other of [{ email }, { password }, { code: '123456' }, { token: 'eyJ.x.x' }])
    t.match((await logIn(t, soft, other)).reply, { code: 10101, data: { field: 'passkey' } })
  const client = await jsonClient(t, gateway)
  const { data } = await client.action('askPasskey', {}, 'o')
  const good = soft.answer(data as Challenge)
  const bad: [object, number][] = [
    [{ ...good, id: 'AAAA', rawId: 'AAAA' }, 10000],
    [{ ...good, response: { ...good.response, userHandle: 'MTAw' } }, 10000],
    [{ ...good, response: { ...good.response, signature: 'AAAA' } }, 10000],
    [{ ...good, response: { ...good.response, signature: 'not base64url!' } }, 10101],
    [{ ...good, response: { ...good.response, signature: 'A'.repeat(3000) } }, 10103],
    [{ ...good, response: {} }, 10101],
    [{ ...good, type: 'x' }, 10101],
    [{}, 10101],
  ]
  for (const [passkey, code] of bad) t.match(await client.action('login', { passkey }, 'l'), { code })
  t.match(await client.action('login', { passkey: good }, 'l'), { code: 202 }, 'none of it used it up')
  const app = await client.action('mintAppPassword', { password, name: 'old pc' }, 'm')
  const old = await jsonClient(t, gateway)
  const { password: appPassword } = app.data as { password: string }
  t.equal((await old.action('login', { email, password: appPassword })).code, 202)
  for (const [action, more] of [
    ['passkeys', {}],
    ['beginPasskey', { password }],
    [
      'addPasskey',
      { name: 'x', passkey: new SoftPasskey(HERE).register({ challenge: '', user: { id: 'AAAA' } }) },
    ],
    ['removePasskey', { password, passkey: id }],
  ] as const)
    t.equal((await old.action(action, more)).code, 10110, action)
  t.ok((await minted(client, 'lamp')).password)
})

t.test('the same over REST', async t => {
  const { id, email, password, token } = await restAccount(t, gateway)
  const ask = (where: string, request = {}) => askRest(gateway, where, request)
  const soft = new SoftPasskey(HERE)
  problem(t, await ask('POST /me/passkeys/options', { body: { password } }), 401)
  problem(t, await ask('POST /me/passkeys/options', { token, body: { password: 'wrong' } }), 403)
  const begun = await ask('POST /me/passkeys/options', { token, body: { password } })
  t.equal(begun.headers.get('cache-control'), 'no-store')
  t.match(begun.json, { user: { id: /./ }, pubKeyCredParams: [{ type: 'public-key' }] })
  const body = { name: 'laptop', passkey: soft.register(begun.json) }
  const made = await ask('POST /me/passkeys', { token, body })
  t.same([made.status, made.json], [201, { id: body.passkey.id, name: 'laptop' }])
  problem(t, await ask('POST /me/passkeys', { token, body }), 403)
  const options = await ask('GET /login/passkey-options')
  t.match(options.json, { rpId: 'localhost', userVerification: 'required' })
  const login = { body: { passkey: soft.answer(options.json), device: 'browser' } }
  const first = await ask('POST /login', login)
  t.match(first.json, { id, token: /^eyJ/, refresh: /^mr_/ })
  problem(t, await ask('POST /login', login), 401)
  const mine = { token: first.json.token as string }
  t.match((await ask('GET /me', mine)).json, { email })
  t.match((await ask('GET /me/passkeys', mine)).json, { passkeys: [{ name: 'laptop' }] })
  const gone = `DELETE /me/passkeys/${body.passkey.id}`
  problem(t, await ask(gone, { ...mine, body: { password: 'wrong' } }), 403)
  t.equal((await ask(gone, { ...mine, body: { password } })).status, 204)
  problem(t, await ask(gone, { ...mine, body: { password } }), 404)
  t.same((await ask('GET /me/passkeys', mine)).json, { passkeys: [] })
})

t.test('by http.publicUrl alone, whatever a request says; without a name or TLS there are none', async t => {
  const named = await startGateway(t, { 'http.publicUrl': 'https://chat.example' })
  const headers = { host: 'evil.example', origin: 'https://evil.example', 'x-forwarded-host': 'evil.example' }
  const options = await askRest(named, 'GET /login/passkey-options', { headers })
  t.equal(options.json.rpId, 'chat.example')
  const plain = await startGateway(t, { 'http.publicUrl': 'http://chat.example' })
  problem(t, await askRest(plain, 'GET /login/passkey-options'), 403)
  const account = await register(t, plain)
  const ann = await loggedIn(t, plain, account)
  const refused = { code: 10110, data: { reason: /publicUrl/ } }
  t.match(await ann.action('beginPasskey', { password: account.password }, 'b'), refused)
  t.match(await ann.action('passkeys', {}, 'p'), { code: 200, data: { passkeys: [] } })
})
