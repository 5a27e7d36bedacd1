import t, { type Test } from 'tap'
import {
  loggedIn,
  type MqttMessage,
  type MqttTestClient,
  mqttClient,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { startControlled } from '../helpers/store-control.js'

const gateway = await startGateway(t)
const sender = await loggedIn(t, gateway)

async function send(recipient: TestAccount, ...contents: string[]): Promise<void> {
  for (const content of contents) {
    const reply = await sender.ask({ type: 'message', data: { recipient: recipient.id, content } })
    if (reply.code !== 201) throw new Error(JSON.stringify(reply))
  }
}

const device = (t: Test, account: TestAccount, clientId: string, clean = true): Promise<MqttTestClient> =>
  mqttClient(t, gateway, { username: account.email, password: account.password, clientId, clean })

const inboxOf = ({ id }: TestAccount, wildcard = '#') => `users/${id}/inbox/${wildcard}`
const contentOf = ({ payload }: MqttMessage): string => JSON.parse(payload).content

async function contents(client: MqttTestClient, count: number): Promise<string[]> {
  const all: string[] = []
  while (all.length < count) all.push(contentOf(await client.next()))
  return all
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i}`)

for (const qos of [0, 1, 2] as const) {
  for (const wildcard of ['#', '+']) {
    t.test(
      `inbox/${wildcard} at QoS ${qos}: what waited with RETAIN, oldest first, then live without`,
      async t => {
        const account = await register(t, gateway)
        await send(account, 'old 1', 'old 2', 'old 3')
        const client = await device(t, account, 'd')
        const [grant] = await client.mqtt.subscribeAsync(inboxOf(account, wildcard), { qos })
        t.equal(grant?.qos, qos)
        for (const seq of [1, 2, 3]) {
          const message = await client.next()
          t.match(message, { topic: `users/${account.id}/inbox/${seq}`, qos, retain: true, dup: false })
          t.equal(contentOf(message), `old ${seq}`)
        }
        await send(account, 'new 4', 'new 5')
        for (const seq of [4, 5]) {
          const message = await client.next()
          t.match(message, { topic: `users/${account.id}/inbox/${seq}`, qos, retain: false, dup: false })
          t.equal(contentOf(message), `new ${seq}`)
        }
      },
    )
  }

  t.test(`what was confirmed at QoS ${qos} does not come again, and nothing new is missed`, async t => {
    const account = await register(t, gateway)
    for (const [i, clean] of [true, true, false, false, true].entries()) {
      const client = await device(t, account, 'd', clean)
      await client.mqtt.subscribeAsync(inboxOf(account), { qos })
      await send(account, `while there ${i}`)
      if (i > 0) t.equal(contentOf(await client.next()), `while away ${i - 1}`)
      t.equal(contentOf(await client.next()), `while there ${i}`)
      await client.mqtt.endAsync()
      await send(account, `while away ${i}`)
    }
  })
}

t.test('SUBACK waits until a new device is written down; what is sent after it is live', async t => {
  const own = await startControlled(t)
  const account = await register(t, own)
  const json = await loggedIn(t, own)
  const message = (content: string) => ({ type: 'message', data: { recipient: account.id, content } })
  const client = await rawConnect(t, own, { account })
  const release = own.hold('moveCursors')
  let isAnswered = false
  const subscribed = client.subscribe(inboxOf(account)).then(() => {
    isAnswered = true
  })
  t.match(await json.ask(message('waits')), { code: 201 })
  t.notOk(isAnswered, 'it would be forgotten if the process died now')
  release()
  await subscribed
  t.match(await json.ask(message('is new')), { code: 201 })
  t.match([await client.take('publish'), await client.take('publish')], [{ retain: true }, { retain: false }])
})

t.test('a message has exactly these members, in this order', async t => {
  const account = await register(t, gateway)
  const client = await device(t, account, 'd')
  await client.mqtt.subscribeAsync(inboxOf(account), { qos: 1 })
  await send(account, 'hello')
  const message = JSON.parse((await client.next()).payload)
  t.same(Object.keys(message), ['id', 'seq', 'sender', 'recipient', 'content', 'created_at'])
  t.match(message, { seq: 1, sender: sender.userId, recipient: account.id, content: 'hello' })
  t.match(message.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  t.match(message.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
})

t.test('a message from a device is the same message to every device and to a JSON client', async t => {
  const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
  const devices = [await device(t, bob, 'one'), await device(t, bob, 'two')]
  for (const one of devices) await one.mqtt.subscribeAsync(inboxOf(bob), { qos: 1 })
  const json = await loggedIn(t, gateway, bob, { ack: 'explicit' })
  const from = await device(t, ann, 'phone')
  await from.mqtt.publishAsync(`users/${bob.id}/inbox`, '你好 👋', { qos: 1 })
  const [one, two] = [await devices[0]?.next(), await devices[1]?.next()]
  t.equal(one?.payload, two?.payload)
  t.same(await json.next(), JSON.parse(one?.payload ?? ''))
  t.match(JSON.parse(one?.payload ?? ''), { sender: ann.id, recipient: bob.id, content: '你好 👋' })
})

t.test('one may write to oneself, from the device that reads', async t => {
  const account = await register(t, gateway)
  const client = await device(t, account, 'd')
  await client.mqtt.subscribeAsync(inboxOf(account), { qos: 2 })
  for (const qos of [0, 1, 2] as const) {
    await client.mqtt.publishAsync(`users/${account.id}/inbox`, `at ${qos}`, { qos })
    t.equal(contentOf(await client.next()), `at ${qos}`)
  }
})

t.test('a broadcast comes to the inbox of a device, without a recipient', async t => {
  const account = await register(t, gateway)
  const client = await device(t, account, 'd')
  await client.mqtt.subscribeAsync(inboxOf(account), { qos: 1 })
  t.match(await sender.ask({ type: 'broadcast', data: { content: 'to all' } }), { code: 204 })
  const message = JSON.parse((await client.next()).payload)
  t.same(Object.keys(message), ['id', 'seq', 'sender', 'content', 'created_at'])
  t.match(message, { content: 'to all', sender: sender.userId })
})

t.test('the longest content arrives whole, a longer one is refused', async t => {
  const account = await register(t, gateway)
  const client = await device(t, account, 'd')
  await client.mqtt.subscribeAsync([inboxOf(account), `users/${account.id}/replies`], { qos: 1 })
  const longest = `${'好'.repeat(65_536 / 3)}x`
  t.equal(Buffer.byteLength(longest), 65_536)
  await client.mqtt.publishAsync(`users/${account.id}/inbox`, longest, { qos: 1 })
  t.ok(contentOf(await client.next()) === longest)
  await client.mqtt.publishAsync(`users/${account.id}/inbox`, `${longest}x`, { qos: 1 })
  t.match(JSON.parse((await client.next()).payload), { code: 10103, data: { field: 'content' } })
})

t.test('each client id has a place of its own in the inbox', async t => {
  const account = await register(t, gateway)
  for (const clientId of ['a', 'b']) {
    const client = await device(t, account, clientId)
    await client.mqtt.subscribeAsync(inboxOf(account), { qos: 1 })
    await client.mqtt.endAsync()
  }
  await send(account, '0', '1', '2')
  const a = await device(t, account, 'a')
  await a.mqtt.subscribeAsync(inboxOf(account), { qos: 1 })
  t.same(await contents(a, 3), ['0', '1', '2'])
  await a.mqtt.endAsync()
  await send(account, '3')
  const b = await device(t, account, 'b')
  await b.mqtt.subscribeAsync(inboxOf(account), { qos: 1 })
  t.same(await contents(b, 4), ['0', '1', '2', '3'])
})

t.test('a new client id starts at the furthest place that any device confirmed', async t => {
  const account = await register(t, gateway)
  await send(account, '1', '2', '3')
  const ahead = await rawConnect(t, gateway, { account, clientId: 'ahead' })
  await ahead.subscribe(inboxOf(account))
  for (let i = 0; i < 2; i++) ahead.ack('puback', (await ahead.take('publish')).messageId)
  await ahead.disconnect()
  const behind = await rawConnect(t, gateway, { account, clientId: 'behind' })
  await behind.subscribe(inboxOf(account))
  t.match(await behind.take('publish'), { topic: `users/${account.id}/inbox/3`, dup: false })
})

t.test('what a JSON client confirmed is not new to a device that comes after it', async t => {
  const account = await register(t, gateway)
  await send(account, '1', '2')
  const json = await loggedIn(t, gateway, account, { ack: 'explicit' })
  await json.next()
  await json.next()
  t.match(await json.action('ack', { seq: 1 }), { code: 200 })
  const client = await device(t, account, 'new')
  await client.mqtt.subscribeAsync(inboxOf(account), { qos: 1 })
  t.match(await client.next(), { topic: `users/${account.id}/inbox/2` })
})

t.test('both filters of the inbox deliver once, at the higher QoS', async t => {
  const account = await register(t, gateway)
  const client = await device(t, account, 'd')
  await client.mqtt.subscribeAsync({
    [inboxOf(account, '#')]: { qos: 0 },
    [inboxOf(account, '+')]: { qos: 2 },
  })
  await send(account, '1', '2')
  t.match(
    [await client.next(), await client.next()],
    [
      { qos: 2, topic: /1$/ },
      { qos: 2, topic: /2$/ },
    ],
  )
  await client.mqtt.unsubscribeAsync(inboxOf(account, '#'))
  await send(account, '3')
  t.match(await client.next(), { qos: 2, topic: /3$/ })
})

t.test('UNSUBSCRIBE ends delivery, SUBSCRIBE goes on where it ended', async t => {
  const account = await register(t, gateway)
  const client = await device(t, account, 'd')
  await client.mqtt.subscribeAsync([inboxOf(account), `users/${account.id}/replies`], { qos: 1 })
  await send(account, '1')
  t.equal(contentOf(await client.next()), '1')
  await client.mqtt.unsubscribeAsync(inboxOf(account))
  await send(account, '2')
  await client.mqtt.publishAsync(`users/${account.id}/requests`, '{"type":"none"}', { qos: 1 })
  t.match(await client.next(), { topic: `users/${account.id}/replies` })
  await client.mqtt.subscribeAsync(inboxOf(account), { qos: 1 })
  await send(account, '3')
  t.match(
    [await client.next(), await client.next()],
    [
      { topic: /2$/, retain: true },
      { topic: /3$/, retain: false },
    ],
  )
})

t.test('no more is in flight than the window, and PUBACK lets the next go', async t => {
  const narrow = await startGateway(t, { 'mqtt.maxInflight': 5 })
  const account = await register(t, narrow)
  const json = await loggedIn(t, narrow)
  for (const content of numbers(12))
    await json.ask({ type: 'message', data: { recipient: account.id, content } })
  const client = await rawConnect(t, narrow, { account })
  await client.subscribe(inboxOf(account))
  const ids: number[] = []
  for (let i = 0; i < 5; i++) ids.push((await client.take('publish')).messageId)
  client.send({ cmd: 'pingreq' })
  await client.take('pingresp')
  // Not the oldest first: the window counts what is in flight, the cursor waits for the oldest.
  for (const at of [4, 3, 2, 1, 0]) client.ack('puback', ids[at] ?? 0)
  for (let i = 5; i < 12; i++) {
    const { payload, messageId } = await client.take('publish')
    t.equal(JSON.parse(payload.toString()).content, `${i}`)
    client.ack('puback', messageId)
  }
})

t.test('acknowledgements nobody waits for change nothing', async t => {
  const account = await register(t, gateway)
  await send(account, '1')
  const client = await rawConnect(t, gateway, { account })
  for (const id of [1, 32_767, 32_768, 65_535]) client.ack('puback', id)
  for (const id of [7, 40_000]) client.ack('pubcomp', id)
  await client.subscribe(inboxOf(account))
  const { messageId } = await client.take('publish')
  client.ack('puback', messageId === 65_535 ? 32_768 : messageId + 1)
  await client.disconnect()
  const again = await rawConnect(t, gateway, { account })
  await again.subscribe(inboxOf(account))
  t.match(await again.take('publish'), { messageId, dup: true })
})

for (const qos of [1, 2] as const) {
  t.test(
    `a session that is restored and subscribes again (QoS ${qos}) gets all in strict order, once`,
    async t => {
      const account = await register(t, gateway)
      const json = await loggedIn(t, gateway)
      const before = await device(t, account, 'd', false)
      await before.mqtt.subscribeAsync(inboxOf(account), { qos })
      await before.mqtt.endAsync()
      const sendMany = async (from: number, to: number) => {
        for (const content of numbers(to).slice(from))
          json.send({ type: 'message', data: { recipient: account.id, content } })
        for (let i = from; i < to; i++) if ((await json.next()).code !== 201) throw new Error(`message ${i}`)
      }
      await sendMany(0, 300)
      const after = await device(t, account, 'd', false)
      const sending = sendMany(300, 600)
      await after.mqtt.subscribeAsync(inboxOf(account), { qos })
      t.same(await contents(after, 600), numbers(600))
      await sending
    },
  )
}
