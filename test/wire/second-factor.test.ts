/** The second factor and app passwords, over real sockets. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { LETTER_TEXTS } from '../../src/mail/texts.js'
import { askAdmin } from '../helpers/admin.js'
import { authenticator, enrol } from '../helpers/factor.js'
import {
  jsonClient,
  loggedIn,
  mqttClient,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { MailFolder } from '../helpers/mail.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { askRest, problem } from '../helpers/rest.js'
import { minted, sessionsOf, withTokens } from '../helpers/tokens.js'

const auditFile = join(t.testdir(), 'audit.log')
const gateway = await startGateway(t, {
  'audit.file': auditFile,
  'limits.mails': 1000,
  'limits.failedLogins': 1000,
  'limits.failedLoginsPerAddress': 10_000,
  'sessions.multiple': 'allow',
})
const mail = new MailFolder(join(gateway.dir, 'mail'))

async function logIn(t: Test, data: object, id: string | null = 'l') {
  const client = await jsonClient(t, gateway)
  const reply = await client.action('login', data, id ?? undefined)
  return { client, reply, code: reply.code }
}

const connack = async (t: Test, { email }: TestAccount, password: string) => {
  const login = { username: email, password: Buffer.from(password), clientId: 'thing' }
  return (await rawConnect(t, gateway, login)).connack.returnCode
}

async function audited(line: RegExp): Promise<void> {
  while (!line.test(readFileSync(auditFile, 'utf8'))) await new Promise(setImmediate)
}

t.test('who switches it on stays, others end, and a login needs a code then', async t => {
  const ann = await register(t, gateway)
  const { email, password } = ann
  const { client: phone } = await withTokens(t, gateway, ann)
  const other = await loggedIn(t, gateway, ann)
  const { client: tablet, tokens } = await withTokens(t, gateway, ann)
  const lamp = await minted(phone, 'lamp')
  t.match(await phone.action('secondFactor', {}, 's'), { data: { on: false, recoveryCodes: 0 } })
  const { secret, code, recoveryCodes } = await enrol(t, gateway, ann, phone)
  t.match(await other.closed, [4501])
  t.match(await tablet.closed, [4501])
  t.match(await phone.action('secondFactor', {}, 's'), {
    data: { on: true, since: /^20.*Z$/, recoveryCodes: 10 },
  })
  t.match(await sessionsOf(phone), [{ current: true }], 'no other login, and no credential')
  t.equal(new Set(recoveryCodes).size, 10)
  t.equal((await logIn(t, { token: tokens.token })).code, 10000)
  const device = { username: ann.id, password: Buffer.from(lamp.password), clientId: 'lamp' }
  t.equal((await rawConnect(t, gateway, device)).connack.returnCode, 4)
  t.match((await logIn(t, { email, password })).reply, {
    code: 10145,
    data: { field: 'code', reason: 'is missing' },
  })
  t.match((await logIn(t, { email, password: 'wrong' })).reply, { code: 10000, data: null })
  t.match((await logIn(t, { email, password: 'wrong', code: '123456' })).reply, { code: 10000, data: null })
  t.match((await logIn(t, { email, password, code: '12345' })).reply, {
    code: 10000,
    data: { field: 'code' },
  })
  const right = code()
  const typed = `${right.slice(0, 3)} ${right.slice(3)}`
  t.equal((await logIn(t, { email, password, code: typed })).code, 202)
  t.match((await logIn(t, { email, password, code: right })).reply, {
    code: 10000,
    data: { field: 'code', reason: 'is wrong, or was used' },
  })
  const first = authenticator(secret)()
  t.equal((await logIn(t, { email, password, code: first })).code, 10000, 'the one that switched it on')
  const [one = '', two = ''] = recoveryCodes
  const badly = ` ${one.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o').replaceAll('1', 'l')}`
  t.equal((await logIn(t, { email, password, code: badly })).code, 202)
  t.equal((await logIn(t, { email, password, code: one })).code, 10000, 'good once')
  const last = await logIn(t, { email, password, code: two, token: true })
  t.match(last.reply, { code: 202, data: { token: /^eyJ/, refresh: /^mr_/ } })
  const { refresh } = last.reply.data as { refresh: string }
  t.equal((await last.client.action('refresh', { token: refresh })).code, 200, 'tokens are as before')
  t.match((await mail.next(email)).subject, '兩步驟驗證')
  await audited(/"event":"second-factor.on","userId":"\d{9}","front":"json"/)
})

t.test(
  'a change of the address that was asked for without a code is void when it is switched on',
  async t => {
    const ann = await register(t, gateway)
    const thief = 'thief.of.ann@example.com'
    const client = await loggedIn(t, gateway, ann)
    t.equal((await client.action('changeEmail', { password: ann.password, email: thief })).code, 200)
    const { link, code } = await mail.next(thief)
    await enrol(t, gateway, ann)
    const anyone = await jsonClient(t, gateway)
    const token = new URL(link).searchParams.get('token') ?? ''
    for (const proof of [{ token }, { email: ann.email, code }])
      t.equal((await anyone.action('verifyEmail', proof)).code, 10000)
    t.match(await askAdmin(gateway, 'user.show', { user: ann.id }), { data: { email: ann.email } })
  },
)

t.test('one code lets in one of many at once', async t => {
  const ann = await register(t, gateway)
  const { code } = await enrol(t, gateway, ann)
  const login = { email: ann.email, password: ann.password, code: code() }
  const all = await Promise.all(Array.from({ length: 8 }, () => logIn(t, login)))
  t.same(all.map(one => one.code).sort(), [202, ...Array(7).fill(10000)].sort())
})

t.test('a client that knows nothing of it gets an answer as ever, and an app password', async t => {
  const ann = await register(t, gateway)
  const { email, password } = ann
  const { recoveryCodes } = await enrol(t, gateway, ann)
  const old = await logIn(t, { email, password }, null)
  t.strictSame(old.reply, {
    code: 10145,
    msg: '請輸入兩步驟驗證碼',
    data: { field: 'code', reason: 'is missing' },
  })
  const asking = await jsonClient(t, gateway)
  const mint = (data: object) =>
    asking.action('mintAppPassword', { email, password, name: 'desktop', ...data }, 'm')
  t.match(await mint({}), { code: 10145 })
  t.match(await mint({ code: '000000', password: 'wrong' }), { code: 10000, data: null })
  const made = await mint({ code: recoveryCodes[0] })
  t.match(made, { code: 200, data: { name: 'desktop', password: /^mumi(-[0-9A-HJKMNP-TV-Z]{4}){7}$/ } })
  const app = made.data as { session: string; password: string }
  const { client, code } = await logIn(t, { email, password: app.password.toLowerCase() }, null)
  t.equal(code, 202)
  t.equal((await client.action('query', { id: ann.id })).code, 200)
  const forbidden: [string, object][] = [
    ['password', { password, newPassword: 'mine now' }],
    ['delete', { password }],
    ['mint', { device: 'another' }],
    ['sessions', {}],
    ['revoke', { others: true }],
    ['secondFactor', {}],
    ['removeSecondFactor', { password, code: recoveryCodes[1] }],
    ['renewRecoveryCodes', { password, code: recoveryCodes[1] }],
    ['beginSecondFactor', { password, code: recoveryCodes[1] }],
    ['confirmSecondFactor', { secret: 'x', code: '123456' }],
    ['mintAppPassword', { password, code: recoveryCodes[1], name: 'more' }],
    ['changeEmail', { password, email: 'mine@example.com' }],
  ]
  for (const [action, data] of forbidden) t.equal((await client.action(action, data)).code, 10110, action)
  const tokens = await logIn(t, { email, password: app.password, token: true })
  t.match(tokens.reply, { code: 10110, data: { field: 'token' } })
  t.equal((await logIn(t, { email: (await register(t, gateway)).email, password: app.password })).code, 10000)
  t.equal((await logIn(t, { email: 'nobody@example.com', password: app.password })).code, 10000)
  t.equal((await logIn(t, { email, password: `${app.password.slice(0, -4)}AAAA` })).code, 10000)

  const thing = await mqttClient(t, gateway, { username: email, password: app.password, clientId: 'thing' })
  t.ok(thing.mqtt.connected, 'MQTT takes it, too, with any client id')
  const owner = (await logIn(t, { email, password, code: recoveryCodes[2] })).client
  const listed = (await sessionsOf(owner)).filter(({ kind }) => kind === 'app')
  t.match(listed, [{ id: app.session, name: 'desktop', online: true, current: false }])
  const ended = new Promise<void>(resolve => thing.mqtt.once('close', () => resolve()))
  t.match(await owner.action('revoke', { session: app.session }), { code: 200, data: { revoked: 1 } })
  t.match(await client.closed, [4501])
  await ended
  t.equal((await logIn(t, { email, password: app.password })).code, 10000)
  await audited(new RegExp(`"event":"app-password.minted","userId":"${ann.id}","session":"${app.session}"`))
})

t.test('another app password of the same name ends the one before; logout does not', async t => {
  const ann = await register(t, gateway)
  const { email, password } = ann
  const owner = await loggedIn(t, gateway, ann)
  const mint = async () =>
    (await owner.action('mintAppPassword', { password, name: 'old pc' }, 'm')).data as { password: string }
  const one = await mint()
  const { client } = await logIn(t, { email, password: one.password })
  t.equal((await client.action('logout')).code, 200)
  const again = await logIn(t, { email, password: one.password })
  t.equal(again.code, 202)
  const two = await mint()
  t.match(await again.client.closed, [4501])
  t.equal((await logIn(t, { email, password: one.password })).code, 10000)
  t.equal((await logIn(t, { email, password: two.password })).code, 202)
  t.match(
    await owner.action('password', { password, newPassword: two.password }, 'p'),
    { code: 10101, data: { field: 'newPassword' } },
    'and is nobody’s password',
  )
  const change = (newPassword: string, keepDevices: boolean, before: string) =>
    owner.action('password', { password: before, newPassword, keepDevices })
  t.equal((await change('second', true, password)).code, 200)
  t.equal((await logIn(t, { email, password: two.password })).code, 202)
  t.equal((await change('third', false, 'second')).code, 200)
  t.equal((await logIn(t, { email, password: two.password })).code, 10000)
})

t.test(
  'many at once that make an app password or a credential of one name all get one; the last is good',
  async t => {
    const ann = await register(t, gateway)
    const { email, password } = ann
    const owner = await loggedIn(t, gateway, ann)
    const { token } = (await logIn(t, { email, password, token: true })).reply.data as { token: string }
    const clients = await Promise.all(Array.from({ length: 4 }, () => jsonClient(t, gateway)))
    const made = await Promise.all([
      ...clients.map(client => client.action('mintAppPassword', { email, password, name: 'pc' }, 'm')),
      ...clients.map(() =>
        askRest(gateway, 'POST /app-passwords', { token, body: { name: 'pc', password } }),
      ),
      ...clients.map(() => askRest(gateway, 'POST /devices', { token, body: { device: 'lamp' } })),
    ])
    t.same(
      made.map(one => ('code' in one ? one.code : one.status)),
      [...Array(4).fill(200), ...Array(8).fill(201)],
    )
    const kinds = (await sessionsOf(owner)).map(({ kind }) => kind).filter(kind => /app|device/.test(kind))
    t.same(kinds.sort(), ['app', 'device'])
  },
)

t.test('MQTT takes the password of such an account no more', async t => {
  const ann = await register(t, gateway)
  t.equal(await connack(t, ann, ann.password), 0)
  await enrol(t, gateway, ann)
  t.equal(await connack(t, ann, ann.password), 5)
  t.equal(await connack(t, ann, 'wrong'), 4)
})

t.test('a new password by letter or by the operator leaves it on', async t => {
  const ann = await register(t, gateway)
  const { email } = ann
  const { recoveryCodes } = await enrol(t, gateway, ann)
  await mail.next(email)
  const client = await jsonClient(t, gateway)
  await client.action('requestPasswordReset', { email })
  const { code } = await mail.next(email)
  t.equal((await client.action('resetPassword', { email, code, newPassword: 'by letter' })).code, 200)
  t.equal((await logIn(t, { email, password: 'by letter' })).code, 10145)
  const reset = await askAdmin(gateway, 'user.reset-password', { user: email, password: 'by operator' })
  t.equal(reset.status, 200)
  t.equal((await logIn(t, { email, password: 'by operator' })).code, 10145)
  t.equal((await logIn(t, { email, password: 'by operator', code: recoveryCodes[0] })).code, 202)
})

t.test('a secret that somebody asked for with the old password is void with it', async t => {
  const ann = await register(t, gateway)
  const { email, password } = ann
  const thief = await jsonClient(t, gateway)
  const { data } = await thief.action('beginSecondFactor', { email, password }, 'b')
  const { secret } = data as { secret: string }
  const owner = await loggedIn(t, gateway, ann)
  t.equal((await owner.action('password', { password, newPassword: 'new' })).code, 200)
  const code = authenticator(secret)()
  t.match(await thief.action('confirmSecondFactor', { email, secret, code }, 'c'), {
    code: 10000,
    data: { field: 'secret' },
  })
  t.equal((await logIn(t, { email, password: 'new' })).code, 202)
})

t.test('it is renewed and switched off by password and code, and by the operator', async t => {
  const ann = await register(t, gateway)
  const { email, password } = ann
  const { code, recoveryCodes } = await enrol(t, gateway, ann)
  const client = await jsonClient(t, gateway)
  const ask = (action: string, data: object) => client.action(action, { email, password, ...data }, 'a')
  for (const action of ['beginSecondFactor', 'renewRecoveryCodes', 'removeSecondFactor']) {
    t.match(await ask(action, {}), { code: 10145 }, action)
    t.match(await ask(action, { code: 'AAAA-AAAA-AAAA-AAAA' }), { code: 10000, data: { field: 'code' } })
    t.match(await ask(action, { password: 'wrong', code: recoveryCodes[0] }), { code: 10000, data: null })
  }
  const renewed = await ask('renewRecoveryCodes', { code: code() })
  const [fresh] = (renewed.data as { recoveryCodes: string[] }).recoveryCodes
  t.equal((await logIn(t, { email, password, code: recoveryCodes[0] })).code, 10000, 'those before are void')
  const begun = await ask('beginSecondFactor', { code: fresh })
  t.match(begun, { code: 200, data: { uri: /^otpauth:\/\/totp\/MumiChat/ } })
  t.equal((await logIn(t, { email, password })).code, 10145, 'what was on stays so until it is confirmed')
  const next = await enrol2(begun.data as { secret: string })
  t.match(await ask('removeSecondFactor', { code: next[0] }), { code: 200 })
  t.equal((await logIn(t, { email, password })).code, 202)
  t.match(await ask('removeSecondFactor', {}), { code: 10101, data: { reason: 'no second factor is on' } })
  t.match(await ask('renewRecoveryCodes', {}), { code: 10101 })
  await enrol(t, gateway, ann)
  t.match((await askAdmin(gateway, 'user.show', { user: email })).data, {
    second_factor: { since: /Z$/, recovery_codes: 10 },
  })
  const off = () => askAdmin(gateway, 'user.second-factor-off', { user: email })
  t.match((await off()).data, { id: ann.id, wasOn: true })
  t.match((await off()).data, { id: ann.id, wasOn: false })
  t.equal((await logIn(t, { email, password })).code, 202)
  t.match((await askAdmin(gateway, 'user.show', { user: email })).data, { second_factor: false })
  await audited(new RegExp(`"second-factor.off","userId":"${ann.id}","front":"admin"`))

  async function enrol2({ secret }: { secret: string }) {
    const done = await client.action(
      'confirmSecondFactor',
      { email, secret, code: authenticator(secret)() },
      'c',
    )
    return (done.data as { recoveryCodes: string[] }).recoveryCodes
  }
})

t.test('what changes whose the account is needs another code; a code is not used up for nothing', async t => {
  const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
  const { email, password } = ann
  const { recoveryCodes } = await enrol(t, gateway, ann)
  const [first, second, third, fourth] = recoveryCodes
  const { client, reply } = await logIn(t, { email, password, code: first, token: true })
  const { token } = reply.data as { token: string }
  const mine = 'ann.new@example.com'
  const acts = [
    ['delete', 'DELETE /me', {}],
    ['changeEmail', 'POST /me/email', { email: mine }],
    ['password', 'PUT /me/password', { newPassword: 'mine now' }],
  ] as const
  for (const [action, where, data] of acts) {
    const act = (more: object) => client.action(action, { password, ...data, ...more }, 'a')
    const missing = { code: 10145, data: { field: 'code', reason: 'is missing' } }
    t.match(await act({}), missing, action)
    t.match(await act({ password: 'wrong', code: second }), { code: 10000, data: null }, action)
    t.match(await act({ code: first }), { code: 10000, data: { field: 'code' } }, action)
    const rest = await askRest(gateway, where, { token, body: { password, ...data } })
    t.match(problem(t, rest, 403), { code: 10145, field: 'code' }, where)
  }
  const change = (to: string) => client.action('changeEmail', { password, code: second, email: to }, 'c')
  t.match(await change(bob.email), { code: 10003 })
  t.match(await change(mine), { code: 200 }, 'the code of what was refused is good still')
  t.match(await change(mine), { code: 10000, data: { field: 'code' } })
  const renew = { password, newPassword: 'mine now', code: third }
  t.equal((await client.action('password', renew)).code, 200)
  t.equal((await client.action('delete', { password: 'mine now', code: fourth })).code, 200)
  t.equal((await logIn(t, { email, password: 'mine now' })).code, 10000, 'gone')
  await audited(new RegExp(`"event":"second-factor.refused","userId":"${ann.id}","front":"rest"`))
})

t.test('who asks without a login names the account; nobody learns which there are', async t => {
  const client = await jsonClient(t, gateway)
  for (const action of ['beginSecondFactor', 'removeSecondFactor', 'renewRecoveryCodes']) {
    t.match(await client.action(action, { password: 'x' }, 'a'), { code: 10101, data: { field: 'email' } })
    t.match(await client.action(action, { email: 'nobody@example.com', password: 'x' }, 'a'), {
      code: 10000,
      data: null,
    })
  }
  const secret = { secret: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP', code: '123456' }
  const { email } = await register(t, gateway)
  for (const name of ['nobody@example.com', email])
    t.match(await client.action('confirmSecondFactor', { email: name, ...secret }, 'c'), {
      code: 10000,
      data: { field: 'secret', reason: 'is wrong, or has expired' },
    })
  const owner = await loggedIn(t, gateway)
  t.match(await owner.action('beginSecondFactor', { email, password: 'x' }, 'a'), {
    code: 10101,
    data: { field: 'email' },
  })
})

t.test(
  'too many wrong codes are refused whatever address they come from; a recovery code lets in',
  async t => {
    const ann = await register(t, gateway)
    const { email, password } = ann
    const { code, recoveryCodes } = await enrol(t, gateway, ann)
    const right = code()
    const wrong = right === '000000' ? '000001' : '000000'
    const client = await jsonClient(t, gateway)
    for (let i = 0; i < 10; i++)
      t.equal((await client.action('login', { email, password, code: wrong })).code, 10000)
    t.match(await client.action('login', { email, password, code: right }, 'l'), {
      code: 10122,
      data: { field: 'code', reason: /^wait \d+ s, or use a recovery code$/ },
    })
    t.equal((await client.action('login', { email, password, code: recoveryCodes[0] })).code, 202)
    t.equal((await logIn(t, { email, password, code: right })).code, 202, 'and begins anew')
  },
)

t.test('the owner hears at once of each thing that is done with it', async t => {
  const ann = await register(t, gateway)
  const { email, password } = ann
  const client = await loggedIn(t, gateway, ann)
  const { recoveryCodes } = await enrol(t, gateway, ann, client)
  const renewed = await client.action('renewRecoveryCodes', { password, code: recoveryCodes[0] }, 'r')
  const [one, two] = (renewed.data as { recoveryCodes: string[] }).recoveryCodes
  t.equal((await client.action('mintAppPassword', { name: 'clock', password, code: one })).code, 200)
  t.equal((await client.action('removeSecondFactor', { password, code: two })).code, 200)
  const subjects = []
  for (let i = 0; i < 4; i++) subjects.push((await mail.next(email)).subject)
  const texts = LETTER_TEXTS['zh-TW']
  const kinds = [
    'second-factor-on',
    'recovery-codes-renewed',
    'app-password-made',
    'second-factor-off',
  ] as const
  t.same(subjects.sort(), kinds.map(kind => texts[kind].subject).sort())
})
