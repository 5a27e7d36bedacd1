/** accounts.deletionGrace: a deleted account stays for a time, and a login takes the deletion back. */
import { join } from 'node:path'
import t from 'tap'
import { askAdmin } from '../helpers/admin.js'
import { authenticator } from '../helpers/factor.js'
import { dataDir, jsonClient, loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'
import { MailFolder } from '../helpers/mail.js'
import { SoftPasskey } from '../helpers/passkey.js'
import { minted } from '../helpers/tokens.js'

const password = 'correct horse'
const shown = async (dir: string, id: string) => (await askAdmin({ dir }, 'user.show', { user: id })).data

t.test('all logins end at once; messages still come; a login keeps the account', async t => {
  const dir = dataDir(t)
  const gateway = await startGateway(t, { 'data.dir': dir, 'accounts.deletionGrace': '1h' })
  const [ann, bob] = [await register(t, gateway), await loggedIn(t, gateway)]
  const client = await loggedIn(t, gateway, ann)
  const phone = {
    username: ann.id,
    clientId: 'phone',
    password: (await minted(client, 'phone')).password,
  }
  await mqttClient(t, gateway, phone)
  t.match(await client.action('delete', { password: 'wrong' }), { code: 10000 })
  t.notMatch(await shown(dir, ann.id), { deleted_at: String })
  t.match(await client.action('delete', { password }, 'i'), {
    code: 200,
    data: { deleted_at: /^\d{4}-.*Z$/ },
  })
  const [code] = await client.closed
  t.equal(code, 4501)
  t.match(await shown(dir, ann.id), { deleted_at: /Z$/, logins: 0 })
  await t.rejects(mqttClient(t, gateway, phone), 'credentials are void')
  t.match(await shown(dir, ann.id), { deleted_at: /Z$/ }, 'and keep nothing')
  t.match(await (await jsonClient(t, gateway)).action('login', { email: ann.email, password: 'x' }), {
    code: 10000,
  })
  t.match(await shown(dir, ann.id), { deleted_at: /Z$/ }, 'nor does a wrong password')
  t.match(await bob.ask({ type: 'message', data: { recipient: ann.id, content: 'stay' } }), { code: 201 })
  const again = await loggedIn(t, gateway, ann)
  t.match(await again.next(), { content: 'stay' })
  t.notMatch(await shown(dir, ann.id), { deleted_at: String })
})

t.test('when its time is over it is removed, by the next start', async t => {
  const dir = dataDir(t)
  const settings = { 'data.dir': dir, 'accounts.deletionGrace': '1ms' }
  const gateway = await startGateway(t, settings)
  const ann = await register(t, gateway)
  const client = await loggedIn(t, gateway, ann)
  t.strictSame(await client.action('delete', { password }), { code: 200, msg: '操作成功', data: null })
  await client.closed
  t.match(await shown(dir, ann.id), { id: ann.id }, 'until the next round')
  const late = await jsonClient(t, gateway)
  t.match(await late.action('login', { email: ann.email, password }), { code: 10000 }, 'nor is it kept')
  await gateway.close()
  // Also where the grace is none by now.
  const next = await startGateway(t, { 'data.dir': dir })
  const guest = await jsonClient(t, next)
  const find = async () => {
    const { data } = await guest.action('query', { email: ann.email })
    return (data as unknown[]).length
  }
  while ((await find()) > 0) await new Promise(setImmediate)
  t.match(await guest.action('login', { email: ann.email, password }), { code: 10000 })
})

t.test('until its owner logs in, nothing but a letter changes an account that is to be removed', async t => {
  const dir = dataDir(t)
  const gateway = await startGateway(t, { 'data.dir': dir, 'accounts.deletionGrace': '1h' })
  const mail = new MailFolder(join(dir, 'mail'))
  const ann = await register(t, gateway)
  const { email } = ann
  const client = await loggedIn(t, gateway, ann)
  const begun = await client.action('beginSecondFactor', { password }, 'b')
  const { secret } = begun.data as { secret: string }
  const { data } = await client.action('beginPasskey', { password }, 'k')
  const soft = new SoftPasskey({ rpId: 'localhost', origin: `http://localhost:${gateway.httpPort}` })
  const passkey = soft.register(data as Parameters<SoftPasskey['register']>[0])
  t.equal((await client.action('delete', { password })).code, 200)
  await client.closed
  const guest = await jsonClient(t, gateway)
  for (const [action, more] of [
    ['mintAppPassword', { name: 'clock' }],
    ['beginSecondFactor', {}],
    ['removeSecondFactor', {}],
    ['renewRecoveryCodes', {}],
  ] as const)
    t.match(await guest.action(action, { email, password, ...more }, 'x'), { code: 10110 }, action)
  t.match(await guest.action('mintAppPassword', { email, password: 'x', name: 'clock' }), { code: 10000 })
  const code = authenticator(secret)()
  t.match(await guest.action('confirmSecondFactor', { email, secret, code }, 'c'), { code: 10000 })
  t.match(await guest.action('addPasskey', { email, name: 'phone', passkey }, 'k'), { code: 10000 })
  await guest.action('requestPasswordReset', { email })
  const letter = await mail.next(email)
  const reset = { email, code: letter.code, newPassword: 'another horse' }
  t.match(await guest.action('resetPassword', reset), { code: 200 })
  t.match(await shown(dir, ann.id), { deleted_at: /Z$/, logins: 0 }, 'a letter lets nobody in')
  t.match(await guest.action('login', { email, password: 'another horse' }), { code: 202 })
  t.notMatch(await shown(dir, ann.id), { deleted_at: String })
})
