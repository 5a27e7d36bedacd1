import t, { type Test } from 'tap'
import { loggedIn, mqttClient, register, startGateway, type TestAccount } from '../helpers/gateway.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'
import { minted } from '../helpers/tokens.js'

const gateway = await startGateway(t)
const ann = await register(t, gateway)
const owner = await loggedIn(t, gateway, ann)

const connack = async (t: Test, { id }: TestAccount, clientId: string, password: string) => {
  const login = { username: id, password: Buffer.from(password) }
  return (await rawConnect(t, gateway, { ...login, clientId })).connack.returnCode
}

/** The code of the reply to one request over MQTT. */
async function request(client: RawMqtt, userId: string, body: object): Promise<number> {
  client.publish(`users/${userId}/requests`, JSON.stringify(body))
  return JSON.parse((await client.take('publish')).payload.toString()).code
}

t.test('a credential lets in its client id of its account, and nobody else', async t => {
  const { password } = await minted(owner, 'lamp')
  const bob = await register(t, gateway)
  t.equal(await connack(t, ann, 'lamp', password), 0)
  t.equal(await connack(t, ann, 'other', password), 4)
  t.equal(await connack(t, bob, 'lamp', password), 4)
  t.equal(await connack(t, ann, 'lamp', `${password.slice(0, -4)}AAAA`), 4)
  const json = await loggedIn(t, gateway)
  await json.action('logout')
  t.match(await json.action('login', { token: password }), { code: 10000 }, 'MQTT only')
  t.match(await json.action('login', { email: ann.email, password }), { code: 10000 })
})

t.test('minting again replaces it, revoking ends it, and each ends its connection', async t => {
  const one = await minted(owner, 'pump')
  const options = { username: ann.email, clientId: 'pump' }
  const first = await mqttClient(t, gateway, { ...options, password: one.password })
  const firstGone = new Promise<void>(resolve => first.mqtt.once('close', () => resolve()))
  const two = await minted(owner, 'pump')
  await firstGone
  t.equal(await connack(t, ann, 'pump', one.password), 4)
  const second = await mqttClient(t, gateway, { ...options, password: two.password })
  const secondGone = new Promise<void>(resolve => second.mqtt.once('close', () => resolve()))
  t.match(await owner.action('revoke', { session: two.session }), { code: 200, data: { revoked: 1 } })
  await secondGone
  t.equal(await connack(t, ann, 'pump', two.password), 4)
})

t.test('a device reads its owner’s inbox and sends messages', async t => {
  const { password } = await minted(owner, 'bell')
  const bell = await mqttClient(t, gateway, { username: ann.id, password, clientId: 'bell' })
  await bell.mqtt.subscribeAsync(`users/${ann.id}/inbox/#`, { qos: 1 })
  await bell.mqtt.publishAsync(`users/${ann.id}/inbox`, 'ding', { qos: 1 })
  t.match(JSON.parse((await bell.next()).payload), { sender: ann.id, content: 'ding' })
})

t.test('a device cannot manage the account: no password, logins, credentials, deletion', async t => {
  const ann = await register(t, gateway)
  const { password } = await minted(await loggedIn(t, gateway, ann), 'thief')
  const login = { username: ann.id, password: Buffer.from(password), clientId: 'thief' }
  const device = await rawConnect(t, gateway, login)
  await device.subscribe(`users/${ann.id}/replies`, 0)
  const forbidden: [string, object][] = [
    ['password', { password: ann.password, newPassword: 'mine now' }],
    ['delete', { password: ann.password }],
    ['mint', { device: 'another' }],
    ['sessions', {}],
    ['revoke', { others: true }],
  ]
  for (const [action, data] of forbidden)
    t.equal(await request(device, ann.id, { type: 'action', action, data }), 10110, action)
  t.equal(await request(device, ann.id, { type: 'action', action: 'query', data: { id: ann.id } }), 200)
})

t.test('a person asks for the same over MQTT and gets it; logout closes', async t => {
  const login = { username: ann.id, password: Buffer.from(ann.password), clientId: 'person' }
  const person = await rawConnect(t, gateway, login)
  await person.subscribe(`users/${ann.id}/replies`, 0)
  t.equal(await request(person, ann.id, { type: 'action', action: 'sessions' }), 200)
  t.equal(await request(person, ann.id, { type: 'action', action: 'login', data: { token: 'x' } }), 10005)
  person.publish(`users/${ann.id}/requests`, '{"type":"action","action":"logout"}')
  await person.closed
})
