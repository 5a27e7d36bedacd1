/** Each handler by itself, behind the door of handle/index.ts: over real services and a real store. */
import t from 'tap'
import { CODES, GatewayError } from '../../src/core/errors.js'
import type { Login } from '../../src/core/model.js'
import { handleDelete, handleRegister } from '../../src/handle/account.js'
import type { Answer, Caller, Handler, LoggedIn } from '../../src/handle/context.js'
import { handleAck, handleHistory } from '../../src/handle/inbox.js'
import { handleLogin } from '../../src/handle/login.js'
import {
  handleLogout,
  handleMint,
  handlePassword,
  handleRefresh,
  handleRevoke,
  handleSessions,
} from '../../src/handle/logins.js'
import {
  broadcastAccess,
  handleBroadcast,
  handleMessage,
  NO_REPEAT,
  repeatKey,
  sendMessage,
} from '../../src/handle/message.js'
import { handleQuery, queryAccess } from '../../src/handle/query.js'
import { refuse } from '../../src/handle/refuse.js'
import type { HandlerRules, Services } from '../../src/handle/services.js'
import { ofKind } from '../helpers/kind.js'
import { PASSWORD, startParts } from '../helpers/mqtt-parts.js'

const { parts, register, logs } = await startParts(t)
const { services } = parts
const ann = await register('ann')
const bob = await register('bob')

const LOGIN: Login = { id: 's', kind: 'password', role: 'user', device: undefined, since: 0 }

/** A connection that is logged in as somebody, or as nobody. */
function callerOf(userId: string | undefined, differing: Partial<Caller> = {}) {
  const events: unknown[] = []
  const caller: Caller = {
    userId,
    login: userId === undefined ? undefined : LOGIN,
    permissions: undefined,
    front: 'json',
    locale: 'en',
    remoteAddress: '192.0.2.1',
    hasLeft: false,
    isGone: false,
    leave: () => void events.push('leave'),
    target: {
      enter: async ({ user }) => void events.push(['enter', user.id]),
      startDelivery: () => void events.push('startDelivery'),
      confirm: seq => seq < 10,
    },
    ...differing,
  }
  return { caller: caller as LoggedIn, events }
}

type Data<H> = H extends Handler<infer D, LoggedIn> ? D : never

/** Runs a handler. @returns its answer's code and data */
async function ask<D>(
  run: Handler<D, LoggedIn>,
  { caller, events }: ReturnType<typeof callerOf>,
  data: D,
  { id, rules }: { id?: string; rules?: Partial<HandlerRules> } = {},
): Promise<{ code: number; data: never }> {
  let answered = (_: { code: number; data: never }) => {}
  let failed = (_: GatewayError) => {}
  const answers = new Promise<{ code: number; data: never }>((resolve, reject) => {
    answered = resolve
    failed = reject
  })
  const answer: Answer = {
    ok: (code, data) => {
      events.push('answer')
      answered({ code: CODES[code].code, data: data as never })
    },
    refuse: failed,
    stored: ({ seq }) => answered({ code: 201, data: { seq } as never }),
    failed,
  }
  const own = { ...services, rules: { ...services.rules, ...rules } }
  await run(own, caller, { data, id }, answer)
  return answers
}

// ── account ───────────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'register: the id is told to those who ask with an id; a client that is gone gets no account',
  async t => {
    const data = (name: string): Data<typeof handleRegister> =>
      ({ email: `${name}@example.com`, password: PASSWORD, firstName: 'F', lastName: 'L' }) as never
    t.same(await ask(handleRegister, callerOf(undefined), data('cid')), { code: 203, data: null })
    t.match(await ask(handleRegister, callerOf(undefined), data('dan'), { id: 'r' }), {
      data: { id: /^\d{9}$/ },
    })
    await t.rejects(ask(handleRegister, callerOf(undefined), data('cid')), ofKind('ERROR_EXIST_USER'))
    const gone = callerOf(undefined, { isGone: true })
    await t.rejects(ask(handleRegister, gone, data('eve')), ofKind('ERROR_CONNECTION_CLOSED'))
    t.equal((await ask(handleRegister, callerOf(undefined), data('eve'))).code, 203, 'it was not made')
  },
)

t.test('delete: only with the password; then nobody is known by that id', async t => {
  const user = await register('fay')
  const caller = callerOf(user.id)
  await t.rejects(ask(handleDelete, caller, { password: 'wrong' }), ofKind('ERROR_AUTH'))
  t.ok(await services.accounts.exists(user.id))
  t.equal((await ask(handleDelete, caller, { password: PASSWORD })).code, 200)
  t.notOk(await services.accounts.exists(user.id))
})

// ── inbox, message ────────────────────────────────────────────────────────────────────────────────────────

t.test('ack: where explicit acks were asked for; MQTT confirms by PUBACK', async t => {
  t.equal((await ask(handleAck, callerOf(ann.id), { seq: 9 })).code, 200)
  for (const [differing, reason] of [
    [{}, /ack: explicit/],
    [{ target: undefined }, /PUBACK/],
  ] as const) {
    const caller = callerOf(ann.id, differing as Partial<Caller>)
    await t.rejects(ask(handleAck, caller, { seq: 10 }), ofKind('FORBIDDEN', { info: { reason } }))
  }
})

t.test(
  'message: content of 1 to the most bytes, to somebody who exists; a repeat is stored once',
  async t => {
    const from = callerOf(ann.id)
    const to = (content: string, recipient = bob.id) => ({ recipient, content })
    const first = await ask(handleMessage, from, to('one'), { id: 'm' })
    t.same(await ask(handleMessage, from, to('one'), { id: 'm' }), first)
    t.not((await ask(handleMessage, from, to('one'))).data, first.data)
    for (const [content, kind] of [
      ['', 'BAD_FIELD'],
      ['a\0', 'BAD_FIELD'],
      ['ü'.repeat(501), 'TOO_LARGE'],
    ] as const)
      await t.rejects(
        ask(handleMessage, from, to(content)),
        ofKind(kind),
        JSON.stringify(content.slice(0, 3)),
      )
    t.equal((await ask(handleMessage, from, to('ü'.repeat(500)))).code, 201)
    await t.rejects(ask(handleMessage, from, to('x', '999999998')), ofKind('ERROR_FIND_USER'))
    const offline = { rules: { offlineDelivery: false } }
    await t.rejects(ask(handleMessage, from, to('x'), offline), ofKind('ERROR_USER_NOT_ONLINE'))
  },
)

t.test('message: rights that are revoked send nothing, whichever front end asks', async t => {
  const message = { sender: ann.id, recipient: bob.id, content: 'x', repeat: NO_REPEAT, expiresAt: undefined }
  const waiter = { stored: () => t.fail(), failed: () => t.fail() }
  t.throws(
    () => sendMessage(services, { ...message, permissions: { areRevoked: true } }, waiter),
    ofKind('ERROR_UNAUTHORIZED'),
  )
  const key = (id: string | undefined, dedup = true) =>
    repeatKey({ rules: { dedup } } as Services, ann.id, id).dedupKey
  t.same([key('i'), key(undefined), key('i', false)], [`${ann.id} i`, undefined, undefined])
})

t.test('broadcast: without anybody online it is done; who may send one is configured', async t => {
  t.equal((await ask(handleBroadcast, callerOf(ann.id), { content: 'x' })).code, 204)
  await t.rejects(ask(handleBroadcast, callerOf(ann.id), { content: '' }), ofKind('BAD_FIELD'))
  const access = (['users', 'admins', 'off'] as const).map(broadcast =>
    broadcastAccess({ broadcast } as HandlerRules),
  )
  t.same(access, ['user', 'admin', 'nobody'])
})

t.test('history: both sides see one conversation, newest first, in pages', async t => {
  const [gil, hal] = [await register('gil'), await register('hal')]
  for (const content of ['1', '2', '3'])
    await ask(handleMessage, callerOf(gil.id), { recipient: hal.id, content })
  const page = async (userId: string, other: string, data: object) =>
    (await ask(handleHistory, callerOf(userId), { with: other, ...data } as never)).data as {
      messages: { id: string; content: string }[]
      more: boolean
    }
  const newest = await page(gil.id, hal.id, { limit: 2 })
  t.match(newest, { messages: [{ content: '3' }, { content: '2' }], more: true })
  const before = newest.messages.at(-1)?.id
  t.match(await page(hal.id, gil.id, { limit: 2, before }), { messages: [{ content: '1' }], more: false })
  t.match(await page(gil.id, hal.id, { limit: 3 }), { messages: { length: 3 }, more: false }, 'exactly all')
  t.same((await page(ann.id, hal.id, {})).messages, [], 'nobody else does')
})

// ── login, logins ─────────────────────────────────────────────────────────────────────────────────────────

t.test('login: once, and delivery begins behind the answer; what fails is undone', async t => {
  const good = { email: ann.email, password: PASSWORD } as Data<typeof handleLogin>
  const caller = callerOf(undefined)
  t.match(await ask(handleLogin, caller, good), { code: 202, data: null })
  t.same(caller.events, [['enter', ann.id], 'answer', 'startDelivery'])
  await t.rejects(ask(handleLogin, callerOf(ann.id), good), ofKind('ERROR_MULTIPLE_LOGIN'))
  await t.rejects(
    ask(handleLogin, callerOf(undefined, { target: undefined } as never), good),
    ofKind('ERROR_MULTIPLE_LOGIN'),
    'MQTT logs in by CONNECT',
  )
  for (const bad of [{ password: 'wrong' }, { password: '' }, { email: '' }]) {
    const refused = callerOf(undefined)
    await t.rejects(ask(handleLogin, refused, { ...good, ...bad }), ofKind('ERROR_AUTH'))
    t.same(refused.events, [])
  }
  const enter = () => Promise.reject(new GatewayError('TOO_MANY_CONNECTIONS'))
  const full = callerOf(undefined, { target: { enter, startDelivery: () => t.fail(), confirm: () => false } })
  await t.rejects(ask(handleLogin, full, good), ofKind('TOO_MANY_CONNECTIONS'))
  t.same(full.events, [], 'nothing was begun that would be undone')
})

/** A login with tokens. */
async function tokensOf(email: string) {
  const data = { email, password: PASSWORD, token: true } as Data<typeof handleLogin>
  return (await ask(handleLogin, callerOf(undefined), data)).data as { token: string; refresh: string }
}

const sessionsOf = async (userId: string, differing?: Partial<Caller>) =>
  (await ask(handleSessions, callerOf(userId, differing), {})).data as {
    sessions: { id: string; kind: string; current: boolean }[]
  }

t.test('tokens: refreshed once; a refresh token that comes again ends its session', async t => {
  const ida = await register('ida')
  const { refresh } = await tokensOf(ida.email)
  t.equal((await sessionsOf(ida.id)).sessions.length, 1)
  const next = await ask(handleRefresh, callerOf(undefined), { token: refresh })
  t.match(next, { code: 200, data: { token: String, refresh: String, expires: /Z$/ } })
  // A client that has lost the answer may ask again, until it has used what it was given.
  await ask(handleRefresh, callerOf(undefined), { token: (next.data as { refresh: string }).refresh })
  await t.rejects(ask(handleRefresh, callerOf(undefined), { token: refresh }), ofKind('ERROR_AUTH'))
  t.same((await sessionsOf(ida.id)).sessions, [])
  await t.rejects(ask(handleRefresh, callerOf(undefined), { token: 'x' }), ofKind('ERROR_AUTH'))
})

t.test('revoke: one session or all others, of the own account; of another’s only by an admin', async t => {
  const joe = await register('joe')
  for (let i = 0; i < 3; i++) await tokensOf(joe.email)
  const [first] = (await sessionsOf(joe.id)).sessions
  const own = callerOf(joe.id)
  for (const both of [{}, { session: 'x', others: true }])
    await t.rejects(ask(handleRevoke, own, both as never), ofKind('BAD_FIELD'))
  await t.rejects(ask(handleRevoke, own, { session: 'none' }), ofKind('BAD_FIELD'))
  t.same((await ask(handleRevoke, own, { session: first?.id ?? '' })).data, { revoked: 1 })
  await t.rejects(ask(handleRevoke, callerOf(ann.id), { user: joe.id, others: true }), ofKind('FORBIDDEN'))
  const admin = callerOf(ann.id, { login: { ...LOGIN, role: 'admin' } })
  t.same((await ask(handleRevoke, admin, { user: joe.id, others: true })).data, { revoked: 2 })
})

t.test('mint, password, logout: a device’s credential outlives all but its owner', async t => {
  const kim = await register('kim')
  const own = callerOf(kim.id)
  const minted = await ask(handleMint, own, { device: 'lamp' })
  t.match(minted.data, { session: String, device: 'lamp', password: String })
  await tokensOf(kim.email)
  const change = { password: PASSWORD, newPassword: 'another horse battery', keepDevices: true }
  await t.rejects(ask(handlePassword, own, { ...change, password: 'wrong' }), ofKind('ERROR_AUTH'))
  t.equal((await ask(handlePassword, own, change)).code, 200)
  t.match((await sessionsOf(kim.id)).sessions, [{ kind: 'device' }])
  const device = callerOf(kim.id, {
    login: { ...LOGIN, id: (minted.data as { session: string }).session, kind: 'device' },
  })
  await ask(handleLogout, device, {} as never)
  t.same(device.events, ['answer', 'leave'], 'the answer comes before the end')
  t.equal((await sessionsOf(kim.id)).sessions.length, 1)
  await ask(handlePassword, own, { password: change.newPassword, newPassword: PASSWORD })
  t.same((await sessionsOf(kim.id)).sessions, [])
})

// ── query, refuse ─────────────────────────────────────────────────────────────────────────────────────────

t.test('query: who may ask without a login, and what one learns of others', async t => {
  const rules = (differing: Partial<HandlerRules>) => ({ ...services.rules, ...differing })
  for (const [anonymousQuery, data, access] of [
    ['none', { email: 'x' }, 'user'],
    ['lookup', { email: 'x' }, 'anyone'],
    ['lookup', { email: '', id: 'x' }, 'user'],
    ['all', {}, 'anyone'],
  ] as const)
    t.equal(queryAccess(rules({ anonymousQuery }), data), access)
  const email = { privacy: { email: 'self', presence: 'self', listing: 'admins' } } as const
  const of = async (who: ReturnType<typeof callerOf>, data: object) =>
    (await ask(handleQuery, who, data, { rules: email })).data as unknown[]
  t.match(await of(callerOf(bob.id), { id: ann.id }), [{ id: ann.id, email: '' }])
  t.match(await of(callerOf(bob.id), { id: bob.id }), [{ email: bob.email }])
  t.match(await of(callerOf(bob.id), {}), [{ id: bob.id }], 'a list of oneself alone')
  const admin = callerOf(bob.id, { login: { ...LOGIN, role: 'admin' } })
  t.match(await of(admin, { id: ann.id }), [{ email: ann.email }])
  t.ok((await of(admin, {})).length > 1)
})

t.test('refuse: logged at the level of its code, with no value of the request, then answered', async t => {
  const refused: string[] = []
  const answer = { refuse: ({ kind }: GatewayError) => void refused.push(kind) } as Answer
  const { caller } = callerOf(ann.id)
  const one = (request: 'message' | 'login', thrown: unknown) => {
    refuse(services.log, { request, caller, answer }, thrown)
    return logs.at(-1)
  }
  t.match(one('message', new GatewayError('BAD_FIELD', { field: 'content', reason: 'r' })), {
    level: CODES.BAD_FIELD.level,
    event: 'request.refused',
    request: 'message',
    userId: ann.id,
    field: 'content',
  })
  t.match(one('login', new GatewayError('ERROR_AUTH')), {
    event: 'login.refused',
    front: 'json',
    outcome: String,
  })
  t.match(one('message', new TypeError('x')), { level: 'error', err: { type: 'TypeError' } })
  t.same(refused.slice(0, 2), ['BAD_FIELD', 'ERROR_AUTH'])
  t.equal(refused.length, 3)
})
