import t from 'tap'
import { dataDir, jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'

const gateway = await startGateway(t)
const message = (recipient: string, content: string, id?: string) => ({
  type: 'message',
  id,
  data: { recipient, content },
})

t.test(
  'a reply repeats the id of its request as the fourth and last member, whatever the request',
  async t => {
    const client = await jsonClient(t, gateway)
    const whole = { email: 'id@example.com', password: 'p', firstName: 'f', lastName: 'l' }
    const requests: [object, number][] = [
      [{ type: 'action', action: 'register', data: whole }, 203],
      [{ type: 'action', action: 'login', data: { email: whole.email, password: 'wrong' } }, 10000],
      [{ type: 'broadcast', data: { content: 'x' } }, 10007],
      [{ type: 'action', action: 'query', data: {} }, 10007],
      [{ type: 'nonsense' }, 10102],
      [{ type: 'action', action: 'login', data: { x: 1 } }, 10101],
      [{ type: 'action', action: 'login', data: { email: whole.email, password: 'p' } }, 202],
      [{ type: 'message', data: { recipient: '100000000', content: 'x' } }, 10010],
      [{ type: 'broadcast', data: { content: 'x' } }, 204],
      [{ type: 'action', action: 'query', data: { email: whole.email } }, 200],
    ]
    for (const [request, code] of requests) {
      const id = `id of ${code}`
      const reply = await client.ask({ ...request, id })
      t.strictSame(Object.keys(reply), ['code', 'msg', 'data', 'id'])
      t.match(reply, { code, id })
    }
  },
)

t.test('without an id there is none in the reply, and no richer data', async t => {
  const client = await loggedIn(t, gateway)
  t.strictSame(Object.keys(await client.ask(message(client.userId, 'x'))), ['code', 'msg', 'data'])
  await client.next()
  t.equal((await client.ask(message(client.userId, 'x'))).data, null)
})

t.test('with an id the 201 says which message it became, and not how full the inbox is', async t => {
  const sender = await loggedIn(t, gateway)
  const recipient = await loggedIn(t, gateway, undefined, { device: 'laptop' })
  const { data } = await sender.ask(message(recipient.userId, 'x', 'mine'))
  const received = await recipient.next<{ id: string; seq: number }>()
  t.strictSame(data, { id: received.id })
  t.equal(received.seq, 1)
  t.match(received.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})

t.test('a repeat of (sender, id) is answered the same and delivered once', async t => {
  const sender = await loggedIn(t, gateway)
  const recipient = await loggedIn(t, gateway)
  const first = await sender.ask(message(recipient.userId, 'once', 'same'))
  t.match(first, { code: 201, id: 'same' })
  for (let i = 0; i < 3; i++) t.strictSame(await sender.ask(message(recipient.userId, 'once', 'same')), first)
  for (let i = 0; i < 50; i++) sender.send(message(recipient.userId, 'burst', 'burst'))
  const replies = new Set<string>()
  for (let i = 0; i < 50; i++) replies.add(await sender.nextText())
  t.equal(replies.size, 1, 'also where all are under way at once')
  await sender.ask(message(recipient.userId, 'last'))
  t.match(await recipient.next(), { content: 'once' })
  t.match(await recipient.next(), { content: 'burst' })
  t.match(await recipient.next(), { content: 'last' })
})

t.test('the same id of another sender is another message; so is the longest id', async t => {
  const recipient = await loggedIn(t, gateway)
  const [one, two] = [await loggedIn(t, gateway), await loggedIn(t, gateway)]
  for (const id of ['same', '漢'.repeat(64), '"\\\n']) {
    t.match(await one.ask(message(recipient.userId, 'from one', id)), { code: 201, id })
    t.match(await two.ask(message(recipient.userId, 'from two', id)), { code: 201, id })
    t.match(await recipient.next(), { sender: one.userId })
    t.match(await recipient.next(), { sender: two.userId })
  }
})

t.test('a refused message may be tried again with its id', async t => {
  const sender = await loggedIn(t, gateway)
  const recipient = await loggedIn(t, gateway)
  t.match(await sender.ask(message('100000000', 'x', 'try')), { code: 10010 })
  t.match(await sender.ask(message(recipient.userId, 'x', 'try')), { code: 201 })
  t.match(await recipient.next(), { content: 'x' })
})

t.test('a repeat is known on another connection and after a restart', async t => {
  const dir = dataDir(t)
  const first = await startGateway(t, { 'data.dir': dir })
  const account = await register(t, first)
  const recipient = await register(t, first)
  const before = await (await loggedIn(t, first, account)).ask(message(recipient.id, 'once', 'same'))
  await first.close()
  const second = await startGateway(t, { 'data.dir': dir })
  const sender = await loggedIn(t, second, account)
  t.strictSame(await sender.ask(message(recipient.id, 'once', 'same')), before)
  await sender.ask(message(recipient.id, 'last'))
  const reader = await loggedIn(t, second, recipient)
  t.match(await reader.next(), { content: 'once' })
  t.match(await reader.next(), { content: 'last' })
})

t.test('dedup.window = 0: the same id twice is two messages', async t => {
  const own = await startGateway(t, { 'dedup.window': '0' })
  const client = await loggedIn(t, own, undefined, { device: 'd' })
  for (const seq of [1, 2]) {
    t.match(await client.ask(message(client.userId, 'x', 'same')), { code: 201 })
    t.match(await client.next(), { seq })
  }
})
