/** Clients are sent away one after the other, while those that are still there are served. */
import { once } from 'node:events'
import { get } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { askAdmin } from '../helpers/admin.js'
import {
  type JsonClient,
  loggedIn,
  mqttClient,
  type RunningGateway,
  register,
  startGateway,
} from '../helpers/gateway.js'
import { connect5, plainBroker } from '../helpers/raw-mqtt5.js'

const message = (recipient: string, content: string) => ({ type: 'message', data: { recipient, content } })

/** @returns the answer to an attempt to open a WebSocket */
async function upgrade({ httpPort }: { httpPort: number }, path = '/') {
  const headers = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version': '13',
  }
  const asked = get({ port: httpPort, host: '127.0.0.1', path, headers })
  const [response] = await once(asked, 'response')
  await text(response)
  return { status: response.statusCode, retryAfter: Number(response.headers['retry-after']) }
}

const ready = async ({ opsPort }: RunningGateway) => {
  const answer = await fetch(`http://127.0.0.1:${opsPort}/readyz`)
  return { status: answer.status, body: await answer.json() }
}

/** Resolves when nothing listens there. */
async function isClosed(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    socket.destroy()
    return false
  } catch {
    return true
  }
}

t.test('JSON: one after the other, with 1001; the others are served, and nobody new comes in', async t => {
  const gateway = await startGateway(t, { 'shutdown.spread': '1h' })
  const fresh = await loggedIn(t, gateway, undefined, { events: ['closing'] })
  const old = await loggedIn(t, gateway)
  const last = await loggedIn(t, gateway)
  const clients = [fresh, old, last]
  const ended: JsonClient[] = []
  for (const client of clients) void client.closed.then(() => ended.push(client))
  t.match(await ready(gateway), { status: 200 })
  // The first leaves at once, the second after 4 s, the last after 8 s.
  const answer = await askAdmin(gateway, 'drain', { spread: 12 })
  t.match(answer, { status: 200, data: { pid: process.pid, connections: 3, seconds: 12 } })
  t.match(await ready(gateway), { status: 503, body: { reason: 'draining' } })
  t.match(await askAdmin(gateway, 'stats'), { data: { mumi_draining: 1 } })
  const { status, retryAfter } = await upgrade(gateway)
  t.equal(status, 503)
  t.ok(retryAfter >= 1 && retryAfter <= 25, `Retry-After: ${retryAfter}`)
  t.match(await upgrade(gateway, '/mqtt'), { status: 503 })
  t.ok(await isClosed(gateway.mqttPort), 'a client of MQTT is not refused, which some take for final')
  t.same(await fresh.closed, [1001, 'SHUTDOWN'])
  const { event, data } = await fresh.next<{ event: string; data: { after: number } }>()
  t.equal(event, 'closing')
  t.ok(data.after >= 1 && data.after <= 25, `after: ${data.after}`)
  t.same(fresh.unread, [])
  t.match(await last.ask(message(last.userId, 'still here')), { code: 201 })
  t.match(await last.next(), { content: 'still here' })
  t.match(await askAdmin(gateway, 'drain', { spread: 0 }), { data: { seconds: 12 } }, 'it has begun already')
  t.same(await old.closed, [1001, 'SHUTDOWN'])
  t.same(old.unread, [], 'an old client gets its close frame and nothing else')
  t.same(await last.closed, [1001, 'SHUTDOWN'])
  t.same(ended, clients, 'who was there longest leaves first')
  await gateway.close()
  const events = gateway.logs.map(({ event }) => event)
  t.ok(events.indexOf('gateway.draining') < events.indexOf('gateway.drained'))
  t.match(
    gateway.logs.find(({ event }) => event === 'gateway.drained'),
    { connections: 0 },
  )
})

t.test('what a client has sent before it is sent away is answered, or not done', async t => {
  const gateway = await startGateway(t)
  const reader = await register(t, gateway)
  const sender = await loggedIn(t, gateway)
  await askAdmin(gateway, 'drain', { spread: 1 })
  const isOpen = () => sender.ws.readyState === sender.ws.OPEN
  let sent = 0
  while (isOpen()) {
    for (let i = 0; i < 50 && isOpen(); i++) sender.send(message(reader.id, `${sent++}`))
    await new Promise(setImmediate)
  }
  await sender.closed
  const answers = sender.unread.map(frame => JSON.parse(frame).code as number)
  t.same(
    answers.filter(code => code !== 201 && code !== 10120),
    [],
  )
  const stored = answers.filter(code => code === 201).length
  await gateway.close()
  const again = await startGateway(t, { 'data.dir': gateway.dir })
  const client = await loggedIn(t, again, reader, { device: 'd', from: 'start' })
  for (let i = 0; i < stored; i++) await client.next()
})

t.test('MQTT 5 is told when and where to go, an older client is closed, and wills are published', async t => {
  for (const [reference, reasonCode] of [
    ['', 0x8b],
    ['other.example:8883', 0x9c],
  ] as const) {
    const gateway = await plainBroker(t, { 'shutdown.serverReference': reference })
    const old = await mqttClient(t, gateway, {
      will: { topic: 'wills/old', payload: Buffer.from('gone'), qos: 1, retain: false },
    })
    const five = await connect5(t, gateway, { clientId: 'five' })
    const last = await connect5(t, gateway, { clientId: 'last' })
    last.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'wills/#', qos: 0 }] })
    await last.take('suback')
    const closed = new Promise<void>(resolve => old.mqtt.once('close', () => resolve()))
    await askAdmin(gateway, 'drain', { spread: 3 })
    await closed
    t.match(await last.take('publish'), { topic: 'wills/old', payload: Buffer.from('gone') })
    for (const client of [five, last]) {
      const packet = await client.take('disconnect')
      const { reasonString, userProperties, serverReference } = packet.properties ?? {}
      t.equal(packet.reasonCode, reasonCode)
      t.equal(serverReference, reference === '' ? undefined : reference)
      const after = Number(Object(userProperties)['retry-after'])
      t.ok(after >= 1 && after <= 7, `retry-after: ${after}`)
      t.equal(reasonString, `server is closing, come back in ${after} s`)
      await client.closed
    }
    await gateway.close()
  }
})

t.test('without a spread all leave at once, as they always did', async t => {
  const gateway = await startGateway(t)
  const clients = [
    await loggedIn(t, gateway, undefined, { events: ['closing'] }),
    await loggedIn(t, gateway),
    await loggedIn(t, gateway),
  ]
  t.match(await askAdmin(gateway, 'drain'), { data: { connections: 3, seconds: 0 } })
  for (const client of clients) {
    t.same(await client.closed, [1001, 'SHUTDOWN'])
    t.same(client.unread, [])
  }
})

t.test('those that are left when there is no more time leave at once', async t => {
  const gateway = await startGateway(t, { 'shutdown.spread': '1h' })
  const clients = [await loggedIn(t, gateway), await loggedIn(t, gateway)]
  await askAdmin(gateway, 'drain')
  t.match(await ready(gateway), { status: 503 })
  gateway.gateway.hurry()
  for (const client of clients) t.same(await client.closed, [1001, 'SHUTDOWN'])
})
