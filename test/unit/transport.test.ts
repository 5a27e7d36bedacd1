import { Duplex } from 'node:stream'
import t from 'tap'
import { MqttTransport, type TransportOptions } from '../../src/mqtt/wire/transport.js'
import { type Sweeper, WriteGroup } from '../../src/mqtt/wire/write-group.js'
import { CONNECT, closeOf, MB, options, Recorder, turn } from '../helpers/transport.js'

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

function open(socket: Duplex, changes: Partial<TransportOptions> = {}) {
  const transport = new MqttTransport(socket, options(changes))
  const seen = new Recorder(transport)
  transport.start(seen)
  return { transport, seen }
}

t.test('writes once a turn, in the order of the calls', async t => {
  const group = new WriteGroup(600_000)
  const sockets = [new ManualSocket(), new ManualSocket()]
  const transports = sockets.map(socket => open(socket, { group }).transport)
  for (const transport of transports) for (const text of ['a', 'b', 'cd']) transport.send(Buffer.from(text))
  const writes = () => sockets.map(socket => socket.writes.length)
  t.same(writes(), [0, 0])
  await turn()
  t.same(
    sockets.map(socket => String(socket.writes)),
    ['abcd', 'abcd'],
  )
  transports[0]?.send(Buffer.from('e'))
  await turn()
  t.same(writes(), [2, 1])
})

t.test('what is larger than the client takes is not sent, and is told once', async t => {
  const socket = new ManualSocket(true)
  const { transport, seen } = open(socket)
  transport.send(Buffer.from('large'))
  transport.limitPackets(4)
  t.equal(transport.send(Buffer.from('large')), false)
  transport.send(Buffer.from('large'))
  transport.send(Buffer.from('four'))
  await turn()
  t.equal(String(socket.writes), 'largefour')
  t.same(seen.log, ['too large'])
})

t.test('is congested from its limit until half of it is taken, then says so', async t => {
  const socket = new ManualSocket(true)
  const { transport, seen } = open(socket, { maxBufferedBytes: 200_000 })
  t.equal(transport.send(Buffer.alloc(100_000)), true)
  await transport.drained()
  t.equal(transport.send(Buffer.alloc(100_000)), false)
  t.equal(transport.isCongested, true)
  t.equal(transport.bufferedBytes, 200_000)
  const drained = transport.drained()
  await turn()
  while (transport.bufferedBytes > 100_000) {
    t.equal(transport.isCongested, true)
    socket.accept()
    await turn()
  }
  await drained
  t.equal(transport.isCongested, false)
  t.same(seen.log, ['drained'])
  t.equal(transport.send(Buffer.from('y')), true)
})

t.test('calls flushed back when the socket took what was written before', async t => {
  const socket = new ManualSocket(true)
  const { transport } = open(socket)
  const order: string[] = []
  transport.flushed(() => order.push('nothing'))
  transport.send(Buffer.from('a'))
  transport.flushed(() => order.push('a'))
  await turn()
  transport.send(Buffer.from('b'))
  transport.flushed(() => order.push('b'))
  await turn()
  t.same(order, ['nothing'])
  socket.accept()
  await turn()
  t.same(order, ['nothing', 'a'])
  await turn()
  socket.accept()
  t.same(order, ['nothing', 'a', 'b'])
})

t.test('calls flushed back with an error when the connection ends before', async t => {
  const { transport } = open(new ManualSocket(true))
  const outcome = new Promise(resolve => transport.flushed(resolve))
  transport.send(Buffer.from('a'))
  const flushed = new Promise(resolve => transport.flushed(resolve))
  transport.destroy()
  t.equal(await outcome, undefined)
  t.match(await flushed, { message: 'connection closed' })
  t.match(await new Promise(resolve => transport.flushed(resolve)), { message: 'connection closed' })
  t.equal(transport.send(Buffer.from('late')), false)
})

t.test('does not cut off a client that is slow but takes a slice now and then', async t => {
  const group = new WriteGroup(600_000)
  const sweepers: Sweeper[] = []
  group.watch = sweeper => sweepers.push(sweeper)
  const socket = new ManualSocket(true)
  const { transport, seen } = open(socket, { group, maxBufferedBytes: 2 * MB })
  transport.send(Buffer.alloc(MB))
  await turn()
  const sweep = (times: number): void => {
    for (let i = 0; i < times; i++) for (const one of sweepers) one.sweep()
  }
  while (transport.bufferedBytes > 0) {
    sweep(4)
    socket.accept()
    await turn()
  }
  sweep(9)
  t.same(seen.log, [])
  transport.send(Buffer.from('x'))
  await turn()
  sweep(4)
  t.same(seen.log, [])
  sweep(9)
  t.same(seen.log, ['stalled', 'ended'])
  t.ok(socket.destroyed)
})

t.test('destroy closes the socket, and the socket closing ends the connection', async t => {
  const [first, second] = [new ManualSocket(), new ManualSocket()]
  const inward = open(first)
  const outward = open(second)
  const closed = [first, second].map(stream => closeOf(stream))
  inward.transport.destroy()
  t.same(inward.seen.log, ['ended'], 'at once')
  second.destroy(new Error('reset'))
  await Promise.all(closed)
  t.same(outward.seen.log, ['failed', 'ended'])
  t.match(outward.seen.errors, [{ message: 'reset' }])
  t.same(
    ['data', 'end'].map(event => first.listenerCount(event) + second.listenerCount(event)),
    [0, 0],
  )
})

t.test('a socket that is closed already ends the connection', async t => {
  const socket = new ManualSocket()
  socket.destroy()
  await closeOf(socket)
  const { transport, seen } = open(socket)
  await seen.until('ended')
  t.ok(transport.isDestroyed)
})

t.test(
  'when a socket closes, those who wait are called, and input that is held is handled first',
  async t => {
    const socket = new ManualSocket(true)
    const { transport, seen } = open(socket, { maxBufferedBytes: 10 })
    seen.answers = false
    socket.push(Buffer.concat([CONNECT, Buffer.of(0xc0, 0)]))
    await seen.until('connect')
    transport.holdInput()
    transport.send(Buffer.alloc(20))
    const flushed = new Promise(resolve => transport.flushed(resolve))
    await turn()
    socket.destroy()
    await seen.until('drained')
    t.match(await flushed, { message: 'connection closed' })
    t.equal(transport.isGone, true)
    t.equal(transport.isDestroyed, false)
    t.equal(transport.send(Buffer.alloc(20)), true)
    t.match(await new Promise(resolve => transport.flushed(resolve)), { message: 'connection closed' })
    transport.releaseInput()
    await seen.until('ended')
    t.same(seen.log, ['connect', 'drained', '12', 'ended'])
  },
)

t.test('destroy does not write to a socket that has ended, and lets it finish what it has', async t => {
  const socket = new ManualSocket(true)
  const { transport, seen } = open(socket)
  socket.on('error', error => t.fail(error.message))
  transport.send(Buffer.from('a'))
  await turn()
  socket.end()
  transport.send(Buffer.from('b'))
  transport.destroy()
  t.same(seen.log, ['ended'])
  t.equal(socket.destroyed, false)
  const closed = closeOf(socket)
  socket.accept()
  await closed
  t.equal(String(socket.writes), 'a')
})

t.test('a handler that throws is reported by where it was called, and ends the connection', async t => {
  const faults: string[] = []
  const onFault = (where: string) => void faults.push(where)
  const cases: [where: string, method: keyof Recorder, provoke: (socket: Duplex) => void][] = [
    ['mqtt.packet', 'connect', socket => socket.push(CONNECT)],
    ['mqtt.packet', 'malformed', socket => socket.push(Buffer.of(0xf0, 0))],
    ['mqtt.end', 'ended', socket => socket.destroy()],
    ['mqtt.end', 'failed', socket => socket.destroy(new Error('reset'))],
  ]
  for (const [where, method, provoke] of cases) {
    const socket = new ManualSocket()
    const { transport, seen } = open(socket, { onFault })
    Object.assign(seen, {
      [method]: () => {
        throw new Error('planted')
      },
    })
    provoke(socket)
    while (!transport.isDestroyed) await turn()
    t.same(faults.splice(0), [where], method)
  }
})
