import t, { type Test } from 'tap'
import { loggedIn, mqttClient, register, startGateway, type TestAccount } from '../helpers/gateway.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'

const gateway = await startGateway(t, { 'mqtt.acl': 'open' })

const login = (account: TestAccount, clientId: string, clean = true) => ({
  username: account.email,
  password: account.password,
  clientId,
  clean,
})

/** A PINGREQ is answered: the connection lives, and everything before it was handled. */
async function isAlive(client: RawMqtt): Promise<boolean> {
  client.send({ cmd: 'pingreq' })
  return client.take('pingresp').then(
    () => true,
    () => false,
  )
}

async function contentOf(client: RawMqtt): Promise<string> {
  const { payload, messageId } = await client.take('publish')
  client.ack('puback', messageId)
  return JSON.parse(payload.toString()).content
}

t.test('two accounts with the same client id do not disturb each other', async t => {
  const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
  const [first, second] = [ann, bob].map(account => ({ account, clientId: 'same', clean: false }))
  const one = await rawConnect(t, gateway, first)
  const two = await rawConnect(t, gateway, second)
  t.equal(two.connack.sessionPresent, false)
  t.same(await one.subscribe([`users/${ann.id}/inbox/#`, 'ann']), [1, 1])
  t.same(await two.subscribe([`users/${bob.id}/inbox/#`, 'bob']), [1, 1])
  t.ok(await isAlive(one))
  const json = await loggedIn(t, gateway)
  for (const { id } of [ann, bob]) {
    t.match(await json.ask({ type: 'message', data: { recipient: id, content: `for ${id}` } }), { code: 201 })
  }
  t.equal(await contentOf(one), `for ${ann.id}`)
  t.equal(await contentOf(two), `for ${bob.id}`)
  await one.disconnect()
  const again = await rawConnect(t, gateway, first)
  t.equal(again.connack.sessionPresent, true)
  two.publish('bob', 'x')
  t.match(await two.take('publish'), { topic: 'bob' })
  t.ok(await isAlive(again), 'and gets nothing of the other session')
  t.same(again.unread, [])
})

t.test('a second connection of an account with the same client id takes over [MQTT-3.1.4-2]', async t => {
  for (const clean of [true, false]) {
    const account = await register(t, gateway)
    const one = await rawConnect(t, gateway, { account, clientId: 'device', clean })
    await one.subscribe(`users/${account.id}/inbox/#`)
    const two = await rawConnect(t, gateway, { account, clientId: 'device', clean })
    await one.closed
    t.equal(two.connack.sessionPresent, !clean)
    if (clean) await two.subscribe(`users/${account.id}/inbox/#`)
    two.publish(`users/${account.id}/inbox`, 'hello', { qos: 1, messageId: 9 })
    t.match(await two.take('puback'), { messageId: 9 })
    t.equal(await contentOf(two), 'hello')
  }
})

t.test('a wrong password takes nothing over', async t => {
  const account = await register(t, gateway)
  const one = await rawConnect(t, gateway, { account, clientId: 'device' })
  const thief = await rawConnect(t, gateway, { account: { ...account, password: 'x' }, clientId: 'device' })
  t.equal(thief.connack.returnCode, 4)
  t.ok(await isAlive(one))
})

t.test('a take-over publishes the will of the connection that it ends', async t => {
  const account = await register(t, gateway)
  const witness = await mqttClient(t, gateway, login(account, 'witness'))
  await witness.mqtt.subscribeAsync('wills/#')
  const will = (text: string) => ({
    topic: 'wills/device',
    payload: Buffer.from(text),
    qos: 1 as const,
    retain: false,
  })
  const one = await rawConnect(t, gateway, { account, clientId: 'device', will: will('first') })
  const two = await rawConnect(t, gateway, { account, clientId: 'device', will: will('second') })
  await one.closed
  t.match(await witness.next(), { payload: 'first' })
  await two.drop()
  t.match(await witness.next(), { payload: 'second' })
})

/** Connects 50 times without waiting; afterwards exactly one connection lives. Some end before their CONNACK. */
async function storm(t: Test, account: TestAccount, clean: boolean): Promise<RawMqtt> {
  const connecting = Array.from({ length: 50 }, () =>
    rawConnect(t, gateway, { account, clientId: 'storm', clean }),
  )
  const settled = await Promise.allSettled(connecting)
  const clients = settled.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
  const alive = await Promise.all(clients.map(isAlive))
  const survivors = clients.filter((_client, i) => alive[i])
  t.equal(survivors.length, 1, 'one survives')
  const [survivor] = survivors
  if (survivor === undefined) throw new Error('nobody survived')
  return survivor
}

for (const clean of [true, false]) {
  const kind = clean ? 'clean' : 'persistent'
  t.test(`of 50 ${kind} connections of one client id at once, one is left and it works`, async t => {
    const account = await register(t, gateway)
    const json = await loggedIn(t, gateway)
    const survivor = await storm(t, account, clean)
    t.same(await survivor.subscribe([`users/${account.id}/inbox/#`, 'storm']), [1, 1])
    for (const content of ['a', 'b']) {
      await json.ask({ type: 'message', data: { recipient: account.id, content } })
      t.equal(await contentOf(survivor), content)
    }
    survivor.publish('storm', 'x')
    t.match(await survivor.take('publish'), { topic: 'storm' })
    t.same(survivor.unread, [])
  })

  t.test(`a ${kind} client id that reconnects in a tight loop loses nothing of its inbox`, async t => {
    const account = await register(t, gateway)
    const json = await loggedIn(t, gateway)
    const seen = new Set<string>()
    const first = await rawConnect(t, gateway, { account, clientId: 'loop', clean })
    await first.subscribe(`users/${account.id}/inbox/#`)
    let last: RawMqtt = first
    for (let i = 0; i < 50; i++) {
      const sent = json.ask({ type: 'message', data: { recipient: account.id, content: `${i}` } })
      last = await rawConnect(t, gateway, { account, clientId: 'loop', clean })
      last.send({
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: [{ topic: `users/${account.id}/inbox/#`, qos: 1 }],
      })
      await sent
    }
    while (seen.size < 50) {
      const packet = await last.next()
      if (packet.cmd !== 'publish') continue
      seen.add(JSON.parse(packet.payload.toString()).content)
      last.ack('puback', packet.messageId ?? 0)
    }
    t.equal(seen.size, 50)
  })
}

t.test('after a storm of take-overs nobody counts as connected who is not', async t => {
  const account = await register(t, gateway)
  const other = await mqttClient(t, gateway, login(await register(t, gateway), 'other'))
  await other.mqtt.subscribeAsync(`users/${account.id}/presence`)
  t.match(await other.next(), { payload: 'offline', retain: true })
  const survivor = await storm(t, account, false)
  await survivor.disconnect()
  let presence = await other.next()
  while (presence.payload !== 'offline' || other.messages.length > 0) presence = await other.next()
  await other.mqtt.unsubscribeAsync(`users/${account.id}/presence`)
  await other.mqtt.subscribeAsync(`users/${account.id}/presence`)
  t.match(await other.next(), { payload: 'offline', retain: true })
})

t.test(
  'session-present tells a resumed session, also one without subscriptions, also after a restart',
  async t => {
    let own = await startGateway(t)
    const account = await register(t, own)
    const present = async (clientId: string, clean = false) => {
      const client = await rawConnect(t, own, { account, clientId, clean })
      if (clientId === 'with' && !client.connack.sessionPresent)
        await client.subscribe(`users/${account.id}/replies`)
      await client.disconnect()
      return client.connack.sessionPresent
    }
    for (const clientId of ['with', 'without']) {
      t.equal(await present(clientId), false, clientId)
      t.equal(await present(clientId), true, clientId)
    }
    await own.close()
    own = await startGateway(t, { 'data.dir': own.dir })
    for (const clientId of ['with', 'without']) {
      t.equal(await present(clientId), true, clientId)
      t.equal(await present(clientId, true), false, `${clientId} clean`)
      t.equal(await present(clientId), false, `${clientId} after clean`)
    }
  },
)

t.test('a clean connection ends the persistent session of its client id [MQTT-3.1.2-6]', async t => {
  const account = await register(t, gateway)
  const options = { account, clientId: 'both' }
  const one = await rawConnect(t, gateway, { ...options, clean: false })
  await one.subscribe(['kept', `users/${account.id}/replies`], 2)
  await one.disconnect()
  const sender = await mqttClient(t, gateway, login(account, 'sender'))
  await sender.mqtt.publishAsync('kept', 'queued', { qos: 1 })
  await (await rawConnect(t, gateway, { ...options, clean: true })).disconnect()
  await sender.mqtt.publishAsync('kept', 'for nobody', { qos: 1 })
  const two = await rawConnect(t, gateway, { ...options, clean: false })
  t.equal(two.connack.sessionPresent, false)
  two.publish('other', 'x', { qos: 1, messageId: 3 })
  await two.take('puback')
  t.same(two.unread, [])
})
