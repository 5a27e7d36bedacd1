import t from 'tap'
import { Revocations } from '../../src/auth/revocations.js'
import { Since } from '../../src/auth/since.js'
import { CODES, GatewayError } from '../../src/core/errors.js'
import { createLogger } from '../../src/core/log.js'
import { type Login, type NewMessage, pairConversation, type User } from '../../src/core/model.js'
import type { Answer, Caller } from '../../src/handle/context.js'
import { handle } from '../../src/handle/index.js'
import type { HandlerRules, Services } from '../../src/handle/services.js'
import type { StoreWaiter } from '../../src/inbox/inbox.js'
import type { Request } from '../../src/protocol/requests.js'

const ME = '271693512'
const YOU = '289559048'
const USER: User = {
  id: ME,
  email: 'me@example.com',
  emailKey: 'me@example.com',
  username: '',
  firstName: 'f',
  lastName: 'l',
  profileImage: '',
  key: '',
  createdAt: 0,
}

/** The ack of a higher seq is refused, as by a connection that did not ask for explicit acks. */
const CONFIRMABLE = 1000

const LOGIN: Login = { id: 's', kind: 'password', role: 'user', device: undefined, since: 0 }

interface Setting {
  readonly userId?: string
  readonly rules?: Partial<HandlerRules>
  readonly online?: readonly string[]
  readonly accounts?: object
  readonly authenticator?: object
  readonly role?: Login['role']
  readonly hasLeft?: boolean
}

/** Handlers over fake services, and everything that they did, in order. */
function setUp({
  userId,
  rules,
  online = [],
  accounts,
  authenticator,
  role = 'user',
  hasLeft = false,
}: Setting = {}) {
  const events: unknown[] = []
  let isAsked = false
  const sent: { message: NewMessage; waiter: StoreWaiter }[] = []
  const logs: Record<string, unknown>[] = []
  const services = {
    accounts: {
      keyOf: async (login: string) => login,
      isKnown: (id: string) => id === YOU,
      exists: async (id: string) => id === ME,
      register: async () => USER,
      confirm: async () => undefined,
      remove: async () => undefined,
      query: async (...query: unknown[]) => {
        events.push(['query', ...query])
        return [USER]
      },
      ...accounts,
    },
    authenticator: {
      guard: (work: () => unknown) => work(),
      byPassword: async () => ({ user: USER, login: LOGIN }),
      ...authenticator,
    },
    factors: { check: async () => ({ giveBack: async () => undefined }) },
    logins: { revoke: async (_id: string, _which: unknown, endLive: () => void) => endLive() },
    audit: { record: () => undefined },
    loginLog: { accepted: () => undefined, count: () => undefined, registered: () => undefined },
    live: {
      online: () => online.values(),
      isOnline: (id: string) => online.includes(id),
      endAll: (...ended: unknown[]) => void events.push(['endAll', ...ended]),
    },
    ids: { next: () => '01890000-0000-7000-8000-000000000000' },
    inbox: {
      send: (message: NewMessage, waiter: StoreWaiter) => void sent.push({ message, waiter }),
      history: async () => [],
      hasTooMuchWaiting: () => false,
      cursors: { forget: () => undefined },
    },
    pendingDeletions: { graceMs: 0 },
    proofs: { cancel: async () => undefined },
    files: { removeAll: async () => undefined },
    retention: {
      admits: () => true,
      isUnsure: () => false,
      isKnown: () => isAsked,
      ask: async () => {
        isAsked = true
      },
    },
    limits: {
      register: () => undefined,
      broadcast: () => undefined,
      count: () => undefined,
      logins: {
        hash: async (_address: unknown, _account: unknown, work: () => Promise<unknown>) => work(),
        attempt: (_address: unknown, _account: unknown, check: () => unknown) => check(),
      },
    },
    log: createLogger({ level: 'debug', pretty: 'never' }, { write: line => logs.push(JSON.parse(line)) }),
    rules: {
      anonymousQuery: 'lookup',
      broadcast: 'users',
      verify: 'off',
      undoLifetimeMs: 1000,
      queryLimit: 10,
      publicUrl: () => '',
      privacy: { email: 'everyone', presence: 'everyone', listing: 'users' },
      maxContentBytes: 9,
      offlineDelivery: true,
      dedup: true,
      unknownFields: 'refuse',
      maxDepth: 8,
      maxValues: 256,
      ...rules,
    },
  } as unknown as Services
  const caller: Caller = {
    userId,
    login: userId === undefined ? undefined : { ...LOGIN, role },
    front: 'json',
    permissions: undefined,
    locale: 'en',
    remoteAddress: undefined,
    hasLeft,
    isGone: hasLeft,
    leave: () => void events.push('leave'),
    target: {
      enter: async () => void events.push('enter'),
      startDelivery: () => void events.push('startDelivery'),
      confirm: seq => seq < CONFIRMABLE && events.push(['confirm', seq]) > 0,
    },
  }
  const answer: Answer = {
    ok: (code, data = null) => void events.push([CODES[code].code, data]),
    refuse: ({ kind, info }) => void events.push([CODES[kind].code, info]),
    stored: ({ seq }) => void events.push(['stored', seq]),
    failed: ({ kind }) => void events.push(['failed', kind]),
  }
  const run = async (name: Request['name'], data: object = {}, id?: string) => {
    await handle(services, caller, { name, id, data } as Request, answer)
    return events
  }
  return { run, events, sent, logs }
}

t.test(
  'after a client has left, its requests that only read are dropped, and those that write are done',
  async t => {
    for (const name of ['query', 'history', 'sessions'] as const) {
      const { run, logs } = setUp({ userId: ME, hasLeft: true })
      t.same(await run(name, { with: YOU }), [[CODES.ERROR_CONNECTION_CLOSED.code, null]], name)
      t.same(logs, [], name)
    }
    const { run, sent } = setUp({ userId: ME, hasLeft: true })
    await run('message', { recipient: YOU, content: 'x' })
    t.equal(sent.length, 1)
  },
)

t.test('a request that needs a login is refused without one, and does nothing', async t => {
  for (const name of ['message', 'broadcast', 'delete', 'ack', 'history'] as const) {
    const { run, sent } = setUp()
    t.same(
      await run(name, { content: 'x', recipient: YOU, seq: 1, password: 'p', with: YOU }),
      [[10007, null]],
      name,
    )
    t.same(sent, [], name)
  }
})

t.test('login: the connection enters, is answered, and only then delivery begins', async t => {
  const { run } = setUp()
  t.same(await run('login', { email: 'me@example.com', password: 'p' }), [
    'enter',
    [202, null],
    'startDelivery',
  ])
})

t.test('a refused login starts nothing', async t => {
  const { run } = setUp({
    authenticator: { byPassword: () => Promise.reject(new GatewayError('ERROR_AUTH')) },
  })
  t.same(await run('login', { email: 'me@example.com', password: 'p' }), [[10000, null]])
})

t.test('delete: is answered, then every connection ends', async t => {
  const { run } = setUp({ userId: ME })
  t.same(await run('delete', { password: 'p' }), [
    [200, null],
    ['endAll', ME, 'ERROR_CONNECTION_CLOSED'],
  ])
})

t.test('a message to a known user is sent at once; to an unknown one it waits for the look-up', async t => {
  const { run, sent } = setUp({ userId: ME })
  void run('message', { recipient: YOU, content: 'x' })
  t.equal(sent.length, 1)
  const later = run('message', { recipient: ME, content: 'x' })
  t.equal(sent.length, 1)
  await later
  t.match(
    sent.map(({ message }) => message),
    [
      { inbox: YOU, sender: ME, conversation: pairConversation(ME, YOU), dedupKey: undefined },
      { inbox: ME, sender: ME, conversation: pairConversation(ME, ME) },
    ],
  )
})

t.test('content is measured in bytes', async t => {
  for (const [content, taken] of [
    ['123456789', true],
    ['1234567890', false],
    ['漢漢漢', true],
    ['漢漢漢x', false],
    ['🦊🦊x', true],
    ['🦊🦊xx', false],
  ] as const) {
    const { run, sent, events } = setUp({ userId: ME })
    await run('message', { recipient: YOU, content })
    t.equal(sent.length, taken ? 1 : 0, content)
    if (!taken) t.same(events, [[10103, { field: 'content', reason: 'longer than 9 bytes' }]])
  }
})

t.test(
  'content that is empty or has NUL is refused here, too, since MQTT does not use the schema',
  async t => {
    for (const content of ['', 'a\0b']) {
      const { run, sent } = setUp({ userId: ME })
      t.match(await run('message', { recipient: YOU, content }), [[10101, { field: 'content' }]])
      t.same(sent, [])
    }
  },
)

t.test('without offline delivery only users who are online get a message', async t => {
  const off = { rules: { offlineDelivery: false }, userId: ME }
  t.same(await setUp(off).run('message', { recipient: YOU, content: 'x' }), [[10008, null]])
  const { run, sent } = setUp({ ...off, online: [YOU] })
  await run('message', { recipient: YOU, content: 'x' })
  t.equal(sent.length, 1)
})

t.test('the key of repeats consists of sender and request id', async t => {
  const keyOf = async (setting: Setting, id?: string) => {
    const { run, sent } = setUp(setting)
    await run('message', { recipient: YOU, content: 'x' }, id)
    return sent[0]?.message.dedupKey
  }
  t.equal(await keyOf({ userId: ME }), undefined)
  t.equal(await keyOf({ userId: ME, rules: { dedup: false } }, 'id'), undefined)
  const mine = await keyOf({ userId: ME }, 'id')
  t.ok(mine)
  t.equal(await keyOf({ userId: ME }, 'id'), mine)
  t.not(await keyOf({ userId: YOU }, 'id'), mine)
  t.not(await keyOf({ userId: ME }, 'other'), mine)
})

t.test(
  'a broadcast is one row for each other online user, with one id, and one answer when all are stored',
  async t => {
    const { run, sent, events } = setUp({ userId: ME, online: [ME, YOU, '300000000'] })
    const broadcast = run('broadcast', { content: 'x' }, 'b')
    while (sent.length < 2) await new Promise(resolve => setImmediate(resolve))
    t.same(
      sent.map(({ message }) => message.inbox),
      [YOU, '300000000'],
    )
    t.equal(new Set(sent.map(({ message }) => message.id)).size, 1)
    t.equal(new Set(sent.map(({ message }) => message.dedupKey)).size, 2)
    t.notMatch(sent[0]?.message.text, 'recipient')
    sent[1]?.waiter.stored({ id: 'm', seq: 1, repeat: false })
    t.same(events, [])
    sent[0]?.waiter.stored({ id: 'm', seq: 5, repeat: false })
    t.same(await broadcast, [[204, null]])
  },
)

t.test('a broadcast fails if one copy failed, once all are decided', async t => {
  const { run, sent, events } = setUp({ userId: ME, online: [YOU, '300000000', '400000000'] })
  const broadcast = run('broadcast', { content: 'x' })
  while (sent.length < 3) await new Promise(resolve => setImmediate(resolve))
  sent[0]?.waiter.failed(new GatewayError('STORE_FULL'))
  sent[1]?.waiter.failed(new GatewayError('STORE_UNAVAILABLE'))
  t.same(events, [])
  sent[2]?.waiter.stored({ id: 'm', seq: 1, repeat: false })
  t.same(await broadcast, [[10105, null]])
})

t.test('a query omits empty fields, and asks for at most query.limit users', async t => {
  const { run } = setUp({ userId: ME })
  const [query, answer] = await run('query', { firstName: 'f', lastName: '', email: '', after: '' })
  t.same(query, ['query', { firstName: 'f' }, 10, undefined])
  t.match(answer, [200, [{ id: ME, password: '', isLogin: false }]])
})

t.test('an unknown exception is answered 500, and logged with its cause', async t => {
  const { run, logs } = setUp({
    userId: ME,
    accounts: { isKnown: () => (undefined as unknown as string).length },
  })
  t.same(await run('message', { recipient: YOU, content: 'x' }), [[500, null]])
  t.match(logs, [{ level: 'error', event: 'request.refused', code: 500, err: { type: 'TypeError' } }])
})

t.test('a store failure is logged as a warning, with its cause', async t => {
  const fault = new GatewayError('STORE_UNAVAILABLE', { reason: 'the disk is gone' })
  const { run, logs } = setUp({ authenticator: { byPassword: () => Promise.reject(fault) } })
  t.same(await run('login', { email: 'e', password: 'p' }), [[10001, null]])
  t.match(logs, [{ level: 'warn', code: 10001, err: { message: 'the disk is gone' } }])
})

t.test('an ack confirms; without explicit acks it is refused', async t => {
  const { run } = setUp({ userId: ME })
  await run('ack', { seq: CONFIRMABLE - 1 })
  t.same(await run('ack', { seq: CONFIRMABLE }), [
    ['confirm', CONFIRMABLE - 1],
    [200, null],
    [10110, { field: 'action', reason: 'needs ack: explicit at login' }],
  ])
})

t.test('a login that is revoked before it ends is undone, and nothing is delivered', async t => {
  const revocations = new Revocations()
  const guard = async (work: () => Promise<unknown>) => {
    const since = new Since(revocations)
    await work()
    revocations.add(ME)
    since.check(ME)
  }
  const { run } = setUp({ authenticator: { guard } })
  t.same(await run('login', { email: 'me@example.com', password: 'p' }), ['enter', [10001, null]])
})

t.test('handle/ decides who may send broadcasts', async t => {
  const refused = (reason: string) => [[10110, { field: 'type', reason }]]
  for (const [broadcast, role, expected] of [
    ['off', 'admin', refused('broadcasts are switched off')],
    ['admins', 'user', refused('broadcasts are for admins')],
    ['admins', 'device', refused('broadcasts are for admins')],
    ['admins', 'admin', [[204, null]]],
    ['users', 'device', [[204, null]]],
  ] as const) {
    const { run } = setUp({ userId: ME, role, rules: { broadcast } })
    t.same(await run('broadcast', { content: 'x' }), expected, `${broadcast}, ${role}`)
  }
})

t.test('without a login a query is answered as configured', async t => {
  const admins = { email: 'everyone', presence: 'everyone', listing: 'admins' } as const
  for (const [rules, data, isAnswered] of [
    [{ anonymousQuery: 'none' }, { email: 'a@example.com' }, false],
    [{ anonymousQuery: 'lookup' }, { email: 'a@example.com' }, true],
    [{ anonymousQuery: 'lookup' }, { email: '', username: 'a' }, false],
    [{ anonymousQuery: 'all' }, {}, true],
    [{ anonymousQuery: 'all', privacy: admins }, {}, false],
    [{ anonymousQuery: 'all', privacy: admins }, { id: '' }, false],
    [{ anonymousQuery: 'all', privacy: admins }, { username: 'a' }, true],
  ] as const) {
    const { run } = setUp({ rules })
    const [first] = await run('query', data)
    t.same(first === undefined ? first : (first as unknown[])[0], isAnswered ? 'query' : 10007)
  }
})
