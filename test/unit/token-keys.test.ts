import { join } from 'node:path'
import { decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { type Claims, JwtKey } from '../../src/auth/own-jwt.js'
import { TokenKeys } from '../../src/auth/token-keys.js'
import { EmbeddedStore } from '../../src/store/embedded/store.js'
import { dataDir } from '../helpers/gateway.js'
import { ofKind } from '../helpers/kind.js'

const MINUTE = 60_000
const OPTIONS = { accessLifetimeMs: 15 * MINUTE, keyLifetimeMs: 60 * MINUTE }
const CLAIMS = { sub: '123456789', sid: 's' }

async function keysOn(t: Test) {
  const store = new EmbeddedStore({ dir: join(dataDir(t), 'store'), durability: 'commit', dedupWindowMs: 0 })
  await store.open()
  t.teardown(() => store.close())
  const open = async (options = OPTIONS) => {
    const keys = new TokenKeys(store.kv, options)
    await keys.open()
    return keys
  }
  return { store, open }
}

const REFUSED = ofKind('ERROR_AUTH', { info: { field: 'token', reason: 'is not valid' } })

t.test('a key verifies what it signed, also after a restart', async t => {
  const { open } = await keysOn(t)
  const { token, expiresAt } = (await open()).sign(CLAIMS)
  t.match((await open()).verify(token), { ...CLAIMS, iss: 'mumi' })
  t.ok(Math.abs(expiresAt - Date.now() - 15 * MINUTE) < 2000)
})

t.test('a token is valid until it expires and not a minute longer', async t => {
  const keys = await (await keysOn(t)).open()
  const { token, expiresAt } = keys.sign(CLAIMS)
  t.match(keys.verify(token, expiresAt - 1000), CLAIMS)
  t.throws(
    () => keys.verify(token, expiresAt + MINUTE),
    ofKind('ERROR_AUTH', { info: { reason: 'has expired' } }),
  )
})

t.test(
  'after a rotation the new key signs, and the old one verifies until its last token has expired',
  async t => {
    const keys = await (await keysOn(t)).open()
    const begun = Date.now()
    const { token: old } = keys.sign(CLAIMS)
    t.equal(await keys.rotateIfDue(begun + 59 * MINUTE), false)
    t.equal(await keys.rotateIfDue(begun + 61 * MINUTE), true)
    const { token } = keys.sign(CLAIMS)
    t.not(decodeProtectedHeader(token).kid, decodeProtectedHeader(old).kid)
    t.match(keys.verify(old), CLAIMS)
    await keys.rotate(begun + 70 * MINUTE)
    t.match(keys.verify(old), CLAIMS, 'it signed nine minutes ago')
    await keys.rotate(begun + 80 * MINUTE)
    t.throws(() => keys.verify(old), REFUSED)
    t.match(keys.verify(token), CLAIMS)
  },
)

t.test('with keyLifetime 0 a key signs for ever', async t => {
  const keys = await (await keysOn(t)).open({ ...OPTIONS, keyLifetimeMs: 0 })
  t.equal(await keys.rotateIfDue(Date.now() + 1e12), false)
})

t.test('only our own signatures are accepted', async t => {
  const { open } = await keysOn(t)
  const keys = await open()
  const { token } = keys.sign(CLAIMS)
  const [header = '', payload = '', signature = ''] = token.split('.')
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const { kid } = decodeProtectedHeader(token)
  const none = encode({ alg: 'none', kid, typ: 'at+jwt' })
  const other = await new SignJWT({ ...CLAIMS, iss: 'mumi', exp: 4e9 })
    .setProtectedHeader({ alg: 'HS256', kid: kid ?? '', typ: 'at+jwt' })
    .sign(Buffer.alloc(32))
  const forged = encode({ ...CLAIMS, sub: '987654321', iss: 'mumi', exp: 4e9 })
  const bad = [
    `${none}.${payload}.`,
    `${none}.${payload}.${signature}`,
    other,
    `${header}.${forged}.${signature}`,
  ]
  for (const one of [...bad, '', 'x', `${header}.${payload}`]) t.throws(() => keys.verify(one), REFUSED, one)
})

t.test('a token is a JWS that others can verify, and has one text', async t => {
  const secret = Buffer.alloc(32, 7).toString('base64url')
  const key = new JwtKey('k', secret, 'at+jwt')
  const claims = { ...CLAIMS, iss: 'mumi', exp: 4e9 }
  const token = key.sign(claims)
  const { payload, protectedHeader } = await jwtVerify(token, Buffer.alloc(32, 7))
  t.same(payload, claims)
  t.same(protectedHeader, { alg: 'HS256', kid: 'k', typ: 'at+jwt' })
  t.same(key.verify(token), claims)
  // 32 bytes are 43 characters, the last of which has two bits that mean nothing.
  const twin = token.slice(0, -1) + String.fromCharCode(token.charCodeAt(token.length - 1) + 1)
  t.equal(key.verify(twin), undefined)
  t.equal(new JwtKey('l', secret, 'at+jwt').verify(token), undefined, 'of another key')
})

t.test('a token without a time is not valid for ever', async t => {
  const { store, open } = await keysOn(t)
  const keys = await open()
  const stored = await store.kv.kvGet('meta', ['token-keys'])
  const [{ kid, secret }] = JSON.parse(Buffer.from(stored ?? []).toString())
  const sign = (claims: object) => new JwtKey(kid, secret, 'at+jwt').sign(claims as Claims)
  t.match(keys.verify(sign({ ...CLAIMS, iss: 'mumi', exp: 4e9 })), CLAIMS)
  t.throws(() => keys.verify(sign({ ...CLAIMS, iss: 'mumi' })))
  for (const claims of [
    { ...CLAIMS, iss: 'x', exp: 4e9 },
    { iss: 'mumi', exp: 4e9 },
  ])
    t.throws(() => keys.verify(sign(claims)), REFUSED)
})
