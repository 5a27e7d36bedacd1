/** What operators see of an inbox and of a message, and take out of it, beside devices of both fronts. */
import t, { type Test } from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { askAdmin } from '../helpers/admin.js'
import {
  type JsonClient,
  loggedIn,
  mqttClient,
  type RunningGateway,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'

const explicit = { ack: 'explicit', events: ['dropped'] }

/** One gateway: each test has accounts of its own. */
let shared: Promise<RunningGateway> | undefined
const gatewayOf = () => (shared ??= startGateway(t, { 'sessions.multiple': 'allow' }))

async function people(t: Test) {
  const gateway = await gatewayOf()
  const [ann, bob] = [await register(t, gateway), await loggedIn(t, gateway)]
  const ask = (name: string, data: object) => askAdmin(gateway, name, data)
  const show = async (more: object = {}) => (await ask('inbox.show', { user: ann.id, ...more })).data
  return { gateway, ann, bob, ask, show }
}

/** @returns the ids of the messages */
async function sendMany(sender: JsonClient, recipient: TestAccount, count: number): Promise<string[]> {
  const ids: string[] = []
  for (let i = 1; i <= count; i++) {
    const reply = await sender.ask({
      type: 'message',
      id: `${i}`,
      data: { recipient: recipient.id, content: `text ${i}` },
    })
    ids.push((reply.data as { id: string }).id)
  }
  return ids
}

t.test('an inbox is shown: what each device has confirmed, was sent, and has waiting', async t => {
  const { gateway, ann, bob, ask, show } = await people(t)
  t.match(await show(), { user: ann.id, inbox: { messages: 0, last_seq: 0 }, devices: [], devices_total: 0 })
  const reader = await loggedIn(t, gateway, ann, { ...explicit, device: 'desk' })
  const ids = await sendMany(bob, ann, 5)
  for (let i = 0; i < 5; i++) await reader.next()
  await reader.action('ack', { seq: 2 })
  const now = await show()
  const waiting = { confirmed_seq: 2, sent_seq: 5, unconfirmed: 3, oldest_at: /Z$/, oldest_seconds: Number }
  t.match(now, {
    inbox: { messages: 5, first_seq: 1, last_seq: 5 },
    devices: [{ device: 'json desk', online: true, ...waiting }],
  })
  t.equal(now.devices[0].unconfirmed_bytes, Math.round((now.inbox.bytes * 3) / 5), 'texts of one length')
  t.notOk('messages' in now)
  const heads = await show({ messages: 2 })
  t.match(heads.messages, [
    { seq: 3, id: ids[2], from: bob.userId, kind: 'message', bytes: Number },
    { seq: 4 },
  ])
  t.equal(heads.next, 4)
  t.notOk(JSON.stringify(heads).includes('text '), 'not what it says')
  const texts = await show({ messages: 9, after: 0, text: true })
  t.same(
    texts.messages.map((one: { content: string }) => one.content),
    [1, 2, 3, 4, 5].map(i => `text ${i}`),
  )
  t.notOk('next' in texts)
  await reader.close()
  t.match((await show()).devices, [{ device: 'json desk', online: false, confirmed_seq: 2 }])
  for (const [name, data] of [
    ['inbox.show', { user: 'nobody' }],
    ['inbox.show', { user: ann.id, messages: 0 }],
    ['inbox.purge', { user: ann.id }],
    ['inbox.purge', { user: ann.id, all: true, before: '2026-01-31' }],
    ['inbox.purge', { user: ann.id, before: 'yesterday' }],
    ['inbox.purge', { user: ann.id, before: '2026-02-31' }],
    ['inbox.purge', { user: ann.id, before: '2026-02-30T12:00:00Z' }],
    ['inbox.purge', { user: ann.id, before: 'Feb 31 2026' }],
    ['message.trace', { id: 'x'.repeat(36) }],
  ] as const)
    t.match(await ask(name, data), { status: name === 'inbox.show' && !('messages' in data) ? 404 : 400 })
})

t.test('a purge takes messages away from under devices that are connected, and they go on', async t => {
  const { gateway, ann, bob, ask, show } = await people(t)
  const live = await loggedIn(t, gateway, ann, { ...explicit, device: 'live' })
  await (await loggedIn(t, gateway, ann, { ...explicit, device: 'away' })).close()
  await sendMany(bob, ann, 6)
  for (let seq = 1; seq <= 6; seq++) t.match(await live.next(), { seq })
  t.match((await ask('inbox.purge', { user: ann.id, before: '2020-01-01' })).data, {
    removed: 0,
    dropped: 0,
    left: 6,
  })
  await live.action('ack', { seq: 4 })
  const purged = await ask('inbox.purge', { user: ann.id, all: true })
  t.same(purged.data, { user: ann.id, removed: 6, dropped: 6, left: 0 })
  t.match(await show(), { inbox: { messages: 0, bytes: 0, first_seq: 7, last_seq: 6 } })
  for (const { unconfirmed, unconfirmed_bytes } of (await show()).devices)
    t.same([unconfirmed, unconfirmed_bytes], [0, 0])
  await sendMany(bob, ann, 1)
  t.match(await live.next(), { seq: 7 }, 'its place goes on')
  t.match(await live.action('ack', { seq: 7 }), { code: 200 })
  const away = await loggedIn(t, gateway, ann, { ...explicit, device: 'away' })
  t.match(await away.next(), { event: 'dropped', data: { from: 1, to: 6 } }, 'as a limit would tell it')
  t.match(await away.next(), { seq: 7 })
  t.match(await show(), {
    devices: [
      { device: 'json away', confirmed_seq: 0, unconfirmed: 1 },
      { device: 'json live', confirmed_seq: 7 },
    ],
  })
  t.ok(gateway.logs.some(({ event, limit }) => event === 'message.dropped' && limit === 'operator'))
})

t.test('a purge makes room for who was refused', async t => {
  const small = await startGateway(t, { 'inbox.maxMessages': 10 })
  const [ann, bob] = [await register(t, small), await loggedIn(t, small)]
  const send = (i: number) => bob.ask({ type: 'message', data: { recipient: ann.id, content: `${i}` } })
  let count = 0
  while (count < 50 && (await send(count)).code === 201) count++
  t.ok(count < 50)
  t.match((await askAdmin(small, 'inbox.purge', { user: ann.id, all: true })).data, { removed: count })
  t.match(await send(50), { code: 201 })
})

t.test('a message is traced to each device: confirmed, sent, waiting', async t => {
  const { gateway, ann, bob, ask } = await people(t)
  const states = async (id: string, more: object = {}) => {
    const { data } = await ask('message.trace', { id, ...more })
    const named = data.inboxes[0].devices.map((one: { device: string; state: string; online: boolean }) => [
      one.device,
      `${one.state}${one.online ? ' online' : ''}`,
    ])
    return { data, devices: Object.fromEntries(named) }
  }
  await (await loggedIn(t, gateway, ann, { ...explicit, device: 'away' })).close()
  const desk = await loggedIn(t, gateway, ann, { ...explicit, device: 'desk' })
  const phone = await rawConnect(t, gateway, { account: ann, clientId: 'phone', clean: false })
  await phone.subscribe(`users/${ann.id}/inbox/#`)
  const [first = '', second = ''] = await sendMany(bob, ann, 2)
  for (let i = 0; i < 2; i++) {
    await desk.next()
    await phone.take('publish')
  }
  await desk.action('ack', { seq: 1 })
  // Out of order: the cursor waits for the first.
  phone.ack('puback', 32_768 + 2)
  phone.send({ cmd: 'pingreq' })
  await phone.take('pingresp')
  const one = await states(first)
  t.match(one.data, {
    id: first,
    from: bob.userId,
    kind: 'message',
    at: /Z$/,
    bytes: Number,
    inboxes_total: 1,
  })
  t.match(one.data.inboxes, [{ user: ann.id, seq: 1, devices_total: 3 }])
  t.same(one.devices, {
    'json away': 'waiting',
    'json desk': 'confirmed online',
    'mqtt phone': 'sent online',
  })
  t.same((await states(second)).devices, {
    'json away': 'waiting',
    'json desk': 'sent online',
    'mqtt phone': 'confirmed online',
  })
  t.same((await states(second.toUpperCase(), { user: ann.email })).devices['json away'], 'waiting')
  await desk.close()
  t.same((await states(second)).devices['json desk'], 'sent', 'it comes again')
  t.match(await ask('message.trace', { id: second, user: bob.userId }), {
    status: 404,
    code: 10137,
    data: { reason: /^the inbox of this user does not have it/ },
  })
  t.match(await ask('message.trace', { id: uuidv7() }), {
    status: 404,
    code: 10137,
    data: { reason: /^no inbox has it: .*never stored, or .*removed/ },
  })
  await ask('inbox.purge', { user: ann.id, all: true })
  t.match(await ask('message.trace', { id: first }), { status: 404, data: { reason: /removed since/ } })
})

t.test('a broadcast is traced to all of its inboxes; a message that expired says so', async t => {
  const { gateway, ann, bob, ask } = await people(t)
  const reader = await loggedIn(t, gateway, ann, { ...explicit, device: 'a' })
  await bob.ask({ type: 'broadcast', data: { content: 'to all' } })
  const { id } = await reader.next<{ id: string }>()
  const { data } = await ask('message.trace', { id })
  t.equal(data.kind, 'broadcast')
  t.ok(data.inboxes.some(({ user }: { user: string }) => user === ann.id))
  t.equal(data.inboxes_total, data.inboxes.length)
  const eve = await register(t, gateway)
  await (await loggedIn(t, gateway, eve, { ...explicit, device: 'away' })).close()
  const options = { username: ann.email, password: ann.password, protocolVersion: 5 } as const
  const sender = await mqttClient(t, gateway, options)
  const properties = { messageExpiryInterval: 1 }
  await sender.mqtt.publishAsync(`users/${eve.id}/inbox`, 'soon gone', { qos: 1, properties })
  const { messages } = (await ask('inbox.show', { user: eve.id, messages: 5 })).data
  t.match(messages, [{ from: ann.id, expires_at: /Z$/ }])
  const state = async () =>
    (await ask('message.trace', { id: messages[0].id })).data.inboxes[0].devices[0].state
  while ((await state()) === 'waiting') await new Promise(setImmediate)
  t.equal(await state(), 'expired')
})
