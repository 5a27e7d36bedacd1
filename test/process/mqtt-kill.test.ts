import t, { type Test } from 'tap'
import { register } from '../helpers/gateway.js'
import { type Program, startProgram } from '../helpers/program.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'

const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i}`)

async function setUp(t: Test) {
  const program = await startProgram(t, { 'mqtt.acl': 'open' })
  const account = await register(t, program)
  const connect = (clientId: string, more: object = {}) =>
    rawConnect(t, program, { account, clientId, clean: false, ...more })
  return { program, account, connect }
}

async function killAndStart(program: Program): Promise<void> {
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
  t.test(`what was acknowledged for ${kind} survives kill -9, and a resend is stored once`, async t => {
    const { program, account, connect } = await setUp(t)
    const isInbox = kind === 'an inbox'
    const topic = isInbox ? `users/${account.id}/inbox` : 'topic'
    const reader = await connect('reader')
    await reader.subscribe(isInbox ? `users/${account.id}/inbox/#` : 'topic')
    await reader.disconnect()
    const all = numbers(600)
    const sender = await connect('sender')
    const acknowledged = await publishUntil(sender, topic, all, 300)
    await killAndStart(program)
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
  const { program, connect } = await setUp(t)
  const one = await connect('one')
  one.publish('kept/a', 'new', { qos: 1, retain: true, messageId: 1 })
  await one.take('puback')
  await program.kill()
  await program.start()
  const two = await connect('two')
  await two.subscribe('kept/#')
  t.match((await two.take('publish')).payload.toString(), 'new')
})

t.test('wills of those who were connected at kill -9 are published at the next start', async t => {
  const { program, account, connect } = await setUp(t)
  const reader = await connect('reader')
  await reader.subscribe([`users/${account.id}/inbox/#`, 'wills/#'])
  await reader.disconnect()
  const will = (topic: string, retain = false) => ({
    will: { topic, payload: Buffer.from('gone'), qos: 1, retain },
  })
  await connect('to a topic', will('wills/topic'))
  await connect('to an inbox', will(`users/${account.id}/inbox`))
  await connect('retained', will('wills/kept', true))
  const polite = await connect('polite', will('wills/never'))
  await polite.disconnect()
  await killAndStart(program)
  // One that returns at once does not take its will back.
  await connect('to a topic')
  const back = await connect('reader')
  const topics: string[] = []
  for (let i = 0; i < 3; i++) topics.push((await back.take('publish')).topic)
  t.same(topics.sort(), [`users/${account.id}/inbox/1`, 'wills/kept', 'wills/topic'].sort())
  const late = await connect('late')
  await late.subscribe('wills/#')
  t.match(await late.take('publish'), { topic: 'wills/kept', retain: true })
  await killAndStart(program)
  const last = await connect('last')
  last.publish('x', 'x', { qos: 1, messageId: 1 })
  await last.take('puback')
  t.same(last.unread, [], 'and only once')
})

t.test('QoS 2 goes on where kill -9 broke it off, both ways', async t => {
  const { program, account, connect } = await setUp(t)
  const inbox = `users/${account.id}/inbox`
  const one = await connect('device')
  await one.subscribe(`${inbox}/#`, 2)
  const sender = await connect('sender')
  sender.publish(inbox, 'a', { qos: 2, messageId: 1 })
  await sender.take('pubrec')
  const { messageId } = await one.take('publish')
  one.ack('pubrec', messageId)
  await one.take('pubrel')
  await killAndStart(program)
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
