/** The queue over a store whose writes the test delays. After a crash only the completed writes are there. */
import t from 'tap'
import { Handshakes } from '../../src/mqtt/routing/persistence/handshakes.js'
import type { BrokerPacket } from '../../src/mqtt/routing/persistence/kv.js'
import { OutgoingQueue } from '../../src/mqtt/routing/persistence/queue.js'
import { QueueIndex } from '../../src/mqtt/routing/persistence/queue-index.js'
import { type QueueLimitOptions, QueueLimits } from '../../src/mqtt/routing/persistence/queue-limits.js'
import { all, publication } from '../helpers/broker-persistence.js'
import { HeldKv } from '../helpers/held-kv.js'

const CLIENT = 'ann:phone'
const noop = () => undefined

/** A start of the broker over a store: its queues, and what is in flight. */
async function open(kv: HeldKv, limits: Partial<QueueLimitOptions> = {}) {
  const index = new QueueIndex()
  const options = { maxQueuedMessages: 1000, maxQueuedBytes: 1e6, accountQueuedBytes: 1e6, onDropped: noop }
  const queue = new OutgoingQueue(kv, index, new QueueLimits(kv, { ...options, ...limits }), () => undefined)
  await queue.load()
  return { queue, handshakes: new Handshakes(kv, index, noop) }
}

const message = (counter: number, more: Partial<BrokerPacket> = {}) =>
  publication('t', { brokerId: 'b', brokerCounter: counter, payload: `${counter}`, qos: 2, ...more })

async function setUp() {
  const kv = new HeldKv()
  const { queue, handshakes } = await open(kv)
  const enqueue = async (packet: BrokerPacket) => {
    await queue.enqueue([{ clientId: CLIENT, qos: 2 }], packet, kv.commit)
    return packet
  }
  /** After a crash: only what was written is there. */
  const afterCrash = () => open(kv.crashed())
  return { kv, queue, handshakes, enqueue, afterCrash, connect: () => ({ id: CLIENT }) }
}

/** Whether it is settled, after everything that can continue has continued. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  promise.then(
    () => (settled = true),
    () => (settled = true),
  )
  for (let i = 0; i < 5; i++) await new Promise(setImmediate)
  return settled
}

t.test('a second PUBREC waits, too, until the PUBREL is stored', async t => {
  const { kv, queue, handshakes, enqueue, connect } = await setUp()
  const packet = await enqueue(message(1))
  const client = connect()
  await handshakes.send(client, { ...packet, messageId: 7 })
  kv.hold()
  const first = handshakes.release(client, 7, [])
  const second = handshakes.release(client, 7, [])
  t.notOk(await isSettled(second))
  kv.letGo()
  await Promise.all([first, second])
  t.same(await all(queue.stream(connect())), [{ cmd: 'pubrel', messageId: 7 }])
})

t.test('a PUBREC after one that could not be stored stores its PUBREL', async t => {
  const { kv, handshakes, enqueue, connect, afterCrash } = await setUp()
  const packet = await enqueue(message(1))
  const client = connect()
  await handshakes.send(client, { ...packet, messageId: 7 })
  kv.isFailing = true
  await t.rejects(handshakes.release(client, 7, []))
  await t.rejects(handshakes.release(client, 7, []))
  kv.isFailing = false
  await handshakes.release(client, 7, [])
  t.same(await all((await afterCrash()).queue.stream(connect())), [{ cmd: 'pubrel', messageId: 7 }])
})

t.test('a PUBREL whose write is under way when the session reconnects is sent, not the PUBLISH', async t => {
  const { kv, queue, handshakes, enqueue, connect } = await setUp()
  const packet = await enqueue(message(1))
  const client = connect()
  await handshakes.send(client, { ...packet, messageId: 7 })
  kv.hold()
  const released = handshakes.release(client, 7, [])
  const sent = all(queue.stream(connect()))
  t.notOk(await isSettled(sent))
  kv.letGo()
  await released
  t.same(await sent, [{ cmd: 'pubrel', messageId: 7 }])
})

t.test('a packet that is being stored when its session connects is sent once, with the queue', async t => {
  const { kv, queue, connect } = await setUp()
  kv.hold()
  const early = message(1)
  const queued = queue.enqueue([{ clientId: CLIENT, qos: 2 }], early, kv.commit)
  const client = connect()
  const stream = all(queue.stream(client))
  const late = message(2)
  const queuedLater = queue.enqueue([{ clientId: CLIENT, qos: 2 }], late, kv.commit)
  kv.letGo()
  await Promise.all([queued, queuedLater])
  t.match(await stream, [{ brokerCounter: 1 }])
  t.ok(queue.isStreamed(client, early))
  t.notOk(queue.isStreamed(client, late))
})

t.test('a packet routed to a connection whose stream has not begun is sent by the stream', async t => {
  const { queue, enqueue, connect } = await setUp()
  const packet = await enqueue(message(1))
  const client = connect()
  t.ok(queue.isStreamed(client, packet))
  t.match(await all(queue.stream(client)), [{ brokerCounter: 1 }])
  t.ok(queue.isStreamed(client, packet))
})

t.test('a packet queued only for others does not count as part of the stream', async t => {
  const { queue, enqueue } = await setUp()
  const packet = await enqueue(message(1))
  const other = { id: 'bob:phone' }
  await all(queue.stream(other))
  t.notOk(queue.isStreamed(other, packet))
  t.notOk(queue.isStreamed(other, publication('t')))
})

t.test('a connection that was taken over assigns no more packet ids', async t => {
  const { queue, handshakes, enqueue, connect, afterCrash } = await setUp()
  await enqueue(message(1))
  const old = connect()
  const [read = {}] = await all(queue.stream(old))
  const next = connect()
  const [again = {}] = await all(queue.stream(next))
  await handshakes.send(next, { ...again, messageId: 8 })
  await handshakes.send(old, { ...read, messageId: 7 })
  t.notOk(handshakes.isInFlight(CLIENT, 7))
  t.match(await all((await afterCrash()).queue.stream(connect())), [{ messageId: 8, dup: true }])
})

t.test('a packet that an old connection had read is not resent after the next one completed it', async t => {
  const { kv, queue, handshakes, enqueue, connect } = await setUp()
  const packet = await enqueue(message(1))
  const first = connect()
  await handshakes.send(first, { ...packet, messageId: 7 })
  const old = connect()
  const [read = {}] = await all(queue.stream(old))
  const next = connect()
  const [again = {}] = await all(queue.stream(next))
  await handshakes.send(next, again)
  await handshakes.release(next, 7, [])
  await handshakes.take(CLIENT, 7)
  await handshakes.send(old, read)
  t.same(kv.keys('queue'), [])
})

t.test('a packet id whose write is under way is the one that the next connection sends', async t => {
  const { kv, queue, handshakes, enqueue, connect } = await setUp()
  const packet = await enqueue(message(1))
  kv.hold()
  const sent = handshakes.send(connect(), { ...packet, messageId: 7 })
  const stream = all(queue.stream(connect()))
  kv.letGo()
  await sent
  t.match(await stream, [{ messageId: 7, dup: true }])
})

for (const isWritten of [true, false]) {
  t.test(
    `a failed write that was ${isWritten ? '' : 'not '}done after all does not lose the packet`,
    async t => {
      const { kv, queue, handshakes, enqueue, connect } = await setUp()
      const packet = await enqueue(message(1))
      kv.isFailing = true
      kv.writesThoughFailing = isWritten
      await t.rejects(handshakes.send(connect(), { ...packet, messageId: 7 }))
      kv.isFailing = false
      t.match(await all(queue.stream(connect())), [
        { messageId: isWritten ? 7 : undefined, brokerCounter: 1 },
      ])
      t.equal(handshakes.isInFlight(CLIENT, 7), isWritten)
    },
  )
}

t.test('an acknowledgement that could not be stored leaves the packet in flight', async t => {
  const { kv, queue, handshakes, enqueue, connect } = await setUp()
  const packet = await enqueue(message(1, { qos: 1 }))
  const client = connect()
  await handshakes.send(client, { ...packet, qos: 1, messageId: 7 })
  kv.isFailing = true
  await t.rejects(handshakes.take(CLIENT, 7))
  kv.isFailing = false
  t.ok(handshakes.isInFlight(CLIENT, 7))
  t.match(await all(queue.stream(connect())), [{ messageId: 7, dup: true }])
  t.match(await handshakes.take(CLIENT, 7), { payload: '1' })
  t.notOk(handshakes.isInFlight(CLIENT, 7))
})

t.test('a PUBREC of a packet that was dropped meanwhile keeps its PUBREL', async t => {
  const kv = new HeldKv()
  const { queue, handshakes } = await open(kv, { maxQueuedMessages: 1 })
  const client = { id: CLIENT }
  const first = message(1)
  await queue.enqueue([{ clientId: CLIENT, qos: 2 }], first, kv.commit)
  await handshakes.send(client, { ...first, messageId: 7 })
  await queue.enqueue([{ clientId: CLIENT, qos: 2 }], message(2), kv.commit)
  await handshakes.release(client, 7, [])
  t.match(await all(queue.stream({ id: CLIENT })), [{ brokerCounter: 2 }, { cmd: 'pubrel', messageId: 7 }])
})

t.test('bytes of a session that ends while a packet is queued for it are not counted', async t => {
  const kv = new HeldKv()
  const { queue } = await open(kv, { accountQueuedBytes: 500 })
  kv.hold()
  const queued = queue.enqueue(
    [{ clientId: CLIENT, qos: 1 }],
    message(1, { payload: 'x'.repeat(400) }),
    kv.commit,
  )
  queue.forget(CLIENT)
  kv.letGo()
  await queued
  await queue.enqueue([{ clientId: 'ann:tablet', qos: 1 }], message(2), kv.commit)
  t.match(await all(queue.stream({ id: 'ann:tablet' })), [{ brokerCounter: 2 }])
})

t.test('waiting PUBRELs are counted, including those from before the start', async t => {
  const { handshakes, enqueue, connect, afterCrash } = await setUp()
  const client = connect()
  for (const id of [1, 2, 3])
    await handshakes.send(client, { ...(await enqueue(message(id))), messageId: id })
  await handshakes.release(client, 2, [])
  t.equal(handshakes.countReleased(CLIENT), 1)
  const next = await afterCrash()
  t.equal(next.handshakes.countReleased(CLIENT), 1)
  t.equal(next.handshakes.countReleased('nobody'), 0)
})
