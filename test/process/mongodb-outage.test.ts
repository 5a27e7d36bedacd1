import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { freePorts } from '../../scripts/ports.js'
import {
  dataDir,
  type JsonClient,
  loggedIn,
  mqttClient,
  type RunningGateway,
  register,
  startGateway,
} from '../helpers/gateway.js'
import { type MongoServer, mongoServer, skipWithoutStart } from '../helpers/mongodb-server.js'
import { plainNode } from '../helpers/plain-node.js'

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))
const TIMEOUT_MS = 1000
/** Between two looks at what is to become true. */
const LOOK_MS = 50

const settings = (url: string) => ({
  'store.type': 'mongodb',
  'store.mongodb.url': url,
  'store.mongodb.database': 'outage',
  'store.mongodb.timeout': TIMEOUT_MS,
  'store.mongodb.startTimeout': '20s',
  'dedup.window': '1h',
})

async function setUp(t: Test): Promise<{ server: MongoServer; gateway: RunningGateway }> {
  const server = await mongoServer(t)
  await server.start()
  return { server, gateway: await startGateway(t, settings(server.url)) }
}

const message = (recipient: string, content: string) => ({
  type: 'message',
  id: content,
  data: { recipient, content },
})

/** The same request again, as a client does that is told to try again. */
async function sendUntilStored(sender: JsonClient, recipient: string, content: string): Promise<void> {
  for (;;) {
    const { code } = await sender.ask(message(recipient, content))
    if (code === 201) return
    if (code !== 10104 && code !== 10011) throw new Error(`answered ${code}`)
  }
}

async function readiness({ http }: RunningGateway, wanted: number): Promise<void> {
  while ((await fetch(`${http}/readyz`)).status !== wanted) await delay(LOOK_MS)
}

async function received(client: JsonClient, count: number): Promise<string[]> {
  const contents: string[] = []
  while (contents.length < count) contents.push((await client.next<{ content: string }>()).content)
  return contents
}

t.test(
  'no server at start: exit code 1 after the wait, with the address and without the password',
  async t => {
    const [port] = await freePorts(1)
    const url = `mongodb://ann:s3cret%21@127.0.0.1:${port}/?appName=x`
    const args = [
      'serve',
      '--data.dir',
      dataDir(t),
      '--store.type',
      'mongodb',
      '--store.mongodb.startTimeout',
      '300ms',
    ]
    const child = spawn(...plainNode([MAIN, ...args]), { env: { MUMI_STORE_MONGODB_URL: url } })
    t.teardown(() => child.kill('SIGKILL'))
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'close'),
    ])
    t.equal(code, 1)
    t.match(stderr, `mumi: store.mongodb.url: MongoDB at 127.0.0.1:${port} cannot be used`)
    t.match(stderr, 'ECONNREFUSED')
    t.notMatch(stdout + stderr, /s3cret/)
  },
)

t.test('a server that starts during the wait is sufficient', { skip: skipWithoutStart }, async t => {
  const server = await mongoServer(t)
  const starting = startGateway(t, settings(server.url))
  await server.start()
  const gateway = await starting
  t.ok(await register(t, gateway))
})

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  t.test(
    `a server that ends by ${signal} and restarts: refusals in time, sessions stay, no message is stored twice`,
    { skip: skipWithoutStart },
    async t => {
      const { server, gateway } = await setUp(t)
      const [sender, recipient] = [await loggedIn(t, gateway), await loggedIn(t, gateway)]
      await sendUntilStored(sender, recipient.userId, 'before')
      t.same(await received(recipient, 1), ['before'])
      await server.flushed()
      await server.end(signal)
      const begun = performance.now()
      t.match(await sender.ask(message(recipient.userId, 'during')), { code: /10104|10011/ })
      t.ok(performance.now() - begun < 2 * TIMEOUT_MS + 500, 'within the deadline')
      await readiness(gateway, 503)
      t.equal((await fetch(`${gateway.http}/healthz`)).status, 200, 'alive')
      await server.start()
      for (const content of ['during', 'after']) await sendUntilStored(sender, recipient.userId, content)
      t.same(await received(recipient, 2), ['during', 'after'], 'over the connections of before')
      await readiness(gateway, 200)
    },
  )
}

t.test('messages acknowledged before an outage are there after it', { skip: skipWithoutStart }, async t => {
  const { server, gateway } = await setUp(t)
  const sender = await loggedIn(t, gateway)
  const account = await register(t, gateway)
  const contents = Array.from({ length: 50 }, (_, i) => `message ${i}`)
  for (const content of contents.slice(0, 25)) await sendUntilStored(sender, account.id, content)
  await server.end('SIGTERM')
  const sending = Promise.all([sendUntilStored(sender, account.id, 'message 25')])
  await server.start()
  await sending
  for (const content of contents.slice(26)) await sendUntilStored(sender, account.id, content)
  const reader = await loggedIn(t, gateway, account, { ack: 'explicit' })
  t.same(await received(reader, 50), contents)
})

t.test(
  'a server that stalls: refusals in time; a resend of a message that was stored late is a repeat',
  { skip: skipWithoutStart },
  async t => {
    const { server, gateway } = await setUp(t)
    const sender = await loggedIn(t, gateway)
    const account = await register(t, gateway)
    const device = await mqttClient(t, gateway, { username: account.email, password: account.password })
    await sendUntilStored(sender, account.id, 'before')
    server.stall()
    const begun = performance.now()
    // All at once, so that they are on their way to the server together.
    const contents = Array.from({ length: 10 }, (_, i) => `message ${i}`)
    for (const content of contents) sender.send(message(account.id, content))
    for (const _ of contents) t.match(await sender.next(), { code: /10104|10011/ })
    const took = performance.now() - begun
    t.ok(took < 2 * TIMEOUT_MS + 500, `within the deadline: ${Math.round(took)} ms`)
    await readiness(gateway, 503)
    server.goOn()
    for (const content of contents) await sendUntilStored(sender, account.id, content)
    await readiness(gateway, 200)
    t.ok(device.mqtt.connected, 'sessions stay')
    await sendUntilStored(sender, account.id, 'end')
    const reader = await loggedIn(t, gateway, account, { ack: 'explicit' })
    const rows: { content: string; seq: number }[] = []
    do rows.push(await reader.next())
    while (rows.at(-1)?.content !== 'end')
    t.same(
      rows.map(({ content }) => content),
      ['before', ...contents, 'end'],
      'each once, in order',
    )
    t.same(
      rows.map(({ seq }) => seq),
      rows.map((_, i) => i + 1),
      'without a hole',
    )
  },
)
