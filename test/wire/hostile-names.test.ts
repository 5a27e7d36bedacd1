/**
 * Names that have broken other servers, end to end: each is stored and returned unchanged, or refused with a number.
 */
import t, { type Test } from 'tap'
import { HOSTILE_NAMES } from '../../scripts/fuzz/hostile.js'
import {
  jsonClient,
  loggedIn,
  mqttClient,
  type Reply,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'

const gateway = await startGateway(t, {
  'sessions.multiple': 'allow',
  'mqtt.acl': 'open',
  'limits.refusals': 1000,
})

const hasNul = (name: string) => name.includes('\0')
const [plain, withNul] = [HOSTILE_NAMES.filter(name => !hasNul(name)), HOSTILE_NAMES.filter(hasNul)]

/** Of these, the ones that are user names here. */
const userNames = new Set<string>()

const PASSWORD = 'correct horse'

const registration = (email: string, name: string) => ({
  email,
  password: PASSWORD,
  firstName: name,
  lastName: name,
})

/** In ASCII: a test's own report has lines, too. */
const shown = (name: string) =>
  JSON.stringify(name).replace(/[^ -~]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** A reply by its number, with the field where it names one. */
const short = ({ code, data }: Reply) => ({ code, field: (data as { field?: string } | null)?.field })

t.test('as first and last name: kept as it is, and one account never another', async t => {
  const client = await jsonClient(t, gateway)
  const reader = await loggedIn(t, gateway)
  for (const [i, name] of plain.entries()) {
    const email = `name${i}@example.com`
    const reply = await client.action('register', registration(email, name))
    t.equal(reply.code, 203, shown(name))
    const login = await (await jsonClient(t, gateway)).action('login', { email, password: PASSWORD })
    t.equal(login.code, 202, shown(name))
  }
  for (const [i, name] of plain.entries()) {
    const found = await reader.action('query', { email: `name${i}@example.com` })
    t.match(found, {
      code: 200,
      data: [{ email: `name${i}@example.com`, username: '', firstName: name, lastName: name }],
    })
    t.equal((found.data as unknown[]).length, 1, shown(name))
  }
  for (const name of withNul) {
    const reply = await client.action('register', registration('nul@example.com', name))
    t.equal(reply.code, 10101, shown(name))
  }
})

t.test('as user name: one that is found as it reads, or refused by its field', async t => {
  const client = await jsonClient(t, gateway)
  for (const [i, name] of HOSTILE_NAMES.entries()) {
    const data = { ...registration(`user${i}@names.example`, 'x'), username: name }
    const reply = await client.action('register', data, 'r')
    if (reply.code !== 203) {
      t.match(reply, { code: /^(10003|10101|10103)$/, data: { field: 'username' } }, shown(name))
      continue
    }
    if (name === '') continue
    userNames.add(name)
    const username = name.normalize('NFKC')
    t.match(await client.action('query', { email: data.email }), { data: [{ username }] }, shown(name))
  }
  t.ok(userNames.size > 3, `${userNames.size} are user names`)
})

t.test('as an email: an address that is found and logs in as it is, or refused by its field', async t => {
  const client = await jsonClient(t, gateway)
  let taken = 0
  for (const name of HOSTILE_NAMES) {
    for (const email of [`${name}@names.example`, `a@${name}.example`, name]) {
      const data = registration(email, 'x')
      const reply = await client.action('register', data)
      if (reply.code !== 203) {
        // Another way to write one that is there.
        const taken = { code: 10003, field: undefined }
        const expected = reply.code === 10003 ? taken : { code: 10101, field: 'email' }
        t.same(short(reply), expected, shown(email))
        continue
      }
      taken++
      t.match(await client.action('query', { email }), { code: 200, data: [{ email }] }, shown(email))
      const login = await (await jsonClient(t, gateway)).action('login', { email, password: PASSWORD })
      t.equal(login.code, 202, shown(email))
    }
  }
  t.ok(taken > 10, `${taken} are addresses`)
})

t.test(
  'as content, request id and device of messages: over JSON and MQTT they arrive as they were sent',
  async t => {
    const account = await register(t, gateway)
    const sender = await loggedIn(t, gateway)
    const device = await mqttClient(t, gateway, {
      username: account.email,
      password: account.password,
      clientId: 'd',
    })
    await device.mqtt.subscribeAsync(`users/${account.id}/inbox/#`, { qos: 1 })
    for (const name of plain) {
      const reader = await loggedIn(t, gateway, account, { device: name, ack: 'explicit' })
      const reply = await sender.ask({
        type: 'message',
        id: name,
        data: { recipient: account.id, content: name },
      })
      t.match(reply, { code: 201, id: name }, shown(name))
      t.match(await reader.next(), { sender: sender.userId, recipient: account.id, content: name })
      t.match(JSON.parse((await device.next()).payload), { sender: sender.userId, content: name })
      await reader.close()
    }
    for (const name of withNul) {
      const login = { email: account.email, password: account.password, device: name }
      t.same(short(await (await jsonClient(t, gateway)).action('login', login)), {
        code: 10101,
        field: 'device',
      })
      const message = { type: 'message', data: { recipient: account.id, content: name } }
      t.same(short(await sender.ask(message)), { code: 10101, field: 'content' })
    }
  },
)

t.test('as a recipient it names whose user name it is, or nobody, and no conversation', async t => {
  const client = await loggedIn(t, gateway)
  for (const name of [
    ...HOSTILE_NAMES,
    '',
    client.userId.slice(0, 2),
    client.userId.slice(0, 8),
    `${client.userId}0`,
    ` ${client.userId}`,
  ]) {
    const reply = await client.ask({ type: 'message', data: { recipient: name, content: 'x' } })
    t.equal(reply.code, userNames.has(name) ? 201 : 10010, shown(name))
    t.same(short(await client.action('history', { with: name })), { code: 10101, field: 'with' }, shown(name))
  }
  t.same(client.unread, [], 'nothing came')
})

/** MQTT text has no NUL [MQTT-1.5.3-2]. */
t.test('as a client id: a separate device with its own session and cursor', async t => {
  const account = await register(t, gateway)
  const sender = await loggedIn(t, gateway)
  const filter = `users/${account.id}/inbox/#`
  const open = (clientId: string) => rawConnect(t, gateway, { account, clientId, clean: false })
  for (const clientId of plain) {
    const device = await open(clientId)
    t.equal(device.connack.returnCode, 0, shown(clientId))
    t.equal(device.connack.sessionPresent, false, shown(clientId))
    await device.subscribe([filter, `open/${Buffer.from(clientId).toString('hex')}`])
    await device.disconnect()
  }
  await sender.ask({ type: 'message', data: { recipient: account.id, content: 'for all' } })
  const publisher = await mqttClient(t, gateway, {
    username: account.email,
    password: account.password,
    clientId: 'p',
  })
  for (const clientId of plain)
    await publisher.mqtt.publishAsync(`open/${Buffer.from(clientId).toString('hex')}`, clientId, { qos: 1 })
  for (const clientId of plain) {
    const device = await open(clientId)
    t.equal(device.connack.sessionPresent, true, shown(clientId))
    const got = [await device.take('publish'), await device.take('publish')].map(({ topic, payload }) => [
      topic,
      payload.toString(),
    ])
    const own = got.find(([topic]) => topic?.startsWith('open/'))
    t.equal(own?.[1], clientId, 'its own, and no other’s')
    t.ok(
      got.some(([topic]) => topic === `users/${account.id}/inbox/1`),
      shown(clientId),
    )
    await device.disconnect()
  }
})

t.test('as a level of a topic: routed and kept as it is', async t => {
  const account = await register(t, gateway)
  const login = { username: account.email, password: account.password }
  const [publisher, reader] = [
    await mqttClient(t, gateway, { ...login, clientId: 'p' }),
    await mqttClient(t, gateway, { ...login, clientId: 'r' }),
  ]
  const names = plain.filter(name => !/[+#]/.test(name))
  for (const [i, name] of names.entries()) {
    const topic = `level${i}/${name}`
    await publisher.mqtt.publishAsync(topic, 'kept', { qos: 1, retain: true })
    await reader.mqtt.subscribeAsync(topic, { qos: 1 })
    t.match(await reader.next(), { topic, payload: 'kept', retain: true }, shown(name))
    await publisher.mqtt.publishAsync(topic, 'live', { qos: 1 })
    t.match(await reader.next(), { topic, payload: 'live', retain: false }, shown(name))
  }
})

t.test('below users/ a hostile level opens no topic and reaches no client', async t => {
  const victim = await register(t, gateway)
  const reader = await loggedIn(t, gateway, victim)
  const attacker = await register(t, gateway)
  const ids = [
    '12',
    '123',
    victim.id.slice(0, 3),
    victim.id.slice(0, 8),
    `${victim.id}0`,
    `${attacker.id}/../${victim.id}`,
    `0${victim.id}`,
  ]
  const names = [...plain, ...ids].filter(name => !/[+#]/.test(name) && name.split('/').length < 8)
  const device = await rawConnect(t, gateway, { account: attacker, clientId: 'a' })
  for (const name of names) {
    t.same(await device.subscribe([`users/${name}/inbox/#`]), [128], shown(name))
    device.publish(`users/${name}/inbox`, 'x', { qos: 1, messageId: 7 })
    await device.take('puback')
    device.publish(`users/${victim.id}/${name}`, 'x', { qos: 1, messageId: 7 })
    await device.take('puback')
  }
  await isUntouched(t, victim, reader)
})

/** The next message is the first in its inbox. */
async function isUntouched(
  t: Test,
  { id }: TestAccount,
  reader: Awaited<ReturnType<typeof loggedIn>>,
): Promise<void> {
  const sender = await loggedIn(t, gateway)
  t.match(await sender.ask({ type: 'message', id: 'r', data: { recipient: id, content: 'first' } }), {
    code: 201,
  })
  t.match(await reader.next(), { content: 'first' })
  t.match(await reader.action('history', { with: sender.userId }), {
    data: { messages: [{ content: 'first', seq: 1 }] },
  })
}
