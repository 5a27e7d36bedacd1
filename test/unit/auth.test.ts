/** Authentication, permissions and revocations. */
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SignJWT } from 'jose/jwt/sign'
import t from 'tap'
import type { Accounts } from '../../src/accounts/accounts.js'
import { Authenticator, isPassword, mayBeAccount } from '../../src/auth/authenticate.js'
import { ExternalTokens } from '../../src/auth/external.js'
import { LoginLog, outcomeOf } from '../../src/auth/login-log.js'
import { LoginRows, type StoredLogin } from '../../src/auth/login-rows.js'
import type { Logins } from '../../src/auth/logins.js'
import { LoginPermissions } from '../../src/auth/permissions.js'
import { Revocations } from '../../src/auth/revocations.js'
import {
  digest,
  formatSecret,
  isCredential,
  isSame,
  parseSecret,
  randomSecret,
  successor,
} from '../../src/auth/secrets.js'
import { Since } from '../../src/auth/since.js'
import type { TokenKeys } from '../../src/auth/token-keys.js'
import type { Logger } from '../../src/core/log.js'
import { Metrics } from '../../src/core/metrics.js'
import type { User } from '../../src/core/model.js'
import type { KvKey, KvWrite } from '../../src/store/store.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'

const ME = '271693512'
const YOU = '289559048'
const ID = 'a'.repeat(16)

t.test('a name can be that of an account, or cannot', async t => {
  for (const name of ['ann@example.com', 'ANN@EXAMPLE.COM', 'a b@c', ME]) t.ok(mayBeAccount(name), name)
  for (const name of ['', '@', 'ann', 'ann@', '@example.com', '12345', `${ME}0`, 'a@b/c'])
    t.notOk(mayBeAccount(name), name)
})

t.test('secrets: parsing reads what formatting writes, and nothing else', async t => {
  const secret = randomSecret()
  for (const kind of ['token', 'device'] as const) {
    const text = formatSecret({ kind, userId: ME, id: ID, secret })
    t.same(parseSecret(text), { kind, userId: ME, id: ID, secret })
    t.equal(isCredential(text), kind === 'device')
    t.equal(isPassword(text), kind === 'token')
    for (const other of [`${text}a`, text.slice(1), text.replace(ME, '012345678'), ` ${text}`])
      t.equal(parseSecret(other), undefined)
  }
  t.notOk(isPassword('eyJh.e30.c2ln'))
  t.ok(isPassword('eyJh.e30'))
})

t.test('secrets: a successor depends on secret and salt; digests are compared completely', async t => {
  const [secret, salt] = [randomSecret(), randomSecret()]
  t.equal(successor(secret, salt), successor(secret, salt))
  t.not(successor(secret, salt), successor(salt, secret))
  t.ok(isSame(digest(secret), digest(secret)))
  t.notOk(isSame(digest(secret), digest(salt)))
  t.notOk(isSame(digest(secret), undefined))
})

t.test(
  'permissions: revocations count while the connection is not live; while it is, only revoke does',
  async t => {
    const revocations = new Revocations()
    const before = new LoginPermissions(revocations, ME, revocations.count)
    revocations.add(YOU)
    t.notOk(before.areRevoked, 'of another account')
    revocations.add(ME)
    t.ok(before.areRevoked)
    t.notOk(before.joined())
    const live = new Since(revocations).permissions(ME)
    t.ok(live.joined())
    revocations.add(ME)
    t.notOk(live.areRevoked, 'it was not its login that was revoked')
    live.left()
    t.notOk(live.areRevoked)
    revocations.add(ME)
    t.ok(live.areRevoked)
  },
)

t.test('permissions: a revocation is permanent, before and after leaving', async t => {
  const permissions = new Since(new Revocations()).permissions(ME)
  permissions.joined()
  permissions.revoke()
  t.ok(permissions.areRevoked)
  permissions.left()
  t.ok(permissions.areRevoked)
  t.notOk(permissions.joined())
})

const USER = { id: ME, emailKey: 'me@example.com', username: '' } as User

interface Setting {
  readonly external?: ExternalTokens
  readonly stored?: object
  readonly user?: Partial<User>
}

function authenticator({ external, stored = {}, user = {} }: Setting = {}) {
  const account = { ...USER, ...user }
  const revocations = new Revocations()
  const login = { id: 's', kind: 'token', device: 'phone', ...stored }
  const one = new Authenticator({
    pendingDeletions: { cancel: async () => false, at: async () => undefined },
    onKept: () => undefined,
    factors: { check: async () => ({ by: 'off', giveBack: async () => undefined }) },
    passkeys: { use: async () => ME },
    accounts: {
      authenticate: async () => account,
      find: async (name: string) => (name === ME || name === USER.emailKey ? account : undefined),
    } as unknown as Accounts,
    logins: {
      revocations,
      verify: async () => ({ userId: ME, login }),
      verifyCredential: async () => ({ userId: ME, login: { ...login, kind: 'device' } }),
    } as unknown as Logins,
    keys: { isOwn: (token: string) => token.startsWith(jwt('ours')) } as unknown as TokenKeys,
    external,
    admins: () => new Set([ME]),
  })
  return { one, revocations }
}

/** A text in the form of a JWT. */
const jwt = (kid: string) =>
  `${Buffer.from(JSON.stringify({ alg: 'HS256', kid })).toString('base64url')}.e30.c2ln`
const CREDENTIAL = formatSecret({ kind: 'device', userId: ME, id: ID, secret: randomSecret() })

t.test('Authenticator: an account of roles.admins is an admin, except with a device credential', async t => {
  const { one } = authenticator({ stored: { device: 'lamp' } })
  t.match(await one.byPassword('me', { password: 'p' }), { login: { kind: 'password', role: 'admin' } })
  t.match(await one.byMqtt(ME, CREDENTIAL, 'lamp'), {
    login: { kind: 'device', role: 'device', device: 'lamp' },
  })
})

t.test(
  'Authenticator: a disabled account is let in by nothing, and a granted role makes an admin',
  async t => {
    const { one } = authenticator({ stored: { device: 'lamp' }, user: { disabledAt: 1 } })
    const refused = ofKind('ACCOUNT_DISABLED')
    await t.rejects(one.byPassword('me', { password: 'p' }), refused)
    await t.rejects(one.byToken(jwt('ours')), refused)
    await t.rejects(one.byMqtt(ME, CREDENTIAL, 'lamp'), refused)
    t.equal(outcomeOf('ACCOUNT_DISABLED'), 'not-allowed')
    const { one: other } = authenticator({ user: { id: YOU, role: 'admin' } })
    t.match(await other.byPassword('you', { password: 'p' }), { login: { role: 'admin' } })
    t.ok(other.isAdmin({ ...USER, id: YOU, role: 'admin' }))
    t.notOk(other.isAdmin({ ...USER, id: YOU }))
    t.ok(other.isAdmin(USER), 'by the config')
  },
)

t.test('Authenticator: a token belongs to one device', async t => {
  const { one } = authenticator()
  t.match(await one.byToken(jwt('ours')), { login: { id: 's', device: 'phone' } })
  t.match(await one.byToken(jwt('ours'), 'phone'), { login: { device: 'phone' } })
  await t.rejects(one.byToken(jwt('ours'), 'tablet'), ofKind('ERROR_AUTH', { info: { field: 'token' } }))
  await t.rejects(one.byMqtt(ME, jwt('ours'), 'tablet'), ofKind('ERROR_AUTH'))
  const { one: any } = authenticator({ stored: { device: undefined } })
  t.match(await any.byMqtt(ME, jwt('ours'), 'tablet'), { login: { device: 'tablet' } })
})

t.test(
  'Authenticator: a token or credential of another user, or of an unknown issuer, is refused',
  async t => {
    const { one } = authenticator({ stored: { device: 'lamp' } })
    await t.rejects(one.byMqtt(YOU, jwt('ours'), 'lamp'), ofKind('ERROR_AUTH'))
    await t.rejects(one.byMqtt(ME, CREDENTIAL, 'other'), ofKind('ERROR_AUTH'))
    for (const token of [jwt('theirs'), 'x', `${jwt('ours')} `, `${jwt('ours')}${'x'.repeat(8192)}`])
      await t.rejects(one.byToken(token), ofKind('ERROR_AUTH'), token.slice(0, 20))
  },
)

t.test('Authenticator: guard refuses a login if its account had a revocation before it ended', async t => {
  const { one, revocations } = authenticator()
  const who = { user: USER }
  const work = (revoked?: string) => async () => {
    if (revoked !== undefined) revocations.add(revoked)
    return who
  }
  t.equal(await one.guard(work()), who)
  t.equal(await one.guard(work(YOU)), who)
  await t.rejects(one.guard(work(ME)), ofKind('ERROR_AUTH_FAILED'))
  t.equal(await one.guard(async () => undefined), undefined, 'an anonymous client')
})

const EXTERNAL = {
  jwksUrl: '',
  issuer: 'https://issuer.example',
  audience: 'chat',
  claim: 'sub',
  user: 'id',
  leeway: 0,
} as const

t.test('ExternalTokens: claim, kind of name and signature are checked against the config', async t => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const publicKeyFile = join(dataDir(t), 'key.pem')
  writeFileSync(publicKeyFile, publicKey.export({ type: 'spki', format: 'pem' }))
  const sign = (claims: Record<string, unknown>, issuer: string = EXTERNAL.issuer, exp = '1m') =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuer(issuer)
      .setAudience(EXTERNAL.audience)
      .setExpirationTime(exp)
      .sign(privateKey)
  const byId = new ExternalTokens({ ...EXTERNAL, publicKeyFile })
  t.equal(await byId.verify(await sign({ sub: ME })), ME)
  const refused = ofKind('ERROR_AUTH', { info: { field: 'token' } })
  await t.rejects(byId.verify(await sign({ sub: 'me@example.com' })), refused, 'an address is no id')
  await t.rejects(byId.verify(await sign({ sub: ME }, 'https://other.example')), refused)
  await t.rejects(byId.verify(await sign({ sub: ME }, EXTERNAL.issuer, '-1m')), refused)
  await t.rejects(byId.verify(await sign({})), refused)
  const byEmail = new ExternalTokens({ ...EXTERNAL, publicKeyFile, claim: 'email', user: 'email' })
  const email = 'me@example.com'
  t.equal(await byEmail.verify(await sign({ email, email_verified: true })), email)
  await t.rejects(byEmail.verify(await sign({ email })), refused, 'not verified')
  t.ok(ExternalTokens.isConfigured({ ...EXTERNAL, publicKeyFile }))
  t.notOk(ExternalTokens.isConfigured({ ...EXTERNAL, publicKeyFile: '' }))
  const { one } = authenticator({ external: byId })
  t.match(await one.byToken(await sign({ sub: ME }), 'phone'), {
    login: { kind: 'external', device: 'phone' },
  })
  await t.rejects(one.byToken(await sign({ sub: YOU })), ofKind('ERROR_AUTH'), 'no such account')
})

t.test(
  'LoginLog: outcomes are few; connections without a login are only counted; a long client id is cut',
  async t => {
    t.same(
      (['ERROR_AUTH', 'ERROR_MULTIPLE_LOGIN', 'FORBIDDEN', 'STORE_UNAVAILABLE'] as const).map(outcomeOf),
      ['wrong-credentials', 'not-allowed', 'not-allowed', 'unavailable'],
    )
    const lines: { event: string; device?: string }[] = []
    const log = { info: (line: { event: string }) => void lines.push(line) } as unknown as Logger
    const one = new LoginLog(log, new Metrics())
    one.ended({ front: 'mqtt' }, 'left', performance.now())
    one.ended({ front: 'mqtt', userId: ME, device: 'x'.repeat(300) }, 'left', performance.now())
    one.accepted({ front: 'json', userId: ME })
    one.refused({ front: 'json' }, 'unavailable', 10104)
    t.same(
      lines.map(({ event }) => event),
      ['connection.ended', 'account.logged-in', 'login.refused'],
    )
    t.equal(lines[0]?.device?.length, 128)
  },
)

function rows() {
  const kept = new Map<string, Uint8Array>()
  const store = {
    kvGet: async (_name: string, key: KvKey) => kept.get(key.join(' ')),
    async *kvRange(_name: string, prefix: KvKey) {
      for (const [key, value] of kept)
        if (key.startsWith(prefix.join(' '))) yield { key: key.split(' '), value }
    },
    kvWrite: async (writes: readonly KvWrite[]) => {
      for (const write of writes) {
        if ('put' in write) kept.set(write.key.join(' '), write.value as Uint8Array)
        else if ('key' in write) kept.delete(write.key.join(' '))
      }
    },
  }
  return { kept, rows: new LoginRows(store as unknown as ConstructorParameters<typeof LoginRows>[0]) }
}

t.test('LoginRows: expired logins are not found, and are removed by a sweep', async t => {
  const { kept, rows: all } = rows()
  const login = (id: string, expiresAt: number): StoredLogin =>
    ({ id, kind: 'token', createdAt: 0, seenAt: 0, expiresAt, hash: 'h' }) as const
  await all.put(ME, login('good', 0))
  await all.put(ME, login('late', Date.now() - 1))
  await all.put(YOU, login('other', Date.now() + 60_000))
  t.match(await all.find(ME, 'good'), { id: 'good' })
  t.equal(await all.find(ME, 'late'), undefined)
  t.same(
    (await all.list(ME)).map(({ id }) => id),
    ['good'],
  )
  await all.sweep(Date.now())
  t.equal(kept.size, 2)
  await all.remove(ME, [])
  await all.remove(ME, ['good'])
  t.same(await all.list(ME), [])
})
