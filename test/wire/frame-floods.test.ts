/**
 * Of one read of a WebSocket, few frames are processed if the client has no login and its connection waits or has
 * ended.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { ClientSocket } from '../../src/json/socket.js'
import { PausableWebSocket } from '../../src/net/websocket.js'
import { jsonClient, loggedIn, startGateway } from '../helpers/gateway.js'

/** A client's frame with an all-zero mask (RFC 6455 5.2). */
const frame = (opcode: number, payload: readonly number[] | string): Buffer =>
  Buffer.concat([Buffer.of(0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0), Buffer.from(payload as string)])

const filled = (one: Buffer) => Buffer.concat(Array(Math.ceil(65_536 / one.length)).fill(one))

/** How many frames the gateway's sockets have parsed. */
function framesFound(t: Test): () => number {
  const { emit } = PausableWebSocket.prototype
  let count = 0
  const { message, control } = ClientSocket.prototype
  t.intercept(ClientSocket.prototype, 'message', {
    value: function (this: ClientSocket, ...args: Parameters<typeof message>) {
      count++
      message.apply(this, args)
    },
  })
  t.intercept(ClientSocket.prototype, 'control', {
    value: function (this: ClientSocket, ...args: Parameters<typeof control>) {
      count++
      control.apply(this, args)
    },
  })
  PausableWebSocket.prototype.emit = function (this: PausableWebSocket, name: string, ...args: unknown[]) {
    if (name === 'message' || name === 'ping' || name === 'pong') count++
    return Reflect.apply(emit, this, [name, ...args])
  } as typeof emit
  t.teardown(() => {
    PausableWebSocket.prototype.emit = emit
  })
  return () => count
}

/** CONNECT of 32 KB, of which the frames bring a byte each. */
const CONNECT = frame(2, [0x10, 0xff, 0xff, 1, 0, 4, 77, 81, 84, 84, 4, 0xc6, 0, 60, 0, 255])
/** One that is looked up, with bytes behind it. */
const GUESS = frame(2, [0x10, 19, 0, 4, 77, 81, 84, 84, 4, 0xc2, 0, 60, 0, 1, 97, 0, 1, 98, 0, 1, 99])

const FLOODS = {
  'requests that are none': { path: '/', sent: filled(frame(1, '1')), most: 500 },
  'binary frames': { path: '/', sent: filled(frame(2, '1')), most: 500 },
  pings: { path: '/', sent: filled(frame(9, '')), most: 1100 },
  pongs: { path: '/', sent: filled(frame(10, '')), most: 1100 },
  'frames of one byte': { path: '/mqtt', sent: Buffer.concat([CONNECT, filled(frame(2, '1'))]), most: 1100 },
  'empty frames': { path: '/mqtt', sent: filled(frame(2, '')), most: 1100 },
  'frames behind CONNECT': { path: '/mqtt', sent: Buffer.concat([GUESS, filled(frame(2, '1'))]), most: 2200 },
  'text frames': { path: '/mqtt', sent: filled(frame(1, '1')), most: 1100 },
}

for (const [name, { path, sent, most }] of Object.entries(FLOODS))
  t.test(`64 KiB of ${name} to ${path}: only a few are processed`, async t => {
    const gateway = await startGateway(t, { 'limits.exempt': '203.0.113.1', 'limits.controlFrames': 10 })
    const found = framesFound(t)
    const socket = connect(gateway.httpPort, '127.0.0.1').on('error', () => undefined)
    t.teardown(() => socket.destroy())
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
        `Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n`,
    )
    await once(socket, 'data')
    socket.resume().write(sent)
    const innocent = await loggedIn(t, gateway)
    for (let i = 0; i < 20; i++) await innocent.action('query', { email: 'a@b.example' })
    t.ok(found() > 0 && found() <= most, `${found()} were found`)
  })

t.test('waiting frames are processed later, completely and in order', async t => {
  const gateway = await startGateway(t)
  const client = await jsonClient(t, gateway)
  const ids = Array.from({ length: 500 }, (_, i) => String(i))
  const request = { type: 'action', action: 'query', data: { email: 'a@b.example' } }
  const socket = Reflect.get(client.ws, '_socket')
  socket.write(Buffer.concat(ids.map(id => frame(1, JSON.stringify({ ...request, id })))))
  const answered: unknown[] = []
  for (const _ of ids) answered.push((await client.next()).id)
  t.same(answered, ids)
})
