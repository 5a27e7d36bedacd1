import t, { type Test } from 'tap'
import { register } from '../helpers/gateway.js'
import { startProgram } from '../helpers/program.js'
import { type RawMqtt, rawConnect } from '../helpers/raw-mqtt.js'

const program = await startProgram(t, { 'mqtt.acl': 'open' })

const END = 'end of the wills'

/** A persistent session that is away while wills are published, and what it finds when it is back. */
async function setUp(t: Test) {
  const account = await register(t, program)
  const connect = (clientId: string, more: object = {}) =>
    rawConnect(t, program, { account, clientId, clean: false, ...more })
  const tree = `wills/${account.id}`
  const inbox = `users/${account.id}/inbox`
  const reader = await connect('reader')
  await reader.subscribe([`${tree}/#`, `${inbox}/#`])
  await reader.disconnect()
  const will = (name: string, topic = tree) => ({
    will: { topic: `${topic}/${name}`, payload: Buffer.from(name), qos: 1, retain: false },
  })
  const inboxWill = { will: { topic: inbox, payload: Buffer.from('message'), qos: 1, retain: false } }
  return { connect, will, inboxWill, found: () => found(connect, [`${tree}/end`, inbox]) }
}

/** All wills that wait for the reader, in its queue and in its inbox. */
async function found(connect: (clientId: string) => Promise<RawMqtt>, ends: string[]): Promise<string[]> {
  const end = await connect('end')
  for (const topic of ends) {
    end.publish(topic, END, { qos: 1, messageId: 1 })
    await end.take('puback')
  }
  await end.disconnect()
  const reader = await connect('reader')
  const texts: string[] = []
  for (let open = ends.length; open > 0; ) {
    const { payload, messageId } = await reader.take('publish')
    reader.ack('puback', messageId)
    const text = payload.toString()
    const content = text.startsWith('{') ? JSON.parse(text).content : text
    if (content === END) open--
    else texts.push(content)
  }
  await reader.disconnect()
  return texts.sort()
}

async function stopAndStart(): Promise<number | null> {
  const code = await program.stop()
  await program.start()
  return code
}

t.test('a clean stop publishes wills once: later starts do not publish them again', async t => {
  const { connect, will, inboxWill, found } = await setUp(t)
  await connect('a', will('a'))
  await connect('b', { ...will('b'), clean: true })
  await connect('c', inboxWill)
  t.equal(await stopAndStart(), 0)
  t.same(await found(), ['a', 'b', 'message'])
  t.equal(await stopAndStart(), 0)
  await program.kill()
  await program.start()
  t.same(await found(), [])
})

t.test(
  'no will is published for a client whose DISCONNECT arrived just before the stop [MQTT-3.1.2-10]',
  async t => {
    const { connect, will, found } = await setUp(t)
    const polite: RawMqtt[] = []
    for (let i = 0; i < 20; i++) polite.push(await connect(`polite ${i}`, will(`polite ${i}`)))
    await connect('rude', will('rude'))
    // Half of them say something else in the same write.
    for (const [i, client] of polite.entries()) {
      const before = i % 2 === 0 ? [] : [{ cmd: 'pingreq' as const }]
      client.send(...before, { cmd: 'disconnect' })
    }
    t.equal(await stopAndStart(), 0)
    t.same(await found(), ['rude'])
    await program.kill()
    await program.start()
    t.same(await found(), [])
  },
)

t.test('no will is published after DISCONNECT, even if kill -9 follows', async t => {
  const { connect, will, found } = await setUp(t)
  for (const name of ['a', 'b', 'c']) await (await connect(name, will(name))).disconnect()
  await (await connect('witness')).disconnect()
  await program.kill()
  await program.start()
  t.same(await found(), [])
})

t.test('after a take-over just before a clean stop or kill -9, each will is published once', async t => {
  const { connect, will, found } = await setUp(t)
  const one = await connect('same', will('old'))
  const two = await connect('same', will('new'))
  await one.closed
  t.equal(await stopAndStart(), 0)
  await two.closed
  t.same(await found(), ['new', 'old'])
  const three = await connect('same', will('third'))
  await connect('same', will('fourth'))
  await three.closed
  await program.kill()
  await program.start()
  t.same(await found(), ['fourth', 'third'])
  const five = await connect('same', will('fifth'))
  // Takes the connection over, has no will, and goes politely.
  const six = await connect('same')
  await five.closed
  await six.disconnect()
  t.equal(await stopAndStart(), 0)
  t.same(await found(), ['fifth'])
})
