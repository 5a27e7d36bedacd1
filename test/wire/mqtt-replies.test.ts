/** `users/<me>/replies`: only the requesting connection gets a reply, it is not stored, and devices get no secrets. */
import type { IPublishPacket, Packet } from 'mqtt-packet'
import t, { type Test } from 'tap'
import { CODES } from '../../src/core/errors.js'
import {
  loggedIn,
  type RunningGateway,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'
import { startControlled } from '../helpers/store-control.js'
import { minted, withTokens } from '../helpers/tokens.js'

const gateway = await startGateway(t, {
  'mqtt.acl': 'open',
  'sessions.multiple': 'allow',
})

const replyOf = ({ payload }: IPublishPacket) => JSON.parse(payload.toString())
const action = (name: string, data?: object) =>
  JSON.stringify({ type: 'action', action: name, id: name, data })

/** A connection of the account that has subscribed to these filters. */
async function listening(
  t: Test,
  account: TestAccount,
  options: Parameters<typeof rawConnect>[2],
  filters: readonly string[] = [`users/${account.id}/replies`],
  qos: 0 | 1 | 2 = 1,
) {
  const client = await rawConnect(t, gateway, { account, ...options })
  await client.subscribe(filters, qos)
  return client
}

/** Every reply that a client is sent before it is told that nothing is left. */
async function allOf(client: RawMqtt): Promise<Packet[]> {
  client.send({ cmd: 'pingreq' })
  const packets: Packet[] = []
  for (let packet = await client.next(); packet.cmd !== 'pingresp'; packet = await client.next())
    packets.push(packet)
  // An open `#` brings presence, too.
  return packets.filter(packet => packet.cmd === 'publish' && !packet.topic.endsWith('/presence'))
}

async function stolen(t: Test, account: TestAccount, clientId: string, isGreedy = false) {
  const { password } = await minted(await loggedIn(t, gateway, account), clientId)
  const login = { username: account.id, password: Buffer.from(password), clientId, clean: false }
  const own = `users/${account.id}/replies`
  return { login, device: await listening(t, account, login, isGreedy ? [own, '#', '+/+/replies'] : [own]) }
}

t.test(
  'replies to the owner over MQTT reach no device of the account, whatever it subscribes to',
  async t => {
    const account = await register(t, gateway)
    const { device } = await stolen(t, account, 'lamp', true)
    const { device: second, login } = await stolen(t, account, 'away', true)
    await second.disconnect()
    const { tokens } = await withTokens(t, gateway, account, { device: 'phone' })
    const owner = await listening(t, account, { clientId: 'owner' })
    const topic = `users/${account.id}/requests`
    owner.publish(topic, action('mint', { device: 'pump' }))
    t.match(replyOf(await owner.take('publish')), { code: 200, data: { password: /^md_/ } })
    owner.publish(topic, action('refresh', { token: tokens.refresh }))
    t.match(replyOf(await owner.take('publish')), { code: 200, data: { refresh: /^mr_/ } })
    owner.publish(topic, action('sessions'))
    t.match(replyOf(await owner.take('publish')), { code: 200 })
    owner.publish('$SYS/x', 'refused', { qos: 1, messageId: 9 })
    await owner.take('publish')
    t.same(await allOf(device), [])
    const back = await rawConnect(t, gateway, login)
    t.ok(back.connack.sessionPresent)
    t.same(await allOf(back), [], 'nor one that was away')
  },
)

t.test('a login with a device credential gets no tokens and no credentials', async t => {
  const account = await register(t, gateway)
  const { device } = await stolen(t, account, 'lamp')
  const { email, password } = account
  const { client, tokens } = await withTokens(t, gateway, await register(t, gateway))
  await client.close()
  const asked: [string, object][] = [
    ['mint', { device: 'lamp' }],
    ['login', { email, password, token: true }],
    ['refresh', { token: tokens.refresh }],
  ]
  for (const [name, data] of asked) {
    device.publish(`users/${account.id}/requests`, action(name, data))
    t.match(replyOf(await device.take('publish')), { code: CODES.FORBIDDEN.code, id: name })
  }
})

t.test('a connection that takes over between request and reply does not get the reply', async t => {
  const own = await startControlled(t)
  const account = await register(t, own)
  const { password } = await minted(await loggedIn(t, own, account), 'd')
  const topic = `users/${account.id}/replies`
  const owner = await rawConnect(t, own, { account, clientId: 'd', clean: false })
  await owner.subscribe(topic)
  const held = own.holdAnswer('findUser')
  const message = { type: 'message', id: 'm', data: { recipient: '999999999', content: 'x' } }
  owner.publish(`users/${account.id}/requests`, JSON.stringify(message))
  await held.made
  const login = { username: account.id, password: Buffer.from(password), clientId: 'd', clean: false }
  const device = await rawConnect(t, own, login)
  await owner.closed
  held.release()
  t.same(await device.subscribe(topic), [1])
  device.publish(`users/${account.id}/requests`, action('query', { id: account.id }))
  t.match(replyOf(await device.take('publish')), { code: 200, id: 'query' }, 'its own, and nothing before it')
})

t.test('a reply comes at the QoS of the subscription, 1 at most, and is not sent again', async t => {
  const account = await register(t, gateway)
  for (const qos of [0, 1, 2] as const) {
    const options = { clientId: `q${qos}`, clean: false }
    const one = await listening(t, account, options, [`users/${account.id}/replies`], qos)
    one.publish(`users/${account.id}/requests`, '{"type":"none"}')
    t.equal((await one.take('publish')).qos, Math.min(qos, 1))
    await one.drop()
    const two = await rawConnect(t, gateway, { account, ...options })
    t.ok(two.connack.sessionPresent)
    t.same(await allOf(two), [])
    two.publish(`users/${account.id}/requests`, '{"type":"none"}')
    t.match(
      replyOf(await two.take('publish')),
      { code: CODES.UNKNOWN_REQUEST.code },
      'the subscription stands',
    )
  }
})

t.test('a client without the subscription gets an acknowledgement and no reply', async t => {
  const account = await register(t, gateway)
  const client = await rawConnect(t, gateway, { account })
  client.publish(`users/${account.id}/requests`, action('sessions'), { qos: 1, messageId: 1 })
  t.equal((await client.take('puback')).messageId, 1)
  t.same(await client.subscribe(`users/${account.id}/replies`), [1])
  t.same(await allOf(client), [])
})

const refusedPublishes = (count: number, qos: 0 | 1) =>
  Array.from(
    { length: count },
    (_, i): Packet => ({
      cmd: 'publish',
      topic: '$SYS/anything',
      payload: 'x',
      qos,
      dup: false,
      retain: false,
      ...(qos > 0 && { messageId: i + 1 }),
    }),
  )

/** Waits until so many packets were refused. */
async function refused(gateway: RunningGateway, count: number): Promise<void> {
  const line = `mumi_mqtt_refused_total{reason="FORBIDDEN"} ${count}\n`
  while (!(await (await fetch(`${gateway.http}/metrics`)).text()).includes(line));
}

t.test('replies wait for no store, and each comes before its acknowledgement', async t => {
  const own = await startControlled(t)
  const account = await register(t, own)
  const client = await rawConnect(t, own, { account })
  await client.subscribe(`users/${account.id}/replies`, 0)
  const release = own.hold('kvWrite')
  client.send(...refusedPublishes(300, 1))
  for (let i = 1; i <= 300; i++) {
    t.equal(replyOf(await client.take('publish')).code, CODES.FORBIDDEN.code)
    t.equal((await client.take('puback')).messageId, i)
  }
  release()
})

t.test('of a flood of refused QoS 0 packets each is counted and only some are told', async t => {
  const own = await startGateway(t)
  const account = await register(t, own)
  const client = await rawConnect(t, own, { account })
  await client.subscribe(`users/${account.id}/replies`, 0)
  client.send(...refusedPublishes(5000, 0))
  await refused(own, 5000)
  const told = (await allOf(client)).length
  t.ok(told > 0 && told < 2500, `${told} of 5000`)
})
