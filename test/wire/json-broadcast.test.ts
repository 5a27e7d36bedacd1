import t from 'tap'
import { jsonClient, loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'

const broadcast = (content: unknown) => ({ type: 'broadcast', data: { content } })

t.test('every other user who is online gets it, with three members and no recipient', async t => {
  const gateway = await startGateway(t)
  const sender = await loggedIn(t, gateway)
  const others = await Promise.all([1, 2, 3].map(() => loggedIn(t, gateway)))
  t.strictSame(await sender.ask(broadcast('to all')), { code: 204, msg: '廣播成功', data: null })
  for (const other of others) {
    const text = await other.nextText()
    const { created_at } = JSON.parse(text)
    t.equal(text, `{"sender":"${sender.userId}","content":"to all","created_at":"${created_at}"}`)
  }
})

t.test('not to the sender, not to who is not logged in, not to who is away', async t => {
  const gateway = await startGateway(t)
  const sender = await loggedIn(t, gateway)
  const listener = await loggedIn(t, gateway)
  const stranger = await jsonClient(t, gateway)
  const away = await register(t, gateway)
  await sender.ask(broadcast('now'))
  t.match(await listener.next(), { content: 'now' })
  const late = await loggedIn(t, gateway, away)
  await sender.ask({ type: 'message', data: { recipient: away.id, content: 'later' } })
  t.match(await late.next(), { content: 'later' }, 'the first message that the one who was away gets')
  t.match(await sender.action('login'), { code: 10005 }, 'the next frame of the sender is its next reply')
  t.match(await stranger.action('login'), { code: 10000 }, 'and of the stranger, too')
})

t.test('a broadcast to nobody succeeds', async t => {
  const sender = await loggedIn(t, await startGateway(t))
  t.match(await sender.ask(broadcast('anyone?')), { code: 204 })
})

t.test('a broadcast needs a login and a content like any other', async t => {
  const gateway = await startGateway(t)
  const stranger = await jsonClient(t, gateway)
  t.match(await stranger.ask(broadcast('x')), { code: 10007 })
  const sender = await loggedIn(t, gateway)
  for (const bad of ['', undefined, 7, 'a\u0000b', '\ud800']) {
    t.match(
      await sender.ask(broadcast(bad)),
      { code: 10101, data: { field: 'content' } },
      JSON.stringify(bad),
    )
  }
  t.match(await sender.ask(broadcast('x'.repeat(65_537))), { code: 10103, data: { field: 'content' } })
  t.match(await sender.ask({ type: 'broadcast', data: { content: 'x', recipient: sender.userId } }), {
    code: 10101,
    data: { field: 'recipient' },
  })
})

t.test('messages and broadcasts of one sender keep their order', async t => {
  const gateway = await startGateway(t)
  const sender = await loggedIn(t, gateway)
  const recipient = await loggedIn(t, gateway)
  for (let i = 0; i < 100; i += 2) {
    sender.send({ type: 'message', data: { recipient: recipient.userId, content: `${i}` } })
    sender.send(broadcast(`${i + 1}`))
  }
  for (let i = 0; i < 100; i++) {
    const { content } = await recipient.next<{ content: string }>()
    if (content !== `${i}`) return t.fail(`message ${i}`, { content })
  }
})

t.test(
  'a repeated broadcast with the same id is answered again and delivered once, also with the longest id',
  async t => {
    const gateway = await startGateway(t)
    const sender = await loggedIn(t, gateway)
    const recipient = await loggedIn(t, gateway)
    for (const id of ['b1', '漢'.repeat(64)]) {
      for (let i = 0; i < 3; i++) t.match(await sender.ask({ ...broadcast('once'), id }), { code: 204, id })
      t.match(await recipient.next(), { content: 'once' })
    }
    await sender.ask({ type: 'message', data: { recipient: recipient.userId, content: 'next' } })
    t.match(await recipient.next(), { content: 'next' })
  },
)

t.test('an MQTT device that is online gets it, too', async t => {
  const gateway = await startGateway(t)
  const sender = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  const device = await mqttClient(t, gateway, { username: account.email, password: account.password })
  await device.mqtt.subscribeAsync(`users/${account.id}/inbox/+`, { qos: 1 })
  await sender.ask(broadcast('to devices'))
  const { payload } = await device.next()
  t.strictSame(Object.keys(JSON.parse(payload)), ['id', 'seq', 'sender', 'content', 'created_at'])
})
