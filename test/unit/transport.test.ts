import { once } from 'node:events'
import { Duplex } from 'node:stream'
import t from 'tap'
import { MqttTransport } from '../../src/mqtt/wire/transport.js'
import { WriteGroup } from '../../src/mqtt/wire/write-group.js'
import { CONNECT, closeOf, MB, nothingSeen, options, turn } from '../helpers/transport.js'

/** A socket that completes writes on request. */
class ManualSocket extends Duplex {
  readonly writes: Buffer[] = []
  readonly #taken: (() => void)[] = []

  constructor(readonly isHolding = false) {
    super()
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.writes.push(chunk)
    if (this.isHolding) this.#taken.push(done)
    else done()
  }

  override _final(done: () => void): void {
    this.push(null)
    done()
  }

  accept(): void {
    this.#taken.shift()?.()
  }
}

t.test('writes once a turn, in the order of write and send', async t => {
  const group = new WriteGroup(600_000)
  const sockets = [new ManualSocket(), new ManualSocket()]
  const transports = sockets.map(socket => new MqttTransport(socket, options(nothingSeen(), { group })))
  for (const transport of transports) {
    transport.cork()
    transport.write('a')
    transport.write(Buffer.from('b'))
    transport.send(Buffer.from('c'))
    transport.uncork()
    transport.send([Buffer.from('d'), Buffer.from('e')])
    transport.write('66', 'hex')
  }
  t.same(
    sockets.map(socket => socket.writes.length),
    [0, 0],
  )
  await turn()
  t.same(
    sockets.map(socket => String(socket.writes)),
    ['abcdef', 'abcdef'],
  )
  transports[0]?.send(Buffer.from('g'))
  await turn()
  t.same(
    sockets.map(socket => socket.writes.length),
    [2, 1],
  )
})

t.test('is congested from its limit until half of it is taken, then emits drain', async t => {
  const socket = new ManualSocket(true)
  const transport = new MqttTransport(socket, options(nothingSeen(), { maxBufferedBytes: 200_000 }))
  t.equal(transport.write(Buffer.alloc(100_000)), true)
  t.equal(transport.send(Buffer.alloc(100_000)), false)
  t.equal(transport.write('x'), false)
  t.equal(transport.isCongested, true)
  t.equal(transport.bufferedBytes, 200_001)
  await turn()
  t.equal(transport.bufferedBytes, 200_001)
  const drained = once(transport, 'drain')
  while (transport.bufferedBytes > 100_000) {
    t.equal(transport.isCongested, true)
    socket.accept()
    await turn()
  }
  await drained
  t.equal(transport.isCongested, false)
  t.equal(transport.send(Buffer.from('y')), true)
})

t.test('calls flushed and write back when the socket took what was written before', async t => {
  const socket = new ManualSocket(true)
  const transport = new MqttTransport(socket, options(nothingSeen()))
  const order: string[] = []
  transport.flushed(() => order.push('nothing'))
  transport.write('a', () => order.push('a'))
  await turn()
  transport.write('b', 'utf8', () => order.push('b'))
  transport.flushed(() => order.push('flushed'))
  await turn()
  t.same(order, ['nothing'])
  socket.accept()
  await turn()
  t.same(order, ['nothing', 'a'])
  await turn()
  socket.accept()
  t.same(order, ['nothing', 'a', 'b', 'flushed'])
})

t.test('calls flushed and write back with an error when the connection ends before', async t => {
  const transport = new MqttTransport(new ManualSocket(true), options(nothingSeen()))
  const outcome = new Promise(resolve => transport.flushed(resolve))
  const written = new Promise(resolve => transport.write('a', resolve))
  const flushed = new Promise(resolve => transport.flushed(resolve))
  transport.destroy()
  t.equal(await outcome, undefined)
  t.match(await written, { message: 'connection closed' })
  t.match(await flushed, { message: 'connection closed' })
  t.match(await new Promise(resolve => transport.flushed(resolve)), { message: 'connection closed' })
  t.match(await new Promise(resolve => transport.write('late', resolve)), { message: 'connection closed' })
  t.equal(transport.send(Buffer.from('late')), false)
})

t.test('does not cut off a client that is slow but takes a slice now and then', async t => {
  const seen = nothingSeen()
  const group = new WriteGroup(600_000)
  const sweeps: (() => void)[] = []
  group.watch = sweep => sweeps.push(sweep)
  const socket = new ManualSocket(true)
  const transport = new MqttTransport(socket, options(seen, { group }))
  transport.send(Buffer.alloc(MB))
  await turn()
  const sweep = (times: number): void => {
    for (let i = 0; i < times; i++) for (const one of sweeps) one()
  }
  while (transport.bufferedBytes > 0) {
    sweep(4)
    socket.accept()
    await turn()
  }
  sweep(9)
  t.equal(seen.stalled, 0)
  transport.send(Buffer.from('x'))
  await turn()
  sweep(4)
  t.equal(seen.stalled, 0)
  sweep(9)
  t.equal(seen.stalled, 1)
  t.ok(socket.destroyed)
})

t.test('destroy closes the socket, and the socket closing destroys', async t => {
  const [first, second] = [new ManualSocket(), new ManualSocket()]
  const inward = new MqttTransport(first, options(nothingSeen()))
  const outward = new MqttTransport(second, options(nothingSeen()))
  const closed = [first, inward, second, outward].map(stream => closeOf(stream))
  inward.destroy()
  second.destroy(new Error('reset'))
  await Promise.all(closed)
  t.same(
    [first, inward, second, outward].map(stream => stream.destroyed),
    [true, true, true, true],
  )
  t.same(
    ['data', 'end'].map(event => first.listenerCount(event) + second.listenerCount(event)),
    [0, 0],
  )
})

t.test('an error of the socket is emitted once, and is no exception without a listener', async t => {
  const socket = new ManualSocket()
  const transport = new MqttTransport(socket, options(nothingSeen()))
  const silent = new MqttTransport(new ManualSocket(), options(nothingSeen()))
  const errors: Error[] = []
  transport.on('error', error => errors.push(error))
  socket.destroy(new Error('reset'))
  silent.destroy(new Error('nobody listens'))
  await closeOf(transport)
  t.same(
    errors.map(error => error.message),
    ['reset'],
  )
})

t.test('a socket that is closed already closes the transport', async t => {
  const socket = new ManualSocket()
  socket.destroy()
  await closeOf(socket)
  const transport = new MqttTransport(socket, options(nothingSeen()))
  await closeOf(transport)
  t.ok(transport.destroyed)
})

t.test('when a socket closes, its waiting callbacks are called and unread input is kept', async t => {
  const socket = new ManualSocket(true)
  const transport = new MqttTransport(socket, options(nothingSeen(), { maxBufferedBytes: 10 }))
  const errors: Error[] = []
  transport.on('error', error => errors.push(error))
  socket.push(CONNECT)
  transport.send(Buffer.alloc(20))
  const flushed = new Promise(resolve => transport.flushed(resolve))
  await once(transport, 'readable')
  const drained = once(transport, 'drain')
  socket.destroy()
  await drained
  t.match(await flushed, { message: 'connection closed' })
  t.equal(transport.destroyed, false)
  t.equal(transport.send(Buffer.alloc(20)), true)
  t.match(await new Promise(resolve => transport.flushed(resolve)), { message: 'connection closed' })
  t.same(transport.read(), CONNECT)
  transport.resume()
  await closeOf(transport)
  t.same(errors, [])
})

t.test('destroy does not write to a socket that has ended, and lets it finish what it has', async t => {
  const socket = new ManualSocket(true)
  const transport = new MqttTransport(socket, options(nothingSeen()))
  socket.on('error', error => t.fail(error.message))
  transport.send(Buffer.from('a'))
  await turn()
  socket.end()
  transport.send(Buffer.from('b'))
  transport.destroy()
  await closeOf(transport)
  t.equal(socket.destroyed, false)
  const closed = closeOf(socket)
  socket.accept()
  await closed
  t.equal(String(socket.writes), 'a')
})
