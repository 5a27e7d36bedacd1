/** Accounts confirm their address: what may be done until then, by a real SMTP server and real clients of both protocols. */
import t from 'tap'
import { jsonClient, loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'
import { mailServer } from '../helpers/mail.js'

const server = await mailServer(t)
const settings = { 'mail.url': server.url, 'mail.from': 'MumiChat <mumi@example.com>' }
const tokenOf = (link: string) => new URL(link).searchParams.get('token') ?? ''

t.test('required: no login by any way, until the letter’s link or code was used', async t => {
  const gateway = await startGateway(t, { ...settings, 'accounts.verify': 'required' })
  const ann = await register(t, gateway)
  const letter = await server.next()
  t.match(letter.to, ann.email)
  t.match(letter.headers, /^From: MumiChat <mumi@example\.com>/m)
  const client = await jsonClient(t, gateway)
  const { email, password } = ann
  t.match(await client.action('login', { email, password }), { code: 10140, data: null })
  t.match(await client.action('login', { email, password: 'wrong' }), { code: 10000 })
  await t.rejects(mqttClient(t, gateway, { username: email, password }), { code: 5 })
  await t.rejects(mqttClient(t, gateway, { username: email, password, protocolVersion: 5 }), { code: 0x87 })
  t.match(await client.action('resendVerification', { email }), { code: 200 })
  const second = await server.next()
  t.match(await client.action('verifyEmail', { token: tokenOf(letter.link) }, 'v'), {
    code: 10000,
    data: { field: 'token' },
  })
  const page = await (await fetch(second.link)).text()
  t.match(page, /<form method="post" action="verify">/)
  t.match(await client.action('login', { email, password }), { code: 10140 }, 'a GET confirms nothing')
  const form = new URLSearchParams({ token: tokenOf(second.link), lang: 'en' })
  const post = () => fetch(`${gateway.http}/account/verify`, { method: 'POST', body: form })
  t.equal((await post()).status, 200)
  t.equal((await post()).status, 403, 'once')
  t.match(await client.action('login', { email, password }), { code: 202 })
  await mqttClient(t, gateway, { username: email, password })
  const bob = await register(t, gateway)
  const { code } = await server.next()
  const other = await jsonClient(t, gateway)
  t.match(await other.action('verifyEmail', { email: bob.email, code: 'AAAAA-AAAAA' }), { code: 10000 })
  t.match(await other.action('verifyEmail', { email: bob.email, code }), { code: 200 })
  t.match(await other.action('login', { email: bob.email, password: bob.password }), { code: 202 })
})

t.test('soft: everything but broadcasts; a confirmation counts at once', async t => {
  const gateway = await startGateway(t, { ...settings, 'accounts.verify': 'soft' })
  const ann = await register(t, gateway)
  const bob = await register(t, gateway)
  const letter = await server.next()
  await server.next()
  const client = await loggedIn(t, gateway, ann)
  const reader = await loggedIn(t, gateway, bob)
  t.match(await client.ask({ type: 'message', data: { recipient: bob.id, content: 'hello' } }), { code: 201 })
  t.match(await reader.next(), { content: 'hello' })
  t.match(await client.ask({ type: 'broadcast', data: { content: 'all' } }), { code: 10140, data: null })
  t.match(await client.action('verifyEmail', { token: tokenOf(letter.link) }), { code: 200 })
  t.match(await client.ask({ type: 'broadcast', data: { content: 'all' } }), { code: 204 })
  t.match(await reader.next(), { content: 'all' })
})

t.test(
  'off: no letter to those who register; another address is confirmed, told, and taken back',
  async t => {
    const gateway = await startGateway(t, settings)
    const ann = await register(t, gateway)
    const client = await loggedIn(t, gateway, ann)
    t.match(await client.action('language', { language: 'en' }), { code: 200 })
    t.match(await client.action('changeEmail', { password: ann.password, email: 'new@example.com' }), {
      code: 200,
    })
    const change = await server.next()
    t.match(change.to, 'new@example.com', 'the first letter of this gateway')
    t.match(change.subject, 'Confirm your new address')
    t.match(await client.action('verifyEmail', { code: change.code }), { code: 200 })
    const told = await server.next()
    t.match([told.to, told.subject], [new RegExp(ann.email), 'was changed'])
    const taken = await jsonClient(t, gateway)
    const registration = { email: ann.email, password: 'x', firstName: 'a', lastName: 'b' }
    t.match(
      await taken.action('register', registration),
      { code: 10003 },
      'nobody else gets the address meanwhile',
    )
    t.match(await (await fetch(told.link)).text(), /Take the change of your email address back/)
    const fields = { token: tokenOf(told.link), lang: 'en', newPassword: 'owner', repeat: 'owner' }
    const undone = await fetch(`${gateway.http}/account/undo`, {
      method: 'POST',
      body: new URLSearchParams(fields),
    })
    t.equal(undone.status, 200)
    t.match(await client.closed, [4501])
    t.match(await taken.action('login', { email: 'new@example.com', password: 'owner' }), { code: 10000 })
    t.match(await taken.action('login', { email: ann.email, password: 'owner' }), { code: 202 })
  },
)

t.test('limits: an address asks for so many letters, and a recipient gets so many', async t => {
  const gateway = await startGateway(t, {
    ...settings,
    'limits.exempt': '',
    'limits.mails': 4,
    'limits.mailsPerRecipient': 2,
    'limits.warnings': 100,
  })
  const ann = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  const ask = (email: string) => client.action('requestPasswordReset', { email }, 'r')
  t.match(await ask(ann.email), { code: 200 })
  await server.next()
  t.match(await ask(ann.email), { code: 200 })
  await server.next()
  t.match(await ask(ann.email.toUpperCase()), { code: 200 }, 'nobody is told')
  t.match(await ask('nobody@example.com'), { code: 200 })
  t.match(await ask('nobody@example.com'), { code: 10141 })
  await gateway.logged('mail.dropped')
  const text = await (await fetch(`${gateway.http}/metrics`)).text()
  t.match(text, 'mumi_limited_total{limit="limits.mails"} 1')
  t.match(text, 'mumi_limited_total{limit="limits.mailsPerRecipient"} 1')
  t.match(text, 'mumi_mails_total{outcome="sent"} 2')
})
