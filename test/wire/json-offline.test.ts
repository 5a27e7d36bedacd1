import t, { type Test } from 'tap'
import {
  dataDir,
  type JsonClient,
  jsonClient,
  loggedIn,
  type RunningGateway,
  register,
  startGateway,
  type TestAccount,
} from '../helpers/gateway.js'

const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })

async function sendMany(sender: JsonClient, recipient: string, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) sender.send(message(recipient, `${i}`))
  for (let i = from; i < to; i++) if ((await sender.next()).code !== 201) throw new Error(`message ${i}`)
}

/** Logs in and gives the frames behind the reply: content of `count` messages. */
async function loginAndRead(t: Test, gateway: RunningGateway, account: TestAccount, count: number) {
  const client = await loggedIn(t, gateway, account)
  const contents: string[] = []
  while (contents.length < count) contents.push((await client.next<{ content: string }>()).content)
  return { client, contents }
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `${from + i}`)

/**
 * Resolves when everything that `client` has read is confirmed. The ping follows the messages and comes before the
 * first reply; its pong is then before the second request, which the server has read when it sends the second reply.
 */
async function confirmed(client: JsonClient): Promise<void> {
  await client.action('login')
  await client.action('login')
}

t.test('what was sent to one who is away comes in order, right behind the login reply', async t => {
  const gateway = await startGateway(t)
  const sender = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  await sendMany(sender, account.id, 0, 2500)
  const { client, contents } = await loginAndRead(t, gateway, account, 2500)
  t.same(contents, numbers(0, 2500))
  await sender.ask(message(account.id, 'live'))
  t.match(await client.next(), { content: 'live' })
})

t.test('what arrives while the backlog is being read stays behind it', async t => {
  const gateway = await startGateway(t)
  const sender = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  await sendMany(sender, account.id, 0, 1500)
  const [{ contents }] = await Promise.all([
    loginAndRead(t, gateway, account, 3000),
    sendMany(sender, account.id, 1500, 3000),
  ])
  t.same(contents, numbers(0, 3000))
})

t.test('a message that was confirmed does not come again', async t => {
  const gateway = await startGateway(t)
  const sender = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  await sendMany(sender, account.id, 0, 3)
  const { client } = await loginAndRead(t, gateway, account, 3)
  await confirmed(client)
  await client.close()
  await sendMany(sender, account.id, 3, 5)
  t.same((await loginAndRead(t, gateway, account, 2)).contents, ['3', '4'])
})

t.test('a message that no pong confirmed comes again at the next login', async t => {
  const gateway = await startGateway(t)
  const sender = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  const deaf = await jsonClient(t, gateway, '/', { autoPong: false })
  await deaf.action('login', { email: account.email, password: account.password })
  await sendMany(sender, account.id, 0, 3)
  for (let i = 0; i < 3; i++) t.match(await deaf.next(), { content: `${i}` })
  await deaf.close()
  t.same((await loginAndRead(t, gateway, account, 3)).contents, ['0', '1', '2'])
})

t.test('after a restart on the same data: what waited comes, what was confirmed does not', async t => {
  const dir = dataDir(t)
  const first = await startGateway(t, { 'data.dir': dir })
  const sender = await loggedIn(t, first)
  const account = await register(t, first)
  await sendMany(sender, account.id, 0, 10)
  const { client } = await loginAndRead(t, first, account, 10)
  await confirmed(client)
  await client.close()
  await sendMany(sender, account.id, 10, 400)
  await first.close()
  const second = await startGateway(t, { 'data.dir': dir })
  t.same((await loginAndRead(t, second, account, 390)).contents, numbers(10, 400))
})

t.test('a window smaller than the backlog only slows it down', async t => {
  for (const window of [
    { 'delivery.windowMessages': 1 },
    { 'delivery.windowMessages': 7 },
    { 'delivery.windowBytes': '100' },
  ]) {
    const gateway = await startGateway(t, window)
    const sender = await loggedIn(t, gateway)
    const account = await register(t, gateway)
    await sendMany(sender, account.id, 0, 50)
    const [{ contents }] = await Promise.all([
      loginAndRead(t, gateway, account, 100),
      sendMany(sender, account.id, 50, 100),
    ])
    t.same(contents, numbers(0, 100), JSON.stringify(window))
  }
})

t.test('created_at is when it was sent, not when it was delivered', async t => {
  const gateway = await startGateway(t)
  const sender = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  const before = Math.floor(Date.now() / 1000) * 1000
  await sender.ask(message(account.id, 'x'))
  const after = Date.now()
  const client = await loggedIn(t, gateway, account)
  const at = Date.parse((await client.next<{ created_at: string }>()).created_at)
  t.ok(before <= at && at <= after)
})

t.test('delivery.offline = false: a message to one who is away is 10008 and not kept', async t => {
  const gateway = await startGateway(t, { 'delivery.offline': false })
  const sender = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  t.strictSame(await sender.ask(message(account.id, 'lost')), {
    code: 10008,
    msg: '使用者目前不在線上',
    data: null,
  })
  t.match(
    await sender.ask(message('100000000', 'x')),
    { code: 10010 },
    'one who does not exist is still 10010',
  )
  const client = await loggedIn(t, gateway, account)
  t.match(await sender.ask(message(account.id, 'kept')), { code: 201 })
  t.match(await client.next(), { content: 'kept' })
})
