import t from 'tap'
import { CODES, type CodeName } from '../../src/core/errors.js'
import { MalformedPacket } from '../../src/mqtt/wire/packet-rules.js'
import {
  AUTH,
  CONNACK,
  DISCONNECT,
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  SUBACK,
  UNSUBACK,
} from '../../src/mqtt/wire/packet-types.js'
import {
  isFailure,
  mayCarry,
  mayClientSend,
  REASON,
  reasonOf,
  returnCodeOf,
} from '../../src/mqtt/wire/reason-codes.js'

/** The codes of MQTT 5 for each packet, from the tables of chapter 3 and not, as in the source, from that of 2.4. */
const TABLES: readonly (readonly [string, number, readonly number[]])[] = [
  [
    '3-1 CONNACK',
    CONNACK,
    [
      0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99,
      0x9a, 0x9b, 0x9c, 0x9d, 0x9f,
    ],
  ],
  ['3-4 PUBACK', PUBACK, [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]],
  ['3-5 PUBREC', PUBREC, [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]],
  ['3-6 PUBREL', PUBREL, [0x00, 0x92]],
  ['3-7 PUBCOMP', PUBCOMP, [0x00, 0x92]],
  ['3-8 SUBACK', SUBACK, [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2]],
  ['3-9 UNSUBACK', UNSUBACK, [0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]],
  [
    '3-10 DISCONNECT',
    DISCONNECT,
    [
      0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95,
      0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
    ],
  ],
  ['3-11 AUTH', AUTH, [0x00, 0x18, 0x19]],
]

const EVERY_BYTE = Array.from({ length: 256 }, (_, code) => code)

for (const [name, packet, codes] of TABLES) {
  t.test(`table ${name} has these reason codes and no other`, async t => {
    t.same(
      EVERY_BYTE.filter(code => mayCarry(packet, code)),
      codes,
    )
  })
}

t.test('each code has one name and stands in some packet', async t => {
  t.equal(new Set(Object.values(REASON)).size, Object.keys(REASON).length)
  t.same(
    Object.values(REASON).filter(code => !TABLES.some(([, , codes]) => codes.includes(code))),
    [],
  )
  t.same([0x7f, 0x80].map(isFailure), [false, true])
})

t.test('a client may not say in DISCONNECT what only a server can say', async t => {
  const both = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]
  t.same(
    EVERY_BYTE.filter(code => mayClientSend(DISCONNECT, code)),
    both,
  )
  t.same(
    EVERY_BYTE.filter(code => mayClientSend(PUBREL, code)),
    [0x00, 0x92],
  )
})

const REFUSALS = [CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT] as const

t.test('each of our errors has a reason code that its packet may carry, and success has 0', async t => {
  for (const [name, { code, mqtt5 }] of Object.entries(CODES)) {
    const isSuccess = code < 300
    t.equal(isFailure(mqtt5), !isSuccess, name)
    for (const packet of REFUSALS) {
      const reason = reasonOf(name as CodeName, packet)
      t.ok(mayCarry(packet, reason), `${name} in ${packet.toString(16)}`)
      t.equal(isFailure(reason), !isSuccess, name)
    }
  }
})

t.test('what a packet may not carry is said with the next best code', async t => {
  t.equal(reasonOf('FORBIDDEN', PUBACK), 0x87)
  t.equal(reasonOf('ERROR_AUTH', CONNACK), 0x86)
  t.equal(reasonOf('ERROR_AUTH', PUBREC), 0x87)
  t.equal(reasonOf('INBOX_FULL', PUBACK), 0x97)
  t.equal(reasonOf('TOO_LARGE', PUBACK), 0x97)
  t.equal(reasonOf('TOO_LARGE', DISCONNECT), 0x95)
  t.equal(reasonOf('ERROR_FIND_USER', PUBACK), 0x90)
  t.equal(reasonOf('ERROR_FIND_USER', SUBACK), 0x8f)
  t.equal(reasonOf('SHUTDOWN', DISCONNECT), 0x8b)
  t.equal(reasonOf('SHUTDOWN', CONNACK), 0x88)
  t.equal(reasonOf('SHUTDOWN', PUBACK), 0x83)
  t.equal(reasonOf('STORE_UNAVAILABLE', DISCONNECT), 0x89)
  t.equal(reasonOf('INBOX_FULL', UNSUBACK), 0x83)
})

t.test('CONNACK of 3.1.1 has five return codes for what MQTT 5 tells apart', async t => {
  const codes = [0x84, 0x85, 0x88, 0x89, 0x97, 0x9f, 0x86, 0x87, 0x8a]
  t.same(codes.map(returnCodeOf), [1, 2, 3, 3, 3, 3, 4, 5, 5])
  t.same([0x81, 0x82, 0x95, 0x80].map(returnCodeOf), Array(4).fill(undefined))
})

t.test('a fault of a packet behind CONNECT has no return code of CONNACK', async t => {
  t.equal(new MalformedPacket('too many', 'maxSubscriptions', REASON.QUOTA_EXCEEDED).refuse, undefined)
  t.equal(new MalformedPacket('bad', '[MQTT-4.8.0-1]').refuse, undefined)
  t.equal(new MalformedPacket('bad', '[MQTT-4.8.0-1]').code, 0x81)
  t.equal(new MalformedPacket('old', '', REASON.UNSUPPORTED_PROTOCOL_VERSION).refuse, 1)
})
