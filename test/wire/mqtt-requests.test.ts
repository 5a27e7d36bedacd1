import t, { type Test } from 'tap'
import {
  loggedIn,
  type MqttTestClient,
  mqttClient,
  type Reply,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { startControlled } from '../helpers/store-control.js'

const gateway = await startGateway(t)

async function device(t: Test, account: TestAccount, clientId = 'd'): Promise<MqttTestClient> {
  const client = await mqttClient(t, gateway, {
    username: account.email,
    password: account.password,
    clientId,
  })
  await client.mqtt.subscribeAsync(`users/${account.id}/replies`, { qos: 1 })
  return client
}

function asker(client: MqttTestClient, { id }: TestAccount) {
  const publish = (request: unknown) =>
    client.mqtt.publishAsync(
      `users/${id}/requests`,
      typeof request === 'string' ? request : JSON.stringify(request),
      {
        qos: 1,
      },
    )
  const reply = async (): Promise<Reply> => JSON.parse((await client.next()).payload)
  const ask = async (request: unknown): Promise<Reply> => {
    await publish(request)
    return reply()
  }
  return { publish, reply, ask }
}

t.test('a request is answered on the reply topic as it would be over WebSocket, with its id', async t => {
  const account = await register(t, gateway)
  const { ask } = asker(await device(t, account), account)
  const json = await loggedIn(t, gateway, account)
  const query = { type: 'action', action: 'query', id: 'q', data: { email: account.email } }
  const reply = await ask(query)
  t.same(Object.keys(reply), ['code', 'msg', 'data', 'id'])
  t.match(reply, {
    code: 200,
    id: 'q',
    data: [{ id: account.id, email: account.email, password: '', isLogin: true }],
  })
  t.same(await json.ask(query), reply)
  t.same(await ask({ type: 'action', action: 'query', data: { id: '999999999' } }), {
    code: 200,
    msg: reply.msg,
    data: [],
  })
})

t.test('a message sent by request is stored and delivered like any other', async t => {
  const account = await register(t, gateway)
  const client = await device(t, account)
  const { ask } = asker(client, account)
  const json = await loggedIn(t, gateway)
  const request = { type: 'message', id: 'm', data: { recipient: json.userId, content: 'hello' } }
  const reply = await ask(request)
  t.match(reply, { code: 201, id: 'm', data: { id: String } })
  t.match(await json.next(), { sender: account.id, content: 'hello' })
  t.same(await ask(request), reply, 'a repeat is the same reply')
  await ask({ type: 'message', data: { recipient: json.userId, content: 'next' } })
  t.match(await json.next(), { content: 'next' })
})

t.test('requests sent in one burst are answered in order', async t => {
  const account = await register(t, gateway)
  const { publish, reply } = asker(await device(t, account), account)
  const kinds = [
    (id: string) => ({ type: 'action', action: 'query', id, data: { email: account.email } }),
    (id: string) => ({ type: 'message', id, data: { recipient: account.id, content: id } }),
    (id: string) => ({ type: 'message', id, data: { recipient: '999999999', content: id } }),
    (id: string) => ({ type: 'none', id }),
    (id: string) => ({ type: 'action', action: 'history', id, data: { with: account.id } }),
    (id: string) => ({ type: 'action', action: 'delete', id, data: { password: 'wrong' } }),
    (id: string) => ({ type: 'broadcast', id, data: { content: id } }),
  ]
  const ids = Array.from({ length: 140 }, (_, i) => `r${i}`)
  await Promise.all(ids.map((id, i) => publish(kinds[i % kinds.length]?.(id))))
  const answered: (string | undefined)[] = []
  while (answered.length < ids.length) answered.push((await reply()).id)
  t.same(answered, ids)
})

t.test('bad requests get their number, and the connection stays', async t => {
  const account = await register(t, gateway)
  const { ask } = asker(await device(t, account), account)
  t.match(await ask('not json'), { code: 10100, data: { reason: String } })
  t.match(await ask('[]'), { code: 10100 })
  t.match(await ask(''), { code: 10100 })
  t.match(await ask({ type: 'action', action: 'dance', id: 'x' }), { code: 10102, id: 'x' })
  t.match(await ask({ type: 'message', data: { recipient: account.id, content: '' } }), { code: 10101 })
  t.match(await ask({ type: 'message', data: { recipient: account.id, content: 'x' }, more: 1 }), {
    code: 10101,
  })
  t.match(await ask({ type: 'action', action: 'query', data: {} }), { code: 200 })
})

t.test('bytes that are not UTF-8 are no request', async t => {
  const account = await register(t, gateway)
  const client = await device(t, account)
  const bytes = Buffer.concat([
    Buffer.from('{"type":"action","action":"query","data":{"id":"'),
    Buffer.from([0xff, 0x22, 0x7d, 0x7d]),
  ])
  await client.mqtt.publishAsync(`users/${account.id}/requests`, bytes, { qos: 1 })
  t.match(JSON.parse((await client.next()).payload), {
    code: 10101,
    data: { field: 'payload' },
  })
})

t.test('an MQTT client is logged in already, and confirms by PUBACK', async t => {
  const account = await register(t, gateway)
  const { ask } = asker(await device(t, account), account)
  const { email, password } = account
  t.match(await ask({ type: 'action', action: 'login', data: { email, password } }), { code: 10005 })
  t.match(await ask({ type: 'action', action: 'ack', data: { seq: 1 } }), { code: 10110 })
})

t.test('register over MQTT creates another account', async t => {
  const account = await register(t, gateway)
  const { ask } = asker(await device(t, account), account)
  const data = { email: 'made@example.com', password: 'correct horse', firstName: 'A', lastName: 'B' }
  const reply = await ask({ type: 'action', action: 'register', id: 'r', data })
  t.match(reply, { code: 203, id: 'r', data: { id: /^[1-9]\d{8}$/ } })
  const { id } = reply.data as { id: string }
  t.ok(await mqttClient(t, gateway, { username: id, password: data.password }))
})

t.test('only the connection that asked sees the reply', async t => {
  const account = await register(t, gateway)
  const [one, two] = [await device(t, account, 'one'), await device(t, account, 'two')]
  await asker(one, account).publish({ type: 'none', id: 'x' })
  t.match(JSON.parse((await one.next()).payload), { id: 'x' })
  t.match(await asker(two, account).ask({ type: 'none', id: 'y' }), { id: 'y' }, 'and nothing before it')
})

t.test('delete over MQTT is answered and then ends every connection of the account', async t => {
  const account = await register(t, gateway)
  const { publish, reply } = asker(await device(t, account), account)
  const raw = await rawConnect(t, gateway, { account, clientId: 'raw' })
  const json = await loggedIn(t, gateway, account)
  await publish({ type: 'action', action: 'delete', id: 'd', data: { password: account.password } }).catch(
    () => undefined,
  )
  t.match(await reply(), { code: 200, id: 'd' })
  await Promise.all([raw.closed, json.closed])
  await t.rejects(mqttClient(t, gateway, { username: account.email, password: account.password }), {
    code: 4,
  })
})

t.test('a message by request is acknowledged when it is stored, or refused by its number', async t => {
  const own = await startControlled(t)
  const account = await register(t, own)
  const client = await rawConnect(t, own, { account })
  await client.subscribe(`users/${account.id}/replies`, 0)
  const request = JSON.stringify({ type: 'message', id: 'x', data: { recipient: account.id, content: 'x' } })
  const packet = { cmd: 'publish', topic: `users/${account.id}/requests`, payload: request } as const
  const release = own.hold('append')
  client.send({ ...packet, qos: 1, messageId: 5, dup: false, retain: false }, { cmd: 'pingreq' })
  await client.take('pingresp')
  t.same(client.unread, [])
  release()
  const cmds = [(await client.next()).cmd, (await client.next()).cmd]
  t.same(cmds.sort(), ['puback', 'publish'])
  own.fail('append', 'STORE_UNAVAILABLE')
  client.publish(packet.topic, request.replace('"x"', '"y"'), { qos: 0 })
  t.match(JSON.parse((await client.take('publish')).payload.toString()), { code: 10104, id: 'y' })
})

t.test('an invalid request is refused, and logged as over JSON', async t => {
  const account = await register(t, gateway)
  const { ask } = asker(await device(t, account), account)
  t.match(await ask('no JSON'), { code: 10100 })
  t.match(gateway.logs.filter(({ userId }) => userId === account.id).at(-1), {
    event: 'request.refused',
    request: 'invalid',
    code: 10100,
    level: 'info',
  })
})
