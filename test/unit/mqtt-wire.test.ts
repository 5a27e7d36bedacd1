/** The rules of mqtt/wire/ and mqtt/acl/ for bytes, counts and time, each in isolation. */
import { Duplex } from 'node:stream'
import mqttPacket, { type IConnectPacket } from 'mqtt-packet'
import { Qlobber } from 'qlobber'
import QlobberSub from 'qlobber/aedes/qlobber-sub.js'
import t from 'tap'
import { Metrics } from '../../src/core/metrics.js'
import { clientIdOf, ownerOf, scopedId, userIdOf } from '../../src/mqtt/acl/client-id.js'
import { FilterLimit } from '../../src/mqtt/acl/filter-limit.js'
import { ClientFilters } from '../../src/mqtt/routing/client-filters.js'
import { FilterIndex } from '../../src/mqtt/routing/filter-index.js'
import { Router } from '../../src/mqtt/routing/router.js'
import { TRIE } from '../../src/mqtt/routing/trie.js'
import { readConnect } from '../../src/mqtt/wire/connect-packet.js'
import { maxConnectBytes } from '../../src/mqtt/wire/connect-rules.js'
import { Pacer } from '../../src/mqtt/wire/pacer.js'
import { firstByteFault, KINDS, withoutOldDup } from '../../src/mqtt/wire/packet-kinds.js'
import { checkPublish, checkSubscribe, checkText, Fields } from '../../src/mqtt/wire/packet-rules.js'
import { PendingInput } from '../../src/mqtt/wire/pending-input.js'
import { SilenceWatch } from '../../src/mqtt/wire/silence.js'
import { hearEnd, hearInput, hearInputNoMore } from '../../src/mqtt/wire/socket-events.js'
import { SocketOutput } from '../../src/mqtt/wire/socket-output.js'
import { Traffic } from '../../src/mqtt/wire/traffic.js'
import { WriteGroup } from '../../src/mqtt/wire/write-group.js'
import { makeLimits } from '../helpers/mqtt-parts.js'
import { options } from '../helpers/transport.js'

const turn = () => new Promise<void>(resolve => setImmediate(resolve))
const wait = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

const LIMITS = options().limits

// ── CONNECT ─────────────────────────────────────────────────────────────────────────────────────────────────

/** Body of a CONNECT, and with `flags` other connect flags than it should have. */
function connect(differing: Partial<IConnectPacket> = {}, flags?: number): Fields {
  const bytes = mqttPacket.generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId: 'c',
    clean: true,
    keepalive: 60,
    ...differing,
  })
  const fields = new Fields(bytes, 1 + bytes.subarray(1).findIndex(byte => byte < 0x80) + 1, bytes.length)
  if (flags !== undefined) bytes[flagsAt(fields)] = flags
  return fields
}

/** Behind protocol name and level. */
const flagsAt = ({ bytes }: Fields) => bytes.indexOf('M') + (bytes.includes('MQIsdp') ? 7 : 5)

const will = { topic: 'a', payload: Buffer.from('x'), qos: 1 as const, retain: false }
const old = { protocolId: 'MQIsdp' as const, protocolVersion: 3 as const }

t.test('CONNECT: refused, by clause of MQTT 3.1.1', async t => {
  const { maxClientIdBytes, maxWillBytes } = LIMITS
  const refused: readonly [clause: string, refuse: number | undefined, fields: Fields][] = [
    ['[MQTT-3.1.2-3]', undefined, connect({}, 0x03)],
    ['[MQTT-3.1.2-13]', undefined, connect({}, 0x0a)],
    ['[MQTT-3.1.2-14]', undefined, connect({ will }, 0x1e)],
    ['[MQTT-3.1.2-15]', undefined, connect({}, 0x22)],
    ['[MQTT-3.1.2-22]', undefined, connect({}, 0x42)],
    ['[MQTT-3.1.3-8]', 2, connect({ clientId: '' }, 0x00)],
    ['[MQTT-3.1.3-9]', 2, connect({ clientId: 'x'.repeat(maxClientIdBytes + 1) })],
    ['[MQTT-4.7.1-1]', undefined, connect({ will: { ...will, topic: 'a/#' } })],
    ['maxWillBytes', undefined, connect({ will: { ...will, payload: Buffer.alloc(maxWillBytes + 1) } })],
    ['(MQTT 3.1.1, 3.1.4)', 4, connect({ username: 'x'.repeat(1281) })],
    ['(MQTT 3.1.1, 3.1.4)', 4, connect({ username: 'x', password: Buffer.alloc(8193) })],
  ]
  for (const [clause, refuse, fields] of refused) {
    const fault = (() => {
      try {
        return readConnect(fields, LIMITS)
      } catch (thrown) {
        return thrown
      }
    })()
    t.match(fault, { name: 'MalformedPacket', clause, refuse })
  }
})

t.test('CONNECT: accepted, at the limits', async t => {
  const { maxClientIdBytes, maxWillBytes } = LIMITS
  const longest = {
    clientId: 'x'.repeat(maxClientIdBytes),
    will: { ...will, topic: 'x'.repeat(LIMITS.maxTopicBytes), payload: Buffer.alloc(maxWillBytes) },
    username: 'x'.repeat(1280),
    password: Buffer.alloc(8192),
  }
  const fields = connect(longest)
  t.same(readConnect(fields, { ...LIMITS, maxTopicLevels: 1 }), {
    version: 4,
    keepAliveSeconds: 60,
    clean: true,
    clientId: longest.clientId,
    will: longest.will,
    userName: longest.username,
    password: longest.password,
  })
  t.ok(fields.end <= maxConnectBytes(LIMITS), 'the gate lets it pass')
  t.equal(readConnect(connect({ clientId: '' }), LIMITS).version, 4, 'an empty client id with clean session')
})

t.test('CONNECT: keep alive', async t => {
  const limits = { ...LIMITS, keepaliveLimitSeconds: 60 }
  t.equal(readConnect(connect({ keepalive: 60 }), limits).keepAliveSeconds, 60)
  for (const keepalive of [0, 61])
    t.throws(() => readConnect(connect({ keepalive }), limits), /keepaliveLimit/)
  for (const keepalive of [0, 65_535])
    t.equal(readConnect(connect({ keepalive }), LIMITS).keepAliveSeconds, keepalive)
})

t.test('CONNECT of MQTT 3.1: unused flags say nothing, and fields may be absent', async t => {
  const plain = readConnect(connect(old), LIMITS)
  t.equal(plain.version, 3)
  t.same(readConnect(connect(old, 0x3b), LIMITS), plain)
  const withoutFields = readConnect(connect(old, 0xc2), LIMITS)
  t.match(withoutFields, { clean: true, userName: undefined, password: undefined })
  const withoutId = Buffer.concat([
    Buffer.from([0, 6]),
    Buffer.from('MQIsdp'),
    Buffer.from([3, 2, 0, 60, 0, 0]),
  ])
  t.throws(() => readConnect(new Fields(withoutId, 0, withoutId.length), LIMITS), /\[MQTT-3.1.3-8\]/)
})

// ── other packets ───────────────────────────────────────────────────────────────────────────────────────────

const body = (...bytes: number[]) => new Fields(Buffer.from(bytes), 0, bytes.length)
const packetOf = (...bytes: number[]) => [Buffer.from(bytes), 0, bytes.length] as const

t.test('fields end where their packet ends', async t => {
  t.throws(() => new Fields(Buffer.from([0, 3, 97, 98, 99]), 0, 4).data(), /\[MQTT-4.8.0-1\]/)
  t.equal(String(new Fields(Buffer.from([0, 3, 97, 98, 99]), 0, 5).data()), 'abc')
  t.throws(() => body().byte(), /\[MQTT-4.8.0-1\]/)
})

t.test('texts are UTF-8 without NUL, surrogates or overlong forms', async t => {
  for (const good of ['', 'a', 'é', '好', '👋', '\u0001', '\uffff']) checkText(Buffer.from(good), 'text')
  t.throws(() => checkText(Buffer.from('a\0'), 'text'), /\[MQTT-1.5.3-2\]/)
  for (const bad of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe5, 0xa5]])
    t.throws(() => checkText(Buffer.from(bad), 'text'), /\[MQTT-1.5.3-1\]/, bad.join())
})

t.test('packet ids, filters and requested QoS are checked', async t => {
  t.throws(() => checkPublish(...packetOf(0, 1, 97, 0, 0), LIMITS), /\[MQTT-2.3.1-1\]/)
  t.throws(() => checkPublish(...packetOf(0, 1, 0x2b, 0, 1), LIMITS), /\[MQTT-4.7.1-1\]/)
  t.equal(checkPublish(...packetOf(0, 1, 97, 0, 1), LIMITS), 1)
  t.equal(checkSubscribe(...packetOf(0, 1, 0, 1, 97, 2, 0, 1, 0x23, 0), LIMITS), 2)
  t.throws(() => checkSubscribe(...packetOf(0, 1, 0, 1, 97, 3), LIMITS), /\[MQTT-3-8.3-4\]/)
  t.throws(() => checkSubscribe(...packetOf(0, 1), LIMITS), /\[MQTT-3.8.3-3\]/)
  t.throws(() => checkSubscribe(...packetOf(0, 1, 0, 2, 97, 0x23, 0), LIMITS), /\[MQTT-4.7.1-2\]/)
  const filters = (count: number) =>
    packetOf(0, 1, ...Array.from({ length: count }, () => [0, 1, 97, 0]).flat())
  t.equal(checkSubscribe(...filters(4), { ...LIMITS, maxSubscriptions: 2 }), 4)
  t.throws(() => checkSubscribe(...filters(5), { ...LIMITS, maxSubscriptions: 2 }), /maxSubscriptions/)
})

t.test('first bytes: packet type and flags', async t => {
  t.match(firstByteFault(0x36), { clause: '[MQTT-3.3.1-4]' })
  t.match(firstByteFault(0x38), { clause: '[MQTT-3.3.1-2]' })
  for (const first of [0x11, 0x41, 0x60, 0x80, 0x8a, 0xa0, 0xc1, 0xe1])
    t.match(firstByteFault(first), { clause: '[MQTT-2.2.2-2]' }, String(first))
  for (const first of [0x00, 0x20, 0x90, 0xb0, 0xd0, 0xf0])
    t.match(firstByteFault(first), { clause: '[MQTT-4.8.0-1]' }, String(first))
  t.same(
    [0x6a, 0x8a, 0xaa, 0x3a, 0x48].map(first => withoutOldDup(first, 3)),
    [0x62, 0x82, 0xa2, 0x3a, 0x48],
    'MQTT 3.1 sets DUP on SUBSCRIBE, UNSUBSCRIBE and PUBREL',
  )
  t.equal(withoutOldDup(0x8a, 4), 0x8a)
  t.equal(KINDS.size, 19)
})

// ── rates and time ──────────────────────────────────────────────────────────────────────────────────────────

const PUBLISH_QOS2 = 0x34
const PUBACK = 0x40
const PUBREL = 0x62
const PINGREQ = 0xc0

function makePacer() {
  const limits = makeLimits(new Metrics(), { requests: { perSecond: 1, burst: 2 } })
  let unsolicited = 0
  const pacer = new Pacer(limits.requestBucket('192.0.2.1'), limits, {
    bytesPerRequest: 1000,
    traffic: new Traffic(),
    onUnsolicited: count => {
      unsolicited += count
    },
  })
  return { pacer, unsolicited: () => unsolicited }
}

t.test('a packet costs a request; a long one, or one of many filters, several', async t => {
  const { pacer } = makePacer()
  t.equal(pacer.settle(), 0, 'nothing came')
  for (let i = 0; i < 2; i++) pacer.admit(0x30, 1, 10)
  t.equal(pacer.settle(), 0, 'within the burst')
  pacer.admit(0x30, 1, 10)
  t.ok(pacer.settle() > 900)
  const other = makePacer().pacer
  other.admit(0x82, 5, 100)
  t.ok(other.settle() > 2900, 'five filters, two of them in the burst')
  const third = makePacer().pacer
  third.admit(0x30, 1, 4000)
  t.ok(third.settle() > 1900, '4,000 bytes')
})

t.test('acknowledgements are free while they are owed, and dropped otherwise', async t => {
  const { pacer, unsolicited } = makePacer()
  pacer.expect(2)
  t.ok(pacer.admit(PUBACK, 1, 4))
  t.ok(pacer.admit(PUBACK, 1, 4))
  t.equal(pacer.settle(), 0)
  t.notOk(pacer.admit(PUBACK, 1, 4))
  pacer.settle()
  t.equal(unsolicited(), 1)
})

t.test('PUBREL is always let through, and free behind its PUBLISH; PINGREQ counts', async t => {
  const { pacer } = makePacer()
  pacer.admit(PUBLISH_QOS2, 1, 10)
  t.ok(pacer.admit(PUBREL, 1, 4))
  t.equal(pacer.settle(), 0)
  t.ok(pacer.admit(PUBREL, 1, 4))
  pacer.admit(PINGREQ, 1, 2)
  t.ok(pacer.settle() > 0)
})

t.test('keep alive: a client stays if it sends in time, or while it is not read', async t => {
  let silent = 0
  const client = { isListening: true, silent: () => void silent++ }
  const watch = new SilenceWatch(30, client)
  for (let i = 0; i < 4; i++) {
    await wait(15)
    watch.heard()
  }
  t.equal(silent, 0)
  client.isListening = false
  await wait(80)
  t.equal(silent, 0, 'while it is not read its silence says nothing')
  client.isListening = true
  while (silent === 0) await wait(5)
  await wait(50)
  t.equal(silent, 1, 'told once')
  const stopped = new SilenceWatch(5, client)
  stopped.stop()
  await wait(30)
  t.equal(silent, 1)
})

t.test('a write group: long input gets one job per turn, in the order of requests', async t => {
  const group = new WriteGroup(1000)
  const ran: string[] = []
  const lookers = ['a', 'b', 'c'].map(name => ({ lookOn: () => void ran.push(name) }))
  for (const looker of [...lookers, ...lookers]) group.inTurn(looker)
  await turn()
  t.same(ran, ['a'])
  while (ran.length < 3) await turn()
  t.same(ran, ['a', 'b', 'c'])
  group.atTurnEnd(() => void ran.push('a'))
  await turn()
  t.same(ran, ['a', 'b', 'c', 'a'])
})

t.test('a write group checks four times per stall time-out, while there are watchers', async t => {
  const group = new WriteGroup(40)
  let sweeps = 0
  const sweeper = { sweep: () => void sweeps++ }
  group.watch(sweeper)
  while (sweeps < 3) await wait(5)
  group.unwatch(sweeper)
  const until = sweeps
  await wait(40)
  t.equal(sweeps, until)
})

// ── input and output ────────────────────────────────────────────────────────────────────────────────────────

t.test('pending input keeps its order if bytes are put back', async t => {
  const pending = new PendingInput()
  t.ok(pending.isEmpty)
  t.equal(pending.take().length, 0)
  pending.push(Buffer.from('ab'))
  pending.push(Buffer.from('cd'))
  t.equal(String(pending.take()), 'abcd', 'small chunks together')
  pending.push(Buffer.from('ef'))
  pending.putBack(Buffer.from('d'))
  t.equal(String(pending.take()), 'd')
  t.equal(String(pending.take()), 'ef')
  pending.push(Buffer.alloc(100_000))
  t.equal(pending.take().length, 65_536)
  pending.clear()
  t.ok(pending.isEmpty)
})

/** Completes writes only on request. */
class SlowSocket extends Duplex {
  readonly written: Buffer[] = []
  #taken: (() => void) | undefined

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.written.push(chunk)
    this.#taken = done
  }

  accept(): void {
    this.#taken?.()
  }
}

t.test('events of a socket go to whom they concern; all sockets share the listeners', async t => {
  const log: string[] = []
  const sockets = ['a', 'b'].map(name => {
    const socket = new SlowSocket()
    hearInput(socket, {
      data: chunk => void log.push(`${name} ${chunk}`),
      sourceEnded: () => void log.push(`${name} ended`),
    })
    hearEnd(socket, {
      socketFailed: ({ message }) => void log.push(`${name} ${message}`),
      socketClosed: () => void log.push(`${name} closed`),
    })
    return socket
  })
  const [a, b] = sockets as [SlowSocket, SlowSocket]
  for (const event of ['data', 'error', 'close']) t.same(a.listeners(event), b.listeners(event))
  a.push('x')
  b.push('y')
  await turn()
  hearInputNoMore(b)
  b.resume()
  b.push('dropped')
  a.push(null)
  b.destroy(new Error('reset'))
  await turn()
  t.same(log.sort(), ['a ended', 'a x', 'b closed', 'b reset', 'b y'])
})

t.test('output: one write per turn; congested from the limit on until half of it has left', async t => {
  const socket = new SlowSocket()
  let drains = 0
  const group = new WriteGroup(1000)
  const output = new SocketOutput(socket, { group, maxBufferedBytes: 4 }, { relieved: () => void drains++ })
  const flushed: string[] = []
  output.push(Buffer.from('a'))
  output.push(Buffer.from('b'))
  output.flushed(() => flushed.push('ab'))
  t.same([socket.written.length, output.bufferedBytes, output.isCongested], [0, 2, false])
  await turn()
  t.same(socket.written.map(String), ['ab'])
  output.push(Buffer.from('cd'))
  t.ok(output.isCongested)
  output.flushed(() => flushed.push('cd'))
  await turn()
  t.equal(socket.written.length, 1, 'nothing before the first is taken')
  socket.accept()
  await turn()
  t.same([flushed, drains, output.isCongested], [['ab'], 1, false])
  t.same(socket.written.map(String), ['ab', 'cd'])
  output.close(null)
  await turn()
  t.same(flushed, ['ab', 'cd'], 'those who wait are called back when it closes, too')
  output.push(Buffer.from('dropped'))
  t.equal(output.bufferedBytes, 2)
})

// ── acl/ and the filter index ───────────────────────────────────────────────────────────────────────────────

t.test('scoped client ids consist of the account and the client id', async t => {
  for (const clientId of ['', 'phone', 'a:b', '289559048:x']) {
    const scoped = scopedId('289559048', clientId)
    t.same([userIdOf(scoped), clientIdOf(scoped), ownerOf(scoped)], ['289559048', clientId, '289559048:'])
    const anonymous = scopedId(undefined, clientId)
    t.same(
      [userIdOf(anonymous), clientIdOf(anonymous), ownerOf(anonymous)],
      [undefined, clientId, 'anonymous:'],
    )
  }
  for (const none of ['', 'phone', '289559048', '2895590481:x', '089559048:x'])
    t.equal(userIdOf(none), undefined, none)
})

t.test('the filters of a session', async t => {
  const held = new ClientFilters(new Router(), {} as never)
  const limit = new FilterLimit(held, 2)
  t.same(
    ['a', 'b', 'a', 'c'].map(filter => limit.admit(filter)),
    [true, true, true, false],
  )
  for (const filter of ['a', 'b']) held.add(filter, { qos: 0 })
  limit.settled()
  t.same(
    ['a', 'c'].map(filter => limit.admit(filter)),
    [true, false],
    'those that are subscribed to count',
  )
  held.remove('a')
  t.ok(limit.admit('c'))
  for (const filter of ['d', 'e', 'd']) limit.admit(filter)
  t.notOk(limit.isIgnored, 'two were refused')
  limit.admit('f')
  t.ok(limit.isIgnored)
})

t.test(
  'the index of filters: exact ones, wildcards, and topics that begin with $ [MQTT-4.7.2-1]',
  async t => {
    const index = new FilterIndex<object>()
    const values = Object.fromEntries(
      ['a/b', 'a/+', '#', '+/b', '$SYS/#', '/+'].map(filter => [filter, { filter }]),
    )
    for (const [filter, value] of Object.entries(values)) index.add(filter, value)
    const found = (topic: string) =>
      [...index.exactly(topic), ...index.byWildcard(topic)]
        .map(value => (value as { filter: string }).filter)
        .sort()
    t.same(found('a/b'), ['#', '+/b', 'a/+', 'a/b'])
    t.same(found('$SYS/b'), ['$SYS/#'])
    t.same(found('/x'), ['#', '/+'])
    t.same(found('a'), ['#'])
    for (const [filter, value] of Object.entries(values)) index.remove(filter, value)
    for (const topic of ['a/b', '$SYS/b', '/x']) t.same(found(topic), [])
  },
)

t.test('a trie takes filters and topics of any number of levels, empty ones, too', async t => {
  const levels = 500
  const filter = `+${'/'.repeat(levels - 1)}`
  const topic = `a${'/'.repeat(levels - 1)}`
  const values = new Qlobber<number>(TRIE)
  values.add(filter, 1)
  t.same(values.match(topic), [1])
  t.same(values.match(`${topic}/`), [])
  const subscriptions = new QlobberSub(TRIE)
  subscriptions.add(filter, { clientId: 'ann:a', topic: filter, qos: 1 })
  t.match(subscriptions.match(topic), [{ clientId: 'ann:a' }])
})
