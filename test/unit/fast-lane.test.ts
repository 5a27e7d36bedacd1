import { Duplex } from 'node:stream'
import mqttPacket, { type Packet } from 'mqtt-packet'
import t from 'tap'
import type { AedesClient } from '../../src/mqtt/aedes/client.js'
import { FastLane } from '../../src/mqtt/fast-lane.js'
import { MqttTransport } from '../../src/mqtt/wire/transport.js'
import { bytesOf, CONNECT, nothingSeen, options, turn } from '../helpers/transport.js'

const INBOX = 'users/123456789/inbox'

class Socket extends Duplex {
  written = Buffer.alloc(0)
  isTaking = true
  #taken: (() => void) | undefined

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.written = Buffer.concat([this.written, chunk])
    if (this.isTaking) done()
    else this.#taken = done
  }

  accept(): void {
    this.#taken?.()
  }
}

interface Published {
  readonly messageId?: number | undefined
  readonly dup?: boolean
  readonly payload: string | Buffer
  readonly done: (error?: Error | null) => void
}

/**
 * A lane behind its transport. Packets that it takes are logged as `lane <id>`, those that it leaves as `aedes <id>`.
 */
function setUp(changes = {}) {
  const socket = new Socket()
  const transport = new MqttTransport(socket, options(nothingSeen(), changes))
  const log: string[] = []
  const published: Published[] = []
  const errors: Error[] = []
  const client = {
    closed: false,
    emit: (_event: string, error: Error) => errors.push(error),
  }
  const lane = new FastLane(client as unknown as AedesClient, transport, {
    publish: (packet, done) => {
      log.push(`lane ${packet.messageId}`)
      published.push({ ...packet, done })
    },
    hasTooMuchWaiting: false,
    acknowledged: packetId => void log.push(`lane ${packetId}`),
  })
  const parser = mqttPacket.parser()
  parser.on('packet', (packet: Packet) => {
    if (packet.cmd !== 'connect') log.push(`aedes ${packet.messageId ?? packet.cmd}`)
  })
  const readAedes = () => {
    const bytes = transport.read()
    if (bytes !== null) parser.parse(bytes)
  }
  socket.push(CONNECT)
  transport.once('readable', readAedes)
  return { socket, transport, lane, client, log, published, errors, readAedes }
}

/** The same with CONNECT read and the lane open. */
async function open(changes = {}) {
  const parts = setUp(changes)
  await turn()
  parts.transport.send(bytesOf({ cmd: 'connack', returnCode: 0, sessionPresent: false }))
  await turn()
  parts.socket.written = Buffer.alloc(0)
  parts.transport.openLane(parts.lane)
  return parts
}

const message = (messageId: number, changes: Partial<Packet> = {}): Packet =>
  ({
    cmd: 'publish',
    topic: INBOX,
    payload: 'x',
    qos: 1,
    dup: false,
    retain: false,
    messageId,
    ...changes,
  }) as Packet
/** Waiting input is processed in the next turn. */
const twoTurns = async (): Promise<void> => {
  await turn()
  await turn()
}
const puback = (messageId: number): Packet => ({ cmd: 'puback', messageId })

t.test('takes QoS 1 messages to an inbox and the PUBACKs of inbox packets', async t => {
  const { socket, log, published } = await open()
  socket.push(bytesOf(message(1), puback(0x8000), message(2, { dup: true, payload: '' }), puback(0xffff)))
  await turn()
  t.same(log, ['lane 1', 'lane 32768', 'lane 2', 'lane 65535'])
  t.match(published, [
    { cmd: 'publish', topic: INBOX, payload: Buffer.from('x'), qos: 1, dup: false, retain: false },
    { dup: true, payload: Buffer.from('') },
  ])
})

const OTHERS: readonly [string, Packet][] = [
  ['a retained message', message(1, { retain: true })],
  ['QoS 0', message(0, { qos: 0 })],
  ['QoS 2', message(1, { qos: 2 })],
  ['a message of the inbox', message(1, { topic: `${INBOX}/1` })],
  ['requests', message(1, { topic: 'users/123456789/requests' })],
  ['another topic of that length', message(1, { topic: 'x'.repeat(INBOX.length) })],
  ['an id that begins with 0', message(1, { topic: 'users/023456789/inbox' })],
  ['an id that is no number', message(1, { topic: 'users/12345678x/inbox' })],
  ['a PUBACK of a packet of Aedes', puback(0x7fff)],
  ['PUBREC', { cmd: 'pubrec', messageId: 0x8001 }],
  ['PUBREL', { cmd: 'pubrel', messageId: 0x8001 }],
  ['PUBCOMP', { cmd: 'pubcomp', messageId: 0x8001 }],
  ['PINGREQ', { cmd: 'pingreq' }],
]
for (const [name, packet] of OTHERS) {
  t.test(`leaves ${name} to Aedes, and what follows it in the same read`, async t => {
    const { socket, transport, log, readAedes } = await open()
    socket.push(bytesOf(message(7), packet, message(8), puback(0x8000)))
    t.same(log, ['lane 7'])
    socket.push(bytesOf(message(9)))
    t.same(log, ['lane 7'], 'also in the next read, while Aedes has not read the first')
    t.ok(transport.readableLength > 0)
    readAedes()
    await twoTurns()
    const others = [packet, message(8), puback(0x8000)]
    t.same(log, ['lane 7', ...others.map(one => `aedes ${one.messageId || one.cmd}`), 'lane 9'])
    socket.push(bytesOf(message(10)))
    t.equal(log.at(-1), 'lane 10')
  })
}

t.test('no packet overtakes another, however the bytes are split and whenever Aedes reads', async t => {
  const all = [1, 2, 3, 4, 5, 6, 7, 8].map(id => message(id, id % 4 === 0 ? { qos: 2 } : {}))
  const input = bytesOf(...all)
  for (let at = 0; at <= input.length; at++) {
    for (const readsBetween of [true, false]) {
      const { socket, log, readAedes } = await open()
      socket.push(input.subarray(0, at))
      if (readsBetween) readAedes()
      socket.push(input.subarray(at))
      for (let reads = 0; reads < 4; reads++) {
        readAedes()
        await twoTurns()
      }
      const order = log.map(line => Number(line.split(' ')[1]))
      if (order.join() !== '1,2,3,4,5,6,7,8') t.fail(`cut at ${at}: ${log.join(', ')}`)
    }
  }
  t.pass()
})

t.test('the lane takes packets that arrive byte by byte', async t => {
  const { socket, log } = await open()
  for (const byte of bytesOf(message(1), puback(0x8001), message(2))) socket.push(Buffer.from([byte]))
  t.same(log, ['lane 1', 'lane 32769', 'lane 2'])
})

t.test(
  'PUBACKs of one turn leave in one write, and a failure goes to the client as Aedes gives it',
  async t => {
    const { socket, published, errors } = await open()
    socket.push(bytesOf(message(1), message(0x1234), message(3)))
    for (const { done } of published.slice(0, 2)) done()
    t.equal(socket.written.length, 0)
    await turn()
    t.same(socket.written, bytesOf(puback(1), puback(0x1234)))
    const failure = new Error('not stored')
    published[2]?.done(failure)
    t.same(errors, [failure])
    await turn()
    t.equal(socket.written.length, 8)
  },
)

t.test('takes nothing for a client that is closed', async t => {
  const { socket, client, log } = await open()
  client.closed = true
  socket.push(bytesOf(message(1), puback(0x8000)))
  t.same(log, [])
})

t.test('does not read on while too much waits for the store', async t => {
  const { socket, published } = await open()
  socket.push(bytesOf(message(1), message(2, { payload: 'x'.repeat(70_000) })))
  t.equal(socket.isPaused(), true)
  published[0]?.done()
  t.equal(socket.isPaused(), true)
  published[1]?.done()
  t.equal(socket.isPaused(), false)
})

t.test('does not read on while the client does not take its PUBACKs', async t => {
  const { socket, transport, published } = await open({ maxBufferedBytes: 8 })
  socket.isTaking = false
  socket.push(bytesOf(message(1), message(2), puback(0x8000)))
  published[0]?.done()
  t.equal(socket.isPaused(), false)
  published[1]?.done()
  t.equal(transport.isCongested, true)
  t.equal(socket.isPaused(), true)
  await turn()
  socket.accept()
  t.equal(transport.isCongested, false)
  t.equal(socket.isPaused(), false)
})

t.test('does not process input until Aedes has room, too', async t => {
  const { socket, published, log, readAedes } = await open()
  socket.push(bytesOf(message(1, { payload: 'x'.repeat(70_000) }), message(2, { qos: 2 }), message(3)))
  await twoTurns()
  t.same(log, ['lane 1'], 'the store has not')
  published[0]?.done()
  await twoTurns()
  socket.push(bytesOf(message(4)))
  await twoTurns()
  t.same(log, ['lane 1'], 'Aedes has not')
  t.equal(socket.isPaused(), true)
  readAedes()
  await twoTurns()
  t.same(log, ['lane 1', 'aedes 2', 'aedes 3', 'lane 4'])
  t.equal(socket.isPaused(), false)
})

t.test('processes a bounded amount per turn, so that others get their turns', async t => {
  const { socket, log } = await open()
  socket.push(bytesOf(...Array.from({ length: 200 }, (_, i) => message(i + 1))))
  t.equal(log.length, 64)
  t.equal(socket.isPaused(), true)
  let turns = 1
  for (; log.length < 200; turns++) await turn()
  t.ok(turns >= 4)
  await twoTurns()
  t.equal(socket.isPaused(), false)
})

t.test('a held connection that ends drops the rest of its input', async t => {
  const { socket, transport, published } = await open()
  socket.push(bytesOf(message(1, { payload: 'x'.repeat(70_000) })))
  t.equal(socket.isPaused(), true)
  transport.destroy()
  t.equal(socket.isPaused(), false)
  published[0]?.done()
  await turn()
  t.equal(socket.written.length, 0)
})
