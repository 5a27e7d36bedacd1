/** Streams of an MQTT 5 client, as they should be and mutated: fragments make no difference, and what passes can be decoded. */
import fc from 'fast-check'
import t from 'tap'
import {
  decodeDisconnect5,
  decodePublish5,
  decodeReason5,
  decodeSubscribe5,
  decodeUnsubscribe5,
} from '../../src/mqtt/wire/decode5.js'
import { PacketGate } from '../../src/mqtt/wire/packet-gate.js'
import { Fields, MalformedPacket } from '../../src/mqtt/wire/packet-rules.js'
import {
  DISCONNECT,
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  SUBSCRIBE,
  UNSUBSCRIBE,
} from '../../src/mqtt/wire/packet-types.js'
import { readProperties } from '../../src/mqtt/wire/properties.js'
import type { PropertyName } from '../../src/mqtt/wire/property-table.js'
import { forOracle, generate5, mqttText, parse5, someOf } from '../helpers/mqtt5.js'
import { check } from '../helpers/property.js'

const LIMITS = {
  maxPacketBytes: 1_000,
  maxTopicBytes: 60,
  maxTopicLevels: 4,
  maxClientIdBytes: 60,
  maxWillBytes: 200,
  keepaliveLimitSeconds: 0,
  maxSubscriptions: 100,
}

const messageId = fc.integer({ min: 1, max: 65_535 })
const topic = mqttText.map(text => `t${text.replaceAll(/[+#/]/g, '-')}`)
const qos = fc.constantFrom(0 as const, 1 as const, 2 as const)
const properties = (...names: readonly PropertyName[]) => someOf(...names).map(forOracle)

const packet: fc.Arbitrary<object> = fc.oneof(
  fc.record({
    cmd: fc.constant('publish'),
    topic,
    payload: fc.uint8Array().map(Buffer.from),
    qos,
    dup: fc.constant(false),
    retain: fc.boolean(),
    messageId,
    properties: properties(
      'payloadFormatIndicator',
      'messageExpiryInterval',
      'contentType',
      'responseTopic',
      'correlationData',
      'topicAlias',
      'userProperties',
    ),
  }),
  fc.record({
    cmd: fc.constantFrom('puback', 'pubrec', 'pubrel', 'pubcomp'),
    messageId,
    reasonCode: fc.constant(0),
    properties: properties('reasonString', 'userProperties'),
  }),
  fc.record({
    cmd: fc.constant('subscribe'),
    messageId,
    subscriptions: fc.array(
      fc.record({ topic, qos, nl: fc.boolean(), rap: fc.boolean(), rh: fc.constantFrom(0, 1, 2) }),
      { minLength: 1, maxLength: 4 },
    ),
    properties: properties('subscriptionIdentifier', 'userProperties'),
  }),
  fc.record({
    cmd: fc.constant('unsubscribe'),
    messageId,
    unsubscriptions: fc.array(topic, { minLength: 1, maxLength: 4 }),
    properties: properties('userProperties'),
  }),
  fc.constant({ cmd: 'pingreq' }),
)

const connect = fc.record({
  cmd: fc.constant('connect'),
  protocolId: fc.constant('MQTT'),
  protocolVersion: fc.constant(5),
  clientId: topic,
  clean: fc.boolean(),
  keepalive: fc.nat(65_535),
  properties: properties('sessionExpiryInterval', 'receiveMaximum', 'maximumPacketSize', 'userProperties'),
  will: fc.record({
    topic,
    payload: mqttText,
    qos,
    retain: fc.boolean(),
    properties: properties('willDelayInterval', 'contentType', 'userProperties'),
  }),
})

/** As it should be, and with a few bytes changed. */
const stream = fc
  .tuple(
    connect,
    fc.array(packet, { maxLength: 8 }),
    fc.option(properties('sessionExpiryInterval', 'reasonString', 'userProperties'), { nil: undefined }),
    fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 }),
  )
  .map(([connect, packets, last, changes]) => {
    const end = last === undefined ? [] : [{ cmd: 'disconnect', reasonCode: 4, properties: last }]
    const bytes = Buffer.concat([connect, ...packets, ...end].map(generate5))
    for (const [at, byte] of changes) bytes[at % bytes.length] = byte
    return bytes
  })

const lengthOf = (length: number): Buffer =>
  length < 128 ? Buffer.of(length) : Buffer.of((length & 0x7f) | 0x80, ...lengthOf(length >> 7))

const ACKNOWLEDGEMENTS: ReadonlySet<number> = new Set([PUBACK, PUBREC, PUBREL, PUBCOMP])

/** @throws if what passed cannot be decoded */
function decode(first: number, bytes: Buffer, at: number, end: number): unknown {
  if (first >> 4 === 3) return decodePublish5(first, bytes, at, end)
  if (first === SUBSCRIBE) return decodeSubscribe5(bytes, at, end)
  if (first === UNSUBSCRIBE) return decodeUnsubscribe5(bytes, at, end)
  if (first === DISCONNECT) return decodeDisconnect5(bytes, at, end)
  if (!ACKNOWLEDGEMENTS.has(first)) return undefined
  if (at + 3 < end) readProperties(new Fields(bytes, at + 3, end), first)
  return decodeReason5(bytes, at, end)
}

function pass(chunks: readonly Buffer[]) {
  const gate = new PacketGate(LIMITS)
  const passed: Buffer[] = []
  const decoded: unknown[] = []
  const sink = {
    connect: (packet: unknown) => decoded.push(packet),
    take: (first: number, bytes: Buffer, at: number, end: number) => {
      passed.push(Buffer.concat([Buffer.of(first), lengthOf(end - at), bytes.subarray(at, end)]))
      decoded.push(decode(first, bytes, at, end))
    },
  }
  let fault: string | undefined
  try {
    for (const chunk of chunks) {
      let rest = chunk
      do rest = gate.push(rest, sink)
      while (rest.length > 0)
    }
  } catch (thrown) {
    if (!(thrown instanceof MalformedPacket)) throw thrown
    fault = `${thrown.message} ${thrown.code}`
  }
  return {
    passed: Buffer.concat(passed),
    decoded: JSON.stringify(decoded),
    fault,
    packets: gate.takePackets(),
  }
}

t.test('the gate gives the same result however a stream is split', async t => {
  let refused = 0
  check(
    t,
    fc.property(stream, fc.array(fc.nat(), { maxLength: 12 }), (bytes, at) => {
      const cuts = [0, ...at.map(one => one % bytes.length).sort((a, b) => a - b), bytes.length]
      const whole = pass([Buffer.from(bytes)])
      const split = pass(cuts.slice(1).map((cut, i) => Buffer.from(bytes.subarray(cuts[i], cut))))
      if (whole.fault !== undefined) refused++
      return JSON.stringify(whole) === JSON.stringify(split)
    }),
    { numRuns: 2000 },
  )
  t.ok(refused > 200 && refused < 1800, `${refused} of 2000 were refused`)
})

t.test('mqtt-packet accepts what the gate passes', async t => {
  check(
    t,
    fc.property(stream, bytes => {
      parse5(pass([bytes]).passed)
      return true
    }),
    { numRuns: 2000 },
  )
})
