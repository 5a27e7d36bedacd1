/** User names end to end: who has one, logs in by it, gets messages by it, and changes it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { dataDir, jsonClient, loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'

const dir = dataDir(t)
const audit = join(dir, 'audit.log')
const gateway = await startGateway(t, {
  'data.dir': dir,
  'audit.file': audit,
  'sessions.multiple': 'allow',
  'limits.registrations': 1000,
})
const PASSWORD = 'correct horse'
let made = 0

async function registerAs(t: Test, username: string) {
  const client = await jsonClient(t, gateway)
  const email = `named${++made}@example.com`
  const data = { email, password: PASSWORD, firstName: 'F', lastName: 'L', username }
  const reply = await client.action('register', data, 'r')
  await client.close()
  return { reply, account: { email, password: PASSWORD, id: (reply.data as { id: string }).id } }
}

t.test('registered with a name, an account is found and logs in by it, in every spelling', async t => {
  const { account } = await registerAs(t, 'Annie')
  const reader = await loggedIn(t, gateway)
  for (const username of ['Annie', 'annie', 'ＡＮＮＩＥ']) {
    t.match(await reader.action('query', { username }), { data: [{ id: account.id, username: 'Annie' }] })
    const client = await jsonClient(t, gateway)
    t.match(await client.action('login', { email: username, password: PASSWORD }, 'l'), {
      code: 202,
      data: { id: account.id },
    })
    const device = await mqttClient(t, gateway, { username, password: PASSWORD, clientId: `d${username}` })
    await device.mqtt.subscribeAsync(`users/${account.id}/replies`, { qos: 1 })
  }
  const client = await jsonClient(t, gateway)
  const wrong = await client.action('login', { email: 'annie', password: 'wrong' })
  const nobody = await client.action('login', { email: 'nobody-here', password: 'wrong' })
  t.equal(wrong.code, 10000)
  t.same(nobody, wrong, 'as one that nobody has')
})

t.test('a message may name its recipient; it has the id', async t => {
  const { account } = await registerAs(t, 'Recipient')
  const [sender, recipient] = [await loggedIn(t, gateway), await loggedIn(t, gateway, account)]
  const send = (to: string, content: string) =>
    sender.ask({ type: 'message', id: content, data: { recipient: to, content } })
  // The first asks the store, the others do not.
  for (const [i, name] of ['recipient', 'recipient', 'RECIPIENT', account.id].entries()) {
    t.equal((await send(name, `m${i}`)).code, 201)
    t.match(await recipient.next(), { sender: sender.userId, recipient: account.id, content: `m${i}` })
  }
  const repeated = await send('Recipient', 'm0')
  t.equal(repeated.code, 201)
  for (const name of [
    'nobody-here',
    'r3cipient',
    '',
    ' ',
    'a@b',
    'x'.repeat(10_000),
    '000000000',
    '__proto__',
  ])
    t.equal((await send(name, 'x')).code, 10010, name.slice(0, 20))
  t.same(recipient.unread, [])
})

t.test('a request over MQTT may name its recipient, too', async t => {
  const { account } = await registerAs(t, 'over-mqtt')
  const recipient = await loggedIn(t, gateway, account)
  const sender = await register(t, gateway)
  const device = await mqttClient(t, gateway, {
    ...{ username: sender.email, password: sender.password, clientId: 'd' },
  })
  await device.mqtt.subscribeAsync(`users/${sender.id}/replies`, { qos: 1 })
  const request = { type: 'message', id: '1', data: { recipient: 'over-mqtt', content: 'hello' } }
  await device.mqtt.publishAsync(`users/${sender.id}/requests`, JSON.stringify(request), { qos: 1 })
  t.match(JSON.parse((await device.next()).payload), { code: 201, id: '1' })
  t.match(await recipient.next(), { recipient: account.id, content: 'hello' })
})

t.test('names are refused with a number and a reason', async t => {
  await registerAs(t, 'the-bank')
  const refusals: [string, number, string][] = [
    ['The-Bank', 10003, 'username'],
    ['thе-bаnk', 10003, 'username'],
    ['admin', 10101, 'username'],
    ['аdmin', 10101, 'username'],
    ['271693512', 10101, 'username'],
    ['ann@example.com', 10101, 'username'],
    ['a b', 10101, 'username'],
    ['a'.repeat(65), 10103, 'username'],
  ]
  const owner = await loggedIn(t, gateway)
  for (const [username, code, field] of refusals) {
    const { reply } = await registerAs(t, username)
    // Old clients know 10003, and no `data` with it.
    t.match(reply, { code, data: { field } }, username)
    t.match(await owner.action('profile', { username }, 'p'), { code, data: { field } }, username)
  }
})

t.test(
  'a profile is changed by its owner, field by field, and is in the audit without what it is',
  async t => {
    const { account } = await registerAs(t, 'before')
    const [owner, other] = [await loggedIn(t, gateway, account), await loggedIn(t, gateway)]
    const key = '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEA\n-----END PUBLIC KEY-----\n'
    t.match(await owner.action('profile', { firstName: '安', lastName: 'Lee', language: 'en', key }, 'p'), {
      code: 200,
      data: { id: account.id, username: 'before', firstName: '安', lastName: 'Lee', key, password: '' },
    })
    t.match(await owner.action('profile', { username: 'After' }), { code: 200, data: null })
    t.match(await other.action('query', { id: account.id }), {
      data: [{ username: 'After', firstName: '安', key }],
    })
    t.match(await other.action('query', { firstName: '安' }), { data: [{ id: account.id }] })
    t.same((await other.action('query', { username: 'before' })).data, [])
    t.equal((await other.ask({ type: 'message', data: { recipient: 'before', content: 'x' } })).code, 10010)
    t.equal((await other.action('profile', { username: 'before' })).code, 10003, 'kept for its owner')
    t.equal((await other.ask({ type: 'message', data: { recipient: 'after', content: 'x' } })).code, 201)
    t.match(await owner.next(), { content: 'x' })
    t.equal((await owner.action('profile', { username: 'before', key: '' })).code, 200, 'and hers again')
    for (const [data, code] of [
      [{}, 10101],
      [{ key: 'ключ' }, 10101],
      [{ key: 'x'.repeat(1025) }, 10103],
      [{ firstName: '' }, 10101],
      [{ language: 'de' }, 10101],
      [{ role: 'admin' }, 10101],
      [{ email: 'x@example.com' }, 10101],
    ] as const)
      t.equal((await owner.action('profile', data)).code, code, JSON.stringify(data).slice(0, 40))
    const stranger = await jsonClient(t, gateway)
    t.equal((await stranger.action('profile', { firstName: 'x' })).code, 10007)
    const lines = readFileSync(audit, 'utf8')
      .split('\n')
      .filter(line => line.includes('profile.changed'))
    t.match(JSON.parse(lines[0] ?? ''), {
      event: 'profile.changed',
      userId: account.id,
      front: 'json',
      fields: 'firstName,lastName,language,key',
    })
    t.notMatch(lines.join(), /安|before|MCow/)
  },
)

t.test('a device’s credential changes no profile', async t => {
  const { account } = await registerAs(t, 'minted')
  const owner = await loggedIn(t, gateway, account)
  const { data } = await owner.action('mint', { device: 'lamp' })
  const { password } = data as { password: string }
  const device = await mqttClient(t, gateway, { username: 'Minted', password, clientId: 'lamp' })
  await device.mqtt.subscribeAsync(`users/${account.id}/replies`, { qos: 1 })
  const request = { type: 'action', action: 'profile', id: '1', data: { username: 'stolen' } }
  await device.mqtt.publishAsync(`users/${account.id}/requests`, JSON.stringify(request), { qos: 1 })
  t.match(JSON.parse((await device.next()).payload), { code: 10110, id: '1' })
})

t.test('the name of a deleted account is nobody’s', async t => {
  const { account } = await registerAs(t, 'leaver')
  const [owner, sender] = [await loggedIn(t, gateway, account), await loggedIn(t, gateway)]
  const send = () => sender.ask({ type: 'message', data: { recipient: 'leaver', content: 'x' } })
  t.equal((await send()).code, 201)
  t.match(await owner.next(), { content: 'x' })
  t.equal((await owner.action('delete', { password: PASSWORD })).code, 200)
  await owner.closed
  t.equal((await send()).code, 10010)
  t.match((await registerAs(t, 'Leaver')).reply, { code: 10003 })
})
