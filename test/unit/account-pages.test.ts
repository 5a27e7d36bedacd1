/** The pages below /account: their words, their form, and what browsers may post. Wire tests run them over real HTTP. */
import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import { EMAIL } from '../../src/account-pages/action.js'
import { ACTIONS } from '../../src/account-pages/actions.js'
import { ask } from '../../src/account-pages/ask.js'
import { FormMarks, isFromElsewhere, MAX_FORM_BYTES, readForm } from '../../src/account-pages/forms.js'
import { sendPage } from '../../src/account-pages/html.js'
import { LETTER_ACTIONS } from '../../src/account-pages/letters.js'
import { accountPages } from '../../src/account-pages/pages.js'
import { PASSKEY_ACTIONS } from '../../src/account-pages/passkeys.js'
import { SCRIPT } from '../../src/account-pages/passkeys-script.js'
import { SECURITY_ACTIONS } from '../../src/account-pages/security.js'
import { WORDS } from '../../src/account-pages/words.js'
import { baseUrlOf, pagesRoute } from '../../src/app/pages.js'
import { loadConfig } from '../../src/config/config.js'
import { Metrics } from '../../src/core/metrics.js'
import { escapeHtml } from '../../src/http/html.js'
import { preferredLocale } from '../../src/http/language.js'
import { startParts } from '../helpers/mqtt-parts.js'

const { parts } = await startParts(t)
const { services } = parts
const metrics = new Metrics()

/** A real HTTP server with one listener. */
async function serve(t: Test, listener: Parameters<typeof createServer>[1]): Promise<number> {
  const server = createServer(listener as never)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

t.test('words: both languages have all of them; the browser’s first of these counts', async t => {
  t.same(Object.keys(WORDS.en).sort(), Object.keys(WORDS['zh-TW']).sort())
  for (const [header, locale] of [
    ['en-GB,zh-TW;q=0.5', 'en'],
    ['zh-Hant-TW,en', 'zh-TW'],
    ['de, en;q=0.4', 'en'],
    ['den', 'zh-TW'],
    ['', 'zh-TW'],
    [undefined, 'zh-TW'],
  ] as const)
    t.equal(preferredLocale(header, 'zh-TW'), locale, header ?? 'none')
  t.equal(preferredLocale('x'.repeat(300), 'en'), 'en')
})

t.test('html: values are escaped; the headers let a browser do nothing but show and post it', async t => {
  const evil = `"><script>alert(1)</script>'&`
  t.equal(escapeHtml(evil), '&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&#39;&amp;')
  const port = await serve(t, (_request, response) =>
    sendPage(response, 'en', {
      title: 'verify',
      alert: 'badCode',
      status: 429,
      forms: [
        { action: 'verify', fields: [{ name: 'email', label: 'email', value: evil }], button: 'confirm' },
      ],
      other: `?x=${evil}`,
    }),
  )
  const response = await fetch(`http://127.0.0.1:${port}/`)
  const html = await response.text()
  t.notMatch(html, '<script')
  t.notMatch(html, `"><`.concat('script'))
  const header = (name: string) => response.headers.get(name)
  t.match(
    header('content-security-policy'),
    /^default-src 'none'; style-src 'sha256-[^']+'; form-action 'self'; frame-ancestors 'none'/,
  )
  t.same(
    [
      'referrer-policy',
      'cache-control',
      'x-frame-options',
      'x-content-type-options',
      'content-language',
      'retry-after',
    ].map(header),
    ['no-referrer', 'no-store', 'DENY', 'nosniff', 'en', '60'],
  )
})

t.test(
  'forms of pages: each posts to its own page, and what has a password has a mark and keeps none',
  async t => {
    t.same(Object.keys(ACTIONS), [
      ...Object.keys(LETTER_ACTIONS),
      ...Object.keys(SECURITY_ACTIONS),
      ...Object.keys(PASSKEY_ACTIONS),
    ])
    for (const [name, { page, fields, isMarked }] of Object.entries(ACTIONS)) {
      const typed: Record<string, string> = {
        secret: 'A'.repeat(32),
        passkey: '{}',
        password: 'my password',
        email: 'a@b.c',
      }
      const { forms = [] } = page(field => typed[field] ?? '', 'a mark')
      t.same(
        forms.map(form => form.action),
        [name],
      )
      const inputs = forms.flatMap(form => form.fields)
      t.notMatch(JSON.stringify(inputs), 'my password')
      if (inputs.some(({ name: input }) => input === EMAIL.name)) t.match(JSON.stringify(inputs), 'a@b.c')
      if (!fields.includes('password')) continue
      t.ok(isMarked, name)
      t.ok(
        inputs.some(input => input.name === 'mark' && input.value === 'a mark'),
        name,
      )
    }
  },
)

t.test('a page with options for a passkey has one script, by a nonce of its own', async t => {
  const options = { challenge: `"><script>alert('1')</script>` }
  const port = await serve(t, (_request, response) =>
    sendPage(response, 'en', {
      title: 'passkeys',
      forms: [{ action: 'passkeys-add', fields: [], button: 'addPasskey', options }],
    }),
  )
  const nonces = new Set<string>()
  for (let count = 0; count < 2; count++) {
    const response = await fetch(`http://127.0.0.1:${port}/`)
    const [, nonce = ''] =
      /, script-src 'nonce-([\w-]{22})'$/.exec(response.headers.get('content-security-policy') ?? '') ?? []
    nonces.add(nonce)
    const scripts = (await response.text()).match(/<script[^>]*>/g)
    t.same(scripts, [`<script src="passkeys.js" nonce="${nonce}" defer>`])
  }
  t.equal(nonces.size, 2)
})

/** A document with the form alone. @param create of navigator.credentials, in a browser without the JSON forms */
function runScript(options: object, create: (asked: never) => Promise<unknown>) {
  let submit = async (_event: object) => {}
  const button = { disabled: false }
  const failed = { hidden: true }
  const passkey = { value: '' }
  const sent: string[] = []
  const form = {
    dataset: { options: JSON.stringify(options) },
    elements: { passkey },
    nextElementSibling: failed,
    querySelector: () => button,
    addEventListener: (_name: string, listener: typeof submit) => {
      submit = listener
    },
    submit: () => sent.push(passkey.value),
  }
  const navigator = { credentials: { create } }
  const document = { querySelector: () => form }
  runInNewContext(SCRIPT, { document, navigator, PublicKeyCredential: {}, atob, btoa, Uint8Array })
  return { button, failed, sent, submit: () => submit({ preventDefault: () => undefined }) }
}

t.test(
  'the script: base64url both ways; where no passkey is made it says so and can be tried again',
  async t => {
    const bytes = (text: string) => Uint8Array.from(Buffer.from(text, 'base64url'))
    const options = { challenge: '-_8', user: { id: 'YWI', name: 'ann' }, excludeCredentials: [{ id: '_w' }] }
    const buffer = Uint8Array.from([251, 255, 191, 0]).buffer
    const response = { clientDataJSON: buffer, attestationObject: buffer }
    const made = runScript(options, async ({ publicKey }) => {
      t.same(publicKey, {
        challenge: bytes('-_8'),
        user: { id: bytes('YWI'), name: 'ann' },
        excludeCredentials: [{ id: bytes('_w') }],
      })
      return { rawId: buffer, response }
    })
    await made.submit()
    const text = '-_-_AA'
    t.same(
      made.sent.map(one => JSON.parse(one)),
      [
        {
          id: text,
          rawId: text,
          type: 'public-key',
          response: { clientDataJSON: text, attestationObject: text },
        },
      ],
    )
    const refused = runScript(options, async () => Promise.reject(new Error('NotAllowedError')))
    await refused.submit()
    t.same([refused.sent, refused.failed, refused.button], [[], { hidden: false }, { disabled: false }])
  },
)

t.test('forms: urlencoded, with a length, bounded; whole or not at all', async t => {
  const read: (string | undefined)[] = []
  let told = () => {}
  let begin = () => {}
  const port = await serve(t, (request, response) => {
    void readForm(request).then(form => {
      read.push(form?.toString())
      told()
      response.end()
    })
    request.resume().once('data', () => begin())
  })
  const type = 'application/x-www-form-urlencoded'
  const post = (body: string, contentType = type) =>
    fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body, headers: { 'content-type': contentType } })
  await post('a=1&b=%E4%B8%AD', `${type}; charset=utf-8`)
  await post('a=1', 'text/plain')
  await post(`a=${'x'.repeat(MAX_FORM_BYTES)}`)
  t.same(read.splice(0), ['a=1&b=%E4%B8%AD', undefined, undefined])
  const begun = new Promise<void>(resolve => {
    begin = resolve
  })
  const heard = new Promise<void>(resolve => {
    told = resolve
  })
  const half = request({
    port,
    host: '127.0.0.1',
    method: 'POST',
    headers: { 'content-type': type, 'content-length': 10 },
  })
  half.on('error', () => undefined)
  half.write('a=1')
  await begun
  half.destroy()
  await heard
  t.same(read, [undefined])
})

t.test(
  'forms: another website’s are told by Fetch Metadata; marks are of one address and one hour',
  async t => {
    const from = (site?: string) =>
      isFromElsewhere({ headers: { 'sec-fetch-site': site } } as unknown as IncomingMessage)
    t.same(['same-origin', 'none', undefined, 'cross-site', 'same-site'].map(from), [
      false,
      false,
      false,
      true,
      true,
    ])
    const marks = new FormMarks()
    const mark = marks.make('192.0.2.1', 0)
    t.ok(marks.isGood(mark, '192.0.2.1', 3_599_999))
    t.notOk(marks.isGood(mark, '192.0.2.1', 3_600_000))
    t.notOk(marks.isGood(mark, '192.0.2.2', 0))
    t.notOk(marks.isGood(mark.replace(/^\d+/, '9999999999999'), '192.0.2.1', 0))
    t.notOk(new FormMarks().isGood(mark, '192.0.2.1', 0))
    for (const bad of ['', '.', 'x', '1.2.3']) t.notOk(marks.isGood(bad, '192.0.2.1', 0))
  },
)

t.test('ask: the request goes by the door of all requests, and is counted', async t => {
  const visitor = { locale: 'en', address: '192.0.2.1', hasLeft: () => false } as const
  const made = { services, metrics }
  t.match(await ask(made, visitor, 'requestPasswordReset', { email: 'a@example.com' }), { code: 'SUCCESS' })
  t.match(await ask(made, visitor, 'requestPasswordReset', {}), {
    code: 'BAD_FIELD',
    info: { field: 'email' },
  })
  t.match(await ask(made, visitor, 'resetPassword', { token: 'x', newPassword: 'y' }), { code: 'ERROR_AUTH' })
  t.match(await ask(made, visitor, 'changeEmail', { password: 'x', email: 'y' }), {
    code: 'ERROR_UNAUTHORIZED',
  })
  t.match(
    await metrics.registry.metrics(),
    'mumi_requests_total{front="pages",request="requestPasswordReset",code="200"} 1',
  )
  await services.mail.idle()
})

t.test('pages: only below /account; what is no page says so', async t => {
  const route = accountPages({
    services,
    metrics,
    locale: 'en',
    onFault: (_where, thrown) => t.fail(String(thrown)),
  })
  const port = await serve(t, (request, response) => {
    if (!route(request, response, '192.0.2.1')) response.writeHead(418).end()
  })
  const get = async (path: string, options = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, options)
    return { status: response.status, html: await response.text() }
  }
  for (const [path, status] of [
    ['/', 418],
    ['/accounts', 418],
    ['/account', 200],
    ['/account/', 200],
    ['/account/forgot', 200],
    ['/account/verify', 200],
    ['/account/reset', 200],
    ['/account/resend', 200],
    ['/account/undo', 403],
    ['/account/undo?token=x', 403],
    ['/account/reset?token=%00', 403],
    ['/account/constructor', 404],
    ['/account/__proto__', 404],
    ['/account/forgot/x', 404],
  ] as const)
    t.equal((await get(path)).status, status, path)
  t.match((await get('/account/undo?lang=en')).html, WORDS.en.linkNeeded)
  t.match((await get('/account/undo?lang=en&token=x')).html, WORDS.en.badLink)
  t.match((await get('/account')).html, 'href="account/forgot"')
  t.match((await get('/account/')).html, 'href="forgot"')
  t.match((await get('/account?lang=zh-TW')).html, '忘記密碼')
  t.equal((await get('/account/forgot', { method: 'PUT', body: 'x' })).status, 405)
  t.equal((await get('/account/forgot', { method: 'POST', body: '{}' })).status, 400)
  t.equal((await get('/account/none', { method: 'POST', body: new URLSearchParams('a=b') })).status, 404)
  const form = (path: string, fields: Record<string, string>, headers = {}) =>
    get(path, { method: 'POST', body: new URLSearchParams({ lang: 'en', ...fields }), headers })
  t.match(await form('/account/forgot', { email: 'a@example.com' }), { status: 403, html: WORDS.en.oldForm })
  const mark = /name="mark" value="([^"]*)"/.exec((await get('/account/forgot')).html)?.[1] ?? ''
  t.match(await form('/account/forgot', { mark, email: '' }), { status: 400, html: WORDS.en.missing })
  t.match(await form('/account/forgot', { mark, email: 'a@example.com' }), {
    status: 200,
    html: WORDS.en.sent,
  })
  t.match(await form('/account/resend', { mark, email: 'a@example.com' }), {
    status: 200,
    html: WORDS.en.sent,
  })
  t.match(await form('/account/reset', { token: 'x'.repeat(9000), newPassword: 'a', repeat: 'a' }), {
    status: 400,
  })
  t.match(
    await form('/account/reset', { email: 'a@example.com', code: 'x', newPassword: 'a', repeat: 'a' }),
    { status: 403, html: WORDS.en.badCode },
  )
  const foreign = { 'sec-fetch-site': 'cross-site' }
  t.match(await form('/account/forgot', { mark, email: 'a@example.com' }, foreign), {
    status: 403,
    html: WORDS.en.foreign,
  })
  await services.mail.idle()
})

t.test('the place of links is the config’s, or an address of this machine', async t => {
  const config = (...argv: string[]) => loadConfig({ argv, env: {} })
  const at = (address: string, family = 'IPv4') => ({ address, family, port: 8080 })
  t.equal(baseUrlOf(config(), at('127.0.0.1')), 'http://127.0.0.1:8080')
  t.equal(baseUrlOf(config(), at('::1', 'IPv6')), 'http://[::1]:8080')
  t.equal(baseUrlOf(config(), at('0.0.0.0')), undefined)
  t.equal(baseUrlOf(config(), undefined), undefined)
  t.equal(
    baseUrlOf(config('--http.publicUrl=https://chat.example/x'), at('0.0.0.0')),
    'https://chat.example/x',
  )
  t.equal(baseUrlOf(config('--tls.cert=a', '--tls.key=b'), at('127.0.0.1')), 'https://127.0.0.1:8080')
  const route = pagesRoute(services, metrics, config('--accounts.pages=false'), () => t.fail())
  t.equal(route({ url: '/account' } as IncomingMessage, {} as never), false)
  for (const url of [
    'chat.example',
    'https://a:b@chat.example',
    'https://chat.example/',
    'https://chat.example?x',
    'ftp://chat.example',
  ])
    t.throws(() => config(`--http.publicUrl=${url}`), /http\.publicUrl/, url)
  for (const argv of [
    ['--mail.url=http://x', '--mail.from=a@b.c'],
    ['--mail.url=smtp://x'],
    ['--mail.url=smtp:', '--mail.from=a@b.c'],
  ])
    t.throws(() => config(...argv), /mail\./, argv.join(' '))
})
