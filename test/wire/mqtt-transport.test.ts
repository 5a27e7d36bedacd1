/** Transports of sockets and WebSockets. They answer CONNECT, and log what comes. */
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { createWebSocketStream, WebSocket, WebSocketServer } from 'ws'
import { MqttTransport, type TransportOptions, type TransportOrigin } from '../../src/mqtt/wire/transport.js'
import { WriteGroup } from '../../src/mqtt/wire/write-group.js'
import { bytesOf, CONNECT, closeOf, MB, options, Recorder, turn } from '../helpers/transport.js'

interface Accepted {
  readonly socket: Duplex
  readonly transport: MqttTransport
  readonly seen: Recorder
}

function accept(socket: Duplex, changes: Partial<TransportOptions>, origin?: TransportOrigin): Accepted {
  const transport = new MqttTransport(socket, options(changes), origin)
  const seen = new Recorder(transport)
  transport.start(seen)
  return { socket, transport, seen }
}

/** A server, and the transport of its first client. */
async function startServer(t: Test, changes: Partial<TransportOptions> = {}) {
  const server = createServer()
  const accepted = once(server, 'connection').then(([socket]) => accept(socket as Socket, changes))
  return { accepted, port: await listen(t, server) }
}

/** The same for a WebSocket. */
async function startWebSockets(t: Test, changes: Partial<TransportOptions> = {}) {
  const server = createHttpServer()
  const wss = new WebSocketServer({ server, perMessageDeflate: false })
  const accepted = once(wss, 'connection').then(([webSocket, { socket }]) => {
    const remoteAddress = String(socket.remoteAddress)
    const stream = createWebSocketStream(webSocket, { allowHalfOpen: false })
    return { webSocket: webSocket as WebSocket, ...accept(stream, changes, { webSocket, remoteAddress }) }
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

const CONNACK = bytesOf({ cmd: 'connack', returnCode: 0, sessionPresent: false })
const WILDCARD_PUBLISH = Buffer.from([0x30, 4, 0, 1, 0x23, 0x78])
const publish = (payload: Buffer): Buffer =>
  bytesOf({ cmd: 'publish', topic: 'a', payload, qos: 0, dup: false, retain: false })
const DISCONNECT = bytesOf({ cmd: 'disconnect' })

t.test('gives a payload of many chunks, and sends one of many slices', async t => {
  const { accepted, port } = await startServer(t, { maxBufferedBytes: 16 * MB })
  const client = await connectRaw(t, port)
  const { transport, seen } = await accepted
  const answer = readToEnd(client)
  const large = Buffer.from(Array.from({ length: 5 * MB }, (_, i) => i % 251))
  client.write(Buffer.concat([CONNECT, publish(large)]))
  await seen.until('3')
  t.ok(seen.bodies[0]?.subarray(3).equals(large))
  transport.send(large)
  transport.destroy()
  t.ok((await answer).equals(Buffer.concat([CONNACK, large])))
})

t.test('carries MQTT over WebSocket, and knows the address of the client', async t => {
  const { accepted, port } = await startWebSockets(t)
  const client = new WebSocket(`ws://127.0.0.1:${port}`)
  t.teardown(() => client.terminate())
  const { transport, seen } = await accepted
  const [frame] = await Promise.all([
    once(client, 'message'),
    once(client, 'open').then(() => client.send(CONNECT)),
  ])
  t.same(frame[0], CONNACK)
  client.send(publish(Buffer.alloc(MB, 'w')))
  await seen.until('3')
  client.close()
  await seen.until('ended')
  t.same(seen.log, ['connect', '3', 'ended'])
  t.equal(transport.remoteAddress, '127.0.0.1')
})

t.test('knows the address of the client, also when it has gone', async t => {
  const { accepted, port } = await startServer(t)
  const client = await connectRaw(t, port)
  const { transport, seen } = await accepted
  client.destroy()
  await seen.until('ended')
  t.equal(transport.remoteAddress, '127.0.0.1')
})

t.test('lets what was written in the turn of destroy reach the client', async t => {
  const { accepted, port } = await startServer(t)
  const client = await connectRaw(t, port)
  const answer = readToEnd(client)
  const { transport, seen } = await accepted
  client.write(CONNECT)
  await seen.until('connect')
  transport.send(Buffer.alloc(300_000, 'a'))
  transport.send(Buffer.from('z'))
  transport.destroy()
  t.same(await answer, Buffer.concat([CONNACK, Buffer.alloc(300_000, 'a'), Buffer.from('z')]))
})

const REFUSED: readonly (readonly [string, Buffer, Buffer])[] = [
  [
    'an empty client id without clean session',
    Buffer.from([0x10, 12, 0, 4, ...Buffer.from('MQTT'), 4, 0, 0, 0, 0, 0]),
    Buffer.from([0x20, 2, 0, 2]),
  ],
  [
    'a version that is not there, with much more behind',
    Buffer.concat([
      Buffer.from([0x10, 12, 0, 4, ...Buffer.from('MQTT'), 0x84, 0, 0, 0, 0, 0]),
      Buffer.alloc(4 * MB),
    ]),
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
    const { accepted, port } = await startServer(t)
    const client = await connectRaw(t, port)
    const received = readToEnd(client)
    const { seen } = await accepted
    client.write(input)
    t.same(await received, answer)
    t.same(seen.log, ['malformed', 'ended'])
  })
}

t.test('gives what came before a malformed packet, then closes', async t => {
  const { accepted, port } = await startServer(t)
  const client = await connectRaw(t, port)
  const received = readToEnd(client)
  const { seen } = await accepted
  const good = publish(Buffer.from('p'))
  client.write(CONNECT)
  await seen.until('connect')
  client.write(Buffer.concat([good, WILDCARD_PUBLISH, good]))
  t.same(await received, CONNACK)
  t.same(seen.log, ['connect', '3', 'malformed', 'ended'])
  t.same(seen.clauses, ['[MQTT-4.7.1-1]'])
})

t.test('closes on a client that never closes itself', async t => {
  const { accepted, port } = await startServer(t, { group: new WriteGroup(20) })
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

t.test('holds a client back, and loses nothing of what it sent', async t => {
  const { accepted, port } = await startServer(t)
  const client = await connectRaw(t, port)
  const { socket, transport, seen } = await accepted
  const numbers = Array.from({ length: 400 }, (_, i) => i % 256)
  client.write(CONNECT)
  await seen.until('connect')
  const paused = once(socket, 'pause')
  transport.holdInput()
  client.write(Buffer.concat(numbers.map(n => publish(Buffer.alloc(20_000, n)))))
  await paused
  await turn()
  t.same(seen.log, ['connect'])
  transport.releaseInput()
  while (seen.bodies.length < numbers.length) await turn()
  t.same(
    seen.bodies.map(body => body[3]),
    numbers,
  )
})

t.test('closes a connection whose input is held back as soon as the client does', async t => {
  const { accepted, port } = await startServer(t)
  const client = await connectRaw(t, port)
  const { socket, transport, seen } = await accepted
  seen.answers = false
  const answer = readToEnd(client)
  const paused = once(socket, 'pause')
  client.write(Buffer.concat([CONNECT, ...Array.from({ length: 4 }, () => publish(Buffer.alloc(MB)))]))
  await paused
  transport.send(Buffer.from('bye'))
  transport.destroy()
  await closeOf(socket)
  t.equal(String(await answer), 'bye')
})

t.test('cuts off a client that takes nothing, and says so once', async t => {
  const { accepted, port } = await startServer(t, { group: new WriteGroup(100) })
  const client = await connectRaw(t, port)
  client.pause()
  const { transport, seen } = await accepted
  for (let i = 0; i < 20; i++) transport.send(Buffer.alloc(MB))
  await seen.until('ended')
  t.same(
    seen.log.filter(what => what !== 'drained'),
    ['stalled', 'ended'],
  )
})

t.test('cuts off a WebSocket client that takes nothing without waiting for its handshake', async t => {
  const { accepted, port } = await startWebSockets(t, { group: new WriteGroup(100) })
  const client = new WebSocket(`ws://127.0.0.1:${port}`)
  t.teardown(() => client.terminate())
  client.on('open', () => client.pause())
  const { webSocket, transport, seen } = await accepted
  const closed = closeOf(webSocket)
  for (let i = 0; i < 20; i++) transport.send(Buffer.alloc(MB))
  await closed
  t.equal(seen.log.filter(what => what === 'stalled').length, 1)
})

t.test('does not take for written what a closing WebSocket drops', async t => {
  const { accepted, port } = await startWebSockets(t)
  const client = new WebSocket(`ws://127.0.0.1:${port}`)
  t.teardown(() => client.terminate())
  const { webSocket, transport } = await accepted
  webSocket.close()
  transport.send(Buffer.from('a'))
  t.match(await new Promise(resolve => transport.flushed(resolve)), { message: 'connection closed' })
})

t.test('holds a WebSocket client back, and gives what came before it closed', async t => {
  const { accepted, port } = await startWebSockets(t)
  const client = new WebSocket(`ws://127.0.0.1:${port}`)
  t.teardown(() => client.terminate())
  const { webSocket, transport, seen } = await accepted
  if (client.readyState !== client.OPEN) await once(client, 'open')
  client.send(CONNECT)
  await seen.until('connect')
  transport.holdInput()
  for (let i = 0; i < 400; i++) client.send(publish(Buffer.alloc(20_000)))
  client.close()
  while (!webSocket.isPaused) await turn()
  t.equal(seen.bodies.length, 0)
  transport.releaseInput()
  await seen.until('ended')
  t.equal(seen.bodies.length, 400)
})

t.test('a client that resets its connection ends it', async t => {
  const { accepted, port } = await startServer(t)
  const client = await connectRaw(t, port)
  const { seen } = await accepted
  client.write(CONNECT)
  await seen.until('connect')
  client.resetAndDestroy()
  await seen.until('ended')
  t.match(seen.errors, [{ code: 'ECONNRESET' }])
})

t.test(
  'a DISCONNECT behind a CONNECT that is not answered is read when it is, also if the client has gone',
  async t => {
    const { accepted, port } = await startServer(t)
    const client = await connectRaw(t, port)
    const { transport, seen } = await accepted
    seen.answers = false
    client.end(Buffer.concat([CONNECT, publish(Buffer.from('p')), DISCONNECT]))
    await seen.until('connect')
    t.notOk(transport.hasDisconnected)
    transport.send(CONNACK)
    await seen.until('ended')
    t.ok(transport.hasDisconnected)
    t.same(seen.log, ['connect', '3', '14', 'ended'])
  },
)
