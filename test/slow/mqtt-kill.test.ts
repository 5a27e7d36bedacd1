import t, { type Test } from 'tap'
import { register } from '../helpers/gateway.js'
import { startProgram } from '../helpers/program.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'

const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i}`)

const program = await startProgram(t, { 'mqtt.acl': 'open' })

async function setUp(t: Test) {
  const account = await register(t, program)
  const connect = (clientId: string, more: object = {}) =>
    rawConnect(t, program, { account, clientId, clean: false, ...more })
  return { account, connect }
}

async function killAndStart(): Promise<void> {
  await program.kill()
  await program.start()
}

/** Publishes all in one write, and waits for some of the acknowledgements. @returns the ids acknowledged */
async function publishUntil(
  client: RawMqtt,
  topic: string,
  payloads: string[],
  count: number,
): Promise<Set<number>> {
  client.send(
    ...payloads.map((payload, i) => ({
      cmd: 'publish' as const,
      topic,
      payload,
      qos: 1 as const,
      dup: false,
      retain: false,
      messageId: i + 1,
    })),
  )
  const acknowledged = new Set<number>()
  while (acknowledged.size < count) acknowledged.add((await client.take('puback')).messageId)
  return acknowledged
}

for (const kind of ['an inbox', 'the queue of a session'] as const) {
  t.test(`messages acknowledged for ${kind} survive kill -9, and a resend is stored once`, async t => {
    const { account, connect } = await setUp(t)
    const isInbox = kind === 'an inbox'
    const topic = isInbox ? `users/${account.id}/inbox` : `topic/${account.id}`
    const reader = await connect('reader')
    await reader.subscribe(isInbox ? `${topic}/#` : topic)
    await reader.disconnect()
    const all = numbers(600)
    const sender = await connect('sender')
    const acknowledged = await publishUntil(sender, topic, all, 300)
    await killAndStart()
    for (const packet of sender.unread) if (packet.cmd === 'puback') acknowledged.add(packet.messageId ?? 0)
    const again = await connect('sender')
    const rest = all.filter((_, i) => !acknowledged.has(i + 1))
    for (const payload of rest) {
      const messageId = Number(payload) + 1
      again.publish(topic, payload, { qos: 1, dup: true, messageId })
      t.equal((await again.take('puback')).messageId, messageId)
    }
    again.publish(topic, 'end', { qos: 1, messageId: 9999 })
    const back = await connect('reader')
    const got: string[] = []
    while (got.at(-1) !== 'end') {
      const { payload, messageId } = await back.take('publish')
      const text = payload.toString()
      got.push(isInbox ? JSON.parse(text).content : text)
      back.ack('puback', messageId)
    }
    if (isInbox) t.same(got, [...all, 'end'])
    else t.same(new Set(got), new Set([...all, 'end']))
  })
}

t.test('a retained message that was acknowledged survives kill -9', async t => {
  const { account, connect } = await setUp(t)
  const one = await connect('one')
  one.publish(`kept/${account.id}`, 'new', { qos: 1, retain: true, messageId: 1 })
  await one.take('puback')
  await killAndStart()
  const two = await connect('two')
  await two.subscribe(`kept/${account.id}`)
  t.match((await two.take('publish')).payload.toString(), 'new')
})

t.test('wills of clients connected at kill -9 are published once, at the next start', async t => {
  const { account, connect } = await setUp(t)
  const inbox = `users/${account.id}/inbox`
  const wills = `wills/${account.id}`
  const will = (topic: string, retain = false) => ({
    will: { topic, payload: Buffer.from('gone'), qos: 1, retain },
  })
  const reader = await connect('reader')
  await reader.subscribe([`${inbox}/#`, `${wills}/#`])
  await reader.disconnect()
  const polite = await connect('polite', will(`${wills}/never`))
  await polite.disconnect()
  await connect('to a topic', will(`${wills}/topic`))
  await connect('to an inbox', will(inbox))
  await connect('retained', will(`${wills}/kept`, true))
  await killAndStart()
  // One that returns at once does not take its will back.
  await connect('to a topic')
  const back = await connect('reader')
  const topics = new Set<string>()
  for (let i = 0; i < 3; i++) {
    const { topic, messageId } = await back.take('publish')
    topics.add(topic)
    back.ack('puback', messageId)
  }
  t.same(topics, new Set([`${inbox}/1`, `${wills}/kept`, `${wills}/topic`]))
  const late = await connect('late')
  await late.subscribe(`${wills}/#`)
  t.match(await late.take('publish'), { topic: `${wills}/kept`, retain: true })
  await back.disconnect()
  await killAndStart()
  const last = await connect('reader')
  last.publish(`${wills}/end`, 'end', { qos: 0 })
  // What the kill took of the acknowledgements comes again, under its old number.
  for (let got = await last.take('publish'); got.topic !== `${wills}/end`; got = await last.take('publish')) {
    t.ok(topics.delete(got.topic), got.topic)
  }
})

t.test('QoS 2 resumes after kill -9, in both directions', async t => {
  const { account, connect } = await setUp(t)
  const inbox = `users/${account.id}/inbox`
  const one = await connect('device')
  await one.subscribe(`${inbox}/#`, 2)
  const sender = await connect('sender')
  sender.publish(inbox, 'a', { qos: 2, messageId: 1 })
  await sender.take('pubrec')
  const { messageId } = await one.take('publish')
  one.ack('pubrec', messageId)
  await one.take('pubrel')
  await killAndStart()
  const two = await connect('device')
  t.equal((await two.take('pubrel')).messageId, messageId)
  two.ack('pubcomp', messageId)
  const again = await connect('sender')
  again.publish(inbox, 'a', { qos: 2, messageId: 1, dup: true })
  await again.take('pubrec')
  again.ack('pubrel', 1)
  await again.take('pubcomp')
  again.publish(inbox, 'b', { qos: 2, messageId: 1 })
  await again.take('pubrec')
  const next = await two.take('publish')
  t.equal(next.topic, `${inbox}/2`)
  t.match(JSON.parse(next.payload.toString()), { content: 'b' })
})
