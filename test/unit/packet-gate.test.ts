import mqttPacket, { type Packet } from 'mqtt-packet'
import t from 'tap'
import type { ConnectPacket } from '../../src/mqtt/wire/connect-packet.js'
import { PacketGate, type PacketSink } from '../../src/mqtt/wire/packet-gate.js'
import { MalformedPacket, type PacketLimits } from '../../src/mqtt/wire/packet-rules.js'

const LIMITS: PacketLimits = {
  maxPacketBytes: 1_000,
  maxTopicBytes: 60,
  maxTopicLevels: 4,
  maxClientIdBytes: 30,
  maxWillBytes: 20,
  keepaliveLimitSeconds: 0,
  maxSubscriptions: 4,
}

const bytes = (...parts: (number | string | Buffer)[]): Buffer =>
  Buffer.concat(parts.map(part => (typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part))))

/** Text or data behind its length. */
const field = (data: string | Buffer): Buffer =>
  bytes(Buffer.byteLength(data) >> 8, Buffer.byteLength(data) & 0xff, data)

const packet = (first: number, ...body: (number | string | Buffer)[]): Buffer => {
  const all = bytes(...body)
  return all.length < 128
    ? bytes(first, all.length, all)
    : bytes(first, (all.length & 0x7f) | 0x80, all.length >> 7, all)
}

const connect = (flags: number, ...payload: (number | string | Buffer)[]): Buffer =>
  packet(0x10, field('MQTT'), 4, flags, 0, 60, ...payload)

const CONNECT = connect(0x02, field('me'))
const NUL = field('a\0b')
const ILL_FORMED = field(Buffer.from([0x61, 0xc3, 0x28]))
const SURROGATE = field(Buffer.from([0xed, 0xa0, 0x80]))

/** The packets that a gate gives, written again as they came. */
class Passed implements PacketSink {
  readonly packets: Buffer[] = []

  connect({ version, keepAliveSeconds, userName, ...rest }: ConnectPacket): void {
    const protocolId = version === 3 ? 'MQIsdp' : 'MQTT'
    const fields = { ...rest, keepalive: keepAliveSeconds, username: userName }
    const present = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
    this.packets.push(
      mqttPacket.generate({ cmd: 'connect', protocolId, protocolVersion: version, ...present } as Packet),
    )
  }

  take(first: number, bytes: Buffer, at: number, end: number): void {
    this.packets.push(packet(first, bytes.subarray(at, end)))
  }

  get bytes(): Buffer {
    return Buffer.concat(this.packets)
  }
}

function run(gate: PacketGate, ...chunks: Buffer[]): { passed: Buffer; fault: MalformedPacket | undefined } {
  const passed = new Passed()
  let fault: MalformedPacket | undefined
  try {
    for (const chunk of chunks) {
      let rest: Buffer = Buffer.from(chunk)
      do rest = gate.push(rest, passed)
      while (rest.length > 0)
    }
  } catch (error) {
    if (!(error instanceof MalformedPacket)) throw error
    fault = error
  }
  return { passed: passed.bytes, fault }
}

type Case = readonly [name: string, clause: string, bytes: Buffer, refuse?: number]

const BAD_CONNECTS: readonly Case[] = [
  ['an unknown protocol name', '[MQTT-3.1.2-1]', packet(0x10, field('MQTX'), 4, 2, 0, 60, field('me'))],
  ['level 6 before its fields', '[MQTT-3.1.2-2]', packet(0x10, field('MQTT'), 6, 0xff, 0), 1],
  ['level 3 under the name MQTT', '[MQTT-3.1.2-2]', packet(0x10, field('MQTT'), 3, 2, 0, 60, field('me')), 1],
  [
    'level 4 under the name MQIsdp',
    '[MQTT-3.1.2-2]',
    packet(0x10, field('MQIsdp'), 4, 2, 0, 60, field('me')),
    1,
  ],
  [
    'a bridge bit in the level',
    '[MQTT-3.1.2-2]',
    packet(0x10, field('MQTT'), 0x84, 2, 0, 60, field('me')),
    1,
  ],
  ['the reserved flag', '[MQTT-3.1.2-3]', connect(0x03, field('me'))],
  ['will QoS without a will', '[MQTT-3.1.2-13]', connect(0x0a, field('me'))],
  ['will retain without a will', '[MQTT-3.1.2-15]', connect(0x22, field('me'))],
  ['will QoS 3', '[MQTT-3.1.2-14]', connect(0x1e, field('me'), field('w'), field('x'))],
  ['+ in the will topic', '[MQTT-4.7.1-1]', connect(0x06, field('me'), field('w/+'), field('x'))],
  ['# in the will topic', '[MQTT-4.7.1-1]', connect(0x06, field('me'), field('#'), field('x'))],
  ['an empty will topic', '[MQTT-4.7.3-1]', connect(0x06, field('me'), field(''), field('x'))],
  ['NUL in the will topic', '[MQTT-1.5.3-2]', connect(0x06, field('me'), NUL, field('x'))],
  [
    'ill-formed UTF-8 in the will topic',
    '[MQTT-1.5.3-1]',
    connect(0x06, field('me'), ILL_FORMED, field('x')),
  ],
  ['a will topic too deep', 'maxTopicLevels', connect(0x06, field('me'), field('a/b/c/d/e'), field('x'))],
  ['a will message too long', 'maxWillBytes', connect(0x06, field('me'), field('w'), field('x'.repeat(21)))],
  ['a will topic and no will message', '[MQTT-4.8.0-1]', connect(0x06, field('me'), field('w'))],
  ['a password without a user name', '[MQTT-3.1.2-22]', connect(0x42, field('me'), field('secret'))],
  ['a user name flag without a user name', '[MQTT-4.8.0-1]', connect(0x82, field('me'))],
  ['a password flag without a password', '[MQTT-4.8.0-1]', connect(0xc2, field('me'), field('user'))],
  ['NUL in the user name', '[MQTT-1.5.3-2]', connect(0x82, field('me'), NUL)],
  ['ill-formed UTF-8 in the user name', '[MQTT-1.5.3-1]', connect(0x82, field('me'), ILL_FORMED)],
  ['a surrogate in the user name', '[MQTT-1.5.3-1]', connect(0x82, field('me'), SURROGATE)],
  ['NUL in the client id', '[MQTT-1.5.3-2]', connect(0x02, NUL)],
  ['ill-formed UTF-8 in the client id', '[MQTT-1.5.3-1]', connect(0x02, ILL_FORMED)],
  ['a surrogate in the client id', '[MQTT-1.5.3-1]', connect(0x02, SURROGATE)],
  ['an empty client id without clean session', '[MQTT-3.1.3-8]', connect(0x00, field('')), 2],
  [
    'an empty client id of MQTT 3.1',
    '[MQTT-3.1.3-8]',
    packet(0x10, field('MQIsdp'), 3, 2, 0, 60, field('')),
    2,
  ],
  ['a client id too long', '[MQTT-3.1.3-9]', connect(0x02, field('i'.repeat(31))), 2],
  ['no client id', '[MQTT-4.8.0-1]', connect(0x02)],
  ['a client id longer than the packet', '[MQTT-4.8.0-1]', connect(0x02, 0, 9, 'me')],
  ['half a keep alive', '[MQTT-4.8.0-1]', packet(0x10, field('MQTT'), 4, 2, 0)],
  ['nothing in it', '[MQTT-4.8.0-1]', packet(0x10)],
  ['a byte behind the payload', '[MQTT-3.1.4-1]', connect(0x02, field('me'), 0)],
  ['a user name without its flag', '[MQTT-3.1.4-1]', connect(0x02, field('me'), field('user'))],
  ['a length that no CONNECT can have', '[MQTT-4.8.0-1]', bytes(0x10, 0xff, 0xff, 0xff, 0x01)],
]

for (const [name, clause, input, refuse] of BAD_CONNECTS) {
  t.test(`refuses CONNECT with ${name}`, async t => {
    const { passed, fault } = run(new PacketGate(LIMITS), input)
    t.equal(passed.length, 0)
    t.equal(fault?.clause, clause)
    t.equal(fault?.refuse, refuse)
  })
}

const publish = (first: number, topic: Buffer, ...rest: (number | string | Buffer)[]): Buffer =>
  packet(first, topic, ...rest)
const subscribe = (...rest: (number | string | Buffer)[]): Buffer => packet(0x82, 0, 1, ...rest)
const unsubscribe = (...rest: (number | string | Buffer)[]): Buffer => packet(0xa2, 0, 1, ...rest)

const BAD_PACKETS: readonly Case[] = [
  ['a second CONNECT', '[MQTT-3.1.0-2]', CONNECT],
  ['a packet behind DISCONNECT', '[MQTT-3.14.4-2]', bytes(0xe0, 0, 0xc0, 0)],
  ['a CONNECT behind DISCONNECT', '[MQTT-3.14.4-2]', bytes(0xe0, 0, CONNECT)],

  ['packet type 0', '[MQTT-4.8.0-1]', bytes(0x00, 0)],
  ['packet type 15', '[MQTT-4.8.0-1]', bytes(0xf0, 0)],
  ['CONNACK', '[MQTT-4.8.0-1]', bytes(0x20, 2, 0, 0)],
  ['SUBACK', '[MQTT-4.8.0-1]', bytes(0x90, 3, 0, 1, 0)],
  ['UNSUBACK', '[MQTT-4.8.0-1]', bytes(0xb0, 2, 0, 1)],
  ['PINGRESP', '[MQTT-4.8.0-1]', bytes(0xd0, 0)],

  ['CONNECT with flags', '[MQTT-2.2.2-2]', bytes(0x11, 0)],
  ['PUBACK with flags', '[MQTT-2.2.2-2]', bytes(0x42, 2, 0, 1)],
  ['PUBREC with flags', '[MQTT-2.2.2-2]', bytes(0x51, 2, 0, 1)],
  ['PUBREL with flags 0000', '[MQTT-2.2.2-2]', bytes(0x60, 2, 0, 1)],
  ['PUBREL with flags 1010', '[MQTT-2.2.2-2]', bytes(0x6a, 2, 0, 1)],
  ['PUBCOMP with flags', '[MQTT-2.2.2-2]', bytes(0x72, 2, 0, 1)],
  ['SUBSCRIBE with flags 0000', '[MQTT-2.2.2-2]', packet(0x80, 0, 1, field('a'), 0)],
  ['SUBSCRIBE with flags 0011', '[MQTT-2.2.2-2]', packet(0x83, 0, 1, field('a'), 0)],
  ['UNSUBSCRIBE with flags 0000', '[MQTT-2.2.2-2]', packet(0xa0, 0, 1, field('a'))],
  ['PINGREQ with flags', '[MQTT-2.2.2-2]', bytes(0xc1, 0)],
  ['DISCONNECT with flags', '[MQTT-2.2.2-2]', bytes(0xe2, 0)],

  ['a remaining length of five bytes', '[MQTT-4.8.0-1]', bytes(0x30, 0x80, 0x80, 0x80, 0x80, 0x01)],
  ['a packet over the limit, from its header', 'maxPacketBytes', bytes(0x30, 0xe6, 0x07)],
  ['PUBACK of one byte', '[MQTT-4.8.0-1]', bytes(0x40, 1, 1)],
  ['PUBACK of three bytes', '[MQTT-4.8.0-1]', bytes(0x40, 3, 0, 1, 0)],
  ['PUBREC of three bytes', '[MQTT-4.8.0-1]', bytes(0x50, 3, 0, 1, 0)],
  ['PUBREL of three bytes', '[MQTT-4.8.0-1]', bytes(0x62, 3, 0, 1, 0)],
  ['PUBCOMP of no byte', '[MQTT-4.8.0-1]', bytes(0x70, 0)],
  ['PINGREQ with a body', '[MQTT-4.8.0-1]', bytes(0xc0, 1, 0)],
  ['DISCONNECT with a body', '[MQTT-4.8.0-1]', bytes(0xe0, 1, 0)],

  ['packet id 0 in PUBACK', '[MQTT-2.3.1-1]', bytes(0x40, 2, 0, 0)],
  ['packet id 0 in PUBREC', '[MQTT-2.3.1-1]', bytes(0x50, 2, 0, 0)],
  ['packet id 0 in PUBREL', '[MQTT-2.3.1-1]', bytes(0x62, 2, 0, 0)],
  ['packet id 0 in PUBCOMP', '[MQTT-2.3.1-1]', bytes(0x70, 2, 0, 0)],
  ['packet id 0 in SUBSCRIBE', '[MQTT-2.3.1-1]', packet(0x82, 0, 0, field('a'), 0)],
  ['packet id 0 in UNSUBSCRIBE', '[MQTT-2.3.1-1]', packet(0xa2, 0, 0, field('a'))],
  ['packet id 0 in PUBLISH QoS 1', '[MQTT-2.3.1-1]', publish(0x32, field('a'), 0, 0, 'x')],
  ['packet id 0 in PUBLISH QoS 2', '[MQTT-2.3.1-1]', publish(0x34, field('a'), 0, 0, 'x')],

  ['PUBLISH with QoS 3', '[MQTT-3.3.1-4]', publish(0x36, field('a'), 0, 1)],
  ['PUBLISH with QoS 3 and DUP', '[MQTT-3.3.1-4]', publish(0x3e, field('a'), 0, 1)],
  ['DUP at QoS 0', '[MQTT-3.3.1-2]', publish(0x38, field('a'), 'x')],
  ['DUP and RETAIN at QoS 0', '[MQTT-3.3.1-2]', publish(0x39, field('a'), 'x')],
  ['+ in a PUBLISH topic', '[MQTT-4.7.1-1]', publish(0x30, field('a/+'), 'x')],
  ['# in a PUBLISH topic', '[MQTT-4.7.1-1]', publish(0x30, field('a#b'), 'x')],
  ['an empty PUBLISH topic', '[MQTT-4.7.3-1]', publish(0x30, field(''), 'x')],
  ['NUL in a PUBLISH topic', '[MQTT-1.5.3-2]', publish(0x30, NUL, 'x')],
  ['ill-formed UTF-8 in a PUBLISH topic', '[MQTT-1.5.3-1]', publish(0x30, ILL_FORMED, 'x')],
  ['a surrogate in a PUBLISH topic', '[MQTT-1.5.3-1]', publish(0x30, SURROGATE, 'x')],
  [
    'an overlong / in a PUBLISH topic',
    '[MQTT-1.5.3-1]',
    publish(0x30, field(Buffer.from([0xc0, 0xaf])), 'x'),
  ],
  ['a PUBLISH topic too long', 'maxTopicBytes', publish(0x30, field('t'.repeat(61)), 'x')],
  ['a PUBLISH topic too deep', 'maxTopicLevels', publish(0x30, field('a/b/c/d/e'), 'x')],
  ['a PUBLISH topic beyond the packet', '[MQTT-4.8.0-1]', publish(0x30, bytes(0, 9, 'a'))],
  ['half a topic length in PUBLISH', '[MQTT-4.8.0-1]', publish(0x30, bytes(0))],
  ['an empty PUBLISH', '[MQTT-4.8.0-1]', bytes(0x30, 0)],
  ['half a packet id in PUBLISH', '[MQTT-4.8.0-1]', publish(0x32, field('a'), 1)],

  [
    'SUBSCRIBE with more than twice the filters of a session',
    'maxSubscriptions',
    subscribe(...Array.from({ length: 9 }, () => [field('a'), 0]).flat()),
  ],
  [
    'UNSUBSCRIBE with as many',
    'maxSubscriptions',
    unsubscribe(...Array.from({ length: 9 }, () => field('a'))),
  ],
  ['SUBSCRIBE with DUP', '[MQTT-2.2.2-2]', packet(0x8a, 0, 1, field('a'), 0)],
  ['SUBSCRIBE without a filter', '[MQTT-3.8.3-3]', subscribe()],
  ['SUBSCRIBE without a packet id', '[MQTT-4.8.0-1]', bytes(0x82, 0)],
  ['SUBSCRIBE without the QoS', '[MQTT-4.8.0-1]', subscribe(field('a'))],
  ['QoS 3 in SUBSCRIBE', '[MQTT-3-8.3-4]', subscribe(field('a'), 3)],
  ['reserved bits in SUBSCRIBE', '[MQTT-3-8.3-4]', subscribe(field('a'), 0x04)],
  [
    'reserved bits in the second filter of SUBSCRIBE',
    '[MQTT-3-8.3-4]',
    subscribe(field('a'), 1, field('b'), 0x81),
  ],
  ['an empty filter', '[MQTT-4.7.3-1]', subscribe(field(''), 0)],
  ['filter a#', '[MQTT-4.7.1-2]', subscribe(field('a#'), 0)],
  ['filter a/#b', '[MQTT-4.7.1-2]', subscribe(field('a/#b'), 0)],
  ['filter #/a', '[MQTT-4.7.1-2]', subscribe(field('#/a'), 0)],
  ['filter ##', '[MQTT-4.7.1-2]', subscribe(field('##'), 0)],
  ['filter a+', '[MQTT-4.7.1-3]', subscribe(field('a+'), 0)],
  ['filter +a', '[MQTT-4.7.1-3]', subscribe(field('+a'), 0)],
  ['filter a/+b/c', '[MQTT-4.7.1-3]', subscribe(field('a/+b/c'), 0)],
  ['filter ++', '[MQTT-4.7.1-3]', subscribe(field('++'), 0)],
  ['NUL in a filter', '[MQTT-1.5.3-2]', subscribe(NUL, 0)],
  ['ill-formed UTF-8 in a filter', '[MQTT-1.5.3-1]', subscribe(ILL_FORMED, 0)],
  ['a surrogate in a filter', '[MQTT-1.5.3-1]', subscribe(SURROGATE, 0)],
  ['a filter too long', 'maxTopicBytes', subscribe(field('t'.repeat(61)), 0)],
  ['a filter too deep', 'maxTopicLevels', subscribe(field('+/+/+/+/#'), 0)],

  ['UNSUBSCRIBE without a filter', '[MQTT-3.10.3-2]', unsubscribe()],
  ['an empty filter in UNSUBSCRIBE', '[MQTT-4.7.3-1]', unsubscribe(field(''))],
  ['filter a# in UNSUBSCRIBE', '[MQTT-4.7.1-2]', unsubscribe(field('b'), field('a#'))],
  ['a byte behind the last filter of UNSUBSCRIBE', '[MQTT-4.8.0-1]', unsubscribe(field('b'), 0)],
]

for (const [name, clause, input] of BAD_PACKETS) {
  t.test(`refuses ${name}`, async t => {
    const { passed, fault } = run(new PacketGate(LIMITS), CONNECT, input)
    t.equal(fault?.clause, clause)
    t.equal(fault?.refuse, undefined)
    t.same(passed.subarray(0, CONNECT.length), CONNECT)
  })
}

t.test('refuses a first packet that is not CONNECT from its first byte', async t => {
  const { fault } = run(new PacketGate(LIMITS), bytes(0x30))
  t.equal(fault?.clause, '[MQTT-3.1.0-1]')
})

t.test('reports a fault without the bytes of the client', async t => {
  const { fault } = run(new PacketGate(LIMITS), CONNECT, publish(0x30, field('secret/+'), 'x'))
  t.equal(fault?.message, 'wildcard in the topic name [MQTT-4.7.1-1]')
})

t.test('lets through what came before the malformed packet in the same chunk', async t => {
  const good = bytes(CONNECT, publish(0x30, field('a'), 'x'), bytes(0xc0, 0))
  const { passed, fault } = run(new PacketGate(LIMITS), bytes(good, publish(0x30, field('#'), 'x'), 0xc0, 0))
  t.same(passed, good)
  t.equal(fault?.clause, '[MQTT-4.7.1-1]')
})

const GOOD: readonly (readonly [string, Buffer])[] = [
  ['MQTT 3.1', packet(0x10, field('MQIsdp'), 3, 2, 0, 60, field('me'))],
  ['an empty client id with clean session', connect(0x02, field(''))],
  ['a client id at the limit', connect(0x00, field('i'.repeat(30)))],
  [
    'a will, a user name and a binary password',
    connect(0xee, field('me'), field('w'), NUL, field('u'), ILL_FORMED),
  ],
  [
    'an empty will message, user name and password',
    connect(0xc6, field('me'), field('w'), field(''), field(''), field('')),
  ],
  ['a topic at both limits', bytes(CONNECT, publish(0x30, field(`a/b/c/${'t'.repeat(54)}`), 'x'))],
  ['a topic of empty levels', bytes(CONNECT, publish(0x30, field('//'), 'x'))],
  [
    'a topic beyond ASCII, with a byte order mark',
    bytes(CONNECT, publish(0x33, field('\uFEFF訊息/😀'), 0, 1, 'x')),
  ],
  ['an empty payload', bytes(CONNECT, publish(0x31, field('a')))],
  ['a packet at the limit', bytes(CONNECT, publish(0x30, field('a'), Buffer.alloc(994)))],
  [
    'DUP at QoS 1 and 2',
    bytes(CONNECT, publish(0x3a, field('a'), 0, 1), publish(0x3d, field('a'), 255, 255)),
  ],
  [
    'every right wildcard',
    bytes(CONNECT, ...['#', '+', '/#', '+/', '/+/#', 'a/+/b'].map(f => subscribe(field(f), 2))),
  ],
  ['a shared subscription, which is well-formed', bytes(CONNECT, subscribe(field('$share/group/a'), 0))],
  ['a remaining length longer than it need be', bytes(CONNECT, 0xc0, 0x80, 0x00)],
  ['DISCONNECT', bytes(CONNECT, 0xe0, 0)],
]

for (const [name, input] of GOOD) {
  t.test(`lets ${name} through unchanged`, async t => {
    const { passed, fault } = run(new PacketGate(LIMITS), input)
    t.equal(fault, undefined)
    t.same(passed, name.startsWith('a remaining length') ? bytes(CONNECT, 0xc0, 0) : input)
  })
}

const connect31 = (flags: number, ...payload: (number | string | Buffer)[]): Buffer =>
  packet(0x10, field('MQIsdp'), 3, flags, 0, 60, ...payload)

t.test('lets DUP on SUBSCRIBE, UNSUBSCRIBE and PUBREL of MQTT 3.1 through, as 3.1.1 has them', async t => {
  const rest = (dup: number) =>
    bytes(
      packet(0x82 | dup, 0, 1, field('a'), 0),
      packet(0xa2 | dup, 0, 1, field('a')),
      bytes(0x62 | dup, 2, 0, 1),
    )
  const { passed, fault } = run(new PacketGate(LIMITS), connect31(2, field('me')), rest(0x08))
  t.equal(fault, undefined)
  t.same(passed, bytes(connect31(2, field('me')), rest(0)))
})

const OLD_CONNECTS: readonly (readonly [string, Buffer, number])[] = [
  ['user name and password that are not there', connect31(0xc2, field('me')), 0x02],
  ['a password that is not there', connect31(0xc2, field('me'), field('u')), 0x82],
  ['flags that are not used', connect31(0x3b, field('me')), 0x02],
]
for (const [name, input, flags] of OLD_CONNECTS) {
  t.test(`lets a CONNECT of MQTT 3.1 through with ${name}`, async t => {
    const { passed, fault } = run(new PacketGate(LIMITS), input)
    t.equal(fault, undefined)
    t.equal(passed[11], flags, 'as if they were not asked for')
  })
}

t.test('refuses a keep alive over the limit, or none, and says so with no return code', async t => {
  const limits = { ...LIMITS, keepaliveLimitSeconds: 59 }
  t.match(run(new PacketGate(limits), CONNECT).fault, { clause: 'keepaliveLimit', refuse: undefined })
  t.equal(run(new PacketGate({ ...limits, keepaliveLimitSeconds: 60 }), CONNECT).fault, undefined)
})

t.test('before login the packet limit is the longest possible CONNECT', async t => {
  const limits = { ...LIMITS, maxPacketBytes: 1_000_000 }
  const { fault } = run(new PacketGate(limits), bytes(0x10, 0xa0, 0x8d, 0x06))
  t.equal(fault?.clause, 'maxPacketBytes')
})

t.test('processes nothing after CONNECT, and a bounded amount per turn', async t => {
  const gate = new PacketGate(LIMITS)
  const pings = bytes(...Array.from({ length: 100 }, () => bytes(0xc0, 0)))
  const passed = new Passed()
  const push = (chunk: Buffer) => gate.push(chunk, passed)
  t.equal(push(bytes(CONNECT, pings)).length, 200)
  t.equal(push(Buffer.from(pings)).length, 72)
  t.equal(passed.bytes.length, CONNECT.length + 128)
})

t.test('passes a chunk of complete packets on without a copy', async t => {
  const chunk = bytes(CONNECT, publish(0x30, field('a'), 'x'))
  const given: Buffer[] = []
  const gate = new PacketGate(LIMITS)
  const sink = {
    connect: () => {},
    take: (_first: number, bytes: Buffer) => void given.push(bytes),
  }
  gate.push(gate.push(chunk, sink), sink)
  t.equal(given.length, 1)
  t.equal(given[0]?.buffer, chunk.buffer)
})

const topics = ['a', 'users/289559048/inbox', '訊息/é', 'x/y/z']
const pick = <T>(list: readonly T[], random: () => number): T => list[Math.floor(random() * list.length)] as T

/** xorshift32, so that a failure comes again. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}

function randomPacket(random: () => number): Packet {
  const messageId = 1 + Math.floor(random() * 65_535)
  const topic = pick(topics, random)
  const payload = Buffer.alloc(Math.floor(random() * (random() < 0.1 ? 900 : 40)), 'p')
  return pick<() => Packet>(
    [
      () => ({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false }),
      () => ({ cmd: 'publish', topic, payload, qos: 1, dup: true, retain: true, messageId }),
      () => ({ cmd: 'publish', topic, payload, qos: 2, dup: false, retain: false, messageId }),
      () => ({ cmd: 'puback', messageId }),
      () => ({ cmd: 'pubrec', messageId }),
      () => ({ cmd: 'pubrel', messageId }),
      () => ({ cmd: 'pubcomp', messageId }),
      () => ({
        cmd: 'subscribe',
        messageId,
        subscriptions: [
          { topic, qos: 1 },
          { topic: '+/#', qos: 2 },
        ],
      }),
      () => ({ cmd: 'unsubscribe', messageId, unsubscriptions: [topic, '#'] }),
      () => ({ cmd: 'pingreq' }),
    ],
    random,
  )()
}

const stream = (random: () => number, count: number): Buffer =>
  bytes(CONNECT, ...Array.from({ length: count }, () => mqttPacket.generate(randomPacket(random))))

t.test('passes a stream that is split at any byte', async t => {
  const input = stream(seeded(7), 40)
  for (let at = 1; at < input.length; at++) {
    const { passed, fault } = run(new PacketGate(LIMITS), input.subarray(0, at), input.subarray(at))
    if (fault || !passed.equals(input)) t.fail(`split at ${at}`, { fault })
  }
  t.pass()
})

t.test('passes a stream that arrives byte by byte', async t => {
  const input = stream(seeded(8), 40)
  const { passed, fault } = run(new PacketGate(LIMITS), ...Array.from(input, byte => Buffer.from([byte])))
  t.equal(fault, undefined)
  t.same(passed, input)
})

t.test('passes a stream in chunks of any size', async t => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = seeded(seed)
    const input = stream(random, 60)
    const gate = new PacketGate(LIMITS)
    const passed = new Passed()
    for (let at = 0; at < input.length; ) {
      const next = at + 1 + Math.floor(random() * (random() < 0.5 ? 8 : 700))
      let rest: Buffer = input.subarray(at, next)
      do rest = gate.push(rest, passed)
      while (rest.length > 0)
      at = next
    }
    if (!passed.bytes.equals(input)) t.fail('changed the stream', { seed })
  }
  t.pass()
})

t.test('finds the same fault wherever the stream is split', async t => {
  for (const [name, clause, input] of BAD_PACKETS) {
    const whole = bytes(CONNECT, input)
    for (let at = 1; at < whole.length; at++) {
      const { fault } = run(new PacketGate(LIMITS), whole.subarray(0, at), whole.subarray(at))
      if (fault?.clause !== clause) t.fail(`${name}, split at ${at}`, { found: fault?.clause })
    }
  }
  t.pass()
})

t.test('survives any bytes, and passes nothing that a parser rejects', async t => {
  const random = seeded(99)
  let count = 0
  for (let round = 0; round < 5_000; round++) {
    const input = stream(random, 2)
    for (let i = 0; i < 3; i++) input[Math.floor(random() * input.length)] = Math.floor(random() * 256)
    const { passed } = run(new PacketGate(LIMITS), input)
    const parser = mqttPacket.parser()
    parser.on('error', error => t.fail(error.message, { input: input.toString('hex') }))
    parser.on('packet', () => count++)
    if (parser.parse(passed) !== 0) t.fail('left half a packet', { input: input.toString('hex') })
  }
  t.ok(count > 1_000)
})
