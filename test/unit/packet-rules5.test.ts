/** Packets of MQTT 5 behind CONNECT: each fault has its reason code, and what mqtt-packet writes passes and is decoded. */
import fc from 'fast-check'
import t from 'tap'
import {
  decodeBlock,
  decodeDisconnect5,
  decodePublish5,
  decodeReason5,
  decodeSubscribe5,
  decodeUnsubscribe5,
} from '../../src/mqtt/wire/decode5.js'
import { Fields, MalformedPacket, type PacketLimits } from '../../src/mqtt/wire/packet-rules.js'
import {
  checkAcknowledgement,
  checkAuth,
  checkDisconnect,
  checkPublish,
  checkPublishQos0,
  checkSubscribe,
  checkUnsubscribe,
} from '../../src/mqtt/wire/packet-rules5.js'
import {
  DISCONNECT,
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  publishByte,
  type QoS,
  SUBSCRIBE,
  UNSUBSCRIBE,
} from '../../src/mqtt/wire/packet-types.js'
import { encodeProperties } from '../../src/mqtt/wire/property-block.js'
import { type Properties, TOPIC_ALIAS_MAXIMUM } from '../../src/mqtt/wire/property-table.js'
import { forOracle, generate5, mqttText, normal, someOf } from '../helpers/mqtt5.js'
import { check } from '../helpers/property.js'

const LIMITS: PacketLimits = {
  maxPacketBytes: 1_000,
  maxTopicBytes: 60,
  maxTopicLevels: 4,
  maxClientIdBytes: 30,
  maxWillBytes: 20,
  keepaliveLimitSeconds: 0,
  maxSubscriptions: 4,
}

const CHECKS = {
  'PUBLISH QoS 0': checkPublishQos0,
  PUBLISH: checkPublish,
  PUBACK: checkAcknowledgement(PUBACK),
  PUBREC: checkAcknowledgement(PUBREC),
  PUBREL: checkAcknowledgement(PUBREL),
  PUBCOMP: checkAcknowledgement(PUBCOMP),
  SUBSCRIBE: checkSubscribe,
  UNSUBSCRIBE: checkUnsubscribe,
  DISCONNECT: checkDisconnect,
  AUTH: checkAuth,
}

const body = (...parts: (number | string | Buffer)[]): Buffer =>
  Buffer.concat(parts.map(one => (typeof one === 'number' ? Buffer.of(one) : Buffer.from(one))))

const text = (value: string | Buffer): Buffer => body(0, Buffer.byteLength(value), value)

/** Runs a check on bytes in the middle of a buffer. */
function run(kind: keyof typeof CHECKS, bytes: Buffer): number {
  const around = body('before', bytes, 'behind')
  return CHECKS[kind](around, 6, 6 + bytes.length, LIMITS)
}

type Case = readonly [kind: keyof typeof CHECKS, name: string, bytes: Buffer, code: number]

const NO_PROPERTIES = 0
const NUL = text('a\0b')
const ILL_FORMED = text(Buffer.from([0x61, 0xc3, 0x28]))
const filter = (one: string, options = 0): Buffer => body(text(one), options)
const subscribe = (...filters: Buffer[]): Buffer => body(0, 1, NO_PROPERTIES, ...filters)

const BAD: readonly Case[] = [
  ['PUBLISH QoS 0', 'no topic', body(), 0x81],
  ['PUBLISH QoS 0', 'a topic beyond the packet', body(0, 9, 'a'), 0x81],
  ['PUBLISH QoS 0', 'no property length', text('a'), 0x81],
  ['PUBLISH QoS 0', 'properties beyond the packet', body(text('a'), 5, 1, 1), 0x81],
  ['PUBLISH QoS 0', 'an empty topic without an alias', body(text(''), NO_PROPERTIES), 0x82],
  ['PUBLISH QoS 0', 'a topic alias of 0', body(text('a'), 3, 35, 0, 0), 0x94],
  [
    'PUBLISH QoS 0',
    'a topic alias over the maximum',
    body(text('a'), 3, 35, 0, TOPIC_ALIAS_MAXIMUM + 1),
    0x94,
  ],
  ['PUBLISH QoS 0', 'a subscription identifier', body(text('a'), 2, 11, 1), 0x82],
  ['PUBLISH QoS 0', '+ in the topic', body(text('a/+'), NO_PROPERTIES), 0x81],
  ['PUBLISH QoS 0', '# in the topic', body(text('#'), NO_PROPERTIES), 0x81],
  ['PUBLISH QoS 0', 'a bad topic beside an alias', body(text('#'), 3, 35, 0, 1), 0x81],
  ['PUBLISH QoS 0', 'NUL in the topic', body(NUL, NO_PROPERTIES), 0x81],
  ['PUBLISH QoS 0', 'ill-formed UTF-8 in the topic', body(ILL_FORMED, NO_PROPERTIES), 0x81],
  ['PUBLISH QoS 0', 'a topic too long', body(text('t'.repeat(61)), NO_PROPERTIES), 0x90],
  ['PUBLISH QoS 0', 'a topic too deep', body(text('a/b/c/d/e'), NO_PROPERTIES), 0x90],
  ['PUBLISH QoS 0', 'a property that is not defined', body(text('a'), 2, 4, 0), 0x81],
  ['PUBLISH QoS 0', 'a property of CONNECT', body(text('a'), 3, 33, 0, 1), 0x81],
  ['PUBLISH QoS 0', 'a wildcard in the response topic', body(text('a'), 4, 8, text('#')), 0x82],
  ['PUBLISH', 'no packet identifier', text('a'), 0x81],
  ['PUBLISH', 'packet identifier 0', body(text('a'), 0, 0, NO_PROPERTIES), 0x82],
  ['PUBLISH', 'no property length', body(text('a'), 0, 1), 0x81],
  ['PUBLISH', 'an empty topic without an alias', body(text(''), 0, 1, NO_PROPERTIES), 0x82],

  ['PUBACK', 'one byte', body(0), 0x81],
  ['PUBACK', 'packet identifier 0', body(0, 0), 0x82],
  ['PUBACK', 'a reason of another packet', body(0, 1, 0x92), 0x82],
  ['PUBACK', 'a reason that is not defined', body(0, 1, 0x7f), 0x82],
  ['PUBACK', 'a property of another packet', body(0, 1, 0, 3, 33, 0, 1), 0x81],
  ['PUBACK', 'a reason string twice', body(0, 1, 0x80, 8, 31, text('a'), 31, text('b')), 0x82],
  ['PUBACK', 'bytes behind the properties', body(0, 1, 0, NO_PROPERTIES, 0), 0x81],
  ['PUBREC', 'packet identifier 0', body(0, 0), 0x82],
  ['PUBREC', 'a reason of another packet', body(0, 1, 0x92), 0x82],
  ['PUBREL', 'packet identifier 0', body(0, 0), 0x82],
  ['PUBREL', 'a reason of another packet', body(0, 1, 0x80), 0x82],
  ['PUBCOMP', 'packet identifier 0', body(0, 0), 0x82],
  ['PUBCOMP', 'a reason of another packet', body(0, 1, 0x10), 0x82],

  ['SUBSCRIBE', 'no packet identifier', body(0), 0x81],
  ['SUBSCRIBE', 'packet identifier 0', body(0, 0, NO_PROPERTIES, filter('a')), 0x82],
  ['SUBSCRIBE', 'no property length', body(0, 1), 0x81],
  ['SUBSCRIBE', 'no filter', subscribe(), 0x82],
  ['SUBSCRIBE', 'no options', body(0, 1, NO_PROPERTIES, text('a')), 0x81],
  ['SUBSCRIBE', 'subscription identifier 0', body(0, 1, 2, 11, 0, filter('a')), 0x82],
  ['SUBSCRIBE', 'two subscription identifiers', body(0, 1, 4, 11, 1, 11, 2, filter('a')), 0x82],
  ['SUBSCRIBE', 'a reason string', body(0, 1, 4, 31, text('a'), filter('a')), 0x81],
  ['SUBSCRIBE', 'reserved bit 6 of the options', subscribe(filter('a', 0x40)), 0x81],
  ['SUBSCRIBE', 'reserved bit 7 of the options', subscribe(filter('a'), filter('b', 0x80)), 0x81],
  ['SUBSCRIBE', 'QoS 3', subscribe(filter('a', 3)), 0x82],
  ['SUBSCRIBE', 'retain handling 3', subscribe(filter('a', 0x30)), 0x82],
  ['SUBSCRIBE', 'no local of a shared subscription', subscribe(filter('$share/g/a', 0x05)), 0x82],
  ['SUBSCRIBE', 'an empty share name', subscribe(filter('$share//a')), 0x8f],
  ['SUBSCRIBE', 'no share name', subscribe(filter('$share')), 0x8f],
  ['SUBSCRIBE', 'a wildcard as share name', subscribe(filter('$share/+/a')), 0x8f],
  ['SUBSCRIBE', 'a shared subscription of #', subscribe(filter('$share/#')), 0x8f],
  ['SUBSCRIBE', 'a shared subscription without a filter', subscribe(filter('$share/g')), 0x8f],
  ['SUBSCRIBE', 'a shared subscription of an empty filter', subscribe(filter('$share/g/')), 0x8f],
  ['SUBSCRIBE', 'an empty filter', subscribe(filter('')), 0x82],
  ['SUBSCRIBE', 'filter a#', subscribe(filter('a#')), 0x81],
  ['SUBSCRIBE', 'filter a/#/b', subscribe(filter('a/#/b')), 0x81],
  ['SUBSCRIBE', 'filter a+', subscribe(filter('a+')), 0x81],
  ['SUBSCRIBE', 'a shared filter a#', subscribe(filter('$share/g/a#')), 0x81],
  ['SUBSCRIBE', 'NUL in a filter', subscribe(body(NUL, 0)), 0x81],
  ['SUBSCRIBE', 'ill-formed UTF-8 in a filter', subscribe(body(ILL_FORMED, 0)), 0x81],
  ['SUBSCRIBE', 'a filter too long', subscribe(filter('t'.repeat(61))), 0x8f],
  ['SUBSCRIBE', 'a filter too deep', subscribe(filter('+/+/+/+/#')), 0x8f],
  ['SUBSCRIBE', 'too many filters', subscribe(...Array.from({ length: 9 }, () => filter('a'))), 0x97],

  ['UNSUBSCRIBE', 'packet identifier 0', body(0, 0, NO_PROPERTIES, text('a')), 0x82],
  ['UNSUBSCRIBE', 'no property length', body(0, 1), 0x81],
  ['UNSUBSCRIBE', 'no filter', body(0, 1, NO_PROPERTIES), 0x82],
  ['UNSUBSCRIBE', 'a subscription identifier', body(0, 1, 2, 11, 1, text('a')), 0x81],
  ['UNSUBSCRIBE', 'an empty filter', body(0, 1, NO_PROPERTIES, text('')), 0x82],
  ['UNSUBSCRIBE', 'filter a#', body(0, 1, NO_PROPERTIES, text('a#')), 0x81],
  ['UNSUBSCRIBE', 'an empty share name', body(0, 1, NO_PROPERTIES, text('$share//a')), 0x8f],
  ['UNSUBSCRIBE', 'half a filter', body(0, 1, NO_PROPERTIES, text('a'), 0), 0x81],

  ['DISCONNECT', 'a reason of the server alone', body(0x8b), 0x82],
  ['DISCONNECT', 'a reason that is not defined', body(0x05), 0x82],
  ['DISCONNECT', 'a reason of PUBACK', body(0x10), 0x82],
  ['DISCONNECT', 'properties beyond the packet', body(0, 5, 17), 0x81],
  ['DISCONNECT', 'a property of CONNECT', body(0, 3, 33, 0, 1), 0x81],
  ['DISCONNECT', 'session expiry twice', body(0, 10, 17, 0, 0, 0, 1, 17, 0, 0, 0, 1), 0x82],
  ['DISCONNECT', 'bytes behind the properties', body(0, NO_PROPERTIES, 0), 0x81],

  ['AUTH', 'nothing in it', body(), 0x82],
  ['AUTH', 'a reason and a method', body(0x18, 4, 21, text('m')), 0x82],
]

for (const [kind, name, bytes, code] of BAD) {
  t.test(`refuses ${kind} with ${name}`, async t => {
    t.throws(() => run(kind, bytes), { code })
    t.throws(() => run(kind, bytes), MalformedPacket)
  })
}

const GOOD: readonly (readonly [keyof typeof CHECKS, string, Buffer, number])[] = [
  ['PUBLISH QoS 0', 'an empty topic and an alias', body(text(''), 3, 35, 0, TOPIC_ALIAS_MAXIMUM), 1],
  ['PUBLISH QoS 0', 'a payload that is not UTF-8', body(text('a'), NO_PROPERTIES, 0xff), 1],
  ['PUBLISH', 'no payload', body(text('a'), 0, 1, NO_PROPERTIES), 1],
  ['PUBACK', 'two bytes', body(0, 1), 1],
  ['PUBACK', 'a reason', body(0, 1, 0x99), 1],
  ['PUBREC', 'no matching subscribers', body(0, 1, 0x10), 1],
  ['PUBREL', 'a packet identifier that is not found', body(0, 1, 0x92, NO_PROPERTIES), 1],
  ['PUBCOMP', 'a reason string', body(0, 1, 0x92, 4, 31, text('a')), 1],
  ['SUBSCRIBE', 'every option', subscribe(filter('a', 0x2e), filter('b', 0x11)), 2],
  ['SUBSCRIBE', 'a shared subscription', subscribe(filter('$share/g/#', 1)), 1],
  ['SUBSCRIBE', 'a filter that only begins like a shared one', subscribe(filter('$shared', 0x04)), 1],
  ['UNSUBSCRIBE', 'three filters', body(0, 1, NO_PROPERTIES, text('a'), text('#'), text('$share/g/a')), 3],
  ['DISCONNECT', 'nothing', body(), 1],
  ['DISCONNECT', 'a will', body(0x04), 1],
  ['DISCONNECT', 'a session expiry', body(0, 5, 17, 0, 0, 0, 9), 1],
]

for (const [kind, name, bytes, count] of GOOD) {
  t.test(`passes ${kind} with ${name}`, async t => {
    t.equal(run(kind, bytes), count)
  })
}

/** Where the body of a packet begins. */
function bodyAt(bytes: Buffer): number {
  const header = new Fields(bytes, 1, bytes.length)
  header.varint()
  return header.at
}

const WIDE: PacketLimits = { ...LIMITS, maxTopicBytes: 65_535, maxTopicLevels: 1000, maxSubscriptions: 1000 }
const topics = mqttText.map(one => `t${one.replaceAll(/[+#]/g, '/')}`)
const qos = fc.constantFrom<QoS>(0, 1, 2)
const messageId = fc.integer({ min: 1, max: 0xffff })
const userProperties = someOf('userProperties')

const withoutUserProperties = ({ userProperties: _, ...rest }: Properties): Properties => rest

t.test('PUBLISH that mqtt-packet wrote', async t => {
  const properties = someOf(
    'payloadFormatIndicator',
    'messageExpiryInterval',
    'contentType',
    'responseTopic',
    'correlationData',
    'userProperties',
  )
  const alias = fc.option(fc.integer({ min: 1, max: TOPIC_ALIAS_MAXIMUM }), { nil: undefined })
  const payload = fc.uint8Array().map(one => Buffer.from(one))
  check(
    t,
    fc.property(
      fc.record({ topic: topics, payload, qos, retain: fc.boolean(), dup: fc.boolean(), messageId }),
      properties,
      alias,
      (packet, properties, topicAlias) => {
        const dup = packet.dup && packet.qos > 0
        const all = topicAlias === undefined ? properties : { ...properties, topicAlias }
        const bytes = generate5({ cmd: 'publish', ...packet, dup, properties: forOracle(all) })
        const at = bodyAt(bytes)
        const checkOne = packet.qos > 0 ? checkPublish : checkPublishQos0
        checkOne(bytes, at, bytes.length, WIDE)
        const found = decodePublish5(publishByte(packet.qos, dup, packet.retain), bytes, at, bytes.length)
        return (
          found.topic === packet.topic &&
          found.payload.equals(packet.payload) &&
          found.qos === packet.qos &&
          found.retain === packet.retain &&
          found.dup === dup &&
          found.messageId === (packet.qos > 0 ? packet.messageId : undefined) &&
          normal(forOracle(found.properties ?? {})) === normal(forOracle(withoutUserProperties(all))) &&
          found.block?.length === encodeProperties(properties).length
        )
      },
    ),
  )
})

t.test('the block of a will is passed on without its delay', async t => {
  const { properties, block } = decodeBlock(new Fields(body(24, 0, 0, 0, 5, 1, 1), 0, 7))
  t.match(properties, { willDelayInterval: 5, payloadFormatIndicator: 1 })
  t.same(block, body(1, 1))
})

t.test('SUBSCRIBE that mqtt-packet wrote', async t => {
  const subscription = fc.record({
    topic: topics,
    qos,
    nl: fc.boolean(),
    rap: fc.boolean(),
    rh: fc.constantFrom(0, 1, 2),
  })
  check(
    t,
    fc.property(
      messageId,
      fc.array(subscription, { minLength: 1, maxLength: 5 }),
      someOf('subscriptionIdentifier', 'userProperties'),
      (messageId, subscriptions, properties) => {
        const bytes = generate5({
          cmd: 'subscribe',
          messageId,
          subscriptions,
          properties: forOracle(properties),
        })
        const at = bodyAt(bytes)
        const found = decodeSubscribe5(bytes, at, bytes.length)
        const filters = subscriptions.map(({ topic, qos, nl, rap, rh }) => ({
          topic,
          qos,
          noLocal: nl,
          retainAsPublished: rap,
          retainHandling: rh,
        }))
        return (
          bytes[0] === SUBSCRIBE &&
          checkSubscribe(bytes, at, bytes.length, WIDE) === subscriptions.length &&
          found.messageId === messageId &&
          found.subscriptionIdentifier === properties.subscriptionIdentifier &&
          JSON.stringify(found.filters) === JSON.stringify(filters)
        )
      },
    ),
  )
})

t.test('UNSUBSCRIBE that mqtt-packet wrote', async t => {
  check(
    t,
    fc.property(
      messageId,
      fc.array(topics, { minLength: 1 }),
      userProperties,
      (messageId, unsubscriptions, properties) => {
        const bytes = generate5({
          cmd: 'unsubscribe',
          messageId,
          unsubscriptions,
          properties: forOracle(properties),
        })
        const at = bodyAt(bytes)
        return (
          bytes[0] === UNSUBSCRIBE &&
          checkUnsubscribe(bytes, at, bytes.length, WIDE) === unsubscriptions.length &&
          JSON.stringify(decodeUnsubscribe5(bytes, at, bytes.length)) ===
            JSON.stringify({ messageId, filters: unsubscriptions })
        )
      },
    ),
  )
})

t.test('acknowledgements that mqtt-packet wrote', async t => {
  const kinds = [
    ['puback', PUBACK, [0, 0x10, 0x87]],
    ['pubrec', PUBREC, [0, 0x97]],
    ['pubrel', PUBREL, [0, 0x92]],
    ['pubcomp', PUBCOMP, [0, 0x92]],
  ] as const
  for (const [cmd, first, reasons] of kinds) {
    check(
      t,
      fc.property(
        messageId,
        fc.constantFrom(...reasons),
        someOf('reasonString', 'userProperties'),
        (messageId, reasonCode, properties) => {
          const bytes = generate5({ cmd, messageId, reasonCode, properties: forOracle(properties) })
          const at = bodyAt(bytes)
          checkAcknowledgement(first)(bytes, at, bytes.length, WIDE)
          return (
            bytes[0] === first &&
            bytes.readUInt16BE(at) === messageId &&
            decodeReason5(bytes, at, bytes.length) === reasonCode
          )
        },
      ),
      { numRuns: 200 },
    )
  }
  t.equal(decodeReason5(Buffer.of(0x40, 2, 0, 1), 2, 4), 0, 'without a reason code')
})

t.test('DISCONNECT that mqtt-packet wrote', async t => {
  check(
    t,
    fc.property(
      fc.constantFrom(0x00, 0x04, 0x93),
      someOf('sessionExpiryInterval', 'reasonString', 'userProperties'),
      (reasonCode, properties) => {
        const bytes = generate5({ cmd: 'disconnect', reasonCode, properties: forOracle(properties) })
        const at = bodyAt(bytes)
        checkDisconnect(bytes, at, bytes.length, WIDE)
        const found = decodeDisconnect5(bytes, at, bytes.length)
        return (
          bytes[0] === DISCONNECT &&
          found.reason === reasonCode &&
          normal(forOracle(found.properties ?? {})) === normal(forOracle(properties))
        )
      },
    ),
    { numRuns: 300 },
  )
  t.same(decodeDisconnect5(Buffer.alloc(0), 0, 0), { reason: 0, properties: {} })
  t.same(decodeDisconnect5(Buffer.of(4), 0, 1), { reason: 4, properties: {} })
})
