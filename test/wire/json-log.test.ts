import t from 'tap'
import { jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'

const SECRET = 'xyzzy-plugh'

t.test(
  'no log line has content, a password or the value of a refused field, whatever a client does',
  async t => {
    const gateway = await startGateway(t, { 'log.level': 'trace' })
    const client = await jsonClient(t, gateway)
    const whole = { email: 'log@example.com', password: SECRET, firstName: 'f', lastName: 'l' }
    const requests = [
      SECRET,
      `{"type":"${SECRET}"}`,
      { type: SECRET },
      { type: 'action', action: SECRET },
      { type: 'action', action: 'register', data: whole },
      { type: 'action', action: 'register', data: whole },
      { type: 'action', action: 'register', data: { ...whole, email: SECRET } },
      { type: 'action', action: 'login', data: { email: SECRET, password: SECRET } },
      { type: 'action', action: 'login', data: { email: [SECRET], password: { SECRET } } },
      { type: 'action', action: 'login', data: { email: whole.email, password: SECRET } },
      { type: 'action', action: 'query', data: { firstName: SECRET } },
      { type: 'action', action: 'delete', data: { password: `${SECRET}!` } },
      { type: 'message', data: { recipient: SECRET, content: SECRET } },
      { type: 'message', data: { recipient: '100000000', content: SECRET.repeat(10_000) } },
      { type: 'broadcast', data: { content: SECRET } },
      { type: 'broadcast', data: { content: `${SECRET}\0` } },
    ]
    for (const request of requests) await client.ask(request)
    const { id } = await register(t, gateway)
    t.match(await client.ask({ type: 'message', data: { recipient: id, content: SECRET } }), { code: 201 })
    t.match(await client.action('delete', { password: SECRET }), { code: 200 })
    await client.closed
    await gateway.close()
    t.ok(gateway.logs.length > 10)
    t.same(
      gateway.logs.filter(line => JSON.stringify(line).includes(SECRET)),
      [],
    )
  },
)

t.test('every line has a level, a time and an event, and the events of an account are logged', async t => {
  const gateway = await startGateway(t)
  const client = await loggedIn(t, gateway)
  await client.action('delete', { password: 'correct horse' })
  for (const line of gateway.logs)
    t.match(line, { level: String, time: String, event: /^[a-z]+\.[a-z-]+$/, msg: String })
  for (const event of ['account.registered', 'account.logged-in', 'account.deleted']) {
    t.match(
      gateway.logs.find(line => line.event === event),
      { userId: client.userId },
      event,
    )
  }
})

t.test('a refusal is logged with its code, its request and the field, by whoever it was', async t => {
  const gateway = await startGateway(t)
  const client = await loggedIn(t, gateway)
  await client.ask({ type: 'message', data: { recipient: '100000000', content: 'x' } })
  await client.ask({ type: 'message', data: { recipient: 7, content: 'x' } })
  await client.ask('nonsense')
  const refusals = gateway.logs.filter(({ event }) => event === 'request.refused')
  t.match(refusals, [
    { level: 'info', request: 'message', code: 10010, userId: client.userId },
    { level: 'info', request: 'invalid', code: 10101, field: 'recipient', reason: 'must be a string' },
    { level: 'info', request: 'invalid', code: 10100 },
  ])
})
