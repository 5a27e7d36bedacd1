/** Packets of MQTT 5 that we write: mqtt-packet reads them, and they are not larger than the client takes. */
import fc from 'fast-check'
import t from 'tap'
import {
  ANY_PACKET,
  encodeAcknowledgement5,
  encodeConnack5,
  encodeDisconnect5,
  encodeFilterReasons5,
  encodePublish5,
} from '../../src/mqtt/wire/encode5.js'
import {
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  publishByte,
  SUBACK,
  UNSUBACK,
} from '../../src/mqtt/wire/packet-types.js'
import { EMPTY_BLOCK, encodeProperties } from '../../src/mqtt/wire/property-block.js'
import { forOracle, generate5, mqttText, normal, parse5, someOf } from '../helpers/mqtt5.js'
import { check } from '../helpers/property.js'

const parseOne = (bytes: Buffer) => {
  const packets = parse5(bytes)
  if (packets.length !== 1) throw new Error(`${packets.length} packets`)
  return packets[0] as unknown as Record<string, unknown> & { properties?: object }
}

const messageId = fc.integer({ min: 1, max: 0xffff })
const problem = someOf('reasonString', 'userProperties')

t.test('PUBLISH of every kind', async t => {
  const properties = someOf('payloadFormatIndicator', 'contentType', 'correlationData', 'userProperties')
  check(
    t,
    fc.property(
      fc.record({
        topic: mqttText.map(one => `t${one.replaceAll(/[+#]/g, '/')}`),
        payload: mqttText,
        qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
        retain: fc.boolean(),
        dup: fc.boolean(),
      }),
      messageId,
      properties,
      (one, messageId, properties) => {
        const dup = one.dup && one.qos > 0
        const first = publishByte(one.qos, one.dup, one.retain)
        const block = encodeProperties(properties)
        const bytes = encodePublish5(first, one.topic, messageId, block, one.payload)
        const found = parseOne(bytes)
        const data = encodePublish5(first, one.topic, messageId, block, Buffer.from(one.payload))
        return (
          bytes.equals(data) &&
          found.topic === one.topic &&
          String(found.payload) === one.payload &&
          found.qos === one.qos &&
          found.retain === one.retain &&
          found.dup === dup &&
          (one.qos === 0 || found.messageId === messageId) &&
          normal(found.properties) === normal(forOracle(properties))
        )
      },
    ),
  )
})

t.test('PUBLISH: the remaining length, at each edge of its number of bytes', async t => {
  for (const remaining of [127, 128, 16_383, 16_384, 2_097_151, 2_097_152]) {
    const payload = 'p'.repeat(remaining - 4)
    const bytes = encodePublish5(publishByte(0, false, false), 't', 0, EMPTY_BLOCK, payload)
    t.ok(
      bytes.equals(generate5({ cmd: 'publish', topic: 't', payload, qos: 0, retain: false, dup: false })),
      `${remaining}`,
    )
  }
})

t.test('CONNACK [MQTT-3.2.2-1]', async t => {
  const properties = someOf(
    'sessionExpiryInterval',
    'receiveMaximum',
    'retainAvailable',
    'assignedClientIdentifier',
    'reasonString',
    'userProperties',
    'serverKeepAlive',
    'sharedSubscriptionAvailable',
  )
  check(
    t,
    fc.property(fc.constantFrom(0, 0x87), fc.boolean(), properties, (reason, isPresent, properties) => {
      const found = parseOne(encodeConnack5(reason, isPresent, properties, ANY_PACKET))
      return (
        found.reasonCode === reason &&
        found.sessionPresent === isPresent &&
        normal(found.properties) === normal(forOracle(properties))
      )
    }),
  )
})

t.test('DISCONNECT: reason and properties are left out where they say nothing', async t => {
  t.same(encodeDisconnect5(0, {}, ANY_PACKET), Buffer.of(0xe0, 0))
  t.same(encodeDisconnect5(0x8b, {}, ANY_PACKET), Buffer.of(0xe0, 1, 0x8b))
  t.match(parseOne(encodeDisconnect5(0x8e, { reasonString: 'taken' }, ANY_PACKET)), {
    cmd: 'disconnect',
    reasonCode: 0x8e,
    properties: { reasonString: 'taken' },
  })
})

t.test('acknowledgements: two bytes, three, or more', async t => {
  const kinds = [
    ['puback', PUBACK, 0x87],
    ['pubrec', PUBREC, 0x10],
    ['pubrel', PUBREL, 0x92],
    ['pubcomp', PUBCOMP, 0x92],
  ] as const
  for (const [cmd, first, failure] of kinds) {
    t.same(encodeAcknowledgement5(first, 0x1234), Buffer.of(first, 2, 0x12, 0x34))
    t.same(encodeAcknowledgement5(first, 0x1234, failure), Buffer.of(first, 3, 0x12, 0x34, failure))
    check(
      t,
      fc.property(messageId, fc.constantFrom(0, failure), problem, (messageId, reason, properties) => {
        const found = parseOne(encodeAcknowledgement5(first, messageId, reason, properties, ANY_PACKET))
        return (
          found.cmd === cmd &&
          found.messageId === messageId &&
          found.reasonCode === reason &&
          normal(found.properties) === normal(forOracle(properties))
        )
      }),
      { numRuns: 200 },
    )
  }
})

t.test('SUBACK and UNSUBACK: a reason for each filter', async t => {
  for (const [cmd, first, codes] of [
    ['suback', SUBACK, [0, 1, 2, 0x87]],
    ['unsuback', UNSUBACK, [0, 0x11]],
  ] as const) {
    check(
      t,
      fc.property(
        messageId,
        fc.array(fc.constantFrom(...codes), { minLength: 1, maxLength: 200 }),
        problem,
        (messageId, granted, properties) => {
          const found = parseOne(encodeFilterReasons5(first, messageId, granted, properties))
          return (
            found.cmd === cmd &&
            found.messageId === messageId &&
            JSON.stringify(found.granted) === JSON.stringify(granted) &&
            normal(found.properties) === normal(forOracle(properties))
          )
        },
      ),
      { numRuns: 200 },
    )
  }
})

const EXPLAINED = { reasonString: 'because', userProperties: [['name', 'a long value']] } as const

t.test(
  'what explains is left out of acknowledgements, user properties first, until the packet fits [MQTT-3.4.2-3] [MQTT-3.5.2-3] [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2]',
  async t => {
    const made = (maxPacketBytes: number) =>
      parseOne(encodeAcknowledgement5(PUBACK, 1, 0x97, EXPLAINED, { maxPacketBytes, wantsProblems: true }))
    const full = encodeAcknowledgement5(PUBACK, 1, 0x97, EXPLAINED).length
    t.match(made(full).properties, { reasonString: 'because', userProperties: { name: 'a long value' } })
    t.same({ ...made(full - 1).properties }, { reasonString: 'because' })
    t.same({ ...made(16).properties }, { reasonString: 'because' }, '16 bytes are enough for the reason')
    t.equal(made(15).properties, undefined)
    t.equal(made(15).reasonCode, 0x97)
    const small = { maxPacketBytes: 20, wantsProblems: true }
    for (const first of [PUBREC, PUBREL, PUBCOMP] as const)
      t.ok(encodeAcknowledgement5(first, 1, 0x92, EXPLAINED, small).length <= 20)
    for (const first of [SUBACK, UNSUBACK] as const)
      t.ok(encodeFilterReasons5(first, 1, [0x87, 0], EXPLAINED, small).length <= 20)
  },
)

t.test(
  'CONNACK and DISCONNECT keep what is necessary when they leave out what explains [MQTT-3.14.2-3] [MQTT-3.14.2-4]',
  async t => {
    const small = { maxPacketBytes: 12, wantsProblems: true }
    const properties = { serverKeepAlive: 60, ...EXPLAINED }
    const connack = encodeConnack5(0, false, properties, small)
    t.ok(connack.length <= 12)
    t.same({ ...parseOne(connack).properties }, { serverKeepAlive: 60 })
    t.same(encodeDisconnect5(0x97, EXPLAINED, small), Buffer.of(0xe0, 1, 0x97))
  },
)

t.test('CONNACK leaves out what a client can do without, last of all its aliases', async t => {
  const properties = {
    maximumPacketSize: 1000,
    topicAliasMaximum: 32,
    responseInformation: 'users/1/replies',
    ...EXPLAINED,
  }
  const made = (maxPacketBytes: number) =>
    Object.keys(
      parseOne(encodeConnack5(0, false, properties, { maxPacketBytes, wantsProblems: true })).properties ??
        {},
    )
  t.equal(made(1000).length, 5)
  t.same(made(31).sort(), ['maximumPacketSize', 'responseInformation', 'topicAliasMaximum'])
  t.same(made(30).sort(), ['maximumPacketSize', 'topicAliasMaximum'])
  t.same(made(10), ['maximumPacketSize'])
  t.same(made(1), ['maximumPacketSize'], 'what is left may be too large')
})

t.test('who does not ask for problems gets them in CONNACK and DISCONNECT alone', async t => {
  const quiet = { maxPacketBytes: 1000, wantsProblems: false }
  t.same(encodeAcknowledgement5(PUBREC, 1, 0x97, EXPLAINED, quiet), Buffer.of(0x50, 3, 0, 1, 0x97))
  t.same(encodeFilterReasons5(SUBACK, 1, [0x87], EXPLAINED, quiet), Buffer.of(0x90, 4, 0, 1, 0, 0x87))
  t.match(parseOne(encodeConnack5(0x87, false, EXPLAINED, quiet)), {
    properties: { reasonString: 'because' },
  })
  t.match(parseOne(encodeDisconnect5(0x98, EXPLAINED, quiet)), { properties: { reasonString: 'because' } })
})

t.test('a PUBLISH has the same bytes whether its properties come as bytes or as latin1 text', async t => {
  const block = Buffer.from([38, 0, 1, 0x61, 0, 130, ...new Uint8Array(130).fill(0x62)])
  t.same(
    encodePublish5(0x32, 't', 1, block.toString('latin1'), 'payload'),
    encodePublish5(0x32, 't', 1, block, 'payload'),
  )
})
