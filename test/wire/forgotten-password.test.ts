/** A forgotten password, over real HTTP and by JSON requests, with letters in files. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { askAdmin } from '../helpers/admin.js'
import { jsonClient, loggedIn, type RunningGateway, register, startGateway } from '../helpers/gateway.js'
import { MailFolder } from '../helpers/mail.js'

const auditFile = join(t.testdir(), 'audit.log')
const gateway = await startGateway(t, {
  'audit.file': auditFile,
  'limits.mails': 1000,
  'limits.mailsPerRecipient': 50,
})
const mail = new MailFolder(join(gateway.dir, 'mail'))

const fieldsOf = (html: string): Record<string, string> =>
  Object.fromEntries(
    [...html.matchAll(/<input[^>]*name="([^"]*)" value="([^"]*)"/g)].map(([, name = '', value = '']) => [
      name,
      value,
    ]),
  )

async function open(path: string, { http }: RunningGateway = gateway) {
  const response = await fetch(`${http}${path}`)
  const html = await response.text()
  return { status: response.status, headers: response.headers, html, fields: fieldsOf(html) }
}

async function post(path: string, fields: Record<string, string>, headers: Record<string, string> = {}) {
  const response = await fetch(`${gateway.http}${path}`, {
    method: 'POST',
    body: new URLSearchParams(fields),
    headers,
  })
  const html = await response.text()
  return { status: response.status, html, fields: fieldsOf(html) }
}

/** Asks for a letter on the page, as a person does. */
async function askOnPage(email: string) {
  const { fields } = await open('/account/forgot?lang=en')
  const sent = await post('/account/forgot', { ...fields, email })
  return { sent, letter: () => mail.next(email) }
}

async function logIn(t: Test, email: string, password: string): Promise<number> {
  const client = await jsonClient(t, gateway)
  const { code } = await client.action('login', { email, password })
  await client.close()
  return code
}

t.test('by the link: the page sets a password, ends every session, and the link is good once', async t => {
  const ann = await register(t, gateway)
  const open1 = await loggedIn(t, gateway, ann)
  const { sent, letter } = await askOnPage(ann.email)
  t.equal(sent.status, 200)
  t.match(sent.html, 'If an account has this address')
  const { link, text, html, code, headers, subject } = await letter()
  t.match(subject, '新的 MumiChat 密碼', 'in the language of the account: the default')
  t.match(link, new RegExp(`^${gateway.http}/account/reset\\?lang=zh-TW&token=mpr_${ann.id}_`))
  t.match(headers, /Auto-Submitted: auto-generated/)
  t.ok(html.includes(link.replaceAll('&', '&amp;')) && text.includes(code) && html.includes(code))
  t.match(text, '您伺服器的網頁 /account/reset，', 'it says where the code goes')
  const path = link.slice(gateway.http.length)
  // A mail scanner opens the link, and so does the person.
  for (let i = 0; i < 3; i++) t.equal((await open(path)).status, 200)
  await fetch(link, { method: 'HEAD' })
  const { fields } = await open(path.replace('zh-TW', 'en'))
  const different = await post('/account/reset', { ...fields, newPassword: 'a new one', repeat: 'another' })
  t.equal(different.status, 400)
  t.match(different.html, 'not the same')
  t.equal(different.fields.token, fields.token, 'the page still has the link')
  const done = await post('/account/reset', { ...fields, newPassword: 'a new one', repeat: 'a new one' })
  t.equal(done.status, 200)
  t.match(done.html, 'Your password is set')
  t.match(await open1.closed, [4501])
  t.equal(await logIn(t, ann.email, ann.password), 10000)
  t.equal(await logIn(t, ann.email, 'a new one'), 202)
  const again = await post('/account/reset', { ...fields, newPassword: 'a third', repeat: 'a third' })
  t.equal(again.status, 403)
  t.match(again.html, 'was used, or has expired')
  t.equal((await open(path)).status, 403)
  t.match((await mail.next(ann.email)).subject, '密碼已變更')
  t.equal(await logIn(t, ann.email, 'a new one'), 202)
})

t.test('by the code, however it is typed, on the page behind the form', async t => {
  const bob = await register(t, gateway)
  const { sent, letter } = await askOnPage(bob.email)
  t.equal(sent.fields.email, bob.email)
  const { code } = await letter()
  const typed = ` ${code.toLowerCase().replace('-', ' ').replaceAll('0', 'o').replaceAll('1', 'l')} `
  const passwords = { newPassword: 'by code', repeat: 'by code' }
  const wrong = await post('/account/reset', { ...sent.fields, code: 'AAAAA-AAAAA', ...passwords })
  t.equal(wrong.status, 403)
  t.match(wrong.html, 'That code is wrong')
  const done = await post('/account/reset', { ...sent.fields, code: typed, ...passwords })
  t.equal(done.status, 200)
  t.equal(await logIn(t, bob.email, 'by code'), 202)
  t.equal((await post('/account/reset', { ...sent.fields, code: typed, ...passwords })).status, 403)
  await mail.next(bob.email)
})

t.test('by JSON requests; a new letter makes the one before void', async t => {
  const eve = await register(t, gateway)
  const client = await jsonClient(t, gateway, '/?lang=en')
  const ask = async () => {
    t.match(await client.action('requestPasswordReset', { email: eve.email }, 'r'), { code: 200, data: null })
    return mail.next(eve.email)
  }
  const first = await ask()
  const second = await ask()
  const reset = (data: object) => client.action('resetPassword', { newPassword: 'next', ...data }, 'p')
  const token = (link: string) => new URL(link).searchParams.get('token') ?? ''
  t.match(await reset({ token: token(first.link) }), { code: 10000, data: { field: 'token' } })
  t.match(await reset({ email: eve.email, code: first.code }), { code: 10000, data: { field: 'code' } })
  t.match(await reset({ email: 'nobody@example.com', code: second.code }), {
    code: 10000,
    data: { field: 'code' },
  })
  t.match(await reset({ token: token(second.link), newPassword: '\u0007' }), {
    code: 10101,
    data: { field: 'newPassword' },
  })
  t.match(await reset({ code: second.code }), { code: 10101, data: { field: 'email' } })
  t.match(await reset({}), { code: 10101, data: { field: 'code' } })
  t.match(await reset({ token: token(second.link) }), { code: 200 })
  t.equal(await logIn(t, eve.email, 'next'), 202)
  await mail.next(eve.email)
})

t.test('a stranger learns nothing: the same answer for every address, and no letter', async t => {
  const ann = await register(t, gateway)
  const { sent, letter } = await askOnPage(ann.email)
  const other = await askOnPage('nobody@example.com')
  const without = (html: string) => html.replaceAll(ann.email, '').replaceAll('nobody@example.com', '')
  t.equal(without(other.sent.html), without(sent.html))
  await letter()
  t.same(mail.unread(), [])
})

t.test('links have no host of a request, and secrets are in no log', async t => {
  const ann = await register(t, gateway)
  const { fields } = await open('/account/forgot')
  const body = new URLSearchParams({ ...fields, email: ann.email })
  const evil = { host: 'evil.example', 'x-forwarded-host': 'evil.example', forwarded: 'host=evil.example' }
  const { request } = await import('node:http')
  await new Promise<void>((resolve, reject) => {
    const headers = {
      ...evil,
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': Buffer.byteLength(`${body}`),
    }
    const post = request(`${gateway.http}/account/forgot`, { method: 'POST', headers }, response => {
      response.resume().on('end', resolve)
    })
    post.on('error', reject).end(`${body}`)
  })
  const { link, raw, code } = await mail.next(ann.email)
  t.match(link, new RegExp(`^${gateway.http}/account/`))
  t.notMatch(raw, 'evil.example')
  await open(link.slice(gateway.http.length))
  const token = new URL(link).searchParams.get('token') ?? ''
  await post('/account/reset', { token, newPassword: 'x1', repeat: 'x1' })
  await mail.next(ann.email)
  const audit = readFileSync(auditFile, 'utf8')
  for (const written of [JSON.stringify(gateway.logs), audit]) {
    t.notMatch(written, token)
    t.notMatch(written, code)
    t.notMatch(written, ann.email)
  }
  t.match(audit, '"event":"password.reset"')
})

t.test(
  'an operator who gives an account a new password, or disables it, takes a thief’s letters back',
  async t => {
    const tokenOf = (link: string) => new URL(link).searchParams.get('token') ?? ''
    for (const act of ['user.reset-password', 'user.disable']) {
      const ann = await register(t, gateway)
      const thief = await loggedIn(t, gateway, ann)
      const address = `thief.${ann.email}`
      t.match(await thief.action('changeEmail', { password: ann.password, email: address }), { code: 200 })
      const change = await mail.next(address)
      t.match(await askAdmin(gateway, act, { user: ann.id }), { code: 200 })
      const client = await jsonClient(t, gateway)
      const refused = { code: 10000, data: { field: 'token' } }
      t.match(await client.action('verifyEmail', { token: tokenOf(change.link) }, 'v'), refused, act)
      t.match(await askAdmin(gateway, 'user.show', { user: ann.id }), { data: { email: ann.email } })
      if (act === 'user.reset-password') await mail.next(ann.email)
      else {
        const asked = await askAdmin(gateway, 'user.reset-password', { user: ann.id, mail: true })
        t.match(asked, { code: 10101, data: { field: 'user', reason: 'is disabled: enable it first' } })
      }
      await client.close()
    }
    const eve = await register(t, gateway)
    const thief = await loggedIn(t, gateway, eve)
    const address = `thief.${eve.email}`
    t.match(await thief.action('changeEmail', { password: eve.password, email: address }), { code: 200 })
    const change = await mail.next(address)
    t.match(await askAdmin(gateway, 'user.reset-password', { user: eve.id, mail: true }), { code: 200 })
    await mail.next(eve.email)
    t.match(await thief.action('verifyEmail', { token: tokenOf(change.link) }), { code: 10000 })
  },
)

t.test('a wrong code for an address is in the audit', async t => {
  const ann = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  const { email } = ann
  t.match(await client.action('verifyEmail', { email, code: 'AAAAA-AAAAA' }), { code: 10000 })
  const line = /"event":"email.verify-refused".*"code":10000|"code":10000.*"event":"email.verify-refused"/
  while (!line.test(readFileSync(auditFile, 'utf8'))) await new Promise(setImmediate)
  t.notMatch(readFileSync(auditFile, 'utf8'), 'AAAAA')
})
