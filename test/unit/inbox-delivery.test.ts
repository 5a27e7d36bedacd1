import mqttPacket, { type Packet } from 'mqtt-packet'
import t from 'tap'
import { type InboxRow, pairConversation } from '../../src/core/model.js'
import type { InboxReader } from '../../src/inbox/reader.js'
import type { Delivery } from '../../src/inbox/sink.js'
import { InboxDelivery, isInboxPacketId } from '../../src/mqtt/inbox-delivery.js'
import type { QoS } from '../../src/mqtt/wire/packet-types.js'
import { TERMS4 } from '../../src/mqtt/wire/terms.js'
import type { MqttTransport } from '../../src/mqtt/wire/transport.js'

const ME = '123456789'
const FIRST: Delivery = { waited: false, again: false, released: false }

/** An InboxDelivery, what it wrote, and what it told its reader. */
function setUp(qos: QoS, { confirmed = 0, isResumed = true } = {}) {
  const written: Packet[] = []
  const told: [string, number][] = []
  const events: string[] = []
  const flushes: ((error?: Error) => void)[] = []
  const parser = mqttPacket.parser()
  parser.on('packet', packet => written.push(packet))
  const transport = {
    isCongested: false,
    isDestroyed: false,
    expect: () => undefined,
    send: (bytes: Buffer) => void parser.parse(bytes),
    flushed: (done: (error?: Error) => void) => void flushes.push(done),
  }
  const session = {
    confirmed,
    sent: 0,
    confirmOne: (seq: number) => void told.push(['confirmOne', seq]),
    confirmUpTo: (seq: number) => void told.push(['confirmUpTo', seq]),
    release: async (seq: number) => void told.push(['release', seq]),
    resume: () => void told.push(['resume', 0]),
    close: () => void told.push(['close', 0]),
  }
  const delivery = new InboxDelivery(transport as unknown as MqttTransport, {
    userId: ME,
    qos,
    terms: TERMS4,
    form: 'json' as const,
    files: { urlsFor: ({ id }, reader) => ({ url: `${id} ${reader}` }) },
    subscriptionIdentifiers: undefined,
    isResumed,
    asker: { tell: event => void events.push(event) },
  })
  delivery.reader = session as unknown as InboxReader
  const deliver = (seq: number, how: Partial<Delivery> = {}) => {
    session.sent = seq
    delivery.deliver(row(seq), { ...FIRST, ...how })
  }
  return { delivery, deliver, written, told, events, flushes, session, transport }
}

const row = (seq: number, content = `m${seq}`, expiresAt?: number): InboxRow => ({
  kind: 'message',
  sender: '1',
  conversation: pairConversation('1', '2'),
  seq,
  id: `id-${seq}`,
  expiresAt,
  text: `{"sender":"2","recipient":"1","content":${JSON.stringify(content)},"created_at":"2019-07-15T09:28:10Z"}`,
})

const turn = () => new Promise(resolve => setImmediate(resolve))

t.test('a message is a PUBLISH on its own topic, with everything in its payload', async t => {
  const { deliver, written } = setUp(1)
  deliver(7)
  t.match(written, [{ cmd: 'publish', topic: `users/${ME}/inbox/7`, qos: 1, retain: false, dup: false }])
  const [packet] = written
  const text = packet?.cmd === 'publish' ? packet.payload.toString() : ''
  t.equal(
    text,
    '{"id":"id-7","seq":7,"sender":"2","recipient":"1","content":"m7","created_at":"2019-07-15T09:28:10Z"}',
  )
})

t.test('RETAIN tells that a message waited, DUP that it may have been sent before', async t => {
  const { deliver, written } = setUp(2)
  deliver(1, { waited: true })
  deliver(2, { waited: true, again: true })
  deliver(3, { again: true })
  t.match(written, [
    { retain: true, dup: false, qos: 2 },
    { retain: true, dup: true, qos: 2 },
    { retain: false, dup: true, qos: 2 },
  ])
})

t.test('at QoS 0 there is no packet id and no DUP [MQTT-3.3.1-2]', async t => {
  const { deliver, written } = setUp(0)
  deliver(1, { again: true, waited: true })
  t.match(written, [{ qos: 0, dup: false, retain: true, messageId: undefined }])
})

// Lengths around each step of the remaining length (MQTT 3.1.1, 2.2.3), and text that is longer in bytes.
for (const length of [0, 1, 20, 21, 22, 16_240, 16_250, 16_260, 2_097_000, 2_097_152]) {
  t.test(`a content of ${length} characters arrives complete`, async t => {
    for (const unit of ['x', '好', '👋']) {
      const { delivery, written } = setUp(1)
      const content = unit.repeat(Math.ceil(length / unit.length))
      delivery.deliver(row(1, content), FIRST)
      const [packet] = written
      t.ok(packet?.cmd === 'publish' && JSON.parse(packet.payload.toString()).content === content, unit)
    }
  })
}

t.test('packet ids stay in the upper half and name their seq, whatever its size', async t => {
  const seqs = [1, 2, 32_767, 32_768, 32_769, 65_535, 65_536, 1_000_000_007, Number.MAX_SAFE_INTEGER - 1]
  for (const seq of seqs) {
    for (const behind of [1, 2, 100, 32_767, 32_768]) {
      if (seq - behind < 0) continue
      const { delivery, deliver, written, told } = setUp(1, { confirmed: seq - behind })
      deliver(seq)
      const [packet] = written
      const messageId = packet?.messageId ?? 0
      t.ok(isInboxPacketId(messageId) && messageId <= 65_535, `${seq}`)
      delivery.acknowledged(messageId)
      t.same(told, [['confirmOne', seq]], `${seq}, ${behind} behind`)
    }
  }
  t.notOk(isInboxPacketId(32_767))
})

t.test('PUBREC releases its message, PUBCOMP confirms it', async t => {
  const { delivery, deliver, written, told } = setUp(2, { confirmed: 40 })
  deliver(42)
  const messageId = written[0]?.messageId ?? 0
  await delivery.released(messageId)
  delivery.acknowledged(messageId)
  t.same(told, [
    ['release', 42],
    ['confirmOne', 42],
  ])
})

t.test('releases resolve in the order of their PUBRECs, however they are written [MQTT-4.6.0-4]', async t => {
  const { delivery, deliver, written, session } = setUp(2)
  const settle: (() => void)[] = []
  session.release = () => new Promise<undefined>(resolve => settle.push(() => resolve(undefined)))
  const order: number[] = []
  for (const seq of [1, 2, 3]) deliver(seq)
  const all = written.map(async ({ messageId = 0 }, i) => {
    await delivery.released(messageId)
    order.push(i)
  })
  settle[2]?.()
  settle[1]?.()
  await turn()
  t.same(order, [])
  settle[0]?.()
  await Promise.all(all)
  t.same(order, [0, 1, 2])
})

t.test('a message with a PUBREC resumes with PUBREL [MQTT-4.3.3-1]', async t => {
  const { deliver, written } = setUp(2)
  deliver(5, { again: true })
  deliver(5, { again: true, released: true })
  t.match(written[1], { cmd: 'pubrel', qos: 1, messageId: written[0]?.messageId })
})

t.test('a new session has no PUBRECs', async t => {
  const { deliver, written } = setUp(2, { isResumed: false })
  deliver(5, { again: true, released: true })
  t.match(written, [{ cmd: 'publish', qos: 2, dup: true }])
})

t.test('if the subscription is no longer QoS 2, the message is sent as a PUBLISH', async t => {
  const { deliver, written } = setUp(1)
  deliver(5, { again: true, released: true })
  t.match(written, [{ cmd: 'publish', qos: 1, dup: true }])
})

t.test(
  'QoS 0 messages are confirmed as soon as they have left, those behind the first of a turn together',
  async t => {
    const { deliver, flushes, told } = setUp(0)
    deliver(1)
    deliver(2)
    deliver(3)
    t.same([flushes.length, told], [1, []], 'asked for in the turn of the delivery')
    flushes[0]?.()
    t.same(told, [['confirmUpTo', 1]])
    t.equal(flushes.length, 2)
    deliver(4)
    flushes[1]?.()
    t.same(told.slice(1), [['confirmUpTo', 3]])
    flushes[2]?.()
    t.same(told.slice(2), [['confirmUpTo', 4]])
  },
)

t.test('QoS 0 messages that never left are not confirmed', async t => {
  const { deliver, flushes, told } = setUp(0)
  deliver(1)
  flushes[0]?.(new Error('connection closed'))
  t.same(told, [])
})

t.test('accepts no message while the client is congested or gone', async t => {
  const { delivery, transport } = setUp(1)
  t.equal(delivery.canTake, true)
  transport.isCongested = true
  t.equal(delivery.canTake, false)
  transport.isCongested = false
  transport.isDestroyed = true
  t.equal(delivery.canTake, false)
})

t.test('resumes its reader when the client takes more', async t => {
  const { delivery, told } = setUp(1)
  delivery.resume()
  delivery.close()
  t.same(told, [
    ['resume', 0],
    ['close', 0],
  ])
})

t.test('reports which messages a limit removed', async t => {
  const { delivery, events } = setUp(1)
  delivery.gap(3, 9)
  t.same(
    events.map(event => JSON.parse(event)),
    [{ event: 'dropped', data: { from: 3, to: 9 } }],
  )
})
