import t from 'tap'
import { GatewayError } from '../../src/core/errors.js'
import type { Store } from '../../src/store/store.js'
import { jsonClient, loggedIn, register } from '../helpers/gateway.js'
import { startControlled } from '../helpers/store-control.js'

const message = (recipient: string, content: string, id?: string) => ({
  type: 'message',
  id,
  data: { recipient, content },
})

/** From now on this method fails. @returns what ends that */
const ROLE_OF = {
  createUser: 'users',
  findUser: 'users',
  findUserByEmail: 'users',
  findUsers: 'users',
  checkPassword: 'users',
  deleteUser: 'users',
  readConversation: 'inbox',
  lastSeq: 'inbox',
  cursor: 'cursors',
} as const

function failing(store: Store, method: keyof typeof ROLE_OF | 'ping'): () => void {
  const role = method === 'ping' ? store : store[ROLE_OF[method]]
  Object.assign(role, { [method]: () => Promise.reject(new GatewayError('STORE_UNAVAILABLE')) })
  return () => void Reflect.deleteProperty(role, method)
}

t.test(
  'a message that could not be stored is 10104 or 10105, is not delivered, and may be sent again',
  async t => {
    const gateway = await startControlled(t)
    const sender = await loggedIn(t, gateway)
    const recipient = await loggedIn(t, gateway)
    for (const [name, code] of [
      ['STORE_UNAVAILABLE', 10104],
      ['STORE_FULL', 10105],
    ] as const) {
      const mend = gateway.fail('append', name)
      t.match(await sender.ask(message(recipient.userId, name, name)), { code, id: name, data: null })
      t.match(await sender.ask({ type: 'broadcast', data: { content: name } }), { code })
      mend()
      t.match(await sender.ask(message(recipient.userId, name, name)), { code: 201 })
      t.match(await recipient.next(), { content: name })
    }
    t.same(recipient.unread, [])
  },
)

t.test('no 201 before the message is stored, and later requests wait their turn', async t => {
  const gateway = await startControlled(t)
  const sender = await loggedIn(t, gateway)
  const recipient = await loggedIn(t, gateway)
  const release = gateway.hold('append')
  sender.send(message(recipient.userId, 'held', '1'))
  sender.send({ type: 'action', action: 'query', data: { id: sender.userId }, id: '2' })
  sender.send({ type: 'nonsense', id: '3' })
  const other = await loggedIn(t, gateway)
  t.match(await other.action('query', {}), { code: 200 }, 'others are answered meanwhile')
  t.same([sender.unread, recipient.unread], [[], []])
  release()
  t.match(await sender.next(), { code: 201, id: '1' })
  t.match(await sender.next(), { code: 200, id: '2' })
  t.match(await sender.next(), { code: 10102, id: '3' })
  t.match(await recipient.next(), { content: 'held' })
})

t.test(
  'each request has its old number for a store that fails, and succeeds when the store works again',
  async t => {
    const gateway = await startControlled(t)
    const { email, password } = await register(t, gateway)
    const other = await register(t, gateway)
    const client = await jsonClient(t, gateway)
    const whole = { email: 'new@example.com', password: 'p', firstName: 'f', lastName: 'l' }
    const cases: [keyof typeof ROLE_OF, object, number, number][] = [
      ['findUserByEmail', { type: 'action', action: 'register', data: whole }, 10002, 203],
      [
        'createUser',
        { type: 'action', action: 'register', data: { ...whole, email: 'b@example.com' } },
        10002,
        203,
      ],
      ['findUserByEmail', { type: 'action', action: 'login', data: { email, password } }, 10001, 202],
      ['findUsers', { type: 'action', action: 'query', data: {} }, 10004, 200],
      ['findUser', message(other.id, 'x'), 10011, 201],
      ['readConversation', { type: 'action', action: 'history', data: { with: '123456789' } }, 10104, 200],
      ['deleteUser', { type: 'action', action: 'delete', data: { password } }, 10104, 200],
    ]
    for (const [method, request, failed, succeeded] of cases) {
      const mend = failing(gateway.store, method)
      t.match(
        await client.ask({ ...request, id: method }),
        { code: failed, id: method, data: null },
        `${method} fails`,
      )
      mend()
      t.match(await client.ask({ ...request, id: 'again' }), { code: succeeded }, `${method} works`)
    }
  },
)

t.test('a failed login leaves the connection free for the next try', async t => {
  const gateway = await startControlled(t)
  const account = await register(t, gateway)
  const { email, password } = account
  const client = await jsonClient(t, gateway)
  const mend = failing(gateway.store, 'checkPassword')
  for (let i = 0; i < 3; i++) t.match(await client.action('login', { email, password }), { code: 10001 })
  mend()
  t.match(await client.action('login', { email, password }), { code: 202 })
  t.match(await client.ask(message(account.id, 'x')), { code: 201 })
})

t.test('retryable faults do not count towards limits.refusals', async t => {
  const gateway = await startControlled(t, { 'limits.refusals': 3 })
  const sender = await loggedIn(t, gateway)
  const mend = gateway.fail('append', 'STORE_UNAVAILABLE')
  for (let i = 0; i < 10; i++) t.match(await sender.ask(message(sender.userId, 'x')), { code: 10104 })
  mend()
  t.match(await sender.ask(message(sender.userId, 'x')), { code: 201 })
})

t.test(
  'a login whose cursor cannot be read is 10001, and the next try on the connection succeeds',
  async t => {
    const gateway = await startControlled(t)
    const account = await register(t, gateway)
    const { email, password } = account
    const client = await jsonClient(t, gateway)
    const mend = failing(gateway.store, 'cursor')
    t.match(await client.action('login', { email, password }), { code: 10001 })
    mend()
    t.match(await client.action('login', { email, password }), { code: 202 })
    await client.ask(message(account.id, 'to myself'))
    t.match(await client.next(), { content: 'to myself' })
  },
)

t.test(
  'no 202 before the cursor of a new device is durable: a crash right after it loses no message',
  async t => {
    const gateway = await startControlled(t)
    const { email, password } = await register(t, gateway)
    const client = await jsonClient(t, gateway)
    const release = gateway.hold('moveCursors')
    client.send({ type: 'action', action: 'login', data: { email, password, device: 'phone' } })
    const other = await loggedIn(t, gateway)
    t.match(await other.action('query', {}), { code: 200 }, 'others are answered meanwhile')
    t.same(client.unread, [])
    release()
    t.match(await client.next(), { code: 202 })
  },
)

t.test(
  'if the inbox cannot be read, the connection is closed, and all messages come after a reconnect',
  async t => {
    const gateway = await startControlled(t)
    const sender = await loggedIn(t, gateway)
    const account = await register(t, gateway)
    const { email, password } = account
    await sender.ask(message(account.id, 'waiting'))
    const mend = failing(gateway.store, 'lastSeq')
    const client = await jsonClient(t, gateway)
    t.match(await client.action('login', { email, password }), { code: 202 })
    t.match(await client.next(), { code: 10104 })
    await client.closed
    mend()
    t.match(await (await loggedIn(t, gateway, account)).next(), { content: 'waiting' })
  },
)

t.test('an unforeseen fault is 500, logged with its cause and sent to the client without it', async t => {
  const gateway = await startControlled(t)
  const client = await loggedIn(t, gateway)
  Object.assign(gateway.store.inbox, {
    readConversation: () => Promise.reject(new TypeError('of our own making')),
  })
  t.strictSame(await client.action('history', { with: client.userId }), {
    code: 500,
    msg: '操作失敗',
    data: null,
  })
  t.match(
    gateway.logs.find(({ code }) => code === 500),
    {
      level: 'error',
      event: 'request.refused',
      request: 'history',
      err: { message: 'of our own making', stack: String },
    },
  )
  t.match(await client.action('login'), { code: 10005 })
})

t.test('a store that does not answer makes /readyz say so', async t => {
  const gateway = await startControlled(t)
  const mend = failing(gateway.store, 'ping')
  const response = await fetch(`${gateway.http}/readyz`)
  t.equal(response.status, 503)
  t.match(await response.json(), { status: 'not ready', reason: String })
  mend()
  t.equal((await fetch(`${gateway.http}/readyz`)).status, 200)
})

t.test('a connection that is held up by the store is not taken for dead', async t => {
  const gateway = await startControlled(t, {
    'limits.pipelined': 1,
    'heartbeat.interval': '1h',
    'heartbeat.timeout': '100ms',
  })
  const account = await register(t, gateway)
  const { email, password } = account
  const first = await loggedIn(t, gateway, account)
  const release = gateway.hold('append')
  first.send(message(account.id, 'held'))
  const second = await jsonClient(t, gateway)
  t.match(await second.action('login', { email, password }), { code: 10005 })
  release()
  t.match(await first.next(), { code: 201 })
  t.match(await first.next(), { content: 'held' })
})
