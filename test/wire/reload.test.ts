/** The config is read again while clients are connected: `reload` of the admin socket, which SIGHUP does, too. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { askAdmin } from '../helpers/admin.js'
import { dataDir, jsonClient, loggedIn, mqttClient, register, startGateway } from '../helpers/gateway.js'

/** A gateway with a config file. */
async function withFile(t: Test, first: object = {}) {
  const dir = dataDir(t)
  const file = join(dir, 'config.json')
  const write = (config: object | string) =>
    writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config))
  write(first)
  const gateway = await startGateway(t, { 'data.dir': dir, config: file, 'sessions.multiple': 'allow' })
  const reload = async (config: object | string) => {
    write(config)
    return askAdmin(gateway, 'reload')
  }
  return { gateway, reload }
}

const origin = (gateway: { httpPort: number }, page: string) =>
  new Promise<boolean>(resolve => {
    const socket = new WebSocket(`ws://127.0.0.1:${gateway.httpPort}/`, { origin: page })
    socket.once('open', () => resolve(true)).once('error', () => resolve(false))
    socket.once('open', () => socket.terminate())
  })

t.test('limits, rules, origins and rights count at once, for open connections, too', async t => {
  const { gateway, reload } = await withFile(t)
  const ann = await loggedIn(t, gateway)
  const bob = await register(t, gateway)
  const send = () => ann.ask({ type: 'message', data: { recipient: bob.id, content: '12345' }, id: 'i' })
  const lamp = await mqttClient(t, gateway, { username: bob.email, password: bob.password, clientId: 'lamp' })
  const granted = async (topic: string) => (await lamp.mqtt.subscribeAsync(topic, { qos: 0 }))[0]?.qos === 0
  t.match(await send(), { code: 201 })
  t.ok(await origin(gateway, 'https://a.example'))
  t.notOk(await granted('lamps/1').catch(() => false))
  const answer = await reload({
    limits: { content: '4B', connectionsPerAccount: 1 },
    accounts: { broadcast: 'off' },
    http: { origins: 'https://b.example' },
    mqtt: { acl: [{ pattern: 'lamps/#', access: 'readwrite' }] },
    query: { limit: 1 },
    privacy: { email: 'self' },
  })
  t.match(answer, { status: 200 })
  t.same(answer.data.atRestart, [])
  t.same([...answer.data.changed].sort(), [
    'accounts.broadcast',
    'http.origins',
    'limits.connectionsPerAccount',
    'limits.content',
    'mqtt.acl',
    'privacy.email',
    'query.limit',
  ])
  t.match(await send(), { code: 10103 })
  t.match(await ann.ask({ type: 'broadcast', data: { content: 'x' }, id: 'i' }), { code: 10110 })
  t.notOk(await origin(gateway, 'https://a.example'))
  t.ok(await origin(gateway, 'https://b.example'))
  t.ok(await granted('lamps/1'))
  t.match(await ann.action('query', {}, 'i'), { data: { length: 1 } })
  t.match(await ann.action('query', { id: bob.id }, 'i'), { data: [{ email: '' }] })
  const second = await jsonClient(t, gateway)
  t.match(await second.action('login', bob), { code: 10101 }, 'id is no field of login')
  const { email, password } = bob
  t.match(await second.action('login', { email, password }), { code: 10123 })
  await reload({})
  t.match(await send(), { code: 201 }, 'and back')
  t.match(await second.action('login', { email, password }), { code: 202 })
})

t.test('a rate counts for buckets that are there', async t => {
  const { gateway, reload } = await withFile(t, { limits: { requests: 1, exempt: '192.0.2.1' } })
  const ann = await loggedIn(t, gateway)
  const ask = async () => (await ann.action('query', { id: ann.userId }, 'i')).code
  let asked = 0
  while (asked++ < 100 && (await ask()) === 200);
  t.ok(asked < 100, 'is refused')
  await reload({ limits: { requests: 100_000, exempt: '192.0.2.1' } })
  let row = 0
  for (; row < 30 && (await ask()) === 200; row++);
  t.equal(row, 30)
})

t.test(
  'an admin of the config is one from the next login on, and no more as soon as the config says so',
  async t => {
    const { gateway, reload } = await withFile(t)
    const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
    await reload({ roles: { admins: [ann.id] } })
    const admin = await loggedIn(t, gateway, ann)
    t.match(await admin.action('sessions', { user: bob.id }, 'i'), { code: 200 })
    t.match(await reload({ roles: { admins: [bob.id] } }), { data: { changed: ['roles.admins'] } })
    t.equal((await admin.closed)[0], 4501)
    const again = await loggedIn(t, gateway, ann)
    t.match(await again.action('sessions', { user: bob.id }, 'i'), { code: 10110 })
  },
)

t.test('what needs a start is named and not changed; the log has it, and no values', async t => {
  const { gateway, reload } = await withFile(t)
  const answer = await reload({ limits: { content: '4B', depth: 3 }, jwt: { issuer: 'SECRET' } })
  t.match(answer.data, { changed: ['limits.content'], atRestart: ['limits.depth', 'jwt.issuer'] })
  t.match((await askAdmin(gateway, 'reload')).data, { changed: [], atRestart: { length: 2 } }, 'each time')
  const [line] = gateway.logs.filter(({ event }) => event === 'config.reloaded')
  t.match(line, { level: 'warn', changed: ['limits.content'], atRestart: { length: 2 } })
  t.notMatch(JSON.stringify(gateway.logs), /SECRET/)
})

t.test('a config with a fault changes nothing', async t => {
  const { gateway, reload } = await withFile(t)
  const ann = await loggedIn(t, gateway)
  for (const bad of [
    '{',
    { limits: { content: '4B' }, query: { limit: 'all' } },
    { limits: { contents: 4 } },
  ]) {
    t.match(await reload(bad), { status: 400, code: 10101, data: { field: 'config', reason: String } })
    const message = { type: 'message', data: { recipient: ann.userId, content: '12345' } }
    t.match(await ann.ask(message), { code: 201 })
    await ann.next()
  }
  t.match(
    gateway.logs.filter(({ event }) => event === 'config.refused'),
    [{ level: 'error' }, { faults: [/^query\.limit/] }, { faults: [/^limits\.contents/] }],
  )
})

t.test('a config that was a FIFO at the start is not read again, nor is what is no regular file', async t => {
  const dir = dataDir(t)
  const file = join(dir, 'config.json')
  execFileSync('mkfifo', [file])
  const writer = spawn('sh', ['-c', `echo '{limits: {content: "4B"}}' > "$0"`, file])
  const gateway = await startGateway(t, { 'data.dir': dir, config: file })
  if (writer.exitCode === null) await once(writer, 'exit')
  const refused = { status: 400, data: { field: 'config', reason: `cannot read config file ${file}: ` } }
  const isNone = `${file} is not a regular file`
  t.match(await askAdmin(gateway, 'reload'), refused)
  t.match((await askAdmin(gateway, 'reload')).data.reason, isNone, 'and the gateway goes on')
  rmSync(file)
  symlinkSync('/dev/zero', file)
  t.match((await askAdmin(gateway, 'reload')).data.reason, isNone)
  rmSync(file)
  writeFileSync(join(dir, 'real.json'), '{}')
  symlinkSync('real.json', file)
  t.match(await askAdmin(gateway, 'reload'), { status: 200, data: { changed: ['limits.content'] } })
})

t.test('under load no connection ends, and every message comes once and in order', async t => {
  const { gateway, reload } = await withFile(t)
  const [ann, bob] = [await register(t, gateway), await register(t, gateway)]
  const reader = await loggedIn(t, gateway, ann)
  const lamp = await mqttClient(t, gateway, { username: ann.email, password: ann.password, clientId: 'lamp' })
  await lamp.mqtt.subscribeAsync(`users/${ann.id}/inbox/+/content`, { qos: 1 })
  const sender = await loggedIn(t, gateway, bob)
  let closed = 0
  for (const { ws } of [reader, sender]) ws.once('close', () => closed++)
  lamp.mqtt.once('close', () => closed++)
  const reloads = 20
  let [sent, isOver] = [0, false]
  const flow = (async () => {
    while (!isOver) {
      for (let i = 0; i < 20; i++)
        sender.send({ type: 'message', data: { recipient: ann.id, content: `${sent++}` } })
      for (let i = 0; i < 20; i++) t.equal((await sender.next()).code, 201)
    }
  })()
  for (let i = 0; i < reloads; i++) {
    const answer = await reload({
      limits: { content: `${i % 2 === 0 ? 32 : 64}KiB`, connectionsPerAccount: 40 + (i % 2) },
      mqtt: { acl: [{ pattern: `lamps/${i}`, access: 'read' }] },
    })
    t.match(answer, { status: 200 })
    const before = sent
    while (sent === before) await new Promise(setImmediate)
  }
  isOver = true
  await flow
  const wanted = Array.from({ length: sent }, (_, i) => `${i}`)
  const read: string[] = []
  for (const _ of wanted) read.push((await reader.next<{ content: string }>()).content)
  t.same(read, wanted, 'JSON')
  const lit: string[] = []
  for (const _ of wanted) lit.push((await lamp.next()).payload)
  t.same(lit, wanted, 'MQTT')
  t.equal(closed, 0)
  t.same([reader.unread, lamp.messages], [[], []])
})
