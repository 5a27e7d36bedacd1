/** The inbox, requests and rights over MQTT 5: a refused message says why, and answers go where they are asked for. */
import t, { type Test } from 'tap'
import {
  loggedIn,
  mqttClient,
  type RunningGateway,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { type Connect5, connect5, type Packet5, type Raw5, unique } from '../helpers/raw-mqtt5.js'

const gateway = await startGateway(t)

const text = ({ payload }: Packet5): string => String(payload)
const json = (packet: Packet5) => JSON.parse(text(packet))

const login = (t: Test, account: TestAccount, options: Connect5 = {}): Promise<Raw5> =>
  connect5(t, gateway, { account, ...options })

const inboxOf = ({ id }: TestAccount): string => `users/${id}/inbox`

async function pair(t: Test): Promise<[TestAccount, TestAccount]> {
  return [await register(t, gateway), await register(t, gateway)]
}

t.test('credentials: 0x86 for wrong ones, 0x87 for none [MQTT-3.1.4-2]', async t => {
  const [ann] = await pair(t)
  const wrong = await login(t, { ...ann, password: 'wrong' })
  t.match(wrong.connack, { reasonCode: 0x86, sessionPresent: false })
  await wrong.closed
  const none = await connect5(t, gateway)
  t.match(none.connack, { reasonCode: 0x87 })
  await none.closed
})

t.test('a will that its client may not publish: 0x87', async t => {
  const [ann] = await pair(t)
  const { connack } = await login(t, ann, { will: { topic: 'closed', payload: 'x', qos: 1, retain: false } })
  t.equal(connack.reasonCode, 0x87)
})

for (const qos of [1, 2] as const) {
  t.test(
    `a message at QoS ${qos} is stored when it is acknowledged, and is in the inbox of every device`,
    async t => {
      const [ann, bob] = await pair(t)
      const bobs = await login(t, bob)
      await bobs.subscribe(`${inboxOf(bob)}/#`)
      const anns = await login(t, ann)
      await anns.publishAt(qos, inboxOf(bob), 'hello')
      const message = await bobs.take('publish')
      t.match(json(message), { sender: ann.id, recipient: bob.id, content: 'hello' })
      bobs.ack(message.qos === 1 ? 'puback' : 'pubrec', message.messageId)
    },
  )
}

t.test('PUBACK and PUBREC say why a message was refused', async t => {
  const [ann, bob] = await pair(t)
  const client = await login(t, ann)
  const reasons = async (topic: string, payload: string | Buffer) => {
    const { reasonCode, properties } = await client.publish1(topic, payload)
    client.publish(topic, payload, { qos: 2, messageId: 3 })
    t.equal((await client.take('pubrec')).reasonCode, reasonCode, 'the same at QoS 2')
    return [reasonCode, typeof properties?.reasonString]
  }
  t.same(await reasons('users/999999999/inbox', 'x'), [0x90, 'string'], 'no such user')
  t.same(await reasons('some/topic', 'x'), [0x87, 'undefined'], 'not opened: the code says it all')
  t.same(await reasons(`users/${bob.id}/requests`, '{}'), [0x87, 'undefined'], 'another user’s requests')
  t.same(await reasons(inboxOf(bob), Buffer.from([0xff])), [0x99, 'string'], 'not UTF-8')
  t.same(await reasons(inboxOf(bob), ''), [0x99, 'string'], 'empty')
  t.same(await client.settled(), [], 'the connection goes on')
})

t.test('SUBACK says why: 0x87 for another’s inbox', async t => {
  const [ann, bob] = await pair(t)
  const client = await login(t, ann)
  const { granted } = await client.subscribe([
    { topic: `${inboxOf(bob)}/#` },
    { topic: `${inboxOf(ann)}/#`, qos: 1 },
    { topic: 'some/topic' },
  ])
  t.same(granted, [0x87, 1, 0x87])
})

t.test('the user property id is the key of repeats', async t => {
  const [ann, bob] = await pair(t)
  const bobs = await login(t, bob)
  await bobs.subscribe([{ topic: `${inboxOf(bob)}/#`, qos: 0 }])
  const anns = await login(t, ann)
  const properties = { userProperties: { id: unique('message') } }
  for (let i = 0; i < 3; i++)
    t.match(await anns.publish1(inboxOf(bob), 'once', { messageId: i + 1, properties }), { reasonCode: 0 })
  await anns.publish1(inboxOf(bob), 'end')
  t.same(
    (await bobs.takeAll(2)).map(one => json(one).content),
    ['once', 'end'],
  )
  t.same(await bobs.settled(), [])
})

t.test(
  'the content alone is the payload where the filter asks for it; the other form goes first',
  async t => {
    const [ann, bob] = await pair(t)
    const bobs = await login(t, bob)
    const contents = `${inboxOf(bob)}/+/content`
    await bobs.subscribe([{ topic: contents, qos: 1 }], { subscriptionIdentifier: 3 })
    const anns = await login(t, ann)
    await anns.publish1(inboxOf(bob), '{"a": "é"}')
    const first = await bobs.take('publish')
    t.equal(text(first), '{"a": "é"}')
    t.equal(first.topic, `${inboxOf(bob)}/1/content`)
    t.match(first.properties, { userProperties: { seq: '1', sender: ann.id }, subscriptionIdentifier: 3 })
    bobs.ack('puback', first.messageId)
    await bobs.subscribe([{ topic: `${inboxOf(bob)}/#`, qos: 1 }])
    await anns.publish1(inboxOf(bob), 'two')
    const second = await bobs.take('publish')
    t.equal(second.topic, `${inboxOf(bob)}/2`)
    t.match(json(second), { content: 'two', seq: 2 })
    bobs.ack('puback', second.messageId)
    await bobs.unsubscribe(`${inboxOf(bob)}/#`)
    await anns.publish1(inboxOf(bob), 'three')
    const third = await bobs.take('publish')
    t.equal(text(third), 'three')
    await bobs.unsubscribe(contents)
    await anns.publish1(inboxOf(bob), 'four')
    t.same(await bobs.settled(), [])
  },
)

t.test('inbox messages tell sender, id, seq and time as user properties, too', async t => {
  const [ann, bob] = await pair(t)
  const bobs = await login(t, bob)
  await bobs.subscribe([{ topic: `${inboxOf(bob)}/#`, qos: 1 }], { subscriptionIdentifier: 12 })
  const anns = await login(t, ann)
  await anns.publish1(inboxOf(bob), 'hello')
  const message = await bobs.take('publish')
  const { id, seq, sender, created_at } = json(message)
  t.same(
    { ...message.properties, userProperties: { ...Object(message.properties?.userProperties) } },
    { userProperties: { id, seq: `${seq}`, sender, created_at }, subscriptionIdentifier: 12 },
  )
})

t.test('a message expires in the inbox if it came with an interval', async t => {
  const [ann, bob] = await pair(t)
  const anns = await login(t, ann)
  const send = (text: string, messageExpiryInterval?: number) =>
    anns.publish1(inboxOf(bob), text, {
      properties: messageExpiryInterval === undefined ? {} : { messageExpiryInterval },
    })
  const bobs = await login(t, bob)
  await bobs.subscribe(`users/${bob.id}/replies`)
  await bobs.subscribe(`${inboxOf(bob)}/#`)
  await send('gone', 0)
  await send('stays', 100)
  await send('for ever')
  const dropped = await bobs.take('publish')
  t.match(json(dropped), { data: { from: 1, to: 1 } })
  const stays = await bobs.take('publish')
  t.match(json(stays), { content: 'stays', seq: 2 })
  const left = Number(stays.properties?.messageExpiryInterval)
  t.ok(left > 80 && left <= 100, `${left} s are left`)
  t.match(stays.properties, { userProperties: { seq: '2', sender: ann.id } })
  const forEver = await bobs.take('publish')
  t.match(json(forEver), { content: 'for ever' })
  t.notOk('messageExpiryInterval' in (forEver.properties ?? {}))
})

t.test('messages expire over a restart, for clients of every version, and stay in the history', async t => {
  const first = await startGateway(t)
  const [ann, bob] = [await register(t, first), await register(t, first)]
  const phone = { account: bob, clientId: 'phone', clean: false, properties: { sessionExpiryInterval: 1000 } }
  const tablet = { clientId: 'tablet', clean: false, username: bob.email, password: bob.password }
  const phoned = await connect5(t, first, phone)
  await phoned.subscribe(`${inboxOf(bob)}/#`)
  await phoned.disconnect()
  const { mqtt } = await mqttClient(t, first, tablet)
  await mqtt.subscribeAsync(`${inboxOf(bob)}/#`, { qos: 1 })
  await mqtt.endAsync()
  const anns = await connect5(t, first, { account: ann })
  for (const [text, messageExpiryInterval] of Object.entries({ soon: 1, later: 1000, never: undefined })) {
    const properties = messageExpiryInterval === undefined ? {} : { messageExpiryInterval }
    await anns.publish1(inboxOf(bob), text, { properties })
  }
  const due = Date.now() + 1000
  await first.close()

  const second = await startGateway(t, { 'data.dir': first.dir })
  const clock = await connect5(t, second, { account: ann })
  while (Date.now() < due) await clock.settled()
  const contents = async (next: () => Promise<{ payload: string | Buffer }>) =>
    [await next(), await next()].map(({ payload }) => JSON.parse(String(payload)).content)
  const five = await connect5(t, second, phone)
  t.same(await contents(() => five.take('publish')), ['later', 'never'])
  const four = await mqttClient(t, second, tablet)
  t.same(await contents(() => four.next()), ['later', 'never'])
  const desktop = await loggedIn(t, second, bob)
  const waited = [await desktop.next<object>(), await desktop.next<object>()]
  t.match(waited, [{ content: 'later' }, { content: 'never' }])
  const { data } = await desktop.action('history', { with: ann.id }, 'h')
  t.match(data, { messages: [{ content: 'never' }, { content: 'later' }, { content: 'soon' }] })
})

t.test('a session goes on without what has expired or was acknowledged behind others', async t => {
  const first = await startGateway(t)
  const [ann, bob] = [await register(t, first), await register(t, first)]
  const phone = { account: bob, clientId: 'phone', clean: false, properties: { sessionExpiryInterval: 1000 } }
  const before = await connect5(t, first, phone)
  await before.subscribe([{ topic: `${inboxOf(bob)}/#`, qos: 1 }])
  const anns = await connect5(t, first, { account: ann })
  const contents = ['one', 'expired', 'three', 'four']
  for (const content of contents) {
    const properties = content === 'expired' ? { messageExpiryInterval: 0 } : {}
    await anns.publish1(inboxOf(bob), content, { properties })
  }
  const sent = await before.takeAll(3)
  t.same(
    sent.map(packet => json(packet).content),
    ['one', 'three', 'four'],
  )
  before.ack('puback', Number(sent[1]?.messageId))
  t.same(await before.settled(), [])
  await before.drop()
  const again = async (of: RunningGateway) => {
    const client = await connect5(t, of, phone)
    const got = await client.takeAll(2)
    t.match(got, [{ dup: true }, { dup: true }])
    t.same(
      got.map(packet => json(packet).content),
      ['one', 'four'],
    )
    t.same(await client.settled(), [])
    await client.drop()
  }
  await again(first)
  await first.close()
  await again(await startGateway(t, { 'data.dir': first.dir }))
})

t.test('what has expired leaves an inbox room, where nothing before it is waiting', async t => {
  const small = await startGateway(t, { 'inbox.maxMessages': 20 })
  const [ann, bob] = [await register(t, small), await register(t, small)]
  const phone = { account: bob, clientId: 'phone', clean: false, properties: { sessionExpiryInterval: 1000 } }
  const before = await connect5(t, small, phone)
  await before.subscribe([{ topic: `${inboxOf(bob)}/#`, qos: 1 }])
  await before.disconnect()
  const anns = await connect5(t, small, { account: ann })
  const send = async (content: string, properties = {}) =>
    (await anns.publish1(inboxOf(bob), content, { properties })).reasonCode
  for (let i = 0; i < 50; i++) t.equal(await send('expired', { messageExpiryInterval: 0 }), 0, `${i}`)
  t.equal(await send('waits'), 0)
  const answers = new Set<number>()
  for (let i = 0; i < 20; i++) answers.add(await send('expired', { messageExpiryInterval: 0 }))
  t.same([...answers], [0, 0x97], 'behind one that waits they count')
  const back = await connect5(t, small, phone)
  t.equal(json(await back.take('publish')).content, 'waits')
})

t.test('receive maximum holds for the inbox, and what waits comes in order', async t => {
  const [ann, bob] = await pair(t)
  const bobs = await login(t, bob, { properties: { receiveMaximum: 2 } })
  await bobs.subscribe([{ topic: `${inboxOf(bob)}/#`, qos: 1 }])
  const anns = await login(t, ann)
  for (let i = 1; i <= 5; i++) await anns.publish1(inboxOf(bob), `${i}`)
  const got: string[] = []
  while (got.length < 5) {
    const waiting = [await bobs.take('publish'), ...(await bobs.settled())]
    t.ok(waiting.length <= 2, `${waiting.length} at once`)
    for (const message of waiting) {
      got.push(json(message).content)
      bobs.ack('puback', message.messageId)
    }
  }
  t.same(got, ['1', '2', '3', '4', '5'])
})

t.test('receive maximum holds for inbox and topics together', async t => {
  const open = await startGateway(t, { 'mqtt.acl': 'open' })
  const bob = await register(t, open)
  const bobs = await connect5(t, open, { account: bob, properties: { receiveMaximum: 3 } })
  await bobs.subscribe([
    { topic: `${inboxOf(bob)}/#`, qos: 1 },
    { topic: 'topic', qos: 1 },
  ])
  const from = await connect5(t, open, { account: bob })
  for (let i = 0; i < 3; i++) {
    await from.publish1(inboxOf(bob), 'x')
    await from.publish1('topic', 'x')
  }
  let count = 0
  while (count < 6) {
    const waiting = [await bobs.take('publish'), ...(await bobs.settled())]
    t.ok(waiting.length <= 3, `${waiting.length} at once`)
    count += waiting.length
    for (const { messageId } of waiting) bobs.ack('puback', messageId)
  }
  t.equal(count, 6)
  t.same(await bobs.settled(), [])
})

t.test('what comes while a device is away waits for it', async t => {
  const [ann, bob] = await pair(t)
  const session = { clientId: 'bobs-phone', clean: false, properties: { sessionExpiryInterval: 600 } }
  const bobs = await login(t, bob, session)
  await bobs.subscribe([{ topic: `${inboxOf(bob)}/#`, qos: 1 }])
  await bobs.drop()
  const anns = await loggedIn(t, gateway, ann)
  t.match(await anns.ask({ type: 'message', data: { recipient: bob.id, content: 'while away' } }), {
    code: 201,
  })
  const back = await login(t, bob, session)
  t.match(back.connack, { sessionPresent: true })
  t.match(json(await back.take('publish')), { content: 'while away' })
})

t.test('a request is answered on its response topic, with its correlation data', async t => {
  const [ann] = await pair(t)
  const client = await login(t, ann, { properties: { requestResponseInformation: true } })
  const base = String(client.connack.properties?.responseInformation)
  t.ok(base.startsWith(`users/${ann.id}/replies`), base)
  const responseTopic = `${base.replace(/\/$/, '')}/mine`
  t.match(await client.subscribe([{ topic: responseTopic, qos: 1 }]), { granted: [1] })
  const correlationData = Buffer.from([1, 2, 0, 255])
  client.publish(
    `users/${ann.id}/requests`,
    JSON.stringify({ type: 'action', action: 'sessions', id: 'r' }),
    {
      qos: 1,
      messageId: 5,
      properties: { responseTopic, correlationData },
    },
  )
  const answers = [await client.next(), await client.next()]
  const reply = answers.find(({ cmd }) => cmd === 'publish')
  t.match(reply, { topic: responseTopic, properties: { correlationData } })
  t.match(reply && json(reply), { id: 'r', code: 200 })
})

t.test('a request is not answered on a topic that is not the caller’s to read', async t => {
  const [ann, bob] = await pair(t)
  const client = await login(t, ann)
  const { reasonCode } = await client.publish1(
    `users/${ann.id}/requests`,
    '{"type":"action","action":"sessions"}',
    {
      properties: { responseTopic: `users/${bob.id}/replies/x` },
    },
  )
  t.equal(reasonCode, 0x87)
})

t.test('the end of an account’s rights: DISCONNECT says 0x98', async t => {
  const [ann] = await pair(t)
  const client = await login(t, ann)
  const owner = await loggedIn(t, gateway, ann)
  owner.send({
    type: 'action',
    action: 'password',
    data: { password: ann.password, newPassword: 'another horse' },
  })
  t.equal(await client.dismissed(), 0x98)
})

t.test('a message id that is too long is refused, and costs no neighbour of its batch anything', async t => {
  const [ann, bob] = await pair(t)
  const client = await login(t, ann)
  const all = ['x'.repeat(3000), 'short', ''].map((id, i) => {
    client.publish(inboxOf(bob), `message ${i}`, {
      qos: 1,
      messageId: i + 1,
      properties: { userProperties: { id } },
    })
    return i + 1
  })
  const reasons: Record<number, number | undefined> = {}
  for (const _ of all) {
    const { messageId = 0, reasonCode } = await client.take('puback')
    reasons[messageId] = reasonCode
  }
  t.equal(reasons[2] ?? 0, 0)
  t.ok((reasons[1] ?? 0) >= 0x80 && (reasons[3] ?? 0) >= 0x80, JSON.stringify(reasons))
})
