import t from 'tap'
import { dataDir, type JsonClient, jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'

const gateway = await startGateway(t)
const message = (recipient: string, content: string, id?: string) => ({
  type: 'message',
  id,
  data: { recipient, content },
})

interface Extended {
  readonly id: string
  readonly seq: number
  readonly content: string
}

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

t.test('with an id the 201 says which message it became', async t => {
  const sender = await loggedIn(t, gateway)
  const recipient = await loggedIn(t, gateway, undefined, { device: 'laptop' })
  const { data } = await sender.ask(message(recipient.userId, 'x', 'mine'))
  const received = await recipient.next<Extended>()
  t.strictSame(data, { id: received.id, seq: received.seq })
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
    t.match(await client.ask(message(client.userId, 'x', 'same')), { code: 201, data: { seq } })
    t.match(await client.next(), { seq })
  }
})

t.test(
  'a client that asked for an option gets id and seq behind the four; one that did not gets the four',
  async t => {
    const sender = await loggedIn(t, gateway)
    for (const options of [
      { ack: 'explicit' },
      { ack: 'ping' },
      { device: 'phone' },
      { events: [] },
      { events: ['presence', 'receipt'] },
    ]) {
      const client = await loggedIn(t, gateway, undefined, options)
      await sender.ask(message(client.userId, 'x'))
      const keys = ['sender', 'recipient', 'content', 'created_at', 'id', 'seq']
      t.strictSame(Object.keys(await client.next()), keys, JSON.stringify(options))
      await client.close()
    }
    const old = await loggedIn(t, gateway)
    await sender.ask(message(old.userId, 'x'))
    t.strictSame(Object.keys(await old.next()), ['sender', 'recipient', 'content', 'created_at'])
  },
)

t.test('seq is 1, 2, 3 … in each inbox, broadcasts included', async t => {
  const own = await startGateway(t)
  const sender = await loggedIn(t, own)
  const clients = [
    await loggedIn(t, own, undefined, { device: 'd' }),
    await loggedIn(t, own, undefined, { device: 'd' }),
  ]
  for (const { userId } of clients) await sender.ask(message(userId, 'one'))
  await sender.ask({ type: 'broadcast', data: { content: 'two' } })
  for (const { userId } of clients) await sender.ask(message(userId, 'three'))
  for (const client of clients) {
    for (const [i, content] of ['one', 'two', 'three'].entries())
      t.match(await client.next(), { seq: i + 1, content })
  }
})

async function contents(client: JsonClient, count: number): Promise<string[]> {
  const found: string[] = []
  while (found.length < count) found.push((await client.next<Extended>()).content)
  return found
}

t.test('ack explicit: only what was acknowledged does not come again', async t => {
  const sender = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  const first = await loggedIn(t, gateway, account, { ack: 'explicit' })
  for (const content of ['1', '2', '3', '4', '5']) await sender.ask(message(account.id, content))
  t.same(await contents(first, 5), ['1', '2', '3', '4', '5'])
  t.strictSame(await first.action('ack', { seq: 3 }), { code: 200, msg: '操作成功', data: null })
  await first.close()
  const second = await loggedIn(t, gateway, account, { ack: 'explicit' })
  t.same(await contents(second, 2), ['4', '5'])
  t.match(await second.action('ack', { seq: 2 }), { code: 200 }, 'an old one moves nothing back')
  t.match(await second.action('ack', { seq: 4 }), { code: 200 })
  await second.close()
  const third = await loggedIn(t, gateway, account, { ack: 'explicit' })
  t.same(await contents(third, 1), ['5'])
})

t.test('ack explicit: acknowledging what was never sent confirms nothing that is still to come', async t => {
  const sender = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  const first = await loggedIn(t, gateway, account, { ack: 'explicit' })
  t.match(await first.action('ack', { seq: 1_000_000 }), { code: 200 })
  await sender.ask(message(account.id, 'later'))
  t.same(await contents(first, 1), ['later'])
  await first.close()
  t.same(await contents(await loggedIn(t, gateway, account, { ack: 'explicit' }), 1), ['later'])
})

t.test('ack is for who is logged in and asked for it', async t => {
  const stranger = await jsonClient(t, gateway)
  t.match(await stranger.action('ack', { seq: 1 }), { code: 10007 })
  const client = await loggedIn(t, gateway)
  t.match(await client.action('ack', { seq: 1 }), { code: 10110, data: { field: 'action' } })
})

t.test('ack explicit with a window: the next ones come as the first are acknowledged', async t => {
  const own = await startGateway(t, { 'delivery.windowMessages': 2 })
  const client = await loggedIn(t, own, undefined, { ack: 'explicit' })
  for (let i = 1; i <= 6; i++) client.send(message(client.userId, `${i}`))
  const seqs: number[] = []
  let replies = 0
  while (seqs.length < 6) {
    const frame = await client.next<Partial<Extended>>()
    if (frame.seq === undefined) replies++
    else {
      seqs.push(frame.seq)
      if (seqs.length % 2 === 0) client.send({ type: 'action', action: 'ack', data: { seq: frame.seq } })
    }
  }
  t.same(seqs, [1, 2, 3, 4, 5, 6])
  t.ok(replies >= 6)
})

t.test('each device has its own place in the inbox, kept over a restart', async t => {
  const dir = dataDir(t)
  const first = await startGateway(t, { 'data.dir': dir })
  const sender = await loggedIn(t, first)
  const account = await register(t, first)
  const read = async (device: string, count: number, from?: string) => {
    const client = await loggedIn(t, first, account, { device, ack: 'explicit', ...(from && { from }) })
    const found = await contents(client, count)
    return { found, client }
  }
  await sender.ask(message(account.id, '1'))
  const phone = await read('phone', 1)
  await phone.client.action('ack', { seq: 1 })
  await phone.client.close()
  await sender.ask(message(account.id, '2'))
  const laptop = await read('laptop', 1)
  t.same(laptop.found, ['2'], 'a new device begins where the furthest one is')
  await laptop.client.action('ack', { seq: 2 })
  await laptop.client.close()
  const tablet = await read('tablet', 2, 'start')
  t.same(tablet.found, ['1', '2'], 'or at the start, where it asks for everything')
  await tablet.client.close()
  await first.close()
  const second = await startGateway(t, { 'data.dir': dir })
  const again = await loggedIn(t, second, account, { device: 'phone' })
  t.same(await contents(again, 1), ['2'], 'the phone goes on where it was')
  await again.close()
  t.same(await contents(await loggedIn(t, second, account, { device: 'tablet' }), 2), ['1', '2'])
})

t.test(
  'events are for who asked: a client that asked for none gets none, and an unknown kind is no error',
  async t => {
    const client = await loggedIn(t, gateway, undefined, { events: ['dropped', 'a kind of the future'] })
    t.match(await client.action('login'), { code: 10005 })
    const { email, password } = await register(t, gateway)
    const other = await jsonClient(t, gateway)
    for (const events of ['dropped', [7], [''], Array(33).fill('x'), ['x'.repeat(33)]]) {
      t.match(await other.action('login', { email, password, events }), { data: { field: /^events/ } })
    }
  },
)

t.test('history: a conversation, newest first, in pages, seen by both', async t => {
  const [ann, ben] = [await loggedIn(t, gateway), await loggedIn(t, gateway)]
  const other = await loggedIn(t, gateway)
  for (let i = 0; i < 5; i++) {
    await ann.ask(message(ben.userId, `to ben ${i}`))
    await ben.next()
    await ben.ask(message(ann.userId, `to ann ${i}`))
    await ann.next()
  }
  await other.ask(message(ann.userId, 'from another'))
  await ann.next()
  interface Page {
    readonly messages: Extended[]
    readonly more: boolean
  }
  const page = async (client: JsonClient, data: object) => (await client.action('history', data)).data as Page
  const all = await page(ann, { with: ben.userId })
  t.strictSame(
    all.messages.map(({ content }) => content),
    [4, 3, 2, 1, 0].flatMap(i => [`to ann ${i}`, `to ben ${i}`]),
  )
  t.equal(all.more, false)
  t.strictSame(Object.keys(all.messages[0] ?? {}), [
    'sender',
    'recipient',
    'content',
    'created_at',
    'id',
    'seq',
  ])
  t.strictSame(
    Object.keys(all.messages[1] ?? {}),
    ['sender', 'recipient', 'content', 'created_at', 'id'],
    'seq is the reader’s own',
  )
  const first = await page(ann, { with: ben.userId, limit: 4 })
  t.strictSame(first, { messages: all.messages.slice(0, 4), more: true })
  const second = await page(ann, { with: ben.userId, limit: 4, before: first.messages[3]?.id })
  t.strictSame(second, { messages: all.messages.slice(4, 8), more: true })
  const third = await page(ann, { with: ben.userId, limit: 4, before: second.messages[3]?.id })
  t.strictSame(third, { messages: all.messages.slice(8), more: false })
  t.strictSame(
    (await page(ben, { with: ann.userId })).messages.map(({ id }) => id),
    all.messages.map(({ id }) => id),
  )
})

t.test('history with oneself, with a stranger, and before login', async t => {
  const client = await loggedIn(t, gateway)
  await client.ask(message(client.userId, 'note'))
  await client.next()
  t.match(await client.action('history', { with: client.userId }), {
    code: 200,
    data: { messages: [{ content: 'note', seq: 1 }], more: false },
  })
  t.match(await client.action('history', { with: '100000000' }), {
    code: 200,
    data: { messages: [], more: false },
  })
  t.match(await client.action('history', { with: 'x' }), { code: 10101, data: { field: 'with' } })
  t.match(await (await jsonClient(t, gateway)).action('history', { with: client.userId }), { code: 10007 })
})
