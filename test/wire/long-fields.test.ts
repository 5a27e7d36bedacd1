/** Fields of a login at and over their limits, on both front ends: longer ones are refused before any other work. */
import { syncBuiltinESMExports } from 'node:module'
import url from 'node:url'
import t, { type Test } from 'tap'
import { jsonClient, loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { minted } from '../helpers/tokens.js'

/** Combining marks in an order that NFC has to sort. */
const marks = (length: number): string => 'a\u0315\u0300'.repeat(length).slice(0, length)

/** Functions that take more than linear time, and the longest text that each got. */
function watched(t: Test): { longest: number } {
  const seen = { longest: 0 }
  const { normalize } = String.prototype
  const { domainToASCII } = url
  String.prototype.normalize = function (this: string, ...form: [string?]) {
    seen.longest = Math.max(seen.longest, this.length)
    return Reflect.apply(normalize, this, form)
  } as typeof normalize
  url.domainToASCII = domain => {
    seen.longest = Math.max(seen.longest, domain.length)
    return domainToASCII(domain)
  }
  syncBuiltinESMExports()
  t.teardown(() => {
    String.prototype.normalize = normalize
    url.domainToASCII = domainToASCII
    syncBuiltinESMExports()
  })
  return seen
}

t.test('CONNECT: user name and password over their lengths are answered 4 and never looked at', async t => {
  const gateway = await startGateway(t)
  const account = await register(t, gateway)
  const seen = watched(t)
  const connack = async (username: string, password: string) =>
    (await rawConnect(t, gateway, { username, password: Buffer.from(password) })).connack.returnCode
  for (const length of [321, 1025, 4000]) t.equal(await connack(marks(length), 'x'), 4, `name of ${length}`)
  for (const length of [1025, 4000])
    t.equal(await connack(account.email, marks(length)), 4, `password of ${length}`)
  t.equal(await connack(account.email, `eyJ${'a'.repeat(8200)}.b.c`), 4, 'a token')
  t.equal(await connack(account.email, `md_${account.id}_${'a'.repeat(8200)}`), 4, 'a credential')
  // More than all fields of a CONNECT may have together: closed before it is read.
  for (const [name, password] of [
    [marks(30_000), 'x'],
    [account.email, marks(30_000)],
  ] as const)
    await t.rejects(connack(name, password), { message: 'connection closed' })
  t.equal(seen.longest, 0, 'NFC and IDNA saw nothing of them')
  t.equal(await connack(marks(320), 'x'), 4)
  t.equal(await connack(account.email, marks(1024)), 4)
  t.equal(seen.longest, 1024)
  const ws = { url: `ws://127.0.0.1:${gateway.httpPort}/mqtt`, username: marks(600), password: 'x' }
  await t.rejects(mqttClient(t, gateway, ws), { code: 4 }, 'over WebSocket, too')
  t.equal(seen.longest, 1024)
})

t.test('JSON: every field of a login, a registration and a query is measured first', async t => {
  const gateway = await startGateway(t)
  const inside = await loggedIn(t, gateway)
  const client = await jsonClient(t, gateway)
  const seen = watched(t)
  const names = { firstName: 'a', lastName: 'b' }
  const long = (length: number) => ({ code: 10103, data: { reason: `longer than ${length} characters` } })
  for (const [action, data, length] of [
    ['login', { email: marks(321), password: 'x' }, 320],
    ['login', { email: 'a@b.example', password: marks(1025) }, 1024],
    ['login', { email: 'a@b.example', password: 'x', device: marks(65) }, 64],
    ['register', { ...names, email: `${marks(400)}@b.example`, password: 'x' }, 320],
    ['register', { ...names, email: 'a@b.example', password: marks(4000) }, 1024],
    ['register', { ...names, firstName: marks(129), email: 'a@b.example', password: 'x' }, 128],
    ['refresh', { token: marks(8193) }, 8192],
  ] as const)
    t.match(await client.ask({ type: 'action', action, id: '1', data }), long(length), action)
  for (const [action, data, length] of [
    ['query', { email: marks(400) }, 320],
    ['password', { password: marks(1025), newPassword: 'x' }, 1024],
    ['password', { password: 'x', newPassword: marks(1025) }, 1024],
    ['delete', { password: marks(1025) }, 1024],
    ['mint', { device: marks(257) }, 256],
  ] as const)
    t.match(await inside.ask({ type: 'action', action, id: '1', data }), long(length), action)
  t.equal(seen.longest, 0)
})

t.test('fields at their limits are accepted', async t => {
  const gateway = await startGateway(t)
  const email = `${'a'.repeat(64)}@${'b'.repeat(60)}.${'c'.repeat(60)}.example`
  const account = { ...(await register(t, gateway, email)), password: 'p'.repeat(1024) }
  const client = await loggedIn(t, gateway, { ...account, password: 'correct horse' })
  const change = { password: 'correct horse', newPassword: account.password }
  t.match(await client.action('password', change), { code: 200 })
  t.equal((await rawConnect(t, gateway, { account })).connack.returnCode, 0)
  const { password } = await minted(client, 'lamp')
  const device = { clientId: 'lamp', username: account.id, password: Buffer.from(password) }
  t.equal((await rawConnect(t, gateway, device)).connack.returnCode, 0)
})

t.test('a frame of many members is refused before it is parsed', async t => {
  const gateway = await startGateway(t)
  const parsed: number[] = []
  const { parse } = JSON
  t.teardown(() => {
    JSON.parse = parse
  })
  const many = `{"type":"action","action":"query","data":{${Array.from({ length: 40_000 }, (_, i) => `"${i}":1`).join(',')}}}`
  const deep = `{"type":"action","action":"query","data":${'['.repeat(200_000)}`
  const inside = await loggedIn(t, gateway)
  JSON.parse = (text, reviver) => {
    parsed.push(text.length)
    return parse(text, reviver)
  }
  const refused = { code: 10100, data: { reason: 'too many members' } }
  t.match(await inside.ask(many), refused)
  t.match(await inside.ask(deep), refused)
  t.ok(Math.max(...parsed) < 1000, 'only the replies')
  t.match(await inside.ask({ type: 'message', recipient: '123456789', content: '{,'.repeat(1000) }), {
    code: 10101,
  })
})
