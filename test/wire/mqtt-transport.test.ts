import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Aedes, type AuthenticateError } from 'aedes'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import mqttPacket from 'mqtt-packet'
import t, { type Test } from 'tap'
import { createWebSocketStream, WebSocket, WebSocketServer } from 'ws'
import { MqttTransport, type TransportOptions } from '../../src/mqtt/wire/transport.js'
import { WriteGroup } from '../../src/mqtt/wire/write-group.js'
import { bytesOf, CONNECT, closeOf, MB, nothingSeen, options, turn } from '../helpers/transport.js'

/** Aedes behind transports, on a free port. */
async function startBroker(t: Test, changes: Partial<TransportOptions> = {}) {
  const broker = await Aedes.createBroker()
  const seen = nothingSeen()
  const transports: MqttTransport[] = []
  const accept = (stream: Duplex, more: Partial<TransportOptions> = {}): MqttTransport => {
    const transport = new MqttTransport(stream, options(seen, { ...changes, ...more }))
    transports.push(transport)
    broker.handle(transport)
    return transport
  }
  const server = createServer(socket => accept(socket))
  const port = await listen(t, server)
  t.teardown(() => new Promise<void>(resolve => broker.close(resolve)))
  return { broker, server, port, seen, transports, accept }
}

/** One transport that nobody reads. */
async function startUnread(t: Test, changes: Partial<TransportOptions> = {}) {
  const seen = nothingSeen()
  const server = createServer()
  const accepted = once(server, 'connection').then(([socket]: Socket[]) => {
    if (!socket) throw new Error('no socket')
    return { socket, transport: new MqttTransport(socket, options(seen, changes)) }
  })
  return { seen, accepted, port: await listen(t, server) }
}

/** Takes WebSockets; `take` makes a transport of each. */
async function startWebSockets(
  t: Test,
  take: (stream: Duplex, more: Partial<TransportOptions>) => MqttTransport,
) {
  const server = createHttpServer()
  const wss = new WebSocketServer({ server, perMessageDeflate: false })
  const accepted = new Promise<{ webSocket: WebSocket; transport: MqttTransport }>(resolve => {
    wss.once('connection', (webSocket, { socket }) => {
      const remoteAddress = String(socket.remoteAddress)
      resolve({
        webSocket,
        transport: take(createWebSocketStream(webSocket, { allowHalfOpen: false }), {
          webSocket,
          remoteAddress,
        }),
      })
    })
  })
  return { accepted, port: await listen(t, server) }
}

async function listen(t: Test, server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

async function connectMqtt(t: Test, url: string, more: IClientOptions = {}): Promise<MqttClient> {
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 0, ...more }, false)
  t.teardown(() => client.endAsync(true))
  return client
}

async function connectRaw(t: Test, port: number): Promise<Socket> {
  const socket = createConnection(port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** All that comes until the other side closes. */
async function readToEnd(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', chunk => chunks.push(chunk))
  await closeOf(socket)
  return Buffer.concat(chunks)
}

/** What a client must have before anything behind its CONNECT is looked at. */
const CONNACK = bytesOf({ cmd: 'connack', returnCode: 0, sessionPresent: false })
const WILDCARD_PUBLISH = Buffer.from([0x30, 4, 0, 1, 0x23, 0x78])

const messageOf = (client: MqttClient): Promise<Buffer> =>
  new Promise(resolve => client.once('message', (_topic, payload) => resolve(payload)))

for (const qos of [0, 1, 2] as const) {
  t.test(`carries PUBLISH at QoS ${qos} both ways, in order`, async t => {
    const { port } = await startBroker(t)
    const [reader, writer] = await Promise.all([1, 2].map(() => connectMqtt(t, `mqtt://127.0.0.1:${port}`)))
    if (!reader || !writer) return t.fail()
    await reader.subscribeAsync('a/b', { qos })
    const received: string[] = []
    const all = new Promise<void>(resolve => {
      reader.on('message', (_topic, payload, packet) => {
        received.push(`${packet.qos} ${payload}`)
        if (received.length === 300) resolve()
      })
    })
    const sent = Array.from({ length: 300 }, (_, i) => writer.publishAsync('a/b', String(i), { qos }))
    await Promise.all([all, ...sent])
    t.same(
      received,
      Array.from({ length: 300 }, (_, i) => `${qos} ${i}`),
    )
  })
}

t.test('carries a payload of many chunks and slices', async t => {
  const { port } = await startBroker(t)
  const client = await connectMqtt(t, `mqtt://127.0.0.1:${port}`)
  await client.subscribeAsync('large', { qos: 1 })
  const payload = Buffer.from(Array.from({ length: 5 * MB }, (_, i) => i % 251))
  const message = messageOf(client)
  await client.publishAsync('large', payload, { qos: 1 })
  t.ok((await message).equals(payload))
})

t.test('carries MQTT over WebSocket', async t => {
  const { accept, seen } = await startBroker(t)
  const { accepted, port } = await startWebSockets(t, accept)
  const client = await connectMqtt(t, `ws://127.0.0.1:${port}/mqtt`)
  const { transport } = await accepted
  t.equal(transport.remoteAddress, '127.0.0.1')
  await client.subscribeAsync('a', { qos: 2 })
  const payload = Buffer.alloc(MB, 'w')
  const message = messageOf(client)
  await client.publishAsync('a', payload, { qos: 2 })
  t.ok((await message).equals(payload))
  const gone = closeOf(transport)
  await client.endAsync()
  await gone
  t.same(seen, nothingSeen())
})

t.test('knows the address of the client, also when it has gone', async t => {
  const { port, transports } = await startBroker(t)
  const client = await connectMqtt(t, `mqtt://127.0.0.1:${port}`)
  const gone = closeOf(transports[0] as MqttTransport)
  await client.endAsync(true)
  await gone
  t.equal(transports[0]?.remoteAddress, '127.0.0.1')
})

t.test('lets the refusal of Aedes reach the client before the connection closes', async t => {
  const { broker, port } = await startBroker(t)
  broker.authenticate = (_client, _user, _password, done) => {
    done(Object.assign(new Error('no'), { returnCode: 4 }) as AuthenticateError, null)
  }
  const socket = await connectRaw(t, port)
  const answer = readToEnd(socket)
  socket.write(CONNECT)
  t.same(await answer, Buffer.from([0x20, 2, 0, 4]))
})

t.test('lets what was written in the turn of destroy reach the client', async t => {
  const { broker, port, transports } = await startBroker(t)
  const socket = await connectRaw(t, port)
  const answer = readToEnd(socket)
  const ready = once(broker, 'clientReady')
  socket.write(CONNECT)
  await ready
  transports[0]?.write(Buffer.alloc(300_000, 'a'))
  transports[0]?.send(Buffer.from('z'))
  transports[0]?.destroy()
  t.same(
    await answer,
    Buffer.concat([Buffer.from([0x20, 2, 0, 0]), Buffer.alloc(300_000, 'a'), Buffer.from('z')]),
  )
})

const REFUSED: readonly (readonly [string, Buffer, Buffer])[] = [
  [
    'an empty client id without clean session',
    Buffer.from([0x10, 12, 0, 4, ...Buffer.from('MQTT'), 4, 0, 0, 0, 0, 0]),
    Buffer.from([0x20, 2, 0, 2]),
  ],
  [
    'MQTT 5',
    bytesOf({ cmd: 'connect', protocolVersion: 5, clientId: 'five', clean: true }),
    Buffer.from([0x20, 2, 0, 1]),
  ],
  [
    'an unknown protocol',
    Buffer.from([0x10, 12, 0, 4, ...Buffer.from('MQXX'), 4, 2, 0, 0, 0, 0]),
    Buffer.alloc(0),
  ],
  ['a first packet other than CONNECT', Buffer.from([0xc0, 0]), Buffer.alloc(0)],
]

for (const [name, input, answer] of REFUSED) {
  t.test(`answers ${name} as the specification says, then closes`, async t => {
    const { broker, port, seen } = await startBroker(t)
    broker.on('client', () => t.fail('Aedes saw it'))
    const socket = await connectRaw(t, port)
    const received = readToEnd(socket)
    socket.write(input)
    t.same(await received, answer)
    t.equal(seen.malformed.length, 1)
  })
}

t.test('lets CONNACK reach a client that sent much more behind its CONNECT', async t => {
  const { port } = await startBroker(t)
  const socket = await connectRaw(t, port)
  const received = readToEnd(socket)
  socket.write(
    Buffer.concat([bytesOf({ cmd: 'connect', protocolVersion: 5, clientId: 'x' }), Buffer.alloc(4 * MB)]),
  )
  t.same(await received, Buffer.from([0x20, 2, 0, 1]))
})

t.test('tells an MQTT 5 client why', async t => {
  const { port } = await startBroker(t)
  const refused = mqtt.connectAsync(
    `mqtt://127.0.0.1:${port}`,
    { protocolVersion: 5, reconnectPeriod: 0 },
    false,
  )
  await t.rejects(refused, { code: 1 })
})

t.test('handles what came before a malformed packet, then closes and publishes the will', async t => {
  const { broker, port, seen } = await startBroker(t)
  const topics: string[] = []
  const willPublished = new Promise<void>(resolve => {
    broker.on('publish', packet => {
      if (packet.topic.startsWith('$SYS')) return
      topics.push(packet.topic)
      if (packet.topic === 'will') resolve()
    })
  })
  const socket = await connectRaw(t, port)
  const received = readToEnd(socket)
  const will = { topic: 'will', payload: Buffer.from('w'), qos: 0, retain: false } as const
  const good = bytesOf(
    { cmd: 'connect', clientId: 'raw', clean: true, keepalive: 0, will },
    { cmd: 'publish', topic: 'good', payload: 'g', qos: 0, dup: false, retain: false },
  )
  const ready = once(broker, 'clientReady')
  socket.write(good)
  await ready
  const more = bytesOf({ cmd: 'publish', topic: 'more', payload: 'm', qos: 0, dup: false, retain: false })
  socket.write(Buffer.concat([more, WILDCARD_PUBLISH, more]))
  await Promise.all([received, willPublished])
  t.same(topics, ['good', 'more', 'will'])
  t.same(
    seen.malformed.map(error => error.clause),
    ['[MQTT-4.7.1-1]'],
  )
})

t.test('closes after a malformed packet even when nobody reads what came before', async t => {
  const { seen, accepted, port } = await startUnread(t, { group: new WriteGroup(20) })
  const socket = await connectRaw(t, port)
  const received = readToEnd(socket)
  const { transport } = await accepted
  transport.send(CONNACK)
  const good = bytesOf({ cmd: 'publish', topic: 'a', payload: 'p', qos: 0, dup: false, retain: false })
  socket.write(CONNECT)
  await once(transport, 'readable')
  transport.read()
  socket.write(Buffer.concat([good, WILDCARD_PUBLISH]))
  t.same(await received, CONNACK)
  t.equal(seen.malformed.length, 1)
  t.equal(seen.stalled, 0)
})

t.test('closes on a client that never closes itself', async t => {
  const { accepted, port } = await startUnread(t, { group: new WriteGroup(20) })
  const client = createConnection({ port, host: '127.0.0.1', allowHalfOpen: true })
  t.teardown(() => client.destroy())
  const { socket, transport } = await accepted
  const ended = once(client.resume(), 'end')
  const closed = closeOf(socket)
  transport.destroy()
  await ended
  await closed
  t.equal(client.writable, true)
})

t.test('end lets everything out, then half-closes', async t => {
  const { accepted, port } = await startUnread(t)
  const client = createConnection({ port, host: '127.0.0.1', allowHalfOpen: true })
  t.teardown(() => client.destroy())
  const { transport } = await accepted
  const received = Promise.all([once(client, 'data'), once(client, 'end')])
  transport.send(Buffer.from('a'))
  transport.end('b')
  t.match(await new Promise(resolve => transport.write('late', resolve)), { message: 'write after end' })
  t.same(await received, [[Buffer.from('ab')], []])
  client.write(CONNECT)
  t.same(await once(transport, 'data'), [CONNECT])
  const closed = closeOf(transport)
  client.end()
  await closed
})

t.test('holds a client back whose packets nobody reads, and loses none', async t => {
  const { accepted, port } = await startUnread(t)
  const client = await connectRaw(t, port)
  const { socket, transport } = await accepted
  const numbers = Array.from({ length: 400 }, (_, i) => i % 256)
  const packets = numbers.map(n =>
    bytesOf({
      cmd: 'publish',
      topic: 'a',
      payload: Buffer.alloc(20_000, n),
      qos: 0,
      dup: false,
      retain: false,
    }),
  )
  const paused = once(socket, 'pause')
  transport.send(CONNACK)
  client.write(Buffer.concat([CONNECT, ...packets]))
  await paused
  t.ok(transport.readableLength < 200_000)
  const parser = mqttPacket.parser()
  const received: unknown[] = []
  await new Promise<void>(resolve => {
    parser.on('packet', packet => {
      if (packet.cmd !== 'publish') return
      received.push(packet.payload[0])
      if (received.length === numbers.length) resolve()
    })
    transport.on('data', chunk => parser.parse(chunk))
  })
  t.same(received, numbers)
})

t.test('closes a connection whose input is held back as soon as the client does', async t => {
  const { accepted, port } = await startUnread(t)
  const client = await connectRaw(t, port)
  const { socket, transport } = await accepted
  const answer = readToEnd(client)
  const paused = once(socket, 'pause')
  const publish = {
    cmd: 'publish',
    topic: 'a',
    payload: Buffer.alloc(MB),
    qos: 0,
    dup: false,
    retain: false,
  } as const
  client.write(Buffer.concat([CONNECT, bytesOf(publish, publish, publish, publish)]))
  await paused
  transport.send(Buffer.from('bye'))
  transport.destroy()
  await closeOf(socket)
  t.equal(String(await answer), 'bye')
})

t.test('cuts off a client that takes nothing, and says so once', async t => {
  const { broker, port, seen, transports } = await startBroker(t, { group: new WriteGroup(100) })
  const socket = await connectRaw(t, port)
  const ready = once(broker, 'clientReady')
  socket.write(CONNECT)
  socket.pause()
  await ready
  const gone = once(broker, 'clientDisconnect')
  const [transport] = transports as [MqttTransport]
  for (let i = 0; i < 20; i++) transport.send(Buffer.alloc(MB))
  await gone
  t.equal(seen.stalled, 1)
  t.ok(transport.destroyed)
})

t.test('cuts off a WebSocket client that takes nothing without waiting for its handshake', async t => {
  const { accept, seen } = await startBroker(t)
  const group = new WriteGroup(100)
  const { accepted, port } = await startWebSockets(t, (stream, more) => accept(stream, { ...more, group }))
  const client = new WebSocket(`ws://127.0.0.1:${port}`)
  t.teardown(() => client.terminate())
  client.on('open', () => client.pause())
  const { webSocket, transport } = await accepted
  const closed = closeOf(webSocket)
  for (let i = 0; i < 20; i++) transport.send(Buffer.alloc(MB))
  await closed
  t.equal(seen.stalled, 1)
})

t.test('does not take for written what a closing WebSocket drops', async t => {
  const take = (stream: Duplex, more: Partial<TransportOptions>) =>
    new MqttTransport(stream, options(nothingSeen(), more))
  const { accepted, port } = await startWebSockets(t, take)
  const client = new WebSocket(`ws://127.0.0.1:${port}`)
  t.teardown(() => client.terminate())
  const { webSocket, transport } = await accepted
  webSocket.close()
  transport.send(Buffer.from('a'))
  t.match(await new Promise(resolve => transport.flushed(resolve)), { message: 'connection closed' })
})

t.test('holds a WebSocket client back, and reads what came before it closed', async t => {
  const seen = nothingSeen()
  const { accepted, port } = await startWebSockets(
    t,
    (stream, more) => new MqttTransport(stream, options(seen, more)),
  )
  const client = new WebSocket(`ws://127.0.0.1:${port}`)
  t.teardown(() => client.terminate())
  const { webSocket, transport } = await accepted
  if (client.readyState !== client.OPEN) await once(client, 'open')
  transport.send(CONNACK)
  client.send(CONNECT)
  const publish = bytesOf({
    cmd: 'publish',
    topic: 'a',
    payload: Buffer.alloc(20_000),
    qos: 0,
    dup: false,
    retain: false,
  })
  for (let i = 0; i < 400; i++) client.send(publish)
  client.close()
  while (!webSocket.isPaused) await turn()
  t.ok(transport.readableLength < 400_000)
  const received = await transport.toArray()
  t.equal(Buffer.concat(received).length, CONNECT.length + 400 * publish.length)
})

t.test('a client that resets its connection is closed in Aedes too', async t => {
  const { broker, port, transports } = await startBroker(t)
  const socket = await connectRaw(t, port)
  const ready = once(broker, 'clientReady')
  socket.write(CONNECT)
  await ready
  const [transport] = transports as [MqttTransport]
  const gone = Promise.all([once(broker, 'clientDisconnect'), closeOf(transport)])
  socket.resetAndDestroy()
  await gone
  t.ok(transport.destroyed)
})

t.test('lets Aedes read all that came before the connection closed', async t => {
  const { broker, port, transports } = await startBroker(t)
  const waiting: (() => void)[] = []
  broker.authorizePublish = (_client, _packet, done) => waiting.push(() => done())
  broker.on('publish', packet => {
    if (packet.topic === 'will') t.fail('the client did send DISCONNECT')
  })
  const socket = await connectRaw(t, port)
  const ready = once(broker, 'clientReady')
  const will = { topic: 'will', payload: Buffer.from('w'), qos: 0, retain: false } as const
  socket.write(bytesOf({ cmd: 'connect', clientId: 'raw', clean: true, keepalive: 0, will }))
  await ready
  const [transport] = transports as [MqttTransport]
  const publish = bytesOf({
    cmd: 'publish',
    topic: 'a',
    payload: 'p',
    qos: 1,
    messageId: 1,
    dup: false,
    retain: false,
  })
  socket.write(Buffer.concat(Array.from({ length: 20 }, () => publish)))
  while (waiting.length < 20) await turn()
  const closed = closeOf(socket.resume())
  socket.end(Buffer.concat([publish, bytesOf({ cmd: 'disconnect' })]))
  await closed
  t.ok(transport.readableLength > 0)
  const gone = once(broker, 'clientDisconnect')
  for (const go of waiting.splice(0)) go()
  while (waiting.length < 1) await turn()
  waiting[0]?.()
  await gone
})
