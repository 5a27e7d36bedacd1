/** Packets that MQTT 5 does not allow: CONNACK or DISCONNECT says why, and the connection is closed (section 4.13). */
import t from 'tap'
import {
  block,
  bytes,
  connect5,
  connectBytes,
  field,
  packet,
  plainBroker,
  socket5,
} from '../helpers/raw-mqtt5.js'

const broker = await plainBroker(t)

const NONE = block()
const NUL = field('a\0b')
const ILL_FORMED = field(Buffer.from([0x61, 0xc3, 0x28]))
const SURROGATE = field(Buffer.from([0xed, 0xa0, 0x80]))

type Case = readonly [name: string, bytes: Buffer, reasonCode: number]

/** A packet of less than 128 bytes with a byte more in its remaining length. */
const padded = (whole: Buffer): Buffer =>
  bytes(Number(whole[0]), Number(whole[1]) | 0x80, 0, whole.subarray(2))

const CONNECTS: readonly Case[] = [
  ['the reserved flag [MQTT-3.1.2-3]', connectBytes(0x03, NONE, field('me')), 0x81],
  ['will QoS without a will [MQTT-3.1.2-11]', connectBytes(0x0a, NONE, field('me')), 0x81],
  ['will QoS 3 [MQTT-3.1.2-12]', connectBytes(0x1e, NONE, field('me'), NONE, field('w'), field('x')), 0x81],
  ['will retain without a will [MQTT-3.1.2-13]', connectBytes(0x22, NONE, field('me')), 0x81],
  ['a will flag and no will [MQTT-3.1.2-9]', connectBytes(0x06, NONE, field('me')), 0x81],
  ['a user name without its flag [MQTT-3.1.2-16]', connectBytes(0x02, NONE, field('me'), field('u')), 0x81],
  ['a user name flag and no user name [MQTT-3.1.2-17]', connectBytes(0x82, NONE, field('me')), 0x81],
  ['a password without its flag [MQTT-3.1.2-18]', connectBytes(0x02, NONE, field('me'), field('p')), 0x81],
  ['a password flag and no password [MQTT-3.1.2-19]', connectBytes(0x42, NONE, field('me')), 0x81],
  ['no client identifier [MQTT-3.1.3-3]', connectBytes(0x02, NONE), 0x81],
  ['NUL in the client identifier [MQTT-1.5.4-2]', connectBytes(0x02, NONE, NUL), 0x81],
  [
    'ill-formed UTF-8 as client identifier [MQTT-1.5.4-1] [MQTT-3.1.3-4]',
    connectBytes(0x02, NONE, ILL_FORMED),
    0x81,
  ],
  [
    'a surrogate in the will topic [MQTT-3.1.3-11]',
    connectBytes(0x06, NONE, field('me'), NONE, SURROGATE, field('x')),
    0x81,
  ],
  ['ill-formed UTF-8 as user name [MQTT-3.1.3-12]', connectBytes(0x82, NONE, field('me'), ILL_FORMED), 0x81],
  [
    'a remaining length longer than need be [MQTT-1.5.5-1]',
    padded(connectBytes(0x02, NONE, field('me'))),
    0x81,
  ],
  ['no properties at all [MQTT-3.1.4-1]', connectBytes(0x02), 0x81],
  ['a property of PUBLISH', connectBytes(0x02, block(35, 0, 1), field('me')), 0x81],
  ['a property twice', connectBytes(0x02, block(33, 0, 1, 33, 0, 1), field('me')), 0x82],
  ['receive maximum 0', connectBytes(0x02, block(33, 0, 0), field('me')), 0x82],
  ['maximum packet size 0', connectBytes(0x02, block(39, 0, 0, 0, 0), field('me')), 0x82],
  ['request problem information 2', connectBytes(0x02, block(23, 2), field('me')), 0x82],
  ['authentication data without a method', connectBytes(0x02, block(22, field('d')), field('me')), 0x82],
  [
    'a will that is not UTF-8 as it tells',
    connectBytes(0x06, NONE, field('me'), block(1, 1), field('w'), field(Buffer.of(0xff))),
    0x99,
  ],
]

for (const [name, input, reasonCode] of CONNECTS) {
  t.test(
    `CONNECT with ${name}: CONNACK says 0x${reasonCode.toString(16)} [MQTT-3.2.2-6] [MQTT-3.2.2-8]`,
    async t => {
      const client = await socket5(t, broker)
      client.send(input)
      t.match(await client.take('connack'), { reasonCode, sessionPresent: false })
      await client.closed
      t.same(client.raw.unread, [])
    },
  )
}

const subscribe = (...parts: (number | string | Uint8Array)[]) => packet(0x82, 0, 1, ...parts)

const PACKETS: readonly Case[] = [
  ['packet type 0', packet(0x00), 0x81],
  ['CONNACK from a client', packet(0x20, 0, 0, 0), 0x82],
  ['SUBACK from a client', packet(0x90, 0, 1, 0, 0), 0x82],
  ['PINGRESP from a client', packet(0xd0), 0x82],
  ['PUBACK with flags [MQTT-2.1.3-1]', packet(0x42, 0, 1), 0x81],
  ['PUBREC with flags [MQTT-2.1.3-1]', packet(0x52, 0, 1), 0x81],
  ['PUBCOMP with flags [MQTT-2.1.3-1]', packet(0x72, 0, 1), 0x81],
  ['PUBREL with flags 0000 [MQTT-3.6.1-1]', packet(0x60, 0, 1), 0x81],
  ['SUBSCRIBE with flags 0000 [MQTT-3.8.1-1]', packet(0x80, 0, 1, NONE, field('a'), 0), 0x81],
  ['UNSUBSCRIBE with flags 0000 [MQTT-3.10.1-1]', packet(0xa0, 0, 1, NONE, field('a')), 0x81],
  ['DISCONNECT with flags [MQTT-3.14.1-1]', packet(0xe1), 0x81],
  ['PINGREQ with flags [MQTT-2.1.3-1]', packet(0xc1), 0x81],
  ['AUTH with flags [MQTT-3.15.1-1]', packet(0xf1), 0x81],
  ['a remaining length longer than need be [MQTT-1.5.5-1]', bytes(0xc0, 0x80, 0x00), 0x81],
  ['a remaining length of five bytes', bytes(0x30, 0x80, 0x80, 0x80, 0x80, 0x01), 0x81],

  ['PUBLISH with QoS 3 [MQTT-3.3.1-4]', packet(0x36, field('a'), 0, 1, NONE), 0x81],
  ['PUBLISH with DUP at QoS 0 [MQTT-3.3.1-2]', packet(0x38, field('a'), NONE), 0x81],
  ['+ in a PUBLISH topic [MQTT-3.3.2-2]', packet(0x30, field('a/+'), NONE), 0x81],
  ['# in a PUBLISH topic [MQTT-4.7.0-1]', packet(0x30, field('#'), NONE), 0x81],
  ['no topic and no alias [MQTT-4.7.3-1]', packet(0x30, field(''), NONE), 0x82],
  ['NUL in a PUBLISH topic [MQTT-4.7.3-2]', packet(0x30, NUL, NONE), 0x81],
  ['ill-formed UTF-8 in a PUBLISH topic [MQTT-3.3.2-1]', packet(0x30, ILL_FORMED, NONE), 0x81],
  ['packet identifier 0 in PUBLISH [MQTT-2.2.1-3]', packet(0x32, field('a'), 0, 0, NONE), 0x82],
  ['a subscription identifier in PUBLISH [MQTT-3.3.4-6]', packet(0x30, field('a'), block(11, 1)), 0x82],
  ['a topic alias of 0 [MQTT-3.3.2-8]', packet(0x30, field('a'), block(35, 0, 0)), 0x94],
  ['a topic alias over the maximum [MQTT-3.3.2-9]', packet(0x30, field('a'), block(35, 0xff, 0xff)), 0x94],
  ['a topic alias that names nothing', packet(0x30, field(''), block(35, 0, 1)), 0x82],
  [
    'a wildcard in the response topic [MQTT-3.3.2-14]',
    packet(0x30, field('a'), block(8, field('b/#'))),
    0x82,
  ],
  ['NUL in the response topic [MQTT-3.3.2-13]', packet(0x30, field('a'), block(8, NUL)), 0x81],
  ['ill-formed UTF-8 as content type [MQTT-3.3.2-19]', packet(0x30, field('a'), block(3, ILL_FORMED)), 0x81],
  [
    'ill-formed UTF-8 in a user property [MQTT-1.5.7-1]',
    packet(0x30, field('a'), block(38, field('a'), ILL_FORMED)),
    0x81,
  ],
  ['payload format 2', packet(0x30, field('a'), block(1, 2)), 0x82],
  ['a property twice', packet(0x30, field('a'), block(1, 0, 1, 0)), 0x82],
  ['a property of CONNECT', packet(0x30, field('a'), block(33, 0, 1)), 0x81],
  ['a property that is not defined', packet(0x30, field('a'), block(4, 0)), 0x81],
  ['properties beyond the packet', packet(0x30, field('a'), 9, 1, 0), 0x81],
  ['a property length longer than need be [MQTT-1.5.5-1]', packet(0x30, field('a'), 0x82, 0x00, 1, 0), 0x81],

  ['packet identifier 0 in PUBACK', packet(0x40, 0, 0), 0x82],
  ['packet identifier 0 in PUBREC', packet(0x50, 0, 0), 0x82],
  ['packet identifier 0 in PUBREL', packet(0x62, 0, 0), 0x82],
  ['packet identifier 0 in PUBCOMP', packet(0x70, 0, 0), 0x82],
  ['a property of PUBLISH in PUBACK', packet(0x40, 0, 1, 0, block(1, 0)), 0x81],
  ['two reason strings in PUBACK', packet(0x40, 0, 1, 0, block(31, field('a'), 31, field('b'))), 0x82],
  ['bytes behind the properties of PUBACK', packet(0x40, 0, 1, 0, NONE, 0), 0x81],
  ['a reason code that is not PUBACK’s [MQTT-3.4.2-1]', packet(0x40, 0, 1, 0x92), 0x82],
  ['a reason code that is not PUBREC’s [MQTT-3.5.2-1]', packet(0x50, 0, 1, 0x01), 0x82],
  ['a reason code that is not PUBREL’s [MQTT-3.6.2-1]', packet(0x62, 0, 1, 0x80), 0x82],
  ['a reason code that is not PUBCOMP’s [MQTT-3.7.2-1]', packet(0x70, 0, 1, 0x10), 0x82],

  ['SUBSCRIBE without a filter [MQTT-3.8.3-2]', subscribe(NONE), 0x82],
  ['packet identifier 0 in SUBSCRIBE', packet(0x82, 0, 0, NONE, field('a'), 0), 0x82],
  ['reserved bits of the options [MQTT-3.8.3-5]', subscribe(NONE, field('a'), 0x40), 0x81],
  ['QoS 3 in SUBSCRIBE', subscribe(NONE, field('a'), 0x03), 0x82],
  ['retain handling 3', subscribe(NONE, field('a'), 0x30), 0x82],
  ['no local of a shared subscription [MQTT-3.8.3-4]', subscribe(NONE, field('$share/g/a'), 0x04), 0x82],
  ['subscription identifier 0', subscribe(block(11, 0), field('a'), 0), 0x82],
  [
    'a subscription identifier of five bytes',
    subscribe(block(11, 0x80, 0x80, 0x80, 0x80, 1), field('a'), 0),
    0x81,
  ],
  ['a property of PUBLISH in SUBSCRIBE', subscribe(block(35, 0, 1), field('a'), 0), 0x81],
  ['a filter without its options', subscribe(NONE, field('a')), 0x81],
  ['an empty filter [MQTT-4.7.3-1]', subscribe(NONE, field(''), 0), 0x82],
  ['NUL in a filter [MQTT-4.7.3-2]', subscribe(NONE, NUL, 0), 0x81],
  ['two subscription identifiers', subscribe(block(11, 1, 11, 2), field('a'), 0), 0x82],
  ['ill-formed UTF-8 in a filter [MQTT-3.8.3-1]', subscribe(NONE, ILL_FORMED, 0), 0x81],
  ['filter a# [MQTT-4.7.1-1]', subscribe(NONE, field('a#'), 0), 0x81],
  ['filter a/#/b [MQTT-4.7.1-1]', subscribe(NONE, field('a/#/b'), 0), 0x81],
  ['filter a+ [MQTT-4.7.1-2]', subscribe(NONE, field('a+'), 0), 0x81],
  ['an empty share name [MQTT-4.8.2-1]', subscribe(NONE, field('$share//a'), 0), 0x8f],
  ['a wildcard in the share name [MQTT-4.8.2-2]', subscribe(NONE, field('$share/+/a'), 0), 0x8f],
  ['a share without a filter [MQTT-4.8.2-2]', subscribe(NONE, field('$share/g'), 0), 0x8f],

  ['UNSUBSCRIBE without a filter [MQTT-3.10.3-2]', packet(0xa2, 0, 1, NONE), 0x82],
  ['packet identifier 0 in UNSUBSCRIBE', packet(0xa2, 0, 0, NONE, field('a')), 0x82],
  ['a subscription identifier in UNSUBSCRIBE', packet(0xa2, 0, 1, block(11, 1), field('a')), 0x81],
  ['filter a/#/b in UNSUBSCRIBE [MQTT-4.7.1-1]', packet(0xa2, 0, 1, NONE, field('a/#/b')), 0x81],
  ['ill-formed UTF-8 in UNSUBSCRIBE [MQTT-3.10.3-1]', packet(0xa2, 0, 1, NONE, ILL_FORMED), 0x81],

  ['an expiry twice in DISCONNECT', packet(0xe0, 0, block(17, 0, 0, 0, 0, 17, 0, 0, 0, 0)), 0x82],
  ['a reason code of the server in DISCONNECT [MQTT-3.14.2-1]', packet(0xe0, 0x8b), 0x82],
]

for (const [name, input, reasonCode] of PACKETS) {
  t.test(`${name}: DISCONNECT says 0x${reasonCode.toString(16)} [MQTT-4.13.1-1] [MQTT-4.13.2-1]`, async t => {
    const client = await connect5(t, broker)
    client.send(input)
    t.equal(await client.dismissed(), reasonCode)
    t.same(client.raw.unread, [])
  })
}
