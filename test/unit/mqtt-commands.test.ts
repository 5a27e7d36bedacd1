/** CONNECT, SUBSCRIBE, PUBLISH and wills, with the broker's real parts and streams in this process. */
import type { IConnectPacket, IPublishPacket, Packet } from 'mqtt-packet'
import t, { type Test } from 'tap'
import type { Principal } from '../../src/auth/authenticate.js'
import { CODES, type CodeName } from '../../src/core/errors.js'
import type { Permissions } from '../../src/core/model.js'
import { Receipt } from '../../src/mqtt/acknowledgements.js'
import type { MqttConnection } from '../../src/mqtt/connection.js'
import { readUserName } from '../../src/mqtt/credentials.js'
import { Publisher } from '../../src/mqtt/publish.js'
import { subscribe } from '../../src/mqtt/subscribe.js'
import { mayLeave } from '../../src/mqtt/wills.js'
import type { Will } from '../../src/mqtt/wire/connect-rules.js'
import type { PublishPacket } from '../../src/mqtt/wire/decode.js'
import { PASSWORD, startParts } from '../helpers/mqtt-parts.js'

const { parts, logs, register, open } = await startParts(t)
const ann = await register('ann')
const bob = await register('bob')

const turn = () => new Promise(setImmediate)

async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) await turn()
}

const connectPacket = (clientId: string, user = ann, more: Partial<IConnectPacket> = {}): Packet => ({
  cmd: 'connect',
  protocolId: 'MQTT',
  protocolVersion: 4,
  clientId,
  clean: true,
  keepalive: 0,
  username: user.email,
  password: Buffer.from(PASSWORD),
  ...more,
})

/** Sends CONNECT. @returns the client, and CONNACK's return code and session present flag */
async function dial(...connect: Parameters<typeof connectPacket>) {
  const client = open()
  client.send(connectPacket(...connect))
  const { returnCode, sessionPresent } = await client.take('connack')
  return { client, returnCode, sessionPresent }
}

/** The connection that holds this session, once it is ready, which is after CONNACK. */
async function readyAs(scoped: string): Promise<MqttConnection> {
  await until(() => parts.connections.holderOf(scoped) !== undefined)
  return parts.connections.holderOf(scoped) as MqttConnection
}

/** An accepted client, and its connection. */
async function enter(t: Test, clientId: string, user = ann, more: Partial<IConnectPacket> = {}) {
  const { client, returnCode } = await dial(clientId, user, more)
  t.equal(returnCode, 0)
  const connection = await readyAs(`${user.id}:${clientId}`)
  t.teardown(() => client.drop())
  return { client, connection }
}

const will = (topic: string, more: Partial<IPublishPacket> = {}) => ({
  topic,
  payload: Buffer.from('gone'),
  qos: 1 as const,
  retain: false,
  ...more,
})

const inboxOf = (user: { id: string }) => `users/${user.id}/inbox`

/** Contents of an inbox, oldest first. */
async function contentsOf(user: { id: string }): Promise<string[]> {
  const { store } = parts.services.inbox
  const rows = await store.readInbox(user.id, 0, 1000, 1_000_000)
  return rows.map(({ text }) => JSON.parse(text).content)
}

t.test('a user name may end with a language', async t => {
  t.same(readUserName('ann@example.com?lang=zh-TW'), { name: 'ann@example.com', locale: 'zh-TW' })
  t.same(readUserName('?lang=en'), { name: '', locale: 'en' })
  t.same(readUserName('ann?lang=fr'), { name: 'ann?lang=fr', locale: undefined })
  t.same(readUserName('ann?lang=en '), { name: 'ann?lang=en ', locale: undefined })
  t.same(readUserName(undefined), { name: undefined, locale: undefined })
})

t.test('CONNACK has the return code for each fault (MQTT 3.1.1, table 3.1)', async t => {
  const wrong: readonly [what: string, code: number, differing: Partial<IConnectPacket>][] = [
    ['wrong password', 4, { password: Buffer.from('wrong') }],
    ['empty password', 4, { password: Buffer.from('') }],
    ['a password of 1,025 characters', 4, { password: Buffer.alloc(1025, 'x') }],
    ['unknown user', 4, { username: 'nobody@example.com' }],
    ['a will for the replies of another user', 5, { will: will(`users/${bob.id}/replies`) }],
  ]
  for (const [what, code, differing] of wrong) {
    const { client, returnCode } = await dial('x', ann, differing)
    t.equal(returnCode, code, what)
    await client.closed
  }
  t.ok(logs.some(({ event }) => event === 'will.refused'))
})

t.test(
  'a client without user name is accepted only if configured; one without password never is',
  async t => {
    const strict = await startParts(t, { anonymous: false })
    const nobody = { username: undefined, password: undefined }
    const hello = ({ open }: Pick<typeof strict, 'open'>, more: object) => {
      const client = open()
      const fields = { ...connectPacket('a'), ...more }
      client.send(Object.fromEntries(Object.entries(fields).filter(([, one]) => one !== undefined)) as never)
      return client.take('connack')
    }
    t.equal((await hello({ open }, nobody)).returnCode, 0)
    t.equal((await hello(strict, nobody)).returnCode, 5)
    const foreign = { username: 'x'.repeat(321) }
    t.equal((await hello({ open }, foreign)).returnCode, 0, 'it can be the name of no account')
    t.equal((await hello(strict, foreign)).returnCode, 4)
    t.equal((await hello({ open }, { password: undefined })).returnCode, 5)
    await parts.connections.holderOf('anonymous:a')?.transport.destroy()
  },
)

t.test('a second connection with the client id ends the first one [MQTT-3.1.4-2]', async t => {
  const { client: first } = await dial('device', ann, { clean: false })
  const second = await dial('device', ann, { clean: false })
  await first.closed
  t.equal(second.sessionPresent, true)
  const other = await dial('device', bob)
  t.equal(other.sessionPresent, false, 'of another account it is another device')
  t.equal(second.client.unread.length, 0)
  for (const { client } of [second, other]) await client.drop()
})

t.test('sessions and connections per account are bounded', async t => {
  const persistent = [await dial('p1', bob, { clean: false }), await dial('p2', bob, { clean: false })]
  t.equal((await dial('p3', bob, { clean: false })).returnCode, 3, 'mqtt.maxSessions')
  const third = await dial('c1', bob)
  t.equal(third.returnCode, 0)
  t.equal((await dial('c2', bob)).returnCode, 3, 'limits.connectionsPerAccount')
  const again = await dial('c1', bob)
  t.equal(again.returnCode, 0, 'a connection that takes over does not count twice')
  for (const { client } of [...persistent, again]) await client.drop()
  await until(() => parts.connections.holderOf(`${bob.id}:c1`) === undefined)
  const free = await dial('c2', bob)
  t.equal(free.returnCode, 0)
  await free.client.drop()
  for (const id of ['p1', 'p2']) await (await dial(id, bob)).client.drop()
})

t.test('a revocation during CONNECT ends the connection', async t => {
  const { state } = parts
  const { putWill } = state
  t.teardown(() => {
    state.putWill = putWill
  })
  state.putWill = async (...stored) => {
    await putWill.apply(state, stored)
    parts.services.logins.revocations.add(ann.id)
  }
  const client = open()
  client.send(connectPacket('revoked', ann, { will: will(`users/${ann.id}/inbox`) }))
  await client.closed
  t.notOk(parts.services.live.isOnline(ann.id))
})

t.test(
  'SUBACK has the QoS, or 0x80 for filters that are not granted or over the limit [MQTT-3.9.3-2]',
  async t => {
    const { client } = await enter(t, 'suback')
    const filters = [
      `${inboxOf(ann)}/#`,
      `${inboxOf(bob)}/#`,
      '$SYS/#',
      `$share/g/${inboxOf(bob)}/#`,
      `users/${ann.id}/replies`,
      'a',
    ]
    t.same(await client.subscribe(filters), [1, 0x80, 0x80, 0x80, 1, 1])
    t.same(await client.subscribe(['b', 'a']), [0x80, 1], 'mqtt.maxSubscriptions is 3')
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['a'] })
    await client.take('unsuback')
    t.same(await client.subscribe(['c', 'c'], 2), [2, 2], 'one code for each filter, also for the same twice')
  },
)

t.test('a client that ignores SUBACK is closed', async t => {
  const { client, connection } = await enter(t, 'deaf')
  let asked = 0
  for (; !connection.hasLeft; asked++)
    void subscribe(parts, connection, { messageId: 1, filters: [{ topic: `t${asked}`, qos: 0 }] })
  await client.closed
  t.equal(asked, 3 + 4, 'three are granted, and more than three refused')
})

t.test('the inbox is delivered at the highest QoS of its filters, until the last one is removed', async t => {
  const { client, connection } = await enter(t, 'reader')
  t.same(await client.subscribe(`${inboxOf(ann)}/#`, 0), [0])
  t.equal(connection.inbox?.qos, 0)
  await client.subscribe(`${inboxOf(ann)}/+`, 2)
  const { inbox } = connection
  t.equal(inbox?.qos, 2)
  await client.subscribe(`${inboxOf(ann)}/+`, 2)
  t.equal(connection.inbox, inbox, 'the same again begins nothing anew')
  client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [`${inboxOf(ann)}/#`] })
  await client.take('unsuback')
  t.equal(connection.inbox, inbox)
  client.send({ cmd: 'unsubscribe', messageId: 3, unsubscriptions: [`${inboxOf(ann)}/+`] })
  await client.take('unsuback')
  t.equal(connection.inbox, undefined)
})

t.test('a message is acknowledged when it is stored, and its DUP stores nothing', async t => {
  const { client } = await enter(t, 'sender')
  const before = (await contentsOf(bob)).length
  client.publish(inboxOf(bob), 'one', { qos: 1, messageId: 7 })
  t.equal((await client.take('puback')).messageId, 7)
  client.publish(inboxOf(bob), 'one', { qos: 1, messageId: 7, dup: true })
  client.publish(inboxOf(bob), 'two', { qos: 1, messageId: 8, dup: true })
  for (const id of [7, 8]) t.equal((await client.take('puback')).messageId, id)
  t.same((await contentsOf(bob)).slice(before), ['one', 'two'])
})

t.test(
  'QoS 2: until PUBREL the packet id names one message [MQTT-4.3.3-2]; their number is bounded',
  async t => {
    const { client } = await enter(t, 'exactly')
    const before = (await contentsOf(bob)).length
    for (const payload of ['once', 'ignored']) {
      client.publish(inboxOf(bob), payload, { qos: 2, messageId: 1 })
      await client.take('pubrec')
    }
    client.ack('pubrel', 1)
    await client.take('pubcomp')
    client.publish(inboxOf(bob), 'again', { qos: 2, messageId: 1 })
    await client.take('pubrec')
    t.same((await contentsOf(bob)).slice(before), ['once', 'again'])
    client.publish(inboxOf(bob), 'second', { qos: 2, messageId: 2 })
    await client.take('pubrec')
    client.publish(inboxOf(bob), 'one too many', { qos: 2, messageId: 3 })
    await client.closed
  },
)

t.test(
  'a refused PUBLISH is acknowledged and dropped, with the reason on the reply topic [MQTT-3.3.5-2]',
  async t => {
    const { client } = await enter(t, 'refused')
    await client.subscribe(`users/${ann.id}/replies`)
    const refused: readonly [topic: string, payload: string, kind: CodeName][] = [
      [`users/${bob.id}/requests`, '{}', 'FORBIDDEN'],
      [`users/${ann.id}/replies`, 'x', 'FORBIDDEN'],
      [inboxOf(bob), '', 'BAD_FIELD'],
      ['users/100000000/inbox', 'x', 'ERROR_FIND_USER'],
    ]
    for (const [i, [topic, payload, kind]] of refused.entries()) {
      client.publish(topic, payload, { qos: 1, messageId: i + 1 })
      const got = [await client.next(), await client.next()]
      const reply = got.find(({ cmd }) => cmd === 'publish') as IPublishPacket
      t.ok(
        got.some(({ cmd }) => cmd === 'puback'),
        topic,
      )
      t.equal(JSON.parse(String(reply.payload)).code, CODES[kind].code, topic)
    }
  },
)

t.test('requests are answered in order, each before its PUBACK', async t => {
  const { client } = await enter(t, 'asks')
  await client.subscribe(`users/${ann.id}/replies`, 0)
  const query = (id: string) => JSON.stringify({ type: 'action', action: 'query', id, data: { id: bob.id } })
  client.publish(`users/${ann.id}/requests`, query('1'), { qos: 1, messageId: 1 })
  client.publish(`users/${ann.id}/requests`, 'no JSON', { qos: 1, messageId: 2 })
  client.publish(`users/${ann.id}/requests`, query('3'), { qos: 1, messageId: 3 })
  const seen: unknown[] = []
  while (seen.length < 6) {
    const packet = await client.next()
    seen.push(
      packet.cmd === 'publish' ? (JSON.parse(String(packet.payload)).id ?? 'invalid') : packet.messageId,
    )
  }
  t.same(seen, ['1', 1, 'invalid', 2, '3', 3])
})

const packet = (topic: string, more: Partial<PublishPacket> = {}): PublishPacket => ({
  topic,
  payload: Buffer.from('x'),
  qos: 1 as const,
  dup: false,
  retain: false,
  messageId: undefined,
  ...more,
})

const published = (publisher: Publisher, one: ReturnType<typeof packet>) =>
  new Promise<Error | null>(resolve => {
    const sender = { metrics: parts.metrics, published: ({ error }: Receipt) => resolve(error) }
    publisher.publish(one, new Receipt(sender, one.qos, one.messageId, 0))
  })

t.test('a revoked login sends, stores and routes nothing', async t => {
  const permissions: Permissions = { areRevoked: true }
  const publisher = new Publisher(parts, { userId: ann.id, permissions })
  const { client } = await enter(t, 'listener')
  await client.subscribe('revoked/#')
  const before = (await contentsOf(bob)).length
  for (const [topic, more] of [
    [inboxOf(bob), {}],
    ['revoked/a', { retain: true }],
    ['revoked/a', { qos: 0 as const }],
  ] as const)
    t.match(await published(publisher, { ...packet(topic), ...more } as never), {
      kind: 'ERROR_UNAUTHORIZED',
    })
  t.equal((await contentsOf(bob)).length, before)
  const good = new Publisher(parts, { userId: ann.id })
  t.notOk(await published(good, packet('revoked/b')))
  t.equal((await client.take('publish')).topic, 'revoked/b')
})

t.test('a packet is not routed if its login is revoked while it waits for its commit', async t => {
  const permissions = { areRevoked: false }
  const publisher = new Publisher(parts, { userId: ann.id, permissions })
  const done = published(publisher, packet('late/a', { retain: true }))
  permissions.areRevoked = true
  t.match(await done, { kind: 'ERROR_UNAUTHORIZED' })
})

t.test('a closing gateway accepts no PUBLISH', async t => {
  parts.phase.isClosing = true
  t.teardown(() => {
    parts.phase.isClosing = false
  })
  t.match(await published(new Publisher(parts, {}), packet('a')), { kind: 'SHUTDOWN' })
})

t.test('a will needs permission for its topic', async t => {
  const connection = { remoteAddress: undefined } as MqttConnection
  const who = { user: ann, login: { kind: 'password', role: 'user' } } as unknown as Principal
  const may = (topic: string, by?: Principal) =>
    mayLeave(parts, connection, { clientId: 'x', will: will(topic) as Will, who: by })
  for (const topic of [inboxOf(bob), `users/${ann.id}/requests`, 'any/topic'])
    t.equal(may(topic, who), true, topic)
  for (const topic of [`users/${bob.id}/requests`, 'users/x', '$SYS/x'])
    t.equal(may(topic, who), false, topic)
  t.equal(may(inboxOf(bob)), false, 'an anonymous client sends no messages')
})

t.test(
  'a will is published once when its connection drops, and not after DISCONNECT [MQTT-3.1.2-10]',
  async t => {
    const before = (await contentsOf(bob)).length
    const scoped = `${ann.id}:w`
    const dropped = await dial('w', ann, { will: will(inboxOf(bob)) })
    t.match(await parts.state.getWill({ id: scoped }), { topic: inboxOf(bob) })
    await dropped.client.drop()
    for (let i = 0; (await contentsOf(bob)).length === before && i < 1000; i++) await turn()
    await parts.wills.settled()
    t.equal(await parts.state.getWill({ id: scoped }), undefined)
    const left = await dial('w', ann, { will: will(inboxOf(bob)) })
    await left.client.disconnect()
    await until(() => parts.connections.holderOf(scoped) === undefined)
    await parts.wills.settled()
    t.same((await contentsOf(bob)).slice(before), ['gone'])
  },
)

t.test('wills left by an earlier process are published at start, except those of ended logins', async t => {
  const before = (await contentsOf(bob)).length
  const left = [
    { id: `${ann.id}:left`, content: 'left behind' },
    { id: `${ann.id}:ended`, content: 'of an ended login', session: 'no such login' },
  ]
  for (const { id, content, ...more } of left)
    await parts.state.putWill(
      { id, closed: false },
      { ...packet(inboxOf(bob)), payload: Buffer.from(content), ...more },
    )
  // As after a restart: another broker stored them, and no connection holds them.
  Object.defineProperty(parts.state, 'broker', { value: { id: 'next' } })
  for (const { id } of left) parts.connections.granteeOf(id)
  await parts.wills.publishStored()
  t.same((await contentsOf(bob)).slice(before), ['left behind'])
})
