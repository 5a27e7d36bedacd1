/** Packets that we write: the bytes are those of mqtt-packet's encoder, and its parser reads them. */
import mqttPacket, { type Packet } from 'mqtt-packet'
import t from 'tap'
import {
  decodePacketId,
  decodePublish,
  decodeSubscribe,
  decodeUnsubscribe,
} from '../../src/mqtt/wire/decode.js'
import {
  encodeAcknowledgement,
  encodeConnack,
  encodePublish,
  encodeRefusal,
  encodeSuback,
  encodeUnsuback,
  PINGRESP,
} from '../../src/mqtt/wire/encode.js'
import {
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  publishByte,
  type QoS,
  qosOf,
} from '../../src/mqtt/wire/packet-types.js'

function parse(bytes: Buffer): Packet[] {
  const packets: Packet[] = []
  const parser = mqttPacket.parser({ protocolVersion: 4 })
  parser.on('packet', packet => packets.push(packet))
  parser.on('error', error => t.fail(String(error)))
  t.equal(parser.parse(bytes), 0, 'no bytes are left')
  return packets
}

t.test('PUBLISH: every combination of flags', async t => {
  for (const qos of [0, 1, 2] as QoS[]) {
    for (const dup of [false, true]) {
      for (const retain of [false, true]) {
        const packet = {
          cmd: 'publish',
          topic: 'a/b',
          payload: 'x',
          qos,
          retain,
          dup: dup && qos > 0,
        } as const
        const bytes = encodePublish(publishByte(qos, dup, retain), 'a/b', 0xabcd, 'x')
        const expected = mqttPacket.generate(qos === 0 ? packet : { ...packet, messageId: 0xabcd })
        t.same(bytes, expected, `QoS ${qos}, dup ${dup}, retain ${retain}`)
        t.equal(qosOf(bytes[0] ?? 0), qos)
        t.match(parse(bytes), [{ ...packet, payload: Buffer.from('x') }])
      }
    }
  }
})

t.test('PUBLISH: texts of one to four bytes a character, as text and as bytes', async t => {
  for (const topic of ['users/100000001/inbox/7', 'é/中/👋', 'ÿ', `${'ÿ'.repeat(60)}a`]) {
    for (const text of ['', 'plain', 'ÿ', 'é 中 👋', '{"content":"\u0000"}']) {
      const expected = mqttPacket.generate({
        cmd: 'publish',
        topic,
        payload: text,
        qos: 1,
        messageId: 65_535,
        retain: false,
        dup: false,
      })
      const first = publishByte(1, false, false)
      t.same(encodePublish(first, topic, 65_535, text), expected)
      t.same(encodePublish(first, topic, 65_535, Buffer.from(text)), expected)
      t.same(encodePublish(first, topic, 65_535, new Uint8Array(Buffer.from(text))), expected)
    }
  }
})

t.test('PUBLISH: the remaining length, at each edge of its number of bytes', async t => {
  const around = 2 + 1
  for (const remaining of [128, 16_384, 2_097_152]) {
    for (const size of [remaining - 1, remaining]) {
      const payload = 'p'.repeat(size - around)
      const bytes = encodePublish(publishByte(0, false, false), 't', 0, payload)
      const [packet] = parse(bytes)
      t.match(packet, { cmd: 'publish', topic: 't', length: size })
      t.same(
        bytes,
        mqttPacket.generate({ cmd: 'publish', topic: 't', payload, qos: 0, retain: false, dup: false }),
      )
    }
  }
})

t.test('PUBACK and PUBREL', async t => {
  for (const messageId of [1, 255, 256, 32_768, 65_535]) {
    t.same(encodeAcknowledgement(PUBACK, messageId), mqttPacket.generate({ cmd: 'puback', messageId }))
    t.same(encodeAcknowledgement(PUBREL, messageId), mqttPacket.generate({ cmd: 'pubrel', messageId }))
    t.match(
      parse(
        Buffer.concat([encodeAcknowledgement(PUBACK, messageId), encodeAcknowledgement(PUBREL, messageId)]),
      ),
      [
        { cmd: 'puback', messageId },
        { cmd: 'pubrel', messageId },
      ],
    )
  }
})

t.test('CONNACK of a refusal', async t => {
  for (const returnCode of [1, 2, 3, 4, 5]) {
    t.same(
      encodeRefusal(returnCode),
      mqttPacket.generate({ cmd: 'connack', returnCode, sessionPresent: false }),
    )
    t.match(parse(encodeRefusal(returnCode)), [{ cmd: 'connack', returnCode, sessionPresent: false }])
  }
})

t.test('SUBACK: a return code for each filter', async t => {
  for (const granted of [[0], [0, 1, 2, 0x80], Array.from({ length: 200 }, () => 1)]) {
    t.same(encodeSuback(7, granted), mqttPacket.generate({ cmd: 'suback', messageId: 7, granted }))
    t.match(parse(encodeSuback(7, granted)), [{ cmd: 'suback', messageId: 7, granted }])
  }
})

const body = (packet: Packet): [Buffer, number, number] => {
  const bytes = mqttPacket.generate(packet)
  return [bytes, 2, bytes.length]
}

t.test('decode: what a client says, as a value', async t => {
  const publish = {
    cmd: 'publish',
    topic: 'a/é',
    payload: Buffer.from('x'),
    retain: true,
    dup: false,
  } as const
  const [bytes, ...ends] = body({ ...publish, qos: 2, messageId: 258 })
  t.same(decodePublish(0x35, bytes, ...ends), {
    topic: 'a/é',
    payload: Buffer.from('x'),
    qos: 2,
    retain: true,
    dup: false,
    messageId: 258,
  })
  t.equal(decodePublish(0x35, bytes, ...ends).payload.buffer, bytes.buffer, 'without a copy')
  const qos0 = decodePublish(0x30, ...body({ ...publish, qos: 0, retain: false }))
  t.match(qos0, { qos: 0, retain: false, payload: Buffer.from('x'), messageId: undefined })
  t.match(decodePublish(0x3a, ...body({ ...publish, qos: 1, messageId: 1 })), { dup: true, qos: 1 })
  t.equal(decodePacketId(Buffer.of(0x40, 2, 0x12, 0x34), 2), 0x1234)
  const filters = [
    { topic: 'a/#', qos: 1 as const },
    { topic: 'a/#', qos: 0 as const },
  ]
  t.same(decodeSubscribe(...body({ cmd: 'subscribe', messageId: 7, subscriptions: filters })), {
    messageId: 7,
    filters,
  })
  t.same(decodeUnsubscribe(...body({ cmd: 'unsubscribe', messageId: 8, unsubscriptions: ['a', 'b'] })), {
    messageId: 8,
    filters: ['a', 'b'],
  })
})

t.test('encode: the answers of a broker', async t => {
  t.same(encodeConnack(true), mqttPacket.generate({ cmd: 'connack', returnCode: 0, sessionPresent: true }))
  t.same(encodeAcknowledgement(PUBREC, 258), mqttPacket.generate({ cmd: 'pubrec', messageId: 258 }))
  t.same(encodeAcknowledgement(PUBCOMP, 258), mqttPacket.generate({ cmd: 'pubcomp', messageId: 258 }))
  t.same(encodeUnsuback(258), mqttPacket.generate({ cmd: 'unsuback', messageId: 258, granted: [] }))
  t.same(PINGRESP, mqttPacket.generate({ cmd: 'pingresp' }))
})
