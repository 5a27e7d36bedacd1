/** Properties of MQTT 5: what mqtt-packet writes is read as it was meant, and each fault has its reason code. */
import fc from 'fast-check'
import t from 'tap'
import { Fields, MalformedPacket } from '../../src/mqtt/wire/packet-rules.js'
import {
  AUTH,
  CONNACK,
  CONNECT,
  DISCONNECT,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  SUBACK,
  SUBSCRIBE,
  UNSUBACK,
  UNSUBSCRIBE,
} from '../../src/mqtt/wire/packet-types.js'
import {
  checkProperties,
  messagePropertiesOf,
  propertiesOf,
  readProperties,
  userPropertyOf,
} from '../../src/mqtt/wire/properties.js'
import { PROPERTIES, type Properties, WILL } from '../../src/mqtt/wire/property-table.js'
import { forOracle, generate5, normal, someOf } from '../helpers/mqtt5.js'
import { check } from '../helpers/property.js'

const read = (bytes: Buffer, packet: number): Properties =>
  readProperties(new Fields(bytes, 0, bytes.length), packet)

/** A block behind its length, which is below 128. */
const block = (...bytes: (number | string | Buffer)[]): Buffer => {
  const all = Buffer.concat(bytes.map(one => (typeof one === 'number' ? Buffer.of(one) : Buffer.from(one))))
  return Buffer.concat([Buffer.of(all.length), all])
}

const text = (value: string | Buffer): Buffer =>
  Buffer.concat([Buffer.of(0, Buffer.byteLength(value)), Buffer.from(value)])

const publish = (properties: Properties): Buffer => {
  const bytes = generate5({
    cmd: 'publish',
    topic: 't',
    payload: '',
    qos: 0,
    retain: false,
    dup: false,
    properties: forOracle(properties),
  })
  const fields = new Fields(bytes, 1, bytes.length)
  fields.varint()
  fields.data()
  return fields.rest()
}

t.test('a block of a PUBLISH that mqtt-packet wrote', async t => {
  const message = someOf(
    'payloadFormatIndicator',
    'messageExpiryInterval',
    'contentType',
    'responseTopic',
    'correlationData',
    'topicAlias',
    'userProperties',
  )
  check(
    t,
    fc.property(message, properties => {
      const found = read(publish(properties), PUBLISH)
      return normal(forOracle(found)) === normal(forOracle(properties))
    }),
  )
})

t.test('a block of a CONNECT and of its will that mqtt-packet wrote', async t => {
  const session = someOf(
    'sessionExpiryInterval',
    'receiveMaximum',
    'maximumPacketSize',
    'topicAliasMaximum',
    'requestResponseInformation',
    'requestProblemInformation',
    'userProperties',
    'authenticationMethod',
  )
  const will = someOf(
    'willDelayInterval',
    'payloadFormatIndicator',
    'messageExpiryInterval',
    'userProperties',
  )
  check(
    t,
    fc.property(session, will, (session, will) => {
      const bytes = generate5({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 5,
        clean: true,
        clientId: '',
        keepalive: 0,
        properties: forOracle(session),
        will: { topic: 't', payload: 'x', qos: 0, retain: false, properties: forOracle(will) },
      })
      const fields = new Fields(bytes, bytes.indexOf('MQTT') + 8, bytes.length)
      const foundSession = readProperties(fields, CONNECT)
      fields.data()
      const foundWill = readProperties(fields, WILL)
      return (
        normal(forOracle(foundSession)) === normal(forOracle(session)) &&
        normal(forOracle(foundWill)) === normal(forOracle(will))
      )
    }),
  )
})

t.test('user properties keep their order, and a name may come again', async t => {
  const pairs = [
    ['b', '1'],
    ['a', '2'],
    ['b', '3'],
    ['', ''],
  ] as const
  const bytes = block(...pairs.flatMap(([name, value]) => [38, text(name), text(value)]))
  t.same(read(bytes, PUBLISH), { userProperties: pairs })
})

t.test('a block of no properties', async t => {
  t.same(read(block(), CONNECT), {})
})

type Case = readonly [name: string, packet: number, bytes: Buffer, code: number]

const ILL_FORMED = text(Buffer.from([0x61, 0xc3, 0x28]))

const BAD: readonly Case[] = [
  ['an identifier that is not defined', PUBLISH, block(4, 0), 0x81],
  ['identifier 0', PUBLISH, block(0, 0), 0x81],
  ['an identifier of two bytes', PUBLISH, block(0x80, 0x01, 0), 0x81],
  ['a property of another packet', PUBLISH, block(33, 0, 1), 0x81],
  ['a property of CONNACK', CONNECT, block(37, 1), 0x81],
  ['a will delay outside a will', PUBLISH, block(24, 0, 0, 0, 1), 0x81],
  ['a topic alias in a will', WILL, block(35, 0, 1), 0x81],
  ['a property twice', CONNECT, block(33, 0, 1, 33, 0, 1), 0x82],
  ['a topic alias twice', PUBLISH, block(35, 0, 1, 35, 0, 1), 0x82],
  ['a payload format twice', PUBLISH, block(1, 0, 1, 0), 0x82],
  ['a subscription identifier twice in SUBSCRIBE', SUBSCRIBE, block(11, 1, 11, 2), 0x82],
  ['a subscription identifier of a client’s PUBLISH', PUBLISH, block(11, 1), 0x82],
  ['a receive maximum of 0', CONNECT, block(33, 0, 0), 0x82],
  ['a maximum packet size of 0', CONNECT, block(39, 0, 0, 0, 0), 0x82],
  ['a subscription identifier of 0', SUBSCRIBE, block(11, 0), 0x82],
  ['a topic alias of 0', PUBLISH, block(35, 0, 0), 0x94],
  ['request problem information 2', CONNECT, block(23, 2), 0x82],
  ['request response information 2', CONNECT, block(25, 2), 0x82],
  ['payload format 2', PUBLISH, block(1, 2), 0x82],
  ['+ in the response topic', PUBLISH, block(8, text('a/+')), 0x82],
  ['# in the response topic', WILL, block(8, text('#')), 0x82],
  ['an empty response topic', PUBLISH, block(8, text('')), 0x82],
  ['authentication data without a method', CONNECT, block(22, text('x')), 0x82],
  ['NUL in a text', PUBLISH, block(3, text('a\0')), 0x81],
  ['ill-formed UTF-8 in a text', PUBLISH, block(3, ILL_FORMED), 0x81],
  ['ill-formed UTF-8 in the name of a user property', PUBACK, block(38, ILL_FORMED, text('v')), 0x81],
  ['NUL in the value of a user property', DISCONNECT, block(38, text('n'), text('\0')), 0x81],
  ['a user property without a value', PUBLISH, block(38, text('n')), 0x81],
  ['half a number', CONNECT, block(17, 0, 0), 0x81],
  [
    'a text beyond the block',
    PUBLISH,
    Buffer.concat([block(3, 0, 9, 'a'), Buffer.from('behind the block')]),
    0x81,
  ],
  ['a block beyond the packet', PUBLISH, Buffer.of(9, 1, 1), 0x81],
  ['a length longer than need be', PUBLISH, Buffer.of(0x82, 0x00, 1, 1), 0x81],
  ['a length of five bytes', PUBLISH, Buffer.of(0x80, 0x80, 0x80, 0x80, 0x01), 0x81],
  ['a subscription identifier longer than need be', SUBSCRIBE, block(11, 0x81, 0x00), 0x81],
  ['a subscription identifier of five bytes', SUBSCRIBE, block(11, 0xff, 0xff, 0xff, 0xff, 1), 0x81],
  ['no length', PUBLISH, Buffer.of(), 0x81],
]

for (const [name, packet, bytes, code] of BAD) {
  t.test(`refuses ${name}`, async t => {
    t.throws(() => read(bytes, packet), { code })
    t.throws(() => read(bytes, packet), MalformedPacket)
  })
}

/** Table 2-4 of the specification: identifiers by packet. */
const BY_PACKET: readonly (readonly [string, number, readonly number[]])[] = [
  ['CONNECT', CONNECT, [17, 21, 22, 23, 25, 33, 34, 38, 39]],
  ['a will', WILL, [1, 2, 3, 8, 9, 24, 38]],
  ['CONNACK', CONNACK, [17, 18, 19, 21, 22, 26, 28, 31, 33, 34, 36, 37, 38, 39, 40, 41, 42]],
  ['PUBLISH', PUBLISH, [1, 2, 3, 8, 9, 11, 35, 38]],
  ['PUBACK', PUBACK, [31, 38]],
  ['PUBREC', PUBREC, [31, 38]],
  ['PUBREL', PUBREL, [31, 38]],
  ['PUBCOMP', PUBCOMP, [31, 38]],
  ['SUBSCRIBE', SUBSCRIBE, [11, 38]],
  ['SUBACK', SUBACK, [31, 38]],
  ['UNSUBSCRIBE', UNSUBSCRIBE, [38]],
  ['UNSUBACK', UNSUBACK, [31, 38]],
  ['DISCONNECT', DISCONNECT, [17, 28, 31, 38]],
  ['AUTH', AUTH, [21, 22, 31, 38]],
]

/** What of it a client may not send, though it may send the packet [MQTT-3.3.4-6] (MQTT 5, 3.14.2.2.5). */
const SERVERS_ALONE = [
  [PUBLISH, 11],
  [DISCONNECT, 28],
]

/** A value of each form that passes every rule. */
const VALUES: Readonly<Record<string, Buffer>> = {
  flag: Buffer.of(1),
  uint16: Buffer.of(0, 1),
  uint32: Buffer.of(0, 0, 0, 1),
  varint: Buffer.of(1),
  text: text('t'),
  data: text('d'),
  pair: Buffer.concat([text('n'), text('v')]),
}

for (const [name, packet, ids] of BY_PACKET) {
  t.test(`${name} has the properties of table 2-4 and no other`, async t => {
    for (let id = 0; id < 128; id++) {
      // Data needs a method.
      if (id === 22) continue
      const value = VALUES[PROPERTIES.get(id)?.form ?? 'flag'] as Buffer
      const bytes = block(id, value)
      if (SERVERS_ALONE.some(([one, its]) => one === packet && its === id))
        t.throws(() => read(bytes, packet), { code: 0x82 }, `${id}`)
      else if (ids.includes(id)) t.equal(Object.keys(read(bytes, packet)).length, 1, `${id}`)
      else t.throws(() => read(bytes, packet), { code: 0x81 }, `${id}`)
    }
  })
}

t.test(
  'values of a block that was checked: all, those of a message, and a user property by its name',
  async t => {
    const bytes = block(
      1,
      1,
      38,
      text('b'),
      text('1'),
      3,
      text('type'),
      38,
      text('b'),
      text('2'),
      2,
      0,
      0,
      0,
      9,
    )
    const fields = new Fields(bytes, 0, bytes.length)
    checkProperties(fields, PUBLISH)
    t.ok(fields.done)
    const message = { payloadFormatIndicator: 1, contentType: 'type', messageExpiryInterval: 9 }
    const inner = () => new Fields(bytes, 1, bytes.length)
    t.same(messagePropertiesOf(inner()), message)
    t.same(propertiesOf(inner()), {
      ...message,
      userProperties: [
        ['b', '1'],
        ['b', '2'],
      ],
    })
    t.equal(userPropertyOf(bytes.subarray(1), 'b'), '1', 'the first of them')
    t.equal(userPropertyOf(bytes.subarray(1), 'a'), undefined)
    t.equal(userPropertyOf(Buffer.alloc(0), 'a'), undefined)
  },
)

t.test('nothing is made of 200,000 user properties', async t => {
  const pairs = Buffer.alloc(5 * 200_000, Buffer.of(38, 0, 0, 0, 0))
  const bytes = Buffer.concat([Buffer.of(0xc0, 0x84, 0x3d), pairs])
  const before = process.cpuUsage()
  checkProperties(new Fields(bytes, 0, bytes.length), PUBLISH)
  t.same(messagePropertiesOf(new Fields(bytes, 3, bytes.length)), {})
  const { user, system } = process.cpuUsage(before)
  t.ok(user + system < 500_000, `${user + system} µs`)
})

t.test('authentication data with a method', async t => {
  for (const packet of [CONNECT, AUTH])
    t.match(read(block(22, text('d'), 21, text('m')), packet), {
      authenticationMethod: 'm',
      authenticationData: Buffer.from('d'),
    })
})
