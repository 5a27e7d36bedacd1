/** Blocks that we write: mqtt-packet reads the values back, and what is passed on is what came but for what must change. */
import fc from 'fast-check'
import t from 'tap'
import { Fields } from '../../src/mqtt/wire/packet-rules.js'
import { CONNACK, PUBLISH } from '../../src/mqtt/wire/packet-types.js'
import { readProperties } from '../../src/mqtt/wire/properties.js'
import {
  EMPTY_BLOCK,
  encodeProperties,
  forwardedBlock,
  passedOn,
  varintBytes,
  writeVarint,
} from '../../src/mqtt/wire/property-block.js'
import { type Properties, WILL } from '../../src/mqtt/wire/property-table.js'
import { forOracle, generate5, normal, parse5, someOf } from '../helpers/mqtt5.js'
import { check } from '../helpers/property.js'

const withLength = (block: Buffer): Buffer => {
  const packet = Buffer.alloc(varintBytes(block.length) + block.length)
  block.copy(packet, writeVarint(packet, block.length, 0))
  return packet
}

const read = (block: Buffer, packet: number): Properties => {
  const bytes = withLength(block)
  return readProperties(new Fields(bytes, 0, bytes.length), packet)
}

/** What mqtt-packet reads in a PUBLISH with this block. */
function oracle(block: Buffer): string {
  const body = Buffer.concat([Buffer.of(0, 1), Buffer.from('t'), withLength(block)])
  const length = Buffer.alloc(varintBytes(body.length))
  writeVarint(length, body.length, 0)
  const [packet] = parse5(Buffer.concat([Buffer.of(0x30), length, body]))
  return normal((packet as { properties?: object }).properties)
}

const message = someOf(
  'payloadFormatIndicator',
  'messageExpiryInterval',
  'contentType',
  'responseTopic',
  'correlationData',
  'userProperties',
  'topicAlias',
)

t.test('variable byte integers, at each edge of their number of bytes', async t => {
  const edges = [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455]
  for (const value of edges) {
    const bytes = Buffer.alloc(varintBytes(value))
    t.equal(writeVarint(bytes, value, 0), bytes.length, `${value}`)
    t.equal(new Fields(bytes, 0, bytes.length).varint(), value)
  }
  t.same(edges.map(varintBytes), [1, 1, 2, 2, 3, 3, 4, 4])
  t.same(withLength(Buffer.alloc(321)).subarray(0, 2), Buffer.of(0xc1, 0x02), 'as in MQTT 5, 1.5.5')
})

t.test('mqtt-packet reads the properties of a PUBLISH that we write', async t => {
  check(
    t,
    fc.property(
      message,
      properties => oracle(encodeProperties(properties)) === normal(forOracle(properties)),
    ),
  )
})

t.test('mqtt-packet reads the properties of a CONNACK that we write', async t => {
  const session = someOf(
    'sessionExpiryInterval',
    'receiveMaximum',
    'maximumQoS',
    'retainAvailable',
    'maximumPacketSize',
    'assignedClientIdentifier',
    'topicAliasMaximum',
    'reasonString',
    'userProperties',
    'wildcardSubscriptionAvailable',
    'subscriptionIdentifiersAvailable',
    'sharedSubscriptionAvailable',
    'serverKeepAlive',
    'responseInformation',
    'serverReference',
  )
  check(
    t,
    fc.property(session, properties => {
      const body = Buffer.concat([Buffer.of(0, 0), withLength(encodeProperties(properties))])
      const length = Buffer.alloc(varintBytes(body.length))
      writeVarint(length, body.length, 0)
      const [packet] = parse5(Buffer.concat([Buffer.of(CONNACK), length, body]))
      return normal((packet as { properties?: object }).properties) === normal(forOracle(properties))
    }),
  )
})

t.test('what was written is read back, user properties in their order', async t => {
  check(
    t,
    fc.property(message, properties => {
      t.same(read(encodeProperties(properties), PUBLISH), properties)
      return true
    }),
    { numRuns: 200 },
  )
  t.equal(encodeProperties({}), EMPTY_BLOCK)
})

t.test('passed on: all but the topic alias, byte by byte', async t => {
  check(
    t,
    fc.property(message, properties => {
      const block = encodeProperties(properties)
      const passed = passedOn(block, properties)
      const { topicAlias, ...rest } = properties
      if (topicAlias === undefined) return passed === block
      return passed.equals(encodeProperties(rest))
    }),
  )
})

t.test('passed on: all but the delay of a will', async t => {
  const will: Properties = {
    contentType: 'c',
    willDelayInterval: 7,
    userProperties: [
      ['b', '1'],
      ['a', '2'],
    ],
  }
  const block = encodeProperties(will)
  const { willDelayInterval, ...rest } = will
  t.equal(willDelayInterval, 7)
  t.same(passedOn(block, read(block, WILL)), encodeProperties(rest))
})

t.test('forwarded: nothing to change is the block itself', async t => {
  const block = encodeProperties({ contentType: 'c' })
  t.equal(forwardedBlock(block, {}), block)
  t.equal(forwardedBlock(EMPTY_BLOCK, { subscriptionIdentifiers: [] }), EMPTY_BLOCK)
})

t.test(
  'forwarded: the expiry is rewritten, identifiers and an alias are added, all else is as it came',
  async t => {
    const added = fc.record(
      {
        expirySeconds: fc.integer({ min: 0, max: 0xffff_ffff }),
        subscriptionIdentifiers: fc.array(fc.integer({ min: 1, max: 0xfff_ffff }), { maxLength: 4 }),
        topicAlias: fc.integer({ min: 1, max: 0xffff }),
      },
      { requiredKeys: [] },
    )
    check(
      t,
      fc.property(
        message,
        added,
        (properties, { expirySeconds, subscriptionIdentifiers = [], topicAlias }) => {
          const { topicAlias: _, ...came } = properties
          const block = encodeProperties(came)
          const before = Buffer.from(block)
          const forwarded = forwardedBlock(block, { expirySeconds, subscriptionIdentifiers, topicAlias })
          const expected: Record<string, unknown> = { ...forOracle(came) }
          if (expirySeconds !== undefined && came.messageExpiryInterval !== undefined)
            expected.messageExpiryInterval = expirySeconds
          if (topicAlias !== undefined) expected.topicAlias = topicAlias
          if (subscriptionIdentifiers.length > 0)
            expected.subscriptionIdentifier =
              subscriptionIdentifiers.length === 1 ? subscriptionIdentifiers[0] : subscriptionIdentifiers
          return oracle(forwarded) === normal(expected) && block.equals(before)
        },
      ),
    )
  },
)

t.test('a block as latin1 text is forwarded as its bytes are', async t => {
  const text = encodeProperties({ userProperties: [['sender', '100000000']] }).toString('latin1')
  t.equal(forwardedBlock(text, {}), text)
  t.same(
    forwardedBlock(text, { subscriptionIdentifiers: [200] }),
    forwardedBlock(Buffer.from(text, 'latin1'), { subscriptionIdentifiers: [200] }),
  )
})

t.test('a block that mqtt-packet wrote is forwarded', async t => {
  const bytes = generate5({
    cmd: 'publish',
    topic: 't',
    payload: '',
    qos: 0,
    retain: false,
    dup: false,
    properties: { messageExpiryInterval: 60, userProperties: { a: ['1', '2'] } },
  })
  const fields = new Fields(bytes, 5, bytes.length).block()
  const block = fields.rest()
  t.equal(
    oracle(forwardedBlock(block, { expirySeconds: 59, subscriptionIdentifiers: [300] })),
    normal({ messageExpiryInterval: 59, userProperties: { a: ['1', '2'] }, subscriptionIdentifier: 300 }),
  )
})
