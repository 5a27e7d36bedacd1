import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { exportJWK, exportSPKI, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { ConfigError, loadConfig } from '../../src/config/config.js'
import { dataDir, jsonClient, register, startGateway } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'

const ISSUER = { 'jwt.issuer': 'https://sso.example', 'jwt.audience': 'chat' }
/** Without a request `id` a refusal that old clients know carries no data. */
const REFUSED = { code: 10000, data: null }
const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
const stranger = await generateKeyPair('ES256')

const CLAIMS = { iss: 'https://sso.example', aud: 'chat', exp: Math.floor(Date.now() / 1000) + 600 }

const sign = (claims: JWTPayload, key = privateKey) =>
  new SignJWT({ ...CLAIMS, ...claims }).setProtectedHeader({ alg: 'ES256', kid: 'k1' }).sign(key)

async function keyFile(t: Test): Promise<string> {
  const file = join(dataDir(t), 'issuer.pem')
  writeFileSync(file, await exportSPKI(publicKey))
  return file
}

t.test('a token of the issuer logs in, by a key in a file: JSON and MQTT', async t => {
  const gateway = await startGateway(t, {
    ...ISSUER,
    'jwt.publicKeyFile': await keyFile(t),
    'sessions.multiple': 'allow',
  })
  const account = await register(t, gateway)
  const token = await sign({ sub: account.id })
  const client = await jsonClient(t, gateway)
  t.match(await client.action('login', { token }), { code: 202 })
  const login = { username: account.email, password: Buffer.from(token) }
  t.equal((await rawConnect(t, gateway, login)).connack.returnCode, 0)
})

t.test('tokens for another audience or for an unknown user are refused', async t => {
  const gateway = await startGateway(t, { ...ISSUER, 'jwt.publicKeyFile': await keyFile(t) })
  const { id: sub, email } = await register(t, gateway)
  const secret = Buffer.from(await exportSPKI(publicKey))
  const confused = new SignJWT({ ...CLAIMS, sub })
    .setProtectedHeader({ alg: 'HS256', kid: 'k1' })
    .sign(secret)
  const bad: [string, Promise<string>][] = [
    ['another key', sign({ sub }, stranger.privateKey)],
    ['another issuer', sign({ sub, iss: 'https://evil.example' })],
    ['another audience', sign({ sub, aud: 'mail' })],
    ['expired', sign({ sub, exp: 1000 })],
    ['no claim', sign({})],
    ['nobody', sign({ sub: '999999999' })],
    ['an email for an id', sign({ sub: email })],
    ['the public key as a secret', confused],
  ]
  const client = await jsonClient(t, gateway)
  for (const [name, token] of bad)
    t.match(await client.action('login', { token: await token }), REFUSED, name)
})

t.test('the claim may be an email only if `email_verified` is exactly true', async t => {
  const settings = { 'jwt.publicKeyFile': await keyFile(t), 'jwt.claim': 'email', 'jwt.user': 'email' }
  const gateway = await startGateway(t, { ...ISSUER, ...settings })
  const { email, id } = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  for (const email_verified of [undefined, null, false, 'false', 0, '', 'true', 1, [], [true], {}]) {
    const token = await sign({ email, email_verified })
    t.match(await client.action('login', { token }), REFUSED, String(email_verified))
    const mqtt = { username: email, password: Buffer.from(token) }
    t.not((await rawConnect(t, gateway, mqtt)).connack.returnCode, 0)
  }
  const named = await sign({ email: id, email_verified: true })
  t.match(await client.action('login', { token: named }), REFUSED, 'an id for an address')
  t.match(
    await client.action('login', {
      token: await sign({ email: email.toUpperCase(), email_verified: true }),
    }),
    { code: 202 },
  )
})

t.test('nbf and exp have a leeway, and no more', async t => {
  const file = { ...ISSUER, 'jwt.publicKeyFile': await keyFile(t) }
  const now = Math.floor(Date.now() / 1000)
  const cases = [
    { leeway: '1m', claims: { exp: now - 50 }, isGood: true },
    { leeway: '1m', claims: { exp: now - 61 }, isGood: false },
    { leeway: '1m', claims: { nbf: now + 50 }, isGood: true },
    { leeway: '1m', claims: { nbf: now + 90 }, isGood: false },
    { leeway: '0', claims: { exp: now - 1 }, isGood: false },
    { leeway: '0', claims: { nbf: now + 30 }, isGood: false },
  ]
  for (const leeway of ['1m', '0']) {
    const settings = leeway === '0' ? { 'jwt.leeway': leeway } : {}
    const gateway = await startGateway(t, { ...file, ...settings })
    const { id: sub } = await register(t, gateway)
    for (const { claims, isGood } of cases.filter(one => one.leeway === leeway)) {
      const client = await jsonClient(t, gateway)
      const reply = await client.action('login', { token: await sign({ sub, ...claims }) })
      t.match(reply, isGood ? { code: 202 } : REFUSED, JSON.stringify({ leeway, claims }))
      client.ws.terminate()
      await client.closed
    }
  }
})

t.test('keys come from a JWKS URL; while it does not answer, the login may be tried again', async t => {
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }
  let isDown = true
  const issuer = createServer((_request, response) => {
    response.writeHead(isDown ? 503 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ keys: [jwk] }))
  })
  issuer.listen(0, '127.0.0.1')
  await once(issuer, 'listening')
  t.teardown(() => issuer.close())
  const { port } = issuer.address() as AddressInfo
  const gateway = await startGateway(t, { ...ISSUER, 'jwt.jwksUrl': `http://127.0.0.1:${port}/jwks` })
  const account = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  const token = await sign({ sub: account.id })
  t.match(await client.action('login', { token }), { code: 10001 })
  isDown = false
  t.match(await client.action('login', { token }), { code: 202 })
})

t.test('without a completely configured issuer its tokens are refused', async t => {
  const gateway = await startGateway(t)
  const account = await register(t, gateway)
  const client = await jsonClient(t, gateway)
  t.match(await client.action('login', { token: await sign({ sub: account.id }) }), REFUSED)
  t.throws(() => loadConfig({ argv: ['--jwt.jwksUrl=https://x.example'], env: {} }), ConfigError)
  t.throws(
    () => loadConfig({ argv: ['--jwt.jwksUrl=no url', '--jwt.issuer=i', '--jwt.audience=a'], env: {} }),
    ConfigError,
  )
})
