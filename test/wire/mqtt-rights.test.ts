import t, { type Test } from 'tap'
import {
  loggedIn,
  mqttClient,
  type RunningGateway,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'

const gateway = await startGateway(t)
const ann = await register(t, gateway)
const bob = await register(t, gateway)

const REFUSED = 0x80

/** A client that hears of everything that is refused to it. */
async function listening(
  t: Test,
  home: RunningGateway,
  account: TestAccount,
  options = {},
): Promise<RawMqtt> {
  const client = await rawConnect(t, home, { account, clientId: 'listening', ...options })
  await client.subscribe(`users/${account.id}/replies`)
  return client
}

async function replyTo(client: RawMqtt): Promise<unknown> {
  const { payload, messageId } = await client.take('publish')
  client.ack('puback', messageId)
  return JSON.parse(payload.toString())
}

t.test('in one SUBSCRIBE each filter is judged by itself', async t => {
  const client = await rawConnect(t, gateway, { account: ann })
  const me = `users/${ann.id}`
  const wanted: [string, number][] = [
    [`${me}/inbox/#`, 1],
    [`users/${bob.id}/inbox/#`, REFUSED],
    [`${me}/inbox/+`, 1],
    [`${me}/#`, REFUSED],
    ['#', REFUSED],
    ['+', REFUSED],
    ['$SYS/#', REFUSED],
    ['$share/g/x', REFUSED],
    [`$share/g/${me}/inbox/#`, REFUSED],
    [`${me}/replies`, 1],
    [`users/${bob.id}/replies`, REFUSED],
    [`${me}/requests`, REFUSED],
    ['users/+/presence', 1],
    [`users/${bob.id}/presence`, 1],
    ['users/+/inbox/#', REFUSED],
    [`${me}/inbox`, REFUSED],
    [`${me}/inbox/1`, REFUSED],
    ['anything', REFUSED],
  ]
  t.same(
    await client.subscribe(wanted.map(([filter]) => filter)),
    wanted.map(([, code]) => code),
  )
})

t.test('a SUBACK grants the QoS that was asked for', async t => {
  const client = await rawConnect(t, gateway, { account: ann })
  for (const qos of [0, 1, 2] as const) t.same(await client.subscribe(`users/${ann.id}/inbox/#`, qos), [qos])
})

t.test('a filter refused beside a granted one leaks no messages, live or after a reconnect', async t => {
  const home = await startGateway(t)
  const [spy, victim] = [await register(t, home), await register(t, home)]
  const json = await loggedIn(t, home)
  const options = { account: spy, clientId: 'spy', clean: false }
  const filters = [`users/${victim.id}/inbox/#`, `users/${spy.id}/inbox/#`, `users/${victim.id}/replies`]
  const device = await mqttClient(t, home, { username: victim.email, password: victim.password })
  /** Something for the victim, in its inbox and on its reply topic, then something for the spy. */
  const stir = async () => {
    await json.ask({ type: 'message', data: { recipient: victim.id, content: 'secret' } })
    await device.mqtt.publishAsync(`users/${victim.id}/requests`, '{"type":"none"}', { qos: 1 })
    await json.ask({ type: 'message', data: { recipient: spy.id, content: 'yours' } })
  }
  const one = await rawConnect(t, home, options)
  t.same(await one.subscribe(filters, 1), [REFUSED, 1, REFUSED])
  const onlyOwn = async (client: RawMqtt) => {
    const { topic, messageId } = await client.take('publish')
    client.ack('puback', messageId)
    t.match(topic, new RegExp(`^users/${spy.id}/inbox/`))
  }
  await stir()
  await onlyOwn(one)
  await one.disconnect()
  await stir()
  const two = await rawConnect(t, home, options)
  await onlyOwn(two)
  await stir()
  await onlyOwn(two)
  await two.disconnect()
  await home.close()
  const after = await startGateway(t, { 'data.dir': home.dir })
  const three = await rawConnect(t, after, options)
  t.ok(three.connack.sessionPresent)
  three.send({ cmd: 'pingreq' })
  await three.take('pingresp')
  t.same(three.unread, [])
})

t.test('what the ACL no longer opens is gone from a restored session, its queue included', async t => {
  const open = await startGateway(t, { 'mqtt.acl': 'open' })
  const account = await register(t, open)
  const options = { account, clientId: 'd', clean: false }
  const one = await rawConnect(t, open, options)
  await one.subscribe(['news', `users/${account.id}/inbox/#`])
  await one.disconnect()
  const other = await rawConnect(t, open, { account, clientId: 'other' })
  other.publish('news', 'queued', { qos: 1, messageId: 3 })
  await other.take('puback')
  await open.close()
  const closed = await startGateway(t, { 'data.dir': open.dir })
  const two = await rawConnect(t, closed, options)
  t.ok(two.connack.sessionPresent)
  two.publish(`users/${account.id}/inbox`, 'still there', { qos: 0 })
  const message = await two.take('publish')
  t.equal(message.topic, `users/${account.id}/inbox/1`)
  t.same(two.unread, [])
  two.ack('puback', message.messageId)
  await two.disconnect()
  await closed.close()
  const again = await startGateway(t, { 'data.dir': open.dir, 'mqtt.acl': 'open' })
  const three = await rawConnect(t, again, options)
  three.publish('news', 'for whom?', { qos: 1, messageId: 4 })
  await three.take('puback')
  three.send({ cmd: 'pingreq' })
  await three.take('pingresp')
  t.notOk(
    three.unread.some(({ cmd }) => cmd === 'publish'),
    'its filter was removed',
  )
})

t.test('a refused PUBLISH is acknowledged and dropped, and the reply topic says why', async t => {
  const client = await listening(t, gateway, ann)
  const topics = [
    'anything',
    `users/${bob.id}/requests`,
    `users/${ann.id}/replies`,
    `users/${bob.id}/presence`,
  ]
  topics.push(`users/${bob.id}/inbox/1`, 'users/1/x', '$SYS/x')
  for (const [i, topic] of topics.entries()) {
    client.publish(topic, 'x', { qos: 1, messageId: i + 10 })
    const packets = [await client.next(), await client.next()]
    t.equal(packets.find(packet => packet.cmd === 'puback')?.messageId, i + 10, topic)
    const reply = packets.find(packet => packet.cmd === 'publish')
    const text = reply?.cmd === 'publish' ? reply.payload.toString() : ''
    t.match(JSON.parse(text), { code: 10110, data: { field: 'topic' } }, topic)
    client.ack('puback', reply?.messageId ?? 0)
  }
  const qos2 = await listening(t, gateway, ann)
  qos2.publish('anything', 'x', { qos: 2, messageId: 7 })
  const cmds = [(await qos2.next()).cmd, (await qos2.next()).cmd]
  t.same(cmds.sort(), ['publish', 'pubrec'])
})

t.test('with mqtt.closeOnRefused the connection closes instead [MQTT-3.3.5-2]', async t => {
  const strict = await startGateway(t, { 'mqtt.closeOnRefused': true })
  const account = await register(t, strict)
  for (const qos of [0, 1, 2] as const) {
    const client = await rawConnect(t, strict, { account })
    client.publish('anything', 'x', { qos, ...(qos > 0 && { messageId: 9 }) })
    await client.closed
    t.same(client.unread, [])
  }
})

t.test(
  'a message that can never be sent is acknowledged, dropped and explained, and the next one is sent',
  async t => {
    const client = await listening(t, gateway, ann)
    const unknown = 'users/999999999/inbox'
    const inbox = `users/${bob.id}/inbox`
    const refused: [string, string | Buffer, object][] = [
      [unknown, 'x', { code: 10010 }],
      [inbox, Buffer.from([0xff, 0xfe]), { code: 10101, data: { field: 'payload' } }],
      [inbox, '', { code: 10101, data: { field: 'content' } }],
      [inbox, 'a\u0000b', { code: 10101, data: { field: 'content' } }],
      [inbox, 'x'.repeat(65_537), { code: 10103, data: { field: 'content' } }],
    ]
    for (const [topic, payload, reply] of refused) {
      client.publish(topic, payload)
      t.match(await replyTo(client), reply)
    }
    client.publish(inbox, 'good', { qos: 1, messageId: 5 })
    t.equal((await client.take('puback')).messageId, 5)
    const reader = await mqttClient(t, gateway, { username: bob.email, password: bob.password })
    await reader.mqtt.subscribeAsync(`users/${bob.id}/inbox/#`, { qos: 1 })
    t.match(JSON.parse((await reader.next()).payload), { seq: 1, content: 'good' })
  },
)

t.test(
  'without offline delivery a message to an offline user is refused, and the sender stays connected',
  async t => {
    const home = await startGateway(t, { 'delivery.offline': false })
    const [sender, away] = [await register(t, home), await register(t, home)]
    const client = await listening(t, home, sender)
    for (const qos of [0, 1, 2] as const) {
      client.publish(`users/${away.id}/inbox`, 'x', { qos, ...(qos > 0 && { messageId: 9 }) })
      const packets = qos > 0 ? [await client.next(), await client.next()] : [await client.next()]
      t.ok(qos === 0 || packets.some(({ cmd, messageId }) => /^pub(ack|rec)$/.test(cmd) && messageId === 9))
      const reply = packets.find(packet => packet.cmd === 'publish')
      t.match(JSON.parse(reply?.cmd === 'publish' ? reply.payload.toString() : ''), { code: 10008 })
      client.ack('puback', reply?.messageId ?? 0)
    }
    const json = await loggedIn(t, home, away)
    client.publish(`users/${away.id}/inbox`, 'now', { qos: 1, messageId: 10 })
    t.match(await json.next(), { content: 'now' })
  },
)

t.test('why a PUBLISH was refused is told to its client, and to no other session', async t => {
  const client = await listening(t, gateway, ann, { clientId: 'keeps', clean: false })
  await client.disconnect()
  const other = await rawConnect(t, gateway, { account: ann, clientId: 'other' })
  other.publish('anything', 'x', { qos: 1, messageId: 3 })
  await other.take('puback')
  const back = await rawConnect(t, gateway, { account: ann, clientId: 'keeps', clean: false })
  back.publish('anything', 'x', { qos: 1, messageId: 4 })
  t.match(await replyTo(back), { code: 10110 })
  t.equal((await back.take('puback')).messageId, 4)
})

t.test('RETAIN on a message to an inbox or on a request keeps nothing', async t => {
  const account = await register(t, gateway)
  const client = await listening(t, gateway, account)
  client.publish(`users/${account.id}/inbox`, 'x', { retain: true })
  client.publish(`users/${account.id}/requests`, '{"type":"none"}', { retain: true })
  t.match(await replyTo(client), { code: 10102 })
  const other = await rawConnect(t, gateway, { account, clientId: 'other' })
  t.same(await other.subscribe([`users/${account.id}/inbox/#`, `users/${account.id}/replies`]), [1, 1])
  const message = await other.take('publish')
  t.match(message, { topic: `users/${account.id}/inbox/1`, retain: true })
  other.send({ cmd: 'pingreq' })
  await other.take('pingresp')
  t.same(other.unread, [])
})

t.test('filters and topics that MQTT forbids close the connection', async t => {
  const bytes = (first: number, ...body: number[]) => Buffer.from([first, body.length, ...body])
  const text = (value: string) => [0, value.length, ...Buffer.from(value)]
  const bad: [string, Buffer][] = [
    ['SUBSCRIBE a#', bytes(0x82, 0, 1, ...text('a#'), 0)],
    ['SUBSCRIBE a/#/b', bytes(0x82, 0, 1, ...text('a/#/b'), 0)],
    ['SUBSCRIBE +a', bytes(0x82, 0, 1, ...text('+a'), 0)],
    ['SUBSCRIBE with QoS 3', bytes(0x82, 0, 1, ...text('a'), 3)],
    ['SUBSCRIBE without a filter', bytes(0x82, 0, 1)],
    ['PUBLISH to a wildcard', bytes(0x30, ...text('users/+/inbox'), 0x78)],
    ['PUBLISH with packet id 0', bytes(0x32, ...text('a'), 0, 0, 0x78)],
    ['PUBLISH with DUP at QoS 0', bytes(0x38, ...text('a'), 0x78)],
    ['a second CONNECT', bytes(0x10, ...text('MQTT'), 4, 2, 0, 0, ...text('x'))],
  ]
  for (const [name, packet] of bad) {
    const client = await rawConnect(t, gateway, { account: ann })
    client.send(packet)
    await client.closed
    t.same(client.unread, [], name)
  }
})
