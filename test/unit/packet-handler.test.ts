/** Packets reach their commands in order, and a client with too much under way is not read. Over a socket in this process. */
import { Duplex } from 'node:stream'
import type { Packet } from 'mqtt-packet'
import t from 'tap'
import { GatewayError } from '../../src/core/errors.js'
import type { Receipt } from '../../src/mqtt/acknowledgements.js'
import { commandOf, isOrdered, nameOf } from '../../src/mqtt/commands.js'
import type { ConnectParts } from '../../src/mqtt/connect-parts.js'
import type { MqttConnection } from '../../src/mqtt/connection.js'
import { tooLarge } from '../../src/mqtt/failure.js'
import { acknowledged, received, released } from '../../src/mqtt/handshake.js'
import { leave } from '../../src/mqtt/leave.js'
import { PacketHandler } from '../../src/mqtt/packet-handler.js'
import { recordLogin } from '../../src/mqtt/record-login.js'
import { encodeConnack } from '../../src/mqtt/wire/encode.js'
import { MalformedPacket } from '../../src/mqtt/wire/packet-rules.js'
import { TERMS4 } from '../../src/mqtt/wire/terms.js'
import { MqttTransport } from '../../src/mqtt/wire/transport.js'
import { bytesOf, CONNECT, options, turn } from '../helpers/transport.js'

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
  readonly done: (error?: Error | null) => void
}

const opened: MqttTransport[] = []
t.teardown(() => {
  for (const transport of opened) transport.destroy()
})

/** A handler behind its transport, CONNECT answered. What its connection is asked for is logged. */
async function open(changes = {}, state: object = {}) {
  const socket = new Socket()
  const transport = new MqttTransport(socket, options(changes))
  opened.push(transport)
  const log: string[] = []
  const published: Published[] = []
  const connection = {
    id: 'ann:a',
    clean: false,
    terms: TERMS4,
    isAccepted: true,
    settled: () => undefined,
    dismiss: () => transport.destroy(),
    keepFor: () => true,
    transport,
    hasTooMuchWaiting: false,
    publish: ({ messageId }: { messageId?: number }, receipt: Receipt) => {
      log.push(`publish ${messageId}`)
      published.push({ done: error => receipt.settle(error) })
    },
    acknowledged: (packetId: number) => void log.push(`inbox ${packetId}`),
    endsFor: (reason: string) => void log.push(reason),
    fail: ({ message }: Error) => {
      log.push(`failed: ${message}`)
      transport.destroy()
    },
    ended: () => void log.push('ended'),
    link: { guest: { left: () => undefined } },
    unreleasedCount: 0,
  }
  const parts = {
    options: { connectTimeoutMs: 100_000 },
    state,
    topics: { released: async (packetId: number) => void log.push(`released ${packetId}`) },
    services: {
      log: { info: () => undefined, warn: () => undefined },
      limits: { count: (limit: string) => log.push(limit), entrance: { enter: (job: () => void) => job() } },
      authenticator: {
        since: () => {
          throw new Error('CONNECT is not looked at')
        },
      },
    },
    metrics: {
      connections: { dec: () => undefined },
      refusedPackets: { inc: () => undefined },
      closed: { inc: () => undefined },
    },
    faults: { report: (where: string) => log.push(`fault: ${where}`) },
    connections: { remove: () => undefined },
    wills: { connectionEnded: () => undefined },
    expiry: { left: () => undefined },
  }
  const handler = new PacketHandler(parts as unknown as ConnectParts, connection as unknown as MqttConnection)
  Object.assign(handler, { connect: () => transport.send(encodeConnack(false)) })
  transport.start(handler)
  socket.push(CONNECT)
  await twoTurns()
  socket.written = Buffer.alloc(0)
  return { socket, transport, handler, connection, parts, log, published }
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

t.test('packets are handled in the turn in which they come, in order, however they are split', async t => {
  const input = bytesOf(message(1), puback(0x8000), message(2, { qos: 2 }), message(3), puback(0xffff))
  const all = ['publish 1', 'inbox 32768', 'publish 2', 'publish 3', 'inbox 65535']
  for (let at = 0; at <= input.length; at++) {
    const { socket, log } = await open()
    socket.push(input.subarray(0, at))
    socket.push(input.subarray(at))
    if (log.join() !== all.join()) t.fail(`cut at ${at}: ${log.join(', ')}`)
  }
  const { socket, log } = await open()
  for (const byte of input) socket.push(Buffer.from([byte]))
  t.same(log, all, 'byte by byte')
})

t.test('PUBACK and PUBREC of one turn leave in one write; a failure closes the connection', async t => {
  const { socket, published, log } = await open()
  socket.push(bytesOf(message(1), message(0x1234, { qos: 2 }), message(0, { qos: 0 }), message(3)))
  for (const { done } of published.slice(0, 3)) done()
  t.equal(socket.written.length, 0)
  await turn()
  t.same(socket.written, bytesOf(puback(1), { cmd: 'pubrec', messageId: 0x1234 }))
  published[3]?.done(new Error('not stored'))
  t.same(log.slice(-2), ['failed: not stored', 'ended'])
  await turn()
  t.equal(socket.written.length, 8)
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

t.test('does not read on while the sender has too much waiting on other connections', async t => {
  const { socket, published, connection } = await open()
  connection.hasTooMuchWaiting = true
  socket.push(bytesOf(message(1)))
  t.equal(socket.isPaused(), true)
  published[0]?.done()
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

t.test('a store that fails closes the connection; what else is thrown is a fault', async t => {
  const fails = async (thrown: Error) => {
    const outgoing = { acknowledged: async () => Promise.reject(thrown) }
    const { socket, log } = await open({}, { outgoing })
    socket.push(bytesOf(puback(7)))
    await twoTurns()
    return log
  }
  t.match(await fails(new GatewayError('STORE_UNAVAILABLE')), [/^failed: /, 'ended'])
  t.same(await fails(new TypeError('bug')), ['fault: mqtt.packet', 'ended'])
  const { connection, socket, log } = await open()
  Object.assign(connection, { publish: undefined })
  socket.push(bytesOf(message(1)))
  t.same(log, ['fault: mqtt.publish', 'ended'])
})

t.test('CONNECT that comes too late is counted; what throws in CONNECT is a fault', async t => {
  const { parts, connection, log, transport } = await open()
  const late = new PacketHandler(
    { ...parts, options: { connectTimeoutMs: 1 } } as unknown as ConnectParts,
    connection as unknown as MqttConnection,
  )
  while (!transport.isDestroyed) await turn()
  t.same(log.slice(0, 2), ['mqtt.connectTimeout', 'failed: connect did not arrive in time'])
  late.connect({} as never)
  await turn()
  t.ok(log.includes('fault: mqtt.connect'))
})

t.test('the end of a connection has its reason in the log', async t => {
  const { handler, log } = await open()
  handler.stalled()
  handler.malformed(new MalformedPacket('packet too large', 'maxPacketBytes'))
  handler.silent()
  t.same(log, [
    'stalled',
    'malformed',
    'mqtt.maxPacketBytes',
    'ended',
    'keep-alive',
    'failed: keep alive timeout',
  ])
})

t.test('PINGREQ is answered; DISCONNECT ends the connection, and nothing behind it counts', async t => {
  const { socket, log, transport } = await open()
  socket.push(bytesOf({ cmd: 'pingreq' }, { cmd: 'disconnect' }, message(1)))
  t.ok(transport.hasDisconnected)
  t.same(log, ['ended', 'malformed'])
  await turn()
  t.same(socket.written, bytesOf({ cmd: 'pingresp' }))
})

t.test('which packets have a command, and their names', async t => {
  t.same([0x82, 0xa2, 0x40, 0x62].map(isOrdered), [true, true, false, false])
  t.same([0x82, 0xa2, 0x3b, 0x30, 0xc0].map(nameOf), [
    'mqtt.subscribe',
    'mqtt.unsubscribe',
    'mqtt.publish',
    'mqtt.publish',
    'mqtt.packet',
  ])
  t.throws(
    () => commandOf({} as never, { terms: TERMS4 } as never, 0x20, Buffer.alloc(2), 0, 2),
    /no command/,
  )
})

// ── the hand-shakes ───────────────────────────────────────────────────────────────────────────────────────

function shaking(clean: boolean) {
  const log: string[] = []
  const outgoing = {
    acknowledged: async (id: string, packetId: number) => void log.push(`store ${id} ${packetId}`),
    update: async (_client: object, { cmd, messageId }: { cmd: string; messageId: number }) =>
      void log.push(`store ${cmd} ${messageId}`),
  }
  const topics = {
    released: async (packetId: number) => {
      log.push(`forget ${packetId}`)
      return true
    },
  }
  const connection = {
    id: 'ann:a',
    clean,
    terms: TERMS4,
    settled: () => undefined,
    acknowledged: (packetId: number) => void log.push(`inbox ${packetId}`),
    released: async (packetId: number) => void log.push(`inbox released ${packetId}`),
    transport: { send: (bytes: Buffer) => void log.push(bytes.toString('hex')) },
  }
  const parts = { state: { outgoing }, topics }
  return { log, args: [parts, connection] as never as [ConnectParts, MqttConnection] }
}

t.test('PUBACK and PUBCOMP: packets of the inbox by their upper half, others in the store', async t => {
  const { log, args } = shaking(false)
  t.equal(acknowledged(...args, 0x8001), undefined)
  await acknowledged(...args, 5)
  t.same(log, ['inbox 32769', 'store ann:a 5'])
  const clean = shaking(true)
  t.equal(acknowledged(...clean.args, 5), undefined)
  t.same(clean.log, [], 'nothing of a clean session is stored')
})

t.test('PUBREC: PUBREL when it is stored', async t => {
  const { log, args } = shaking(false)
  await received(...args, 5, 0)
  await received(...args, 0x8001, 0)
  t.same(log, ['store pubrel 5', '62020005', 'inbox released 32769', '62028001'])
  const clean = shaking(true)
  await received(...clean.args, 5, 0)
  t.same(clean.log, ['62020005'])
})

t.test('PUBREL: PUBCOMP when the id is forgotten', async t => {
  const { log, args } = shaking(false)
  await released(...args, 5)
  t.same(log, ['forget 5', '70020005'])
})

// ── login and leave ───────────────────────────────────────────────────────────────────────────────────────

t.test('a CONNECT is in the log and the audit by its return code', async t => {
  const log: unknown[] = []
  const counted: unknown[] = []
  const metrics = { mqttConnects: { inc: (labels: unknown) => void counted.push(labels) } }
  const services = {
    audit: { record: ({ event }: { event: string }) => log.push(event) },
    loginLog: {
      accepted: () => log.push('accepted'),
      refused: (_facts: object, outcome: string, code: number) => log.push(`${outcome} ${code}`),
    },
  }
  for (const reason of [0, 0x88, 0x86, 0x87])
    recordLogin({ services, metrics } as never, {} as never, {
      clientId: 'a',
      who: undefined,
      version: 4,
      reason,
    })
  t.same(log, [
    'accepted',
    'unavailable 3',
    'login.failed',
    'wrong-credentials 4',
    'login.failed',
    'not-allowed 5',
    'login.failed',
  ])
  t.match(counted, [{ version: '3.1.1', outcome: 'accepted' }, {}, { outcome: 'wrong-credentials' }, {}])
})

t.test('QoS 2 ids of a clean session are forgotten, unless another connection has the session', async t => {
  const forgotten: string[] = []
  let holder: object | undefined
  const parts = {
    connections: {
      remove: () => undefined,
      holderOf: () => holder,
      inOrder: async (_id: string, work: () => Promise<void>) => work(),
    },
    wills: { connectionEnded: () => undefined },
    expiry: { left: () => undefined },
    metrics: { connections: { dec: () => undefined } },
    state: { cleanIncoming: async ({ id }: { id: string }) => void forgotten.push(id) },
  }
  const connection = (clean: boolean, unreleasedCount: number) => ({
    id: `${clean} ${unreleasedCount}`,
    clean,
    unreleasedCount,
    ended: () => [],
    link: { guest: { left: () => undefined } },
  })
  for (const one of [connection(true, 0), connection(false, 1), connection(true, 1)])
    leave(parts as never, one as never)
  holder = {}
  leave(parts as never, connection(true, 2) as never)
  await turn()
  t.same(forgotten, ['true 1'])
})

t.test('an answer that the client does not take ends its connection, and says why', async t => {
  const { connection, log } = await open()
  const codes: unknown[] = []
  Object.assign(connection, { fail: (_error: Error, code: unknown) => codes.push(code) })
  tooLarge(connection as unknown as MqttConnection)
  t.same(codes, [0x95])
  t.ok(log.includes('maximum-packet-size'))
})
