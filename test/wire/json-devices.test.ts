import t from 'tap'
import { dataDir, type JsonClient, jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'

const gateway = await startGateway(t)
const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })

interface Extended {
  readonly seq: number
  readonly content: string
}

async function contents(client: JsonClient, count: number): Promise<string[]> {
  const found: string[] = []
  while (found.length < count) found.push((await client.next<Extended>()).content)
  return found
}

t.test(
  'a client that asked for an option gets id and seq after the four members; others get the four',
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

t.test('only clients that asked for events get them, and an unknown kind is no error', async t => {
  const client = await loggedIn(t, gateway, undefined, { events: ['dropped', 'a kind of the future'] })
  t.match(await client.action('login'), { code: 10005 })
  const { email, password } = await register(t, gateway)
  const other = await jsonClient(t, gateway)
  for (const events of ['dropped', [7], [''], Array(33).fill('x'), ['x'.repeat(33)]]) {
    t.match(await other.action('login', { email, password, events }), { data: { field: /^events/ } })
  }
})
