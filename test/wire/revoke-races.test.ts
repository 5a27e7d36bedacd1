/** Requests and messages that were sent before a revocation and still wait when it happens. */

import type { IPublishPacket } from 'mqtt-packet'
import t from 'tap'
import { loggedIn, register } from '../helpers/gateway.js'
import { rawConnect, rawSocket } from '../helpers/raw-mqtt.js'
import { startControlled } from '../helpers/store-control.js'
import { sessionsOf } from '../helpers/tokens.js'

const gateway = await startControlled(t, {
  'sessions.multiple': 'allow',
  'mqtt.maxSessions': 1,
  'mqtt.acl': 'open',
})

const message = (recipient: string, content: string) =>
  JSON.stringify({ type: 'message', data: { recipient, content } })

/** The messages sent to `reader`, after everything that was held has settled. */
async function inboxOf(reader: Awaited<ReturnType<typeof loggedIn>>): Promise<unknown[]> {
  const marker = await loggedIn(t, gateway)
  await marker.ask({ type: 'message', data: { recipient: reader.userId, content: 'last' } })
  const got: unknown[] = []
  while (got.at(-1) !== 'last') got.push((await reader.next<{ content: string }>()).content)
  return got
}

/** A user that the gateway must look up in the store. */
const STRANGER = '999999999'

async function setUp() {
  const account = await register(t, gateway)
  const owner = await loggedIn(t, gateway, account)
  const reader = await loggedIn(t, gateway)
  // Known from here on.
  await owner.ask({ type: 'message', data: { recipient: reader.userId, content: 'first' } })
  return { account, owner, reader }
}

/** Another client of the account writes to the reader and is gone before that is done. @returns what lets it be done */
async function sendAndGo(
  { account, owner, reader }: Awaited<ReturnType<typeof setUp>>,
  content: string,
): Promise<() => void> {
  const client = await loggedIn(t, gateway, account)
  const held = gateway.holdAnswer('findUser')
  client.send(message(STRANGER, 'x'))
  client.send(message(reader.userId, content))
  await held.made
  client.ws.terminate()
  while ((await sessionsOf(owner)).length > 1) t.pass('not noticed yet')
  return held.release
}

t.test('waiting requests of an MQTT client are not done after its revocation', async t => {
  const { account, owner, reader } = await setUp()
  const thief = await rawConnect(t, gateway, { account, clientId: 'thief' })
  const request = (payload: string) => {
    const topic = `users/${account.id}/requests`
    return { cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false } as const
  }
  const held = gateway.holdAnswer('findUser')
  // In one write: of another Aedes would read nothing before the first is done.
  thief.send(request(message(STRANGER, 'x')), request(message(reader.userId, 'stolen')))
  await held.made
  t.match(await owner.action('revoke', { others: true }), { code: 200 })
  await thief.closed
  held.release()
  t.same(await inboxOf(reader), ['first', 'last'])
})

const publish = (topic: string, payload: string, more: Partial<IPublishPacket> = {}) =>
  ({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false, ...more }) as IPublishPacket

for (const qos of [0, 1, 2] as const) {
  const numbered = (messageId: number) => (qos > 0 ? { qos, messageId } : { qos })

  t.test(`nor are its messages at QoS ${qos}, waiting behind one or looked up themselves`, async t => {
    const { account, owner, reader } = await setUp()
    const thief = await rawConnect(t, gateway, { account, clientId: 'thief' })
    const stranger = await register(t, gateway)
    const held = gateway.holdAnswer('findUser')
    thief.send(
      publish(`users/${stranger.id}/inbox`, 'looked up', numbered(1)),
      publish(`users/${reader.userId}/inbox`, 'stolen', numbered(2)),
    )
    await held.made
    t.match(await owner.action('revoke', { others: true }), { code: 200 })
    await thief.closed
    held.release()
    t.same(await inboxOf(reader), ['first', 'last'])
    t.same(await gateway.store.inbox.readInbox(stranger.id, 0, 10), [])
  })

  t.test(`nor its packets for other topics at QoS ${qos}, retained ones too`, async t => {
    const { account, owner } = await setUp()
    const other = await register(t, gateway)
    const topic = `topic/${account.id}`
    const away = { account: other, clientId: 'away', clean: false }
    const one = await rawConnect(t, gateway, away)
    await one.subscribe(topic, qos)
    const thief = await rawConnect(t, gateway, { account, clientId: 'thief' })
    const held = gateway.holdAnswer('findUser')
    thief.send(
      publish(`users/${STRANGER}/inbox`, 'x', numbered(1)),
      publish(topic, 'stolen', numbered(2)),
      publish(topic, 'stolen', { ...numbered(3), retain: true }),
    )
    await held.made
    t.match(await owner.action('revoke', { others: true }), { code: 200 })
    await thief.closed
    held.release()
    // Behind all that was held up.
    const witness = await rawConnect(t, gateway, { account, clientId: 'witness' })
    witness.publish(topic, 'last', { qos, ...(qos > 0 && { messageId: 1 }) })
    t.equal((await one.take('publish')).payload.toString(), 'last')
    const late = await rawConnect(t, gateway, { account, clientId: 'late' })
    await late.subscribe(topic)
    late.send({ cmd: 'pingreq' })
    await late.take('pingresp')
    await one.drop()
    t.equal((await rawConnect(t, gateway, { ...away, clean: true })).connack.returnCode, 0)
  })
}

t.test('a message that waits for an earlier commit is not stored after a revocation', async t => {
  const { account, owner, reader } = await setUp()
  const json = await loggedIn(t, gateway, account)
  const mqtt = await rawConnect(t, gateway, { account, clientId: 'thief' })
  const held = gateway.holdAnswer('append')
  owner.send(message(reader.userId, 'under way'))
  await held.made
  json.send(message(reader.userId, 'stolen'))
  json.send({ type: 'broadcast', data: { content: 'stolen' } })
  mqtt.send(publish(`users/${reader.userId}/inbox`, 'stolen', { qos: 1, messageId: 1 }), { cmd: 'pingreq' })
  await mqtt.take('pingresp')
  owner.send({ type: 'action', action: 'revoke', data: { others: true } })
  await mqtt.closed
  held.release()
  t.match(await owner.next(), { code: 201 })
  t.match(await owner.next(), { code: 200 })
  t.match(await json.next(), { code: 10007 })
  t.match(await json.next(), { code: 10007 })
  t.match(await json.next(), { code: 10009 })
  t.same(await inboxOf(reader), ['first', 'under way', 'last'])
})

t.test('a will is not published if its client’s login was revoked', async t => {
  const { account, owner, reader } = await setUp()
  const will = (topic: string) => ({ topic, payload: Buffer.from('stolen'), qos: 1 as const, retain: false })
  const seen = await rawConnect(t, gateway, { account: await register(t, gateway), clientId: 'seen' })
  await seen.subscribe(`will/${account.id}`)
  const inbox = { account, clientId: 'one', will: will(`users/${reader.userId}/inbox`) }
  const topic = { account, clientId: 'two', will: will(`will/${account.id}`) }
  const clients = [await rawConnect(t, gateway, inbox), await rawConnect(t, gateway, topic)]
  t.match(await owner.action('revoke', { others: true }), { code: 200 })
  for (const client of clients) await client.closed
  t.same(await inboxOf(reader), ['first', 'last'])
  seen.publish(`will/${account.id}`, 'last')
  t.equal((await seen.take('publish')).payload.toString(), 'last')
})

t.test('what comes with a CONNECT that is judged meanwhile is not done either', async t => {
  const { account, owner, reader } = await setUp()
  const socket = await rawSocket(t, gateway)
  const held = gateway.holdAnswer('findUser')
  const login = { username: account.id, password: Buffer.from(account.password) }
  const connect = { cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId: 'thief' } as const
  socket.send(
    { ...connect, ...login, clean: true, keepalive: 0 },
    publish(`users/${reader.userId}/inbox`, 'stolen', { qos: 1, messageId: 1 }),
  )
  await held.made
  t.match(await owner.action('revoke', { others: true }), { code: 200 })
  held.release()
  await socket.closed
  t.same(await inboxOf(reader), ['first', 'last'])
})

t.test('nor are those of a JSON client that went before', async t => {
  const parts = await setUp()
  const release = await sendAndGo(parts, 'stolen')
  t.match(await parts.owner.action('revoke', { others: true }), { code: 200 })
  release()
  t.same(await inboxOf(parts.reader), ['first', 'last'])
})

t.test('what a client sent before it went is done where nothing was revoked', async t => {
  const parts = await setUp()
  const release = await sendAndGo(parts, 'sent')
  release()
  t.same(await inboxOf(parts.reader), ['first', 'sent', 'last'])
})

t.test(
  'a client that leaves during its login leaves no login, no connection and no listener behind',
  async t => {
    const account = await register(t, gateway)
    const socket = await rawSocket(t, gateway)
    const held = gateway.holdAnswer('findUser')
    socket.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clientId: 'gone',
      clean: false,
      keepalive: 0,
      username: account.id,
      password: Buffer.from(account.password),
    })
    await held.made
    await socket.drop()
    while ((await connections(gateway)) > 0) t.pass('not noticed yet')
    held.release()
    const other = { account, clientId: 'other', clean: false }
    t.equal((await rawConnect(t, gateway, other)).connack.returnCode, 0, 'the one session there may be')
  },
)

async function connections({ http }: { http: string }): Promise<number> {
  const text = await (await fetch(`${http}/metrics`)).text()
  return Number(/^mumi_connections\{front="mqtt"\} (\d+)$/m.exec(text)?.[1])
}
