import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { dataDir, jsonClient, loggedIn, register, startGateway } from '../helpers/gateway.js'
import { rawConnect } from '../helpers/raw-mqtt.js'
import { minted, sessionsOf, type TestTokens, withTokens } from '../helpers/tokens.js'

const dir = dataDir(t)
const file = join(dir, 'audit', 'audit.log')
const settings = { 'data.dir': dir, 'audit.file': file, 'sessions.multiple': 'allow', 'log.level': 'silent' }
const first = await startGateway(t, settings)
const admin = await register(t, first)
await first.close()
const gateway = await startGateway(t, { ...settings, 'roles.admins': admin.id })

const lines = () =>
  readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
/** Resolves when there are `count` lines, since lines are written after the replies. */
async function written(count: number, find: () => readonly unknown[]): Promise<void> {
  while (find().length < count) await new Promise(setImmediate)
}

/** The entries of an account, without times and addresses. */
const about = (userId: string | undefined) =>
  lines()
    .filter(line => line.userId === userId)
    .map(({ time, remoteAddress, ...entry }) => {
      t.ok(Date.parse(time) <= Date.now() && remoteAddress === '127.0.0.1', entry.event)
      return entry
    })

t.test('the file is the operator’s alone, and a restart appends to it', async t => {
  t.equal(statSync(file).mode & 0o777, 0o600)
  await written(0 + 1, () => about(admin.id))
  t.match(about(admin.id), [{ event: 'account.registered', front: 'json' }])
})

t.test('logins, tokens, revocations and the end of an account, each before its answer', async t => {
  const account = await register(t, gateway)
  const { client, tokens } = await withTokens(t, gateway, account)
  await loggedIn(t, gateway, account)
  await client.action('refresh', { token: tokens.refresh })
  await minted(client, 'lamp')
  await client.action('revoke', { others: true })
  await client.action('password', { password: 'wrong', newPassword: 'new' })
  await client.action('password', { password: account.password, newPassword: 'new' })
  await client.action('delete', { password: 'new' })
  await written(0 + 9, () => about(account.id))
  t.match(about(account.id), [
    { event: 'account.registered' },
    { event: 'login.succeeded', kind: 'password', session: String },
    { event: 'login.succeeded', kind: 'password' },
    { event: 'token.refreshed', session: String },
    { event: 'credential.minted', device: 'lamp' },
    { event: 'session.revoked', count: 2 },
    { event: 'password.refused', code: 10000 },
    { event: 'password.changed' },
    { event: 'account.deleted' },
  ])
})

t.test('failures on either front end, without the credentials', async t => {
  const before = about(undefined).length
  const client = await jsonClient(t, gateway)
  await client.action('login', { email: 'secret typed here', password: 'x' })
  await client.action('login', { token: 'x' })
  await client.action('refresh', { token: 'x' })
  await rawConnect(t, gateway, { username: 'secret typed here', password: Buffer.from('x') })
  await written(before + 4, () => about(undefined))
  t.match(about(undefined).slice(before), [
    { event: 'login.failed', front: 'json', code: 10000 },
    { event: 'login.failed', front: 'json', code: 10000 },
    { event: 'token.refused', front: 'json', code: 10000 },
    { event: 'login.failed', front: 'mqtt', code: 4 },
  ])
  t.notOk(readFileSync(file, 'utf8').includes('typed'))
})

t.test('an authenticated MQTT client that is not admitted counts as not logged in', async t => {
  const account = await register(t, gateway)
  const before = about(undefined).length
  t.equal((await rawConnect(t, gateway, { username: account.id })).connack.returnCode, 5)
  await written(before + 1, () => about(undefined))
  t.match(about(undefined).slice(before), [{ event: 'login.failed', front: 'mqtt', code: 5 }])
  const will = { topic: 'elsewhere', payload: Buffer.from('x'), qos: 0 as const, retain: false }
  t.equal((await rawConnect(t, gateway, { account, will })).connack.returnCode, 5)
  await written(1 + 1, () => about(account.id))
  t.strictSame(about(account.id).slice(1), [
    { level: 'info', event: 'login.failed', userId: account.id, front: 'mqtt', kind: 'password', code: 5 },
  ])
})

t.test('a delayed login is recorded, on either front end; so is a wrong password at a deletion', async t => {
  const file = join(dataDir(t), 'audit.log')
  const strict = await startGateway(t, {
    'audit.file': file,
    'limits.exempt': '',
    'limits.failedLogins': 2,
    'limits.loginDelay': '1h',
    'limits.loginDelayMax': '1h',
  })
  const account = await register(t, strict)
  const client = await loggedIn(t, strict, account)
  for (const code of [10000, 10000, 10122])
    t.match(await client.action('delete', { password: 'wrong' }), { code })
  const other = await jsonClient(t, strict)
  const { email, password } = account
  t.match(await other.action('login', { email, password }), { code: 10122 })
  t.equal((await rawConnect(t, strict, { account })).connack.returnCode, 3)
  const all = () => readFileSync(file, 'utf8').trim().split('\n')
  await written(7, all)
  const entries = all().slice(2)
  t.match(
    entries.map(line => JSON.parse(line)),
    [
      { event: 'account.delete-refused', userId: account.id, code: 10000 },
      { event: 'account.delete-refused', code: 10000 },
      { event: 'account.delete-refused', code: 10122 },
      { event: 'login.failed', front: 'json', code: 10122 },
      { event: 'login.failed', front: 'mqtt', code: 3 },
    ],
  )
})

t.test('a copied refresh token, a logout, a device', async t => {
  const account = await register(t, gateway)
  const { client, tokens } = await withTokens(t, gateway, account)
  const { password } = await minted(client, 'lamp')
  await rawConnect(t, gateway, { username: account.id, password: Buffer.from(password), clientId: 'lamp' })
  const thief = await jsonClient(t, gateway)
  const stolen = (await thief.action('refresh', { token: tokens.refresh })).data as TestTokens
  await thief.action('refresh', { token: stolen.refresh })
  await thief.action('refresh', { token: tokens.refresh })
  const again = await loggedIn(t, gateway, account)
  await again.action('logout')
  await written(3 + 6, () => about(account.id))
  t.match(about(account.id).slice(3), [
    { event: 'login.succeeded', front: 'mqtt', kind: 'device', device: 'lamp' },
    { event: 'token.refreshed' },
    { event: 'token.refreshed' },
    { event: 'token.reused' },
    { event: 'login.succeeded' },
    { event: 'logout' },
  ])
})

t.test('actions of an admin on another account name the admin', async t => {
  const account = await register(t, gateway)
  const client = await loggedIn(t, gateway, account)
  const root = await loggedIn(t, gateway, admin)
  const [session] = await sessionsOf(root, account.id)
  t.match(await root.action('revoke', { session: session?.id, user: account.id }), { code: 200 })
  t.match(await client.next(), { code: 10009 })
  await written(2 + 2, () => about(account.id))
  t.match(about(account.id).slice(2), [
    { event: 'sessions.listed', admin: admin.id },
    { event: 'session.revoked', admin: admin.id, session: session?.id },
  ])
})
