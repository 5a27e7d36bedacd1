import t, { type Test } from 'tap'
import {
  type JsonClient,
  limited,
  loggedIn,
  mqttClient,
  type RunningGateway,
  register,
  startGateway,
} from '../helpers/gateway.js'

const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })

/** Sends until it is refused for want of room. @returns how many were stored */
async function fill(sender: JsonClient, recipient: string, atMost = 1000): Promise<number> {
  for (let count = 0; count < atMost; count++) {
    const { code } = await sender.ask(message(recipient, `spam ${count}`))
    if (code === 10126) return count
    if (code !== 201) throw new Error(`answered ${code}`)
  }
  return atMost
}

async function people(t: Test, settings: Record<string, unknown>) {
  const gateway = await startGateway(t, settings)
  const [spammer, friend] = [await loggedIn(t, gateway), await loggedIn(t, gateway)]
  return { gateway, spammer, friend, account: await register(t, gateway) }
}

t.test('spam does not displace unconfirmed messages of another sender: the spammer is refused', async t => {
  const { gateway, spammer, friend, account } = await people(t, { 'inbox.maxMessages': 10 })
  t.match(await friend.ask(message(account.id, 'hello')), { code: 201 })
  const count = await fill(spammer, account.id)
  t.ok(count >= 4 && count < 30, `${count} were stored`)
  t.ok((await limited(gateway, 'inbox.maxMessages')) > 0)
  t.match(await friend.ask(message(account.id, 'again')), { code: 201 }, 'a friend has room left')
  for (let i = 0; i < 20; i++) await fill(await loggedIn(t, gateway), account.id)
  const reader = await loggedIn(t, gateway, account, { device: 'd', from: 'start' })
  t.match(await reader.next(), { seq: 1, content: 'hello' })
  const contents: string[] = []
  while (!contents.includes('again')) contents.push((await reader.next<{ content: string }>()).content)
  t.same(
    gateway.logs.filter(({ event }) => event === 'message.dropped'),
    [],
  )
})

t.test(
  'messages that all devices confirmed make room for new ones, also of a sender that was refused',
  async t => {
    const { gateway, spammer, account } = await people(t, { 'inbox.maxMessages': 10 })
    await fill(spammer, account.id)
    const reader = await loggedIn(t, gateway, account)
    let isStored = false
    for (let i = 0; !isStored && i < 500; i++)
      isStored = (await spammer.ask(message(account.id, 'more'))).code === 201
    t.ok(isStored)
    while ((await reader.next<{ content: string }>()).content !== 'more');
  },
)

t.test('a device that is away keeps what it has not confirmed, whatever another one reads', async t => {
  const { gateway, spammer, friend, account } = await people(t, { 'inbox.maxMessages': 10 })
  const device = { username: account.email, password: account.password, clientId: 'phone', clean: false }
  const phone = await mqttClient(t, gateway, device)
  await phone.mqtt.subscribeAsync(`users/${account.id}/inbox/+`, { qos: 1 })
  await phone.mqtt.endAsync()
  await loggedIn(t, gateway, account)
  t.match(await friend.ask(message(account.id, 'hello')), { code: 201 })
  await fill(spammer, account.id)
  const back = await mqttClient(t, gateway, device)
  t.match(JSON.parse((await back.next()).payload), { content: 'hello' })
})

t.test('an inbox has so many bytes: one sender may have half of them unconfirmed', async t => {
  const { gateway, spammer, friend, account } = await people(t, {
    'inbox.maxMessages': 100,
    'inbox.maxBytes': '1MiB',
  })
  const large = (sender: JsonClient) => sender.ask(message(account.id, 'x'.repeat(30_000)))
  let count = 0
  while ((await large(spammer)).code === 201 && count < 100) count++
  t.ok(count >= 4 && count < 30, `${count} were stored`)
  t.match(await large(friend), { code: 201 })
  t.ok((await limited(gateway, 'inbox.maxMessages')) > 0)
})

t.test('a broadcast leaves out who has no room for it', async t => {
  const { gateway, spammer, account } = await people(t, { 'inbox.maxMessages': 10 })
  await fill(spammer, account.id)
  const reader: RunningGateway = gateway
  const full = await mqttClient(t, reader, { username: account.email, password: account.password })
  t.match(await spammer.ask({ type: 'broadcast', data: { content: 'to all' } }), { code: 204 })
  t.same(full.messages, [])
})

t.test(
  'a burst counts before it is stored: its sender gets half of the inbox, and others have room',
  async t => {
    const { spammer, friend, account } = await people(t, { 'inbox.maxMessages': 200 })
    const asked = Array.from({ length: 300 }, (_, i) => spammer.ask(message(account.id, `spam ${i}`)))
    const codes = (await Promise.all(asked)).map(({ code }) => code)
    t.equal(codes.filter(code => code === 201).length, 100)
    t.equal(codes.filter(code => code === 10126).length, 200)
    t.match(await friend.ask(message(account.id, 'hello')), { code: 201 })
  },
)
