import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Logins, newLoginId } from '../../src/auth/logins.js'
import { isCredential } from '../../src/auth/secrets.js'
import { Since } from '../../src/auth/since.js'
import { TokenKeys } from '../../src/auth/token-keys.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'
import { keysOf } from '../helpers/store-samples.js'

const ME = '123456789'
const DAY = 86_400_000
const GRACE_MS = 5000
const RULES = { refreshLifetimeMs: 30 * DAY, refreshGraceMs: GRACE_MS, perAccount: 3 }
const GOOD = () => undefined
const REFUSED = ofKind('ERROR_AUTH', { info: { field: 'token' } })

async function setUp(t: Test) {
  const store = new EmbeddedStore({ dir: join(dataDir(t), 'store'), durability: 'commit', dedupWindowMs: 0 })
  await store.open()
  t.teardown(() => store.close())
  const keys = new TokenKeys(store.kv, { accessLifetimeMs: 900_000, keyLifetimeMs: 0 })
  await keys.open()
  return { store, keys, sessions: new Logins(store.kv, keys, RULES) }
}

/** From now on it is `ms` later. */
function later(t: Test, ms: number): void {
  const now = Date.now()
  t.intercept(Date, 'now', { value: () => now + ms })
}

t.test('a refresh token gives a new pair, once', async t => {
  const { sessions } = await setUp(t)
  const first = await sessions.open(ME, newLoginId(), 'phone')
  const { tokens } = await sessions.refresh(first.refresh)
  t.not(tokens?.refresh, first.refresh)
  t.match(await sessions.verify(tokens?.token ?? ''), { userId: ME, login: { device: 'phone' } })
  t.ok((await sessions.refresh(tokens?.refresh ?? '')).tokens)
})

t.test('after a lost reply the previous token is valid once more', async t => {
  const { sessions } = await setUp(t)
  const first = await sessions.open(ME, newLoginId(), undefined)
  const lost = await sessions.refresh(first.refresh)
  later(t, GRACE_MS)
  const { tokens } = await sessions.refresh(first.refresh)
  t.ok(tokens)
  t.not(tokens?.refresh, lost.tokens?.refresh)
  t.ok((await sessions.refresh(tokens?.refresh ?? '')).tokens)
})

t.test('a refresh token that is used again later ends the login, since two clients have it', async t => {
  const { sessions } = await setUp(t)
  const first = await sessions.open(ME, newLoginId(), undefined)
  const second = (await sessions.refresh(first.refresh)).tokens
  const third = (await sessions.refresh(second?.refresh ?? '')).tokens
  t.match(await sessions.refresh(first.refresh), { tokens: undefined })
  await t.rejects(sessions.refresh(third?.refresh ?? ''), REFUSED)
  await t.rejects(sessions.verify(third?.token ?? ''), REFUSED)
})

t.test(
  'concurrent refreshes with one token get the same valid pair, and so does one within the grace time',
  async t => {
    const { sessions } = await setUp(t)
    const { refresh } = await sessions.open(ME, newLoginId(), undefined)
    const [one, two] = await Promise.all([sessions.refresh(refresh), sessions.refresh(refresh)])
    t.ok(one.tokens)
    t.same(one, two)
    later(t, GRACE_MS - 1000)
    t.same(await sessions.refresh(refresh), one)
    t.match(await sessions.verify(one.tokens?.token ?? ''), { userId: ME })
    t.ok((await sessions.refresh(two.tokens?.refresh ?? '')).tokens)
    t.match(await sessions.refresh(refresh), { tokens: undefined }, 'spent for good once its pair is')
  },
)

t.test(
  'within the grace time the pair is the same after a restart, and is not stored in plain text',
  async t => {
    const { store, sessions, keys } = await setUp(t)
    const first = await sessions.open(ME, newLoginId(), undefined)
    const { tokens } = await sessions.refresh(first.refresh)
    await keys.open()
    const again = new Logins(store.kv, keys, RULES)
    t.same((await again.refresh(first.refresh)).tokens, tokens)
    for await (const { value } of store.kv.kvRange('sessions', []))
      for (const { token, refresh } of [first, tokens ?? first])
        for (const secret of [token, refresh.slice(-43)]) t.notOk(Buffer.from(value).includes(secret))
  },
)

t.test('without a grace time each use of a token gives a new pair', async t => {
  const { store, keys } = await setUp(t)
  const sessions = new Logins(store.kv, keys, { ...RULES, refreshGraceMs: 0 })
  const { refresh } = await sessions.open(ME, newLoginId(), undefined)
  const one = await sessions.refresh(refresh)
  t.not((await sessions.refresh(refresh)).tokens?.refresh, one.tokens?.refresh)
})

t.test('the grace time does not revive an ended login', async t => {
  const { sessions } = await setUp(t)
  const { refresh } = await sessions.open(ME, newLoginId(), undefined)
  await sessions.refresh(refresh)
  await sessions.revoke(
    ME,
    () => true,
    () => undefined,
  )
  await t.rejects(sessions.refresh(refresh), REFUSED)
})

t.test('a refresh concurrent with a revocation does not revive the login', async t => {
  const { store, sessions } = await setUp(t)
  const { refresh } = await sessions.open(ME, newLoginId(), undefined)
  await Promise.all([
    sessions.refresh(refresh),
    sessions.revoke(
      ME,
      () => true,
      () => undefined,
    ),
  ])
  t.same(await keysOf(store, 'sessions'), [])
})

t.test('a refresh token expires when it was not used for its lifetime, and not before', async t => {
  const { store, sessions } = await setUp(t)
  const { refresh } = await sessions.open(ME, newLoginId(), undefined)
  later(t, 29 * DAY)
  const { tokens } = await sessions.refresh(refresh)
  later(t, 29 * DAY)
  const next = (await sessions.refresh(tokens?.refresh ?? '')).tokens
  later(t, 31 * DAY)
  await t.rejects(sessions.refresh(next?.refresh ?? ''), REFUSED)
  t.same(await sessions.list(ME), [])
  await sessions.sweep()
  t.same(await keysOf(store, 'sessions'), [])
})

t.test('the sweep keeps valid logins', async t => {
  const { store, sessions } = await setUp(t)
  await sessions.open(ME, newLoginId(), undefined)
  await sessions.mint(ME, 'lamp', GOOD)
  await sessions.sweep()
  t.equal((await keysOf(store, 'sessions')).length, 2)
})

t.test('a credential belongs to one client id, and minting it again ends the previous one', async t => {
  const { sessions } = await setUp(t)
  const one = await sessions.mint(ME, 'lamp', GOOD)
  t.ok(isCredential(one.password))
  t.match(await sessions.verifyCredential(one.password), {
    userId: ME,
    login: { device: 'lamp', kind: 'device' },
  })
  const two = await sessions.mint(ME, 'lamp', GOOD)
  t.same(two.replaced, [one.id])
  await t.rejects(sessions.verifyCredential(one.password), REFUSED)
  t.ok(await sessions.verifyCredential(two.password))
  const other = `${two.password.slice(0, -1)}${two.password.endsWith('A') ? 'Q' : 'A'}`
  await t.rejects(sessions.verifyCredential(other), REFUSED)
})

t.test('a credential requested before a revocation is not given after it', async t => {
  const { sessions } = await setUp(t)
  const since = new Since(sessions.revocations)
  const live: string[] = []
  const revoked = sessions.revoke(
    ME,
    () => true,
    () => void live.push('ended'),
  )
  await t.rejects(
    sessions.mint(ME, 'lamp', () => since.check(ME)),
    ofKind('ERROR_AUTH_FAILED'),
  )
  await revoked
  t.same([live, await sessions.list(ME)], [['ended'], []])
})

t.test('a login that failed after its tokens were made is discarded, and other logins go on', async t => {
  const { sessions } = await setUp(t)
  const { count } = sessions.revocations
  const id = newLoginId()
  await sessions.open(ME, id, undefined)
  await sessions.discard(ME, id)
  t.same([await sessions.list(ME), sessions.revocations.hasSince(ME, count)], [[], false])
})

t.test('a refresh token is no credential, and a credential no refresh token', async t => {
  const { sessions } = await setUp(t)
  const { refresh } = await sessions.open(ME, newLoginId(), undefined)
  const { password } = await sessions.mint(ME, 'lamp', GOOD)
  await t.rejects(sessions.refresh(password), REFUSED)
  await t.rejects(sessions.refresh(password.replace('md_', 'mr_')), REFUSED)
  await t.rejects(sessions.verifyCredential(refresh.replace('mr_', 'md_')), REFUSED)
  t.ok(await sessions.verifyCredential(password), 'and trying did not end it')
})

t.test('over the limit the login that was not seen for longest ends', async t => {
  const { sessions } = await setUp(t)
  const ids: string[] = []
  for (let i = 0; i < 4; i++) {
    later(t, 1000)
    ids.push(newLoginId())
    await sessions.open(ME, ids[i] ?? '', undefined)
  }
  t.same((await sessions.list(ME)).map(({ id }) => id).sort(), ids.slice(1).sort())
})

t.test('the store has no secrets', async t => {
  const { store, sessions } = await setUp(t)
  const { refresh } = await sessions.open(ME, newLoginId(), undefined)
  const { password } = await sessions.mint(ME, 'lamp', GOOD)
  for await (const { value } of store.kv.kvRange('sessions', [])) {
    const text = Buffer.from(value).toString()
    for (const secret of [refresh, password]) t.notOk(text.includes(secret.slice(-43)))
  }
})
