/** The pages of the second factor, of app passwords and of passkeys, over real HTTP. */
import { encodeQR } from 'qr'
import t from 'tap'
import { WORDS } from '../../src/account-pages/words.js'
import { totpUri } from '../../src/auth/second-factor/totp.js'
import { authenticator, enrol } from '../helpers/factor.js'
import { jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'
import { SoftPasskey } from '../helpers/passkey.js'

const gateway = await startGateway(t, {
  'sessions.multiple': 'allow',
  'accounts.deletionGrace': '1h',
  'limits.failedLogins': 100,
  'limits.failedLoginsPerAddress': 1000,
})
const words = WORDS.en

type Fields = Record<string, string>

const fieldsOf = (html: string): Fields =>
  Object.fromEntries(
    [...html.matchAll(/<input[^>]*name="([^"]*)" value="([^"]*)"/g)].map(([, name = '', value = '']) => [
      name,
      value,
    ]),
  )
const secretsOf = (html: string) => [...html.matchAll(/<code>([^<]*)<\/code>/g)].map(([, text = '']) => text)

async function page(name: string, options = {}, { http } = gateway) {
  const response = await fetch(`${http}/account/${name}`, options)
  const html = await response.text()
  const policy = response.headers.get('content-security-policy') ?? ''
  return { status: response.status, html, policy, fields: fieldsOf(html), secrets: secretsOf(html) }
}

const open = (name: string) => page(`${name}?lang=en`)
const post = (name: string, fields: Fields, headers: Fields = {}) =>
  page(name, { method: 'POST', body: new URLSearchParams(fields), headers })

/** Opens a page and sends its form. */
async function send(name: string, fields: Fields) {
  return post(name, { ...(await open(name)).fields, ...fields })
}

async function logIn(email: string, password: string, code?: string) {
  const client = await jsonClient(t, gateway)
  return client.action('login', { email, password, ...(code !== undefined && { code }) }, 'l')
}

t.test('a person with a browser alone switches it on, gets an app password, and switches it off', async t => {
  const { id, email, password } = await register(t, gateway)
  const before = await loggedIn(t, gateway, { id, email, password })
  t.match((await page('')).html, 'second-factor')
  const wrong = await send('second-factor', { email, password: 'wrong' })
  t.match(wrong, { status: 403, html: words.badLogin, fields: { email, password: '' } })
  const scan = await send('second-factor', { email, password })
  t.equal(scan.status, 200)
  const { secret = '' } = scan.fields
  t.match(scan.secrets, [secret.replace(/.{4}(?=.)/g, '$& ')])
  t.ok(scan.html.includes(encodeQR(totpUri(secret, email), 'svg')), 'the picture is that of the secret')
  t.notMatch(scan.html, password)
  const code = authenticator(secret)
  const mistyped = await post('second-factor-on', { ...scan.fields, code: '12345' })
  t.match(mistyped, { status: 403, html: words.badCode, fields: { secret } })
  t.match(mistyped.html, '<svg', 'the picture is still there')
  const done = await post('second-factor-on', { ...mistyped.fields, code: code() })
  t.equal(done.status, 200)
  t.equal(done.secrets.length, 10)
  t.match(await before.closed, [4501])
  t.match(await post('second-factor-on', { ...scan.fields, code: code() }), {
    status: 403,
    html: words.oldSecret,
  })
  t.match(await logIn(email, password), { code: 10145 })

  const [one = '', two = '', three = '', four = ''] = done.secrets
  t.match(await send('app-password', { email, password, name: 'pc' }), {
    status: 403,
    html: words.codeNeeded,
  })
  t.match(await send('app-password', { email, password, name: 'x'.repeat(65), code: one }), {
    status: 400,
    html: words.badName,
  })
  const app = await send('app-password', { email, password, name: 'pc', code: one })
  t.match(app, { status: 200, secrets: [/^mumi-/] })
  t.match(await logIn(email, app.secrets[0] ?? ''), { code: 202 })
  t.match(await send('recovery-codes', { email, password, code: one }), { status: 403, html: words.badCode })
  const renewed = await send('recovery-codes', { email, password, code: two })
  t.equal(renewed.secrets.length, 10)
  t.match(await send('second-factor-off', { email, password, code: three }), { status: 403 })
  t.match(await send('second-factor-off', { email, password, code: four }), { status: 403 })
  const off = await send('second-factor-off', { email, password, code: renewed.secrets[0] ?? '' })
  t.match(off, { status: 200, html: words.secondFactorOffDone })
  t.match(await send('second-factor-off', { email, password }), { status: 400, html: words.notOn })
  t.match(await logIn(email, password), { code: 202 })
})

t.test('nobody learns of an account, and no page of another website sends these forms', async t => {
  const nobody = await send('second-factor', { email: 'nobody@example.com', password: 'x' })
  t.match(nobody, { status: 403, html: words.badLogin })
  const { email, password } = await register(t, gateway)
  for (const name of ['second-factor', 'recovery-codes', 'app-password', 'second-factor-off', 'passkeys']) {
    const { status, html, fields } = await open(name)
    t.equal(status, 200)
    t.notMatch(html, '<script')
    const filled = { ...fields, email, password, name: 'x' }
    t.match(await post(name, { ...filled, mark: '' }), { status: 403, html: words.oldForm }, name)
    t.match(await post(name, filled, { 'sec-fetch-site': 'cross-site' }), {
      status: 403,
      html: words.foreign,
    })
  }
  t.match(await logIn(email, password), { code: 202 }, 'nothing was switched on')
})

t.test(
  'the step behind shows nothing of what an address says, and takes what is posted for what it is',
  async t => {
    const secret = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP'
    const led = await page(`second-factor-on?lang=en&email=a@example.com&secret=${secret}`)
    t.equal(led.status, 200)
    t.notMatch(led.html, secret)
    t.notMatch(led.html, '<svg')
    const { fields } = await open('second-factor')
    const step = (more: Fields) => post('second-factor-on', { ...fields, ...more })
    const long = `${'信'.repeat(300)}\u{1f600}@example.com`
    for (const email of ['a@example.com', long, '"><script>alert(1)</script>'])
      t.match(await step({ email, secret, code: '123456' }), { status: 403, html: words.oldSecret }, email)
    for (const bad of ['x', 'A'.repeat(5000), '', '<svg onload=alert(1)>'])
      t.match(
        await step({ email: 'a@example.com', secret: bad, code: '123456' }),
        { html: 'second-factor' },
        bad,
      )
  },
)

t.test(
  'where codes are locked, and where the account is to be removed, the page says what helps',
  async t => {
    const ann = await register(t, gateway)
    const { email, password } = ann
    const client = await loggedIn(t, gateway, ann)
    const { recoveryCodes } = await enrol(t, gateway, ann, client)
    while ((await logIn(email, password, '000000')).code !== 10122);
    const of = (code = '') => send('app-password', { email, password, name: 'pc', code })
    t.match(await of('000000'), { status: 429, html: words.tooManyCodes })
    t.match(await of(recoveryCodes[0]), { status: 200, secrets: [/^mumi-/] })
    t.equal((await client.action('delete', { password, code: recoveryCodes[1] })).code, 200)
    t.match(await of(recoveryCodes[2]), { status: 403, html: words.leaving })
    t.equal((await logIn(email, password, recoveryCodes[2])).code, 202, 'which uses no code up')
  },
)

const optionsOf = (html: string) => {
  const [, text = ''] = /data-options="([^"]*)"/.exec(html) ?? []
  return JSON.parse(text.replaceAll('&quot;', '"').replaceAll('&amp;', '&'))
}

t.test(
  'passkeys: one password and one code show them and begin another, and its page alone has a script',
  async t => {
    const ann = await register(t, gateway)
    const { email, password } = ann
    const { recoveryCodes } = await enrol(t, gateway, ann)
    const next = () => recoveryCodes.pop() ?? ''
    const first = await open('passkeys')
    const wrong = await send('passkeys', { email, password: 'wrong', code: '123456' })
    t.match(wrong, { status: 403, html: words.badLogin, fields: { email, password: '', code: '' } })
    const without = await send('passkeys', { email, password })
    t.match(without, { status: 403, html: words.codeNeeded })
    const mistyped = await send('passkeys', { email, password, code: '12345678' })
    t.match(mistyped, { status: 403, html: words.badCode })
    for (const { html, policy } of [first, wrong, without, mistyped]) {
      t.notMatch(html, '<script')
      t.notMatch(policy, 'script-src')
    }
    const shown = await send('passkeys', { email, password, code: next() })
    t.match(shown, { status: 200, html: words.passkeysNone })
    const [, nonce = ''] = /, script-src 'nonce-([\w-]{22})'$/.exec(shown.policy) ?? []
    t.match(
      shown.policy,
      /^default-src 'none'; script-src 'self'; style-src 'sha256-[^']+'; form-action 'self';/,
    )
    t.notMatch(shown.html, password)
    t.same(
      shown.html.match(/<script.*?<\/script>/g),
      [`<script src="passkeys.js" nonce="${nonce}" defer></script>`],
      'none in the page',
    )
    const script = await fetch(`${gateway.http}/account/passkeys.js`)
    t.equal(script.status, 200)
    t.match(script.headers.get('content-type'), 'text/javascript')
    t.match(await script.text(), 'navigator.credentials.create')

    const soft = new SoftPasskey({ rpId: 'localhost', origin: `http://localhost:${gateway.httpPort}` })
    const passkey = JSON.stringify(soft.register(optionsOf(shown.html)))
    const add = (more: Fields) => post('passkeys-add', { ...shown.fields, name: 'phone', passkey, ...more })
    for (const [bad, status, word] of [
      [{ passkey: '' }, 400, 'badPasskey'],
      [{ passkey: '{' }, 400, 'badPasskey'],
      [{ passkey: '[]' }, 400, 'badPasskey'],
      [{ passkey: '{"id":"x"}' }, 400, 'badPasskey'],
      [{ name: 'x'.repeat(65) }, 400, 'badName'],
      [{ email: 'nobody@example.com' }, 403, 'badPasskey'],
      [{ mark: '' }, 403, 'oldForm'],
    ] as const) {
      const { status: got, html, policy } = await add(bad)
      t.match({ got, html }, { got: status, html: words[word] }, JSON.stringify(bad))
      t.notMatch(policy, 'script-src')
    }
    t.match(await add({}), { status: 200, html: words.passkeyAdded })
    t.match(await add({}), { status: 403, html: words.badPasskey }, 'once')

    const listed = await send('passkeys', { email, password, code: next() })
    t.match(listed.html, /phone \(\d{4}-\d\d-\d\d\)/)
    const remove = (more: Fields) =>
      post('passkeys-remove', { ...listed.fields, password, passkey: soft.id.toString('base64url'), ...more })
    t.match(await remove({}), { status: 403, html: words.codeNeeded })
    t.match(await remove({ code: next(), password: 'wrong' }), { status: 403, html: words.badLogin })
    t.match(await remove({ code: next(), passkey: 'eA' }), { status: 400, html: words.badPasskey })
    t.match(await remove({ code: next() }), { status: 200, html: words.passkeyRemoved })
    t.match((await send('passkeys', { email, password, code: next() })).html, words.passkeysNone)
  },
)

t.test('passkeys: where there are ten, they are shown and no other is begun', async t => {
  const { email, password } = await register(t, gateway)
  for (let count = 0; count < 10; count++) {
    const { html, fields } = await send('passkeys', { email, password })
    const soft = new SoftPasskey({ rpId: 'localhost', origin: `http://localhost:${gateway.httpPort}` })
    const passkey = JSON.stringify(soft.register(optionsOf(html)))
    t.equal((await post('passkeys-add', { ...fields, name: `n${count}`, passkey })).status, 200)
  }
  const { html, policy } = await send('passkeys', { email, password })
  t.equal(html.match(/<button name="passkey"/g)?.length, 10)
  t.notMatch(html, '<script')
  t.notMatch(policy, 'script-src')
})

t.test('passkeys: where browsers would make none, the page says so to the owner', async t => {
  const other = await startGateway(t, { 'http.publicUrl': 'http://chat.example.com' })
  const { email, password } = await register(t, other)
  const { fields } = await page('passkeys?lang=en', {}, other)
  const body = new URLSearchParams({ ...fields, email, password })
  const refused = await page('passkeys', { method: 'POST', body }, other)
  t.match(refused, { status: 403, html: words.noPasskeys })
  t.notMatch(refused.html, '<script')
})
