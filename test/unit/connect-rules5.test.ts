/** CONNECT of MQTT 5: each fault has its reason code, and what mqtt-packet writes is read as it was meant. */
import fc from 'fast-check'
import t from 'tap'
import { readConnect5 } from '../../src/mqtt/wire/connect-rules5.js'
import { Fields, MalformedPacket, type PacketLimits } from '../../src/mqtt/wire/packet-rules.js'
import { encodeProperties } from '../../src/mqtt/wire/property-block.js'
import { forOracle, generate5, mqttText, normal, someOf } from '../helpers/mqtt5.js'
import { check } from '../helpers/property.js'

const LIMITS: PacketLimits = {
  maxPacketBytes: 1_000,
  maxTopicBytes: 60,
  maxTopicLevels: 4,
  maxClientIdBytes: 60,
  maxWillBytes: 20,
  keepaliveLimitSeconds: 60,
  maxSubscriptions: 4,
}

const body = (...parts: (number | string | Buffer)[]): Buffer =>
  Buffer.concat(parts.map(one => (typeof one === 'number' ? Buffer.of(one) : Buffer.from(one))))

const text = (value: string | Buffer): Buffer => {
  const length = Buffer.byteLength(value)
  return body(length >> 8, length & 0xff, value)
}

const read = (bytes: Buffer, limits = LIMITS) => readConnect5(new Fields(bytes, 0, bytes.length), limits)

const NONE = 0
/** Behind the protocol version: flags, keep alive, properties, payload. */
const connect = (flags: number, ...payload: (number | string | Buffer)[]): Buffer =>
  body(flags, 0, 60, NONE, ...payload)

const ME = text('me')
const NUL = text('a\0b')
const ILL_FORMED = text(Buffer.from([0x61, 0xc3, 0x28]))

const BAD: readonly (readonly [name: string, bytes: Buffer, code: number])[] = [
  ['nothing in it', body(), 0x81],
  ['half a keep alive', body(2, 0), 0x81],
  ['no property length', body(2, 0, 60), 0x81],
  ['the reserved flag', connect(0x03, ME), 0x81],
  ['will QoS without a will', connect(0x0a, ME), 0x81],
  ['will retain without a will', connect(0x22, ME), 0x81],
  ['will QoS 3', connect(0x1e, ME, NONE, text('w'), text('x')), 0x81],
  ['no client identifier', connect(2), 0x81],
  ['a client identifier too long', connect(2, text('i'.repeat(61))), 0x85],
  ['NUL in the client identifier', connect(2, NUL), 0x81],
  ['ill-formed UTF-8 in the client identifier', connect(2, ILL_FORMED), 0x81],
  ['a will without its properties', connect(0x06, ME), 0x81],
  ['a will topic and no will payload', connect(0x06, ME, NONE, text('w')), 0x81],
  ['a wildcard in the will topic', connect(0x06, ME, NONE, text('w/#'), text('x')), 0x81],
  ['an empty will topic', connect(0x06, ME, NONE, text(''), text('x')), 0x82],
  ['NUL in the will topic', connect(0x06, ME, NONE, NUL, text('x')), 0x81],
  ['a will payload too long', connect(0x06, ME, NONE, text('w'), text('x'.repeat(21))), 0x95],
  [
    'a will whose properties and payload are too long together',
    connect(0x06, ME, 9, 3, text('type/t'), text('w'), text('x'.repeat(12))),
    0x95,
  ],
  ['a topic alias of the will', connect(0x06, ME, 3, 35, 0, 1, text('w'), text('x')), 0x81],
  ['a will delay twice', connect(0x06, ME, 10, 24, 0, 0, 0, 1, 24, 0, 0, 0, 1, text('w'), text('x')), 0x82],
  ['a will payload that is not UTF-8 as told', connect(0x06, ME, 2, 1, 1, text('w'), 0, 1, 0xff), 0x99],
  ['a user name flag without a user name', connect(0x82, ME), 0x81],
  ['a password flag without a password', connect(0x42, ME), 0x81],
  ['NUL in the user name', connect(0x82, ME, NUL), 0x81],
  ['ill-formed UTF-8 in the user name', connect(0x82, ME, ILL_FORMED), 0x81],
  ['a user name too long', connect(0x82, ME, text('u'.repeat(1281))), 0x86],
  ['a password too long', connect(0x42, ME, text('p'.repeat(8193))), 0x86],
  ['a user name without its flag', connect(0x02, ME, text('user')), 0x81],
  ['receive maximum 0', body(2, 0, 60, 3, 33, 0, 0, ME), 0x82],
  ['session expiry twice', body(2, 0, 60, 10, 17, 0, 0, 0, 1, 17, 0, 0, 0, 1, ME), 0x82],
  ['a property of PUBLISH', body(2, 0, 60, 3, 35, 0, 1, ME), 0x81],
  ['authentication data without a method', body(2, 0, 60, 4, 22, text('d'), ME), 0x82],
]

for (const [name, bytes, code] of BAD) {
  t.test(`refuses CONNECT with ${name}`, async t => {
    t.throws(() => read(bytes), { code })
    t.throws(() => read(bytes), MalformedPacket)
  })
}

t.test('what 3.1.1 does not allow', async t => {
  t.match(read(connect(0x42, ME, text('secret'))), { password: Buffer.from('secret'), userName: undefined })
  t.match(read(connect(0x00, text(''))), { clientId: '', clean: false })
  t.match(read(body(2, 0, 0, NONE, ME)), { keepAliveSeconds: 0 }, 'the server tells its own keep alive')
  t.match(read(body(2, 255, 255, NONE, ME)), { keepAliveSeconds: 65_535 })
})

const WIDE: PacketLimits = { ...LIMITS, maxTopicLevels: 1000, maxWillBytes: 10_000 }

t.test('CONNECT that mqtt-packet wrote [MQTT-3.1.3-1]', async t => {
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
  const willProperties = someOf(
    'willDelayInterval',
    'messageExpiryInterval',
    'contentType',
    'responseTopic',
    'correlationData',
    'userProperties',
  )
  const data = fc.uint8Array().map(one => Buffer.from(one))
  const will = fc.record({
    topic: mqttText.map(one => `t${one.replaceAll(/[+#]/g, '/')}`),
    payload: data,
    qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
    retain: fc.boolean(),
    properties: willProperties,
  })
  const maybe = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined })
  const packet = fc.record({
    clean: fc.boolean(),
    clientId: mqttText.map(one => `c${one}`),
    keepalive: fc.nat(65_535),
    username: maybe(mqttText.filter(one => one !== '')),
    password: maybe(data.filter(one => one.length > 0)),
  })
  check(
    t,
    fc.property(packet, session, maybe(will), (packet, properties, will) => {
      const { username, password, ...rest } = packet
      const bytes = generate5({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 5,
        ...rest,
        ...(username !== undefined && { username }),
        ...(username !== undefined && password !== undefined && { password }),
        properties: forOracle(properties),
        ...(will && { will: { ...will, properties: forOracle(will.properties) } }),
      })
      const header = new Fields(bytes, 1, bytes.length)
      header.varint()
      header.data()
      header.byte()
      const found = readConnect5(header, WIDE)
      const { willDelayInterval: _, ...passed } = will?.properties ?? {}
      const { userProperties: __, ...told } = will?.properties ?? {}
      return (
        found.version === 5 &&
        found.clean === packet.clean &&
        found.clientId === packet.clientId &&
        found.keepAliveSeconds === packet.keepalive &&
        found.userName === username &&
        String(found.password) === String(username === undefined ? undefined : password) &&
        normal(forOracle(found.properties)) === normal(forOracle(properties)) &&
        found.will?.topic === will?.topic &&
        found.will?.qos === will?.qos &&
        found.will?.retain === will?.retain &&
        String(found.will?.payload) === String(will?.payload) &&
        normal(found.will && forOracle(found.will.properties)) === normal(will && forOracle(told)) &&
        found.will?.block.length === (will && encodeProperties(passed).length)
      )
    }),
  )
})

t.test('what is read does not refer to the packet', async t => {
  const bytes = connect(0xc6, ME, 4, 9, text('d'), text('w'), text('x'), text('u'), text('p'))
  const found = read(bytes)
  bytes.fill(0)
  t.match(found, {
    password: Buffer.from('p'),
    will: {
      payload: Buffer.from('x'),
      block: body(9, 0, 1, 'd'),
      properties: { correlationData: Buffer.from('d') },
    },
  })
})
