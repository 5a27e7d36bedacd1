/** Requests of the operator: their fields, the table, and what each act tells the audit. */
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import { askAdmin, LOCAL, type Question } from '../../src/admin/ask.js'
import { AdminServer } from '../../src/admin/server.js'
import { socketFault, socketPath } from '../../src/app/admin-socket.js'
import { openIdle } from '../../src/app/idle.js'
import { IDLE_OPERATION, RunningOperation } from '../../src/app/operation.js'
import { ConfigError, loadConfig } from '../../src/config/config.js'
import { CODES, GatewayError } from '../../src/core/errors.js'
import { createLogger } from '../../src/core/log.js'
import { writableFault } from '../../src/core/private-files.js'
import { act, findAccount } from '../../src/handle/admin/act.js'
import { IMPORT_ACTS } from '../../src/handle/admin/import.js'
import { INBOX_ACTS } from '../../src/handle/admin/inbox.js'
import { ADMIN_ACTS } from '../../src/handle/admin/index.js'
import { INVITE_ACTS } from '../../src/handle/admin/invites.js'
import { OPERATION_ACTS } from '../../src/handle/admin/operation.js'
import { SESSION_ACTS } from '../../src/handle/admin/sessions.js'
import { TOKEN_ACTS } from '../../src/handle/admin/tokens.js'
import { USER_ACTS } from '../../src/handle/admin/users.js'
import type { Caller } from '../../src/handle/context.js'
import { handle } from '../../src/handle/index.js'
import type { Services } from '../../src/handle/services.js'
import { TABLE } from '../../src/handle/table.js'
import { LiveConnections } from '../../src/live/live.js'
import { ADMIN_REQUESTS, type AdminName, parseAdminRequest } from '../../src/protocol/admin.js'
import { checkFields, compileRules, isRecord, text } from '../../src/protocol/fields.js'
import { REQUESTS } from '../../src/protocol/requests.js'
import { askSocket } from '../helpers/admin.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'

t.test('fields: a fault names the field; unknown ones are refused or ignored', async t => {
  const rules = compileRules({ one: Type.Object({ a: text(3, 1), b: Type.Optional(Type.Boolean()) }) })
  const check = (data: Record<string, unknown>, unknown: 'refuse' | 'ignore' = 'refuse') => {
    const one = rules.get('one')
    if (one !== undefined) checkFields(one, data, unknown)
  }
  const field = (name: string) => ofKind('BAD_FIELD', { info: { field: name } })
  t.doesNotThrow(() => check({ a: 'x', b: true }))
  t.throws(() => check({}), field('a'))
  t.throws(() => check({ a: '' }), field('a'))
  t.throws(() => check({ a: 1 }), field('a'))
  t.throws(() => check({ a: '\u0000' }), field('a'))
  t.throws(() => check({ a: '\ud800' }), field('a'))
  t.throws(() => check({ a: 'long' }), ofKind('TOO_LARGE'))
  t.throws(() => check({ a: 'x', b: 'yes' }), field('b'))
  t.throws(() => check({ a: 'x', c: 1 }), field('c'))
  t.doesNotThrow(() => check({ a: 'x', c: 1 }, 'ignore'))
  t.ok(isRecord({}))
  for (const other of [null, [], 'x']) t.notOk(isRecord(other))
})

t.test('requests of operators have names that no request of a client has, and each has a row', async t => {
  const names = Object.keys(ADMIN_REQUESTS)
  for (const name of names) t.notOk(name in REQUESTS, name)
  t.same(Object.keys(ADMIN_ACTS).sort(), [...names].sort())
  t.same(Object.keys(TABLE).sort(), [...names, ...Object.keys(REQUESTS)].sort())
  const all = { ...USER_ACTS, ...SESSION_ACTS, ...INBOX_ACTS, ...OPERATION_ACTS, ...IMPORT_ACTS }
  t.same({ ...all, ...INVITE_ACTS, ...TOKEN_ACTS }, ADMIN_ACTS)
  for (const name of names as AdminName[]) t.equal(TABLE[name].access, 'operator')
})

t.test('parsing: the name, then JSON, then the fields', async t => {
  t.same(parseAdminRequest('stats', ''), { name: 'stats', id: undefined, data: {} })
  t.throws(() => parseAdminRequest('toString', ''), ofKind('UNKNOWN_REQUEST'))
  t.throws(() => parseAdminRequest('stats', 'x'), ofKind('BAD_JSON'))
  t.throws(() => parseAdminRequest('stats', 'null'), ofKind('BAD_FIELD'))
  t.throws(() => parseAdminRequest('user.list', '{"limit":0}'), ofKind('BAD_FIELD'))
})

/** What the audit and the answer of an act are told. */
function listening() {
  const heard: unknown[] = []
  const audit = { record: (entry: unknown) => void heard.push(entry) }
  const log = createLogger({ level: 'silent', pretty: 'never' })
  const services = { audit, log, rules: {}, operation: IDLE_OPERATION } as unknown as Services
  const answer = {
    ok: (code: string, data: unknown) => void heard.push([code, data]),
    refuse: ({ kind }: GatewayError) => void heard.push(kind),
    stored: () => undefined,
    failed: () => undefined,
  }
  return { heard, services, answer }
}

const caller = (front: Caller['front']) =>
  ({
    ...{ front, userId: '271693512', login: { role: 'admin' }, hasLeft: false },
    ...(front === 'admin' && { operator: LOCAL.operator }),
  }) as unknown as Caller

t.test('the door lets nobody else make them, an admin neither', async t => {
  for (const front of ['json', 'mqtt'] as const) {
    const { heard, services, answer } = listening()
    await handle(services, caller(front), { name: 'stats', id: undefined, data: {} }, answer)
    t.same(heard, ['FORBIDDEN'], front)
  }
})

t.test('an act is audited before its answer, also one that is refused', async t => {
  const { heard, services, answer } = listening()
  const good = act('stats', 'stats.read', async () => ({ data: 1, about: { count: 2 } }))
  await good.run(services, caller('admin'), { data: {}, id: undefined }, answer)
  t.same(heard.splice(0), [{ event: 'stats.read', count: 2, front: 'admin' }, ['SUCCESS', 1]])
  const bad = act('stats', 'stats.read', async () => {
    throw new GatewayError('FORBIDDEN')
  })
  await t.rejects(bad.run(services, caller('admin'), { data: {}, id: undefined }, answer) as Promise<void>)
  t.same(heard, [{ event: 'admin.refused', request: 'stats', front: 'admin', code: 10110 }])
})

t.test('an account is found by id, email or user name', async t => {
  const asked: unknown[] = []
  const accounts = {
    find: async (name: string) => void asked.push(name),
    query: async (query: unknown, limit: number) => {
      asked.push(query, limit)
      return []
    },
  }
  const find = (name: string) => findAccount({ accounts } as unknown as Services, name)
  for (const name of ['271693512', 'a@b', 'ann']) await t.rejects(find(name), ofKind('ERROR_FIND_USER'), name)
  t.same(asked, ['271693512', 'a@b', { username: 'ann' }, 1])
})

t.test('a reply has the status of its kind', async t => {
  t.equal(CODES.SUCCESS.http, 200)
  t.equal(CODES.ERROR_FIND_USER.http, 404)
  t.equal(CODES.STORE_FULL.http, 503, 'may be tried again')
  t.equal(CODES.BAD_FIELD.http, 400)
  const { services } = listening()
  const counted: unknown[] = []
  const metrics = { answered: (...about: unknown[]) => void counted.push(about) }
  const question = (name: string) => ({ name, body: '', asker: LOCAL })
  t.match(await askAdmin(services, metrics, question('stats')), { code: 10110, name: 'FORBIDDEN' })
  t.match(await askAdmin(services, metrics, question('secret')), { code: 10102 })
  t.same(counted, [
    ['admin', 'stats', 10110],
    ['admin', 'invalid', 10102],
  ])
})

t.test('the socket: private, answers a fault by closing, and is gone after the close', async t => {
  const dir = dataDir(t)
  chmodSync(dir, 0o755)
  const path = join(dir, 'admin.sock')
  const faults: string[] = []
  const ask = async ({ name }: Question) => {
    if (name === 'bug') throw new Error('planted')
    return { code: 200, name: 'SUCCESS', msg: '', data: name } as const
  }
  const server = new AdminServer({ path, ask, onFault: where => void faults.push(where) })
  await server.listen()
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.match(await askSocket(dir, '/v1/a'), { status: 200, data: 'a' })
  await t.rejects(askSocket(dir, '/v1/bug'))
  t.same(faults, ['admin.request'])
  const second = new AdminServer({ path, ask, onFault: () => undefined })
  await t.rejects(second.listen(), { code: 'EADDRINUSE' })
  await second.close()
  t.match(await askSocket(dir, '/v1/a'), { status: 200 }, 'the first is still there')
  await server.close()
  await server.close()
  t.notOk(existsSync(path))
})

t.test('a path that is too long for a socket is taken from the working directory', async t => {
  t.equal(socketPath('/data'), '/data/admin.sock')
  const long = join(process.cwd(), 'x'.repeat(90))
  t.equal(socketPath(long), join('x'.repeat(90), 'admin.sock'))
})

t.test('the running gateway: numbers by name, and the level of its log', async t => {
  const log = createLogger({ level: 'warn', pretty: 'never' }, { write: () => undefined })
  const config = loadConfig({ argv: [], env: {} })
  const live = new LiveConnections('allow')
  const operation = new RunningOperation({
    config,
    log,
    live,
    greetingKey: () => 'AB',
    totals: async () => ({ mumi_x: 3 }),
    reload: async () => ({ changed: [], atRestart: [] }),
    backup: async () => ({ bytes: 1 }),
    exportPage: async id => ({ entries: [{ id }], next: undefined }),
    drain: (seconds = 0) => ({ pid: 1, connections: 2, seconds }),
  })
  t.match(await operation.stats(), {
    ...{ mumi_x: 3, users_online: 0, store: 'embedded', log_level: 'warn', greeting_key: 'AB' },
  })
  t.same(operation.drain(3), { pid: 1, connections: 2, seconds: 3 })
  t.match(await operation.exportPage('1'), { entries: [{ id: '1' }] })
  t.equal(operation.logLevel(), 'warn')
  t.equal(operation.logLevel('debug'), 'debug')
  t.equal(log.level, 'debug')
})

t.test(
  'a request on an idle store: made only if that is said, and what needs a gateway is refused',
  async t => {
    const dir = dataDir(t)
    const config = loadConfig({
      argv: ['--data.dir', dir, '--passwords.cost', '4', '--store.type', 'embedded'],
      env: {},
    })
    const idle = async (name: string, data: object, mayMake = false) => {
      const store = await openIdle(config, mayMake)
      return store.ask(name, JSON.stringify(data)).finally(() => store.close())
    }
    await t.rejects(idle('user.list', {}), ConfigError)
    t.match(await idle('user.create', { email: 'a@example.com' }, true), { code: 200 })
    t.match(await idle('user.list', {}), { code: 200, data: { users: [{ email: 'a@example.com' }] } })
    t.match(await idle('stats', {}), { code: 10110 })
    t.match(await idle('log.level', {}), { code: 10110 })
  },
)

t.test('a socket is trusted if only its owner can have put it there', async t => {
  const dir = dataDir(t)
  const path = join(dir, 'admin.sock')
  t.equal(socketFault(path), undefined, 'none there')
  writeFileSync(path, '')
  t.match(socketFault(path), 'is not a socket')
  rmSync(path)
  const server = createServer().listen(path)
  t.teardown(() => server.close())
  await once(server, 'listening')
  t.equal(socketFault(path), undefined)
  const link = join(dir, 'link')
  symlinkSync(path, link)
  t.match(socketFault(link), 'is not a socket')
  for (const mode of [0o777, 0o1777, 0o775, 0o702]) {
    chmodSync(dir, mode)
    t.match(socketFault(path), /: group or others may write to this folder \(mode \d+\).*; chmod go-w it$/)
    t.match(writableFault(dir), dir)
  }
  chmodSync(dir, 0o755)
  t.equal(socketFault(path), undefined, 'others may look')
  t.equal(writableFault(dir), undefined)
  t.equal(writableFault(join(dir, 'none')), undefined)
})

t.test(
  'a socket of another user',
  { skip: process.getuid?.() !== 0 && 'only root gives files away' },
  async t => {
    const dir = dataDir(t)
    const path = join(dir, 'admin.sock')
    const server = createServer().listen(path)
    t.teardown(() => server.close())
    await once(server, 'listening')
    const [gateway, other] = [1001, 1002]
    t.equal(socketFault(path, gateway), undefined, 'of root')
    chownSync(path, gateway, gateway)
    t.match(socketFault(path), 'is of user 1001, who does not own the folder')
    chownSync(dir, gateway, gateway)
    t.equal(socketFault(path, 0), undefined)
    t.equal(socketFault(path, gateway), undefined)
    t.match(socketFault(path, other), 'is of user 1001: only that user and root may use it')
  },
)
