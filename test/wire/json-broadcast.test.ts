import t from 'tap'
import {
  dataDir,
  jsonClient,
  limited,
  loggedIn,
  mqttClient,
  register,
  startGateway,
} from '../helpers/gateway.js'

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

t.test('accounts.broadcast says who may: others are answered 10110', async t => {
  const dir = dataDir(t)
  const first = await startGateway(t, { 'data.dir': dir, 'accounts.broadcast': 'off' })
  const [admin, user] = [await register(t, first), await register(t, first)]
  const refusal = (reason: string) => ({ code: 10110, data: { field: 'type', reason } })
  const off = await loggedIn(t, first, admin)
  t.match(await off.ask(broadcast('x')), refusal('broadcasts are switched off'))
  await first.close()
  const settings = { 'accounts.broadcast': 'admins', 'roles.admins': admin.id, locale: 'en' }
  const gateway = await startGateway(t, { 'data.dir': dir, ...settings })
  const listener = await loggedIn(t, gateway, user)
  t.match(await listener.ask(broadcast('x')), refusal('broadcasts are for admins'))
  const sender = await loggedIn(t, gateway, admin)
  t.match(await sender.ask(broadcast('from above')), { code: 204 })
  t.match(await listener.next(), { content: 'from above' })
})

t.test(
  'broadcasts cost their bytes for each recipient: beyond the rate 10120, and messages go on',
  async t => {
    const gateway = await startGateway(t, { 'limits.broadcastBytes': '1KiB' })
    const sender = await loggedIn(t, gateway)
    const listeners = await Promise.all([1, 2, 3].map(() => loggedIn(t, gateway)))
    t.match(await sender.ask(broadcast('x'.repeat(5000))), { code: 204 }, 'however large the first is')
    t.match(await sender.ask(broadcast('x')), { code: 10120 })
    t.ok((await limited(gateway, 'limits.broadcastBytes')) > 0)
    const [listener] = listeners
    const message = { recipient: listener?.userId, content: 'direct' }
    t.match(await sender.ask({ type: 'message', data: message }), { code: 201 })
    const other = await loggedIn(t, gateway)
    t.match(await other.ask(broadcast('y')), { code: 204 }, 'another account has its own')
  },
)

t.test('a message is not held up by the broadcasts of another that wait', async t => {
  const gateway = await startGateway(t, { 'limits.broadcastBytes': '1GiB', 'limits.accountBytes': '1GiB' })
  const spammer = await loggedIn(t, gateway)
  await Promise.all(Array.from({ length: 20 }, () => loggedIn(t, gateway)))
  const [ann, bob] = [await loggedIn(t, gateway), await loggedIn(t, gateway)]
  const count = 40
  for (let i = 0; i < count; i++) spammer.send(broadcast('x'.repeat(60_000)))
  t.match(await spammer.next(), { code: 204 }, 'they are under way')
  ann.send({ type: 'message', id: 'mine', data: { recipient: bob.userId, content: 'hello' } })
  const isAnswer = (frame: { id?: string }) => frame.id === 'mine'
  while (!isAnswer(await ann.next()));
  t.ok(spammer.unread.length < count - 1, `${spammer.unread.length} of ${count} were answered before it`)
  while (spammer.unread.length > 0) t.match(await spammer.next(), { code: 204 })
})
