import t, { type Test } from 'tap'
import {
  loggedIn,
  type RunningGateway,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'
import { startControlled } from '../helpers/store-control.js'

const gateway = await startGateway(t)

async function send(t: Test, gateway: RunningGateway, recipient: TestAccount, ...contents: string[]) {
  const json = await loggedIn(t, gateway)
  for (const content of contents) {
    const reply = await json.ask({ type: 'message', data: { recipient: recipient.id, content } })
    if (reply.code !== 201) throw new Error(JSON.stringify(reply))
  }
  await json.close()
}

const inboxOf = ({ id }: TestAccount) => `users/${id}/inbox/#`

/** A gateway that starts again on its data. */
class Restartable {
  constructor(
    private readonly t: Test,
    public now: RunningGateway,
  ) {}

  async restart(): Promise<void> {
    await this.now.close()
    this.now = await startGateway(this.t, { 'data.dir': this.now.dir })
  }
}

/** Connects one device again and again; SUBSCRIBEs whenever its session knows of no subscription. */
function connector(t: Test, home: Restartable, account: TestAccount, clean: boolean, qos: 1 | 2) {
  return async () => {
    const client = await rawConnect(t, home.now, { account, clientId: 'device', clean })
    if (!client.connack.sessionPresent) {
      client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: inboxOf(account), qos }] })
      await client.take('suback')
    }
    return client
  }
}

for (const clean of [true, false]) {
  const kind = clean ? 'clean' : 'persistent'
  t.test(`${kind}: what has no PUBACK comes again with its packet id and DUP, oldest first`, async t => {
    const home = new Restartable(t, await startGateway(t))
    const account = await register(t, home.now)
    const connect = connector(t, home, account, clean, 1)
    await send(t, home.now, account, 'a', 'b', 'c')
    const one = await connect()
    const first = [await one.take('publish'), await one.take('publish'), await one.take('publish')]
    t.match(first, [{ dup: false }, { dup: false }, { dup: false }])
    one.ack('puback', first[0]?.messageId ?? 0)
    await one.drop()
    const two = await connect()
    for (const { messageId, topic, payload } of first.slice(1)) {
      t.match(await two.take('publish'), { messageId, topic, payload, qos: 1, dup: true })
    }
    await home.restart()
    const three = await connect()
    for (const { messageId, topic, payload } of first.slice(1)) {
      t.match(await three.take('publish'), { messageId, topic, payload, qos: 1, dup: true })
      three.ack('puback', messageId)
    }
    await send(t, home.now, account, 'd')
    t.match(await three.take('publish'), { topic: /inbox\/4$/, dup: false })
  })

  t.test(`${kind}: a PUBACK out of turn is kept in mind, and nothing before it is lost`, async t => {
    const home = new Restartable(t, gateway)
    const account = await register(t, gateway)
    const connect = connector(t, home, account, clean, 1)
    await send(t, gateway, account, 'a', 'b', 'c')
    const one = await connect()
    const first = [await one.take('publish'), await one.take('publish'), await one.take('publish')]
    one.ack('puback', first[1]?.messageId ?? 0)
    one.ack('puback', first[2]?.messageId ?? 0)
    await one.disconnect()
    const two = await connect()
    t.match(await two.take('publish'), { messageId: first[0]?.messageId, dup: true })
  })
}

// MQTT 3.1.1, 4.3.3 and 4.4: after each step of the handshake the connection breaks.
type Step = 'PUBLISH' | 'PUBREC' | 'PUBREL' | 'PUBCOMP'

/** Takes one message to the step, then drops the connection. @returns its packet id */
async function handshakeUpTo(step: Step, client: RawMqtt): Promise<number> {
  const { messageId, qos } = await client.take('publish')
  if (qos !== 2) throw new Error(`QoS ${qos}`)
  if (step === 'PUBLISH') return messageId
  client.ack('pubrec', messageId)
  await client.take('pubrel')
  if (step !== 'PUBCOMP') return messageId
  client.ack('pubcomp', messageId)
  return messageId
}

for (const step of ['PUBLISH', 'PUBREL', 'PUBCOMP'] as const) {
  for (const restarts of [false, true]) {
    const after = restarts ? 'a restart' : 'a reconnect'
    t.test(`QoS 2 broken off after ${step} goes on as it must, after ${after}`, async t => {
      const home = new Restartable(t, restarts ? await startGateway(t) : gateway)
      const account = await register(t, home.now)
      const connect = connector(t, home, account, false, 2)
      await send(t, home.now, account, 'first')
      const one = await connect()
      const messageId = await handshakeUpTo(step, one)
      await (step === 'PUBCOMP' ? one.disconnect() : one.drop())
      if (restarts) await home.restart()
      await send(t, home.now, account, 'second')
      const two = await connect()
      if (step === 'PUBLISH') {
        t.match(await two.take('publish'), { messageId, dup: true, qos: 2, topic: /inbox\/1$/ })
        two.ack('pubrec', messageId)
      }
      const second = await takeBoth(two, step, messageId)
      t.match(second, { dup: false, qos: 2, topic: /inbox\/2$/ })
      two.ack('pubrec', second.messageId)
      t.equal((await two.take('pubrel')).messageId, second.messageId)
      two.ack('pubcomp', second.messageId)
      await two.disconnect()
      const three = await connect()
      three.send({ cmd: 'pingreq' })
      await three.take('pingresp')
      t.same(three.unread, [])
    })
  }
}

/** The second message, and before or behind it the PUBREL that the first still needs. */
async function takeBoth(client: RawMqtt, step: Step, messageId: number) {
  if (step === 'PUBCOMP') return client.take('publish')
  const packets = [await client.next(), await client.next()]
  const pubrel = packets.find(packet => packet.cmd === 'pubrel')
  if (pubrel?.messageId !== messageId) throw new Error(`no PUBREL: ${JSON.stringify(packets)}`)
  client.ack('pubcomp', messageId)
  const publish = packets.find(packet => packet.cmd === 'publish')
  if (publish?.cmd !== 'publish') throw new Error(`no PUBLISH: ${JSON.stringify(packets)}`)
  return { ...publish, messageId: publish.messageId ?? 0 }
}

t.test('a PUBREC that came with the end of its connection is answered with PUBREL after it', async t => {
  const account = await register(t, gateway)
  const connect = connector(t, new Restartable(t, gateway), account, false, 2)
  await send(t, gateway, account, 'x')
  const one = await connect()
  const { messageId } = await one.take('publish')
  one.send({ cmd: 'pubrec', messageId }, { cmd: 'disconnect' })
  await one.closed
  const two = await connect()
  const packet = await two.next()
  t.equal(packet.messageId, messageId)
  t.ok(packet.cmd === 'pubrel' || (packet.cmd === 'publish' && packet.dup), packet.cmd)
})

t.test('a PUBREC that cannot be recorded is not answered, and its handshake goes on later', async t => {
  const own = await startControlled(t)
  const account = await register(t, own)
  const connect = connector(t, new Restartable(t, own), account, false, 2)
  await send(t, own, account, 'x')
  const one = await connect()
  const { messageId } = await one.take('publish')
  const restore = own.fail('moveCursors', 'STORE_FULL')
  one.ack('pubrec', messageId)
  await one.closed
  t.same(one.unread, [])
  restore()
  const two = await connect()
  const packet = await two.next()
  t.equal(packet.messageId, messageId)
  t.ok(packet.cmd === 'pubrel' || (packet.cmd === 'publish' && packet.dup), packet.cmd)
})

t.test('a new session does not resume an old QoS 2 handshake: it gets PUBLISH, not PUBREL', async t => {
  const account = await register(t, gateway)
  const connect = connector(t, new Restartable(t, gateway), account, false, 2)
  await send(t, gateway, account, 'x')
  const one = await connect()
  const { messageId } = await one.take('publish')
  one.ack('pubrec', messageId)
  await one.take('pubrel')
  await one.drop()
  const clean = await connector(t, new Restartable(t, gateway), account, true, 2)()
  t.match(await clean.take('publish'), { messageId, qos: 2 })
  clean.ack('pubrec', messageId)
  await clean.take('pubrel')
  await clean.drop()
  const two = await connect()
  t.equal(two.connack.sessionPresent, false)
  t.match(await two.take('publish'), { messageId, qos: 2 })
  two.ack('pubrec', messageId)
  await two.take('pubrel')
  two.ack('pubcomp', messageId)
})

t.test('SUBSCRIBE to what a restored session has sends nothing twice', async t => {
  for (const qos of [1, 2] as const) {
    const account = await register(t, gateway)
    const options = { account, clientId: 'again', clean: false }
    const one = await rawConnect(t, gateway, options)
    await one.subscribe(inboxOf(account), qos)
    await one.disconnect()
    await send(t, gateway, account, 'a', 'b')
    const two = await rawConnect(t, gateway, options)
    t.ok(two.connack.sessionPresent)
    const first = await two.take('publish')
    const second = await two.take('publish')
    // In one write, so that PUBREC and PUBACK arrive while SUBSCRIBE is under way.
    two.send(
      { cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: inboxOf(account), qos }] },
      { cmd: qos === 1 ? 'puback' : 'pubrec', messageId: first.messageId },
      { cmd: qos === 1 ? 'puback' : 'pubrec', messageId: second.messageId },
    )
    const answers = qos === 1 ? ['suback'] : ['pubrel', 'pubrel', 'suback']
    const got = []
    for (const _ of answers) got.push((await two.next()).cmd)
    t.same(got.sort(), answers)
    for (const { messageId } of qos === 2 ? [first, second] : []) two.ack('pubcomp', messageId)
    await send(t, gateway, account, 'c')
    const third = await two.take('publish')
    t.match(third, { topic: /inbox\/\d+$/, dup: false })
    t.match(JSON.parse(third.payload.toString()), { content: 'c' })
  }
})

t.test('a changed QoS holds for what comes, and loses nothing that is on its way', async t => {
  const account = await register(t, gateway)
  const client = await rawConnect(t, gateway, { account })
  await client.subscribe(inboxOf(account), 1)
  await send(t, gateway, account, 'a')
  const { messageId } = await client.take('publish')
  client.send({ cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: inboxOf(account), qos: 2 }] })
  t.same((await client.take('suback')).granted, [2])
  t.match(await client.take('publish'), { messageId, dup: true, qos: 2 })
  client.ack('pubrec', messageId)
  await client.take('pubrel')
  client.ack('pubcomp', messageId)
  await send(t, gateway, account, 'b')
  t.match(await client.take('publish'), { topic: /inbox\/2$/, qos: 2, dup: false })
})
