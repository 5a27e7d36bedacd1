import { once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'ws'
import { dataDir, jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'

const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })

t.test('every client is closed with 1001, logged in or not', async t => {
  const gateway = await startGateway(t)
  const clients = [await loggedIn(t, gateway), await loggedIn(t, gateway), await jsonClient(t, gateway)]
  await gateway.close()
  for (const client of clients) {
    t.equal((await client.closed)[0], 1001)
    t.same(client.unread, [])
  }
})

t.test('what was sent before is answered, and what was answered 201 is there after a restart', async t => {
  const dir = dataDir(t)
  const gateway = await startGateway(t, { 'data.dir': dir })
  const sender = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  const count = 2000
  for (let i = 0; i < count; i++) sender.send(message(account.id, `${i}`))
  // Some are on their way, some are stored, some not even read.
  await sender.next()
  await gateway.close()
  await sender.closed
  const codes = sender.unread.map(frame => JSON.parse(frame).code as number)
  const stored = 1 + codes.filter(code => code === 201).length
  t.same(
    [...new Set(codes)].filter(code => code !== 201 && code !== 10107),
    [],
    'accepted, or told that the server leaves',
  )
  t.same(
    codes,
    [...codes].sort((a, b) => a - b),
    'and never accepted again behind a refusal',
  )
  const second = await startGateway(t, { 'data.dir': dir })
  const reader = await loggedIn(t, second, account)
  for (let i = 0; i < stored; i++) {
    const { content } = await reader.next<{ content: string }>()
    if (content !== `${i}`) return t.fail(`message ${i}`, { content })
  }
})

t.test(
  'a client that does not answer the closing handshake delays the shutdown only by its grace time',
  async t => {
    const gateway = await startGateway(t)
    const frozen = await loggedIn(t, gateway)
    frozen.ws.pause()
    const started = performance.now()
    await gateway.close()
    t.ok(performance.now() - started < 5000)
  },
)

t.test('after the end nobody is taken', async t => {
  const gateway = await startGateway(t)
  await gateway.close()
  const ws = new WebSocket(`ws://127.0.0.1:${gateway.httpPort}/`)
  const [error] = await once(ws, 'error')
  t.match(error, { code: 'ECONNREFUSED' })
})

t.test('closing twice is closing once, and both wait for the end', async t => {
  const dir = dataDir(t)
  const gateway = await startGateway(t, { 'data.dir': dir })
  await loggedIn(t, gateway)
  await Promise.all([gateway.close(), gateway.close()])
  await startGateway(t, { 'data.dir': dir })
})

t.test('login, register and delete under way when the server leaves harm nothing', async t => {
  const dir = dataDir(t)
  const gateway = await startGateway(t, { 'data.dir': dir, 'passwords.cost': 10 })
  const account = await register(t, gateway)
  const [one, two] = [await jsonClient(t, gateway), await jsonClient(t, gateway)]
  one.send({ type: 'action', action: 'login', data: { email: account.email, password: account.password } })
  two.send({
    type: 'action',
    action: 'register',
    data: { email: 'late@example.com', password: 'p', firstName: 'f', lastName: 'l' },
  })
  await gateway.close()
  await Promise.all([one.closed, two.closed])
  const wasRegistered = two.unread.some(frame => JSON.parse(frame).code === 203)
  const second = await startGateway(t, { 'data.dir': dir })
  const client = await jsonClient(t, second)
  const { data } = await client.action('query', { email: 'late@example.com' })
  if (wasRegistered) t.match(data, [{ email: 'late@example.com' }])
  await loggedIn(t, second, account)
  t.same(
    gateway.logs.filter(({ level }) => level === 'error'),
    [],
  )
})
