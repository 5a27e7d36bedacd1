/** Every cell of the table of permissions in docs/security.md, against a running gateway. */
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import {
  dataDir,
  jsonClient,
  loggedIn,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { minted } from '../helpers/tokens.js'

const DOCUMENT = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8')
const ROLES = ['anonymous', 'user', 'device', 'admin'] as const
type Role = (typeof ROLES)[number]

interface Row {
  readonly way: string
  readonly what: string
  readonly rights: Readonly<Record<Role, string>>
}

const [, table = ''] = /<!-- rights -->\n([\s\S]*)\n<!-- \/rights -->/.exec(DOCUMENT) ?? []
const [, acl = ''] = /```json\n([\s\S]*?)```/.exec(DOCUMENT.slice(DOCUMENT.indexOf('## Rights'))) ?? []
const rows: Row[] = table
  .split('\n')
  .slice(2)
  .map(line => {
    const [, way = '', what = '', anonymous = '', user = '', device = '', admin = ''] = line.split(/ *\| */)
    return { way, what: what.replaceAll('`', ''), rights: { anonymous, user, device, admin } }
  })

const settings = {
  'mqtt.anonymous': true,
  'mqtt.acl': JSON.parse(acl),
  'mqtt.closeOnRefused': true,
  'sessions.multiple': 'allow',
}
const dir = dataDir(t)
const before = await startGateway(t, { 'data.dir': dir })
const admin = await register(t, before)
const user = await register(t, before)
const other = await register(t, before)
await before.close()
const gateway = await startGateway(t, { 'data.dir': dir, ...settings, 'roles.admins': admin.id })
const owner = await loggedIn(t, gateway, user)
const credential = await minted(owner, 'device')
const second = await minted(owner, 'second')

const accountOf = (role: Role): TestAccount => (role === 'admin' ? admin : user)

const fill = (text: string, role: Role): string =>
  text.replaceAll('<me>', accountOf(role).id).replaceAll('<other>', other.id).replaceAll('<client>', role)

/** A CONNECT of that role, whose client id is the role's name. */
function connect(t: Test, role: Role, options: object = {}) {
  const { id, password } = accountOf(role)
  const secret = role === 'device' ? credential.password : password
  const login = role === 'anonymous' ? {} : { username: id, password: Buffer.from(secret) }
  return rawConnect(t, gateway, { clientId: role, ...login, ...options })
}

const WAYS = new Map<string, (t: Test, role: Role, what: string) => Promise<boolean>>([
  [
    'SUBSCRIBE',
    async (t, role, filter) => {
      const [code] = (await (await connect(t, role)).subscribe(filter)) as number[]
      return code === 1
    },
  ],
  ['PUBLISH', (t, role, topic) => publish(t, role, topic, false)],
  ['PUBLISH retained', (t, role, topic) => publish(t, role, topic, true)],
  [
    'will',
    async (t, role, topic) => {
      const will = { topic, payload: Buffer.from('x'), qos: 1 as const, retain: false }
      const { connack } = await connect(t, role, { will })
      return connack.returnCode === 0
    },
  ],
  ['request', request],
])

/** Refused is closed, as mqtt.closeOnRefused has it. */
async function publish(t: Test, role: Role, topic: string, retain: boolean): Promise<boolean> {
  const client = await connect(t, role)
  const payload = topic.endsWith('/requests') ? '{"type":"none"}' : 'x'
  client.publish(topic, payload, { qos: 1, messageId: 9, retain })
  return client.take('puback').then(
    () => true,
    () => false,
  )
}

/** What makes a request whole and does no harm. */
const DATA = new Map<string, object>([
  ['message', { recipient: other.id, content: 'x' }],
  ['broadcast', { content: 'x' }],
  ['history', { with: other.id }],
  ['delete', { password: 'wrong' }],
  ['password', { password: 'wrong', newPassword: 'x' }],
  ['mint', { device: 'new' }],
  ['refresh', { token: 'none' }],
  ['requestPasswordReset', { email: 'nobody@example.com' }],
  ['resetPassword', { token: 'none', newPassword: 'x' }],
  ['resendVerification', { email: 'nobody@example.com' }],
  ['verifyEmail', { token: 'none' }],
  ['changeEmail', { password: 'wrong', email: 'new@example.com' }],
  ['undoEmail', { token: 'none', newPassword: 'x' }],
  ['language', { language: 'zh-TW' }],
])

async function request(t: Test, role: Role, what: string): Promise<boolean> {
  const [name = '', json] = what.split(/ (.*)/)
  const data = json === undefined ? DATA.get(name) : JSON.parse(json)
  const body =
    name === 'message' || name === 'broadcast' ? { type: name, data } : { type: 'action', action: name, data }
  const code = role === 'device' ? await overMqtt(t, body) : await overJson(t, role, body)
  return code !== 10007 && code !== 10110
}

async function overJson(t: Test, role: Role, body: object): Promise<number> {
  const client =
    role === 'anonymous' ? await jsonClient(t, gateway) : await loggedIn(t, gateway, accountOf(role))
  client.send(body)
  for (;;) {
    const { code } = await client.next()
    if (code !== undefined) return code
  }
}

async function overMqtt(t: Test, body: object): Promise<number> {
  const client = await connect(t, 'device')
  await client.subscribe(`users/${user.id}/replies`, 0)
  client.publish(`users/${user.id}/requests`, JSON.stringify(body))
  return JSON.parse((await client.take('publish')).payload.toString()).code
}

t.test('the table exists, and every row can be tested', async t => {
  t.ok(rows.length > 50)
  for (const { way, what, rights } of rows) {
    t.ok(WAYS.has(way), `${way} ${what}`)
    t.ok(
      Object.values(rights).every(right => right === 'yes' || right === 'no'),
      `${way} ${what}`,
    )
  }
})

for (const { way, what, rights } of rows) {
  t.test(`${way} ${what}`, async t => {
    for (const role of ROLES) {
      const isAllowed = await WAYS.get(way)?.(t, role, fill(what, role))
      t.equal(isAllowed === true ? 'yes' : 'no', rights[role], role)
    }
  })
}

t.test(
  'permissions of a role do not apply to a restored session of another role, nor to its queue',
  async t => {
    const options = { clientId: 'device', clean: false }
    const device = await connect(t, 'device', options)
    t.same(await device.subscribe(['fleet/#', 'open/d']), [1, 1])
    await device.disconnect()
    const publisher = await rawConnect(t, gateway, {
      username: user.id,
      password: Buffer.from(second.password),
      clientId: 'second',
    })
    for (const [i, topic] of ['fleet/x', 'open/d'].entries()) {
      publisher.publish(topic, 'queued', { qos: 1, messageId: i + 1 })
      await publisher.take('puback')
    }
    const password = Buffer.from(user.password)
    const person = await rawConnect(t, gateway, { ...options, username: user.id, password })
    t.ok(person.connack.sessionPresent)
    t.match(await person.take('publish'), { topic: 'open/d' })
    publisher.publish('fleet/x', 'live', { qos: 1, messageId: 3 })
    await publisher.take('puback')
    person.send({ cmd: 'pingreq' })
    await person.take('pingresp')
    t.same(person.unread, [])
  },
)

t.test('a client id that is a wildcard, or more than one level, opens nothing by %c', async t => {
  const login = { username: user.id, password: Buffer.from(user.password) }
  for (const clientId of ['+', '#', 'a/b', '$&', '%u', '..']) {
    const client = await rawConnect(t, gateway, { ...login, clientId })
    const filters = [
      `sensors/${user.id}/+/t`,
      `sensors/${user.id}/#`,
      `sensors/${user.id}/a/b/t`,
      'sensors/#',
    ]
    t.same(await client.subscribe(filters), [0x80, 0x80, 0x80, 0x80], clientId)
  }
  const dollars = await rawConnect(t, gateway, { ...login, clientId: '$&' })
  t.same(await dollars.subscribe(`sensors/${user.id}/$&/t`), [1], 'taken as it is')
})
