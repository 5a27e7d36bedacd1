/** What was sent before rights were taken away, and waits its turn behind that. */
import t from 'tap'
import { loggedIn, register } from '../helpers/gateway.js'
import { rawConnect, rawSocket } from '../helpers/raw-mqtt.js'
import { startControlled } from '../helpers/store-control.js'
import { sessionsOf } from '../helpers/tokens.js'

const gateway = await startControlled(t, { 'sessions.multiple': 'allow', 'mqtt.maxSessions': 1 })

const message = (recipient: string, content: string) =>
  JSON.stringify({ type: 'message', data: { recipient, content } })

/** What `reader` was sent, once nothing of what was held up can come any more. */
async function inboxOf(reader: Awaited<ReturnType<typeof loggedIn>>): Promise<unknown[]> {
  const marker = await loggedIn(t, gateway)
  await marker.ask({ type: 'message', data: { recipient: reader.userId, content: 'last' } })
  const got: unknown[] = []
  while (got.at(-1) !== 'last') got.push((await reader.next<{ content: string }>()).content)
  return got
}

/** Somebody whom the gateway must ask the store about. */
const STRANGER = '999999999'

async function setUp() {
  const account = await register(t, gateway)
  const owner = await loggedIn(t, gateway, account)
  const reader = await loggedIn(t, gateway)
  // Known from here on.
  await owner.ask({ type: 'message', data: { recipient: reader.userId, content: 'first' } })
  return { account, owner, reader }
}

/** Another client of the account writes to the reader and is gone before that is done. @returns what lets it be done */
async function sendAndGo(
  { account, owner, reader }: Awaited<ReturnType<typeof setUp>>,
  content: string,
): Promise<() => void> {
  const client = await loggedIn(t, gateway, account)
  const held = gateway.holdAnswer('findUser')
  client.send(message(STRANGER, 'x'))
  client.send(message(reader.userId, content))
  await held.made
  client.ws.terminate()
  while ((await sessionsOf(owner)).length > 1) t.pass('not noticed yet')
  return held.release
}

t.test('an MQTT client’s requests that wait are not made behind its revocation', async t => {
  const { account, owner, reader } = await setUp()
  const thief = await rawConnect(t, gateway, { account, clientId: 'thief' })
  const request = (payload: string) => {
    const topic = `users/${account.id}/requests`
    return { cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false } as const
  }
  const held = gateway.holdAnswer('findUser')
  // In one write: of another Aedes would read nothing before the first is done.
  thief.send(request(message(STRANGER, 'x')), request(message(reader.userId, 'stolen')))
  await held.made
  t.match(await owner.action('revoke', { others: true }), { code: 200 })
  await thief.closed
  held.release()
  t.same(await inboxOf(reader), ['first', 'last'])
})

t.test('nor are those of a JSON client that went before', async t => {
  const parts = await setUp()
  const release = await sendAndGo(parts, 'stolen')
  t.match(await parts.owner.action('revoke', { others: true }), { code: 200 })
  release()
  t.same(await inboxOf(parts.reader), ['first', 'last'])
})

t.test('what a client sent before it went is done where nothing was revoked', async t => {
  const parts = await setUp()
  const release = await sendAndGo(parts, 'sent')
  release()
  t.same(await inboxOf(parts.reader), ['first', 'sent', 'last'])
})

t.test(
  'who goes while their login is judged leaves no session, no connection and no listener behind',
  async t => {
    const account = await register(t, gateway)
    const socket = await rawSocket(t, gateway)
    const held = gateway.holdAnswer('findUser')
    socket.send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clientId: 'gone',
      clean: false,
      keepalive: 0,
      username: account.id,
      password: Buffer.from(account.password),
    })
    await held.made
    await socket.drop()
    while ((await connections(gateway)) > 0) t.pass('not noticed yet')
    held.release()
    const other = { account, clientId: 'other', clean: false }
    t.equal((await rawConnect(t, gateway, other)).connack.returnCode, 0, 'the one session there may be')
  },
)

async function connections({ http }: { http: string }): Promise<number> {
  const text = await (await fetch(`${http}/metrics`)).text()
  return Number(/^mumi_connections\{front="mqtt"\} (\d+)$/m.exec(text)?.[1])
}
