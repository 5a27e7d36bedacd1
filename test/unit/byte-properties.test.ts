/** Properties of bytes, addresses and emails: the result does not depend on fragmentation or spelling. */

import { isIP } from 'node:net'
import fc from 'fast-check'
import mqttPacket, { type Packet } from 'mqtt-packet'
import t from 'tap'
import { HOSTILE_NAMES } from '../../scripts/fuzz/hostile.js'
import { normalizeEmail } from '../../src/accounts/email.js'
import { AddressList, addressGroup, plainAddress } from '../../src/limits/address.js'
import type { ConnectPacket } from '../../src/mqtt/wire/connect-packet.js'
import { PacketGate } from '../../src/mqtt/wire/packet-gate.js'
import { MalformedPacket } from '../../src/mqtt/wire/packet-rules.js'
import { check } from '../helpers/property.js'

const LIMITS = {
  maxPacketBytes: 1_000,
  maxTopicBytes: 60,
  maxTopicLevels: 4,
  maxClientIdBytes: 30,
  maxWillBytes: 100,
  keepaliveLimitSeconds: 0,
  maxSubscriptions: 100,
}

const text = fc.oneof(fc.constantFrom(...HOSTILE_NAMES), fc.string({ unit: 'binary' }), fc.constant('a/b'))
const messageId = fc.integer({ min: 1, max: 65_535 })
const packet: fc.Arbitrary<Packet> = fc.oneof(
  fc.record({
    cmd: fc.constant('publish' as const),
    topic: text.filter(one => one !== ''),
    payload: fc.uint8Array().map(Buffer.from),
    qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
    dup: fc.boolean(),
    retain: fc.boolean(),
    messageId,
  }),
  fc.record({
    cmd: fc.constantFrom('puback' as const, 'pubrec' as const, 'pubrel' as const, 'pubcomp' as const),
    messageId,
  }),
  fc.record({
    cmd: fc.constant('subscribe' as const),
    messageId,
    subscriptions: fc.array(
      fc.record({ topic: text, qos: fc.constantFrom(0 as const, 1 as const, 2 as const) }),
      { minLength: 1 },
    ),
  }),
  fc.constant({ cmd: 'pingreq' as const }),
)
const connect = fc.record({
  cmd: fc.constant('connect' as const),
  clientId: text.filter(one => one !== ''),
  clean: fc.constant(true),
  keepalive: fc.nat(65_535),
})

/** As it should be, and with a few bytes changed. */
const stream = fc
  .tuple(
    connect,
    fc.array(packet, { maxLength: 8 }),
    fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 }),
  )
  .map(([connect, packets, changes]) => {
    const bytes = Buffer.concat([connect, ...packets].map(one => mqttPacket.generate(one)))
    for (const [at, byte] of changes) bytes[at % bytes.length] = byte
    return bytes
  })

/** Remaining length (MQTT 3.1.1, 2.2.3). */
const lengthOf = (length: number): Buffer =>
  length < 128 ? Buffer.of(length) : Buffer.of((length & 0x7f) | 0x80, ...lengthOf(length >> 7))

function pass(chunks: readonly Buffer[]): { passed: string; fault: string | undefined; packets: number } {
  const gate = new PacketGate(LIMITS)
  const passed: Buffer[] = []
  const sink = {
    connect: ({ keepAliveSeconds: keepalive, userName: username, version, ...rest }: ConnectPacket) => {
      const fields = Object.entries({ ...rest, keepalive, username }).filter(
        ([, value]) => value !== undefined,
      )
      const protocolId = version === 3 ? 'MQIsdp' : 'MQTT'
      const packet = { cmd: 'connect', protocolId, protocolVersion: version, ...Object.fromEntries(fields) }
      passed.push(mqttPacket.generate(packet as Packet))
    },
    take: (first: number, bytes: Buffer, at: number, end: number) => {
      passed.push(Buffer.concat([Buffer.of(first), lengthOf(end - at), bytes.subarray(at, end)]))
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
    fault = thrown.message
  }
  return { passed: Buffer.concat(passed).toString('hex'), fault, packets: gate.takePackets() }
}

t.test('the packet gate gives the same result however a stream is split', async t => {
  let refused = 0
  check(
    t,
    fc.property(stream, fc.array(fc.nat(), { maxLength: 12 }), (bytes, at) => {
      const cuts = [0, ...at.map(one => one % bytes.length).sort((a, b) => a - b), bytes.length]
      const whole = pass([bytes])
      const split = pass(cuts.slice(1).map((cut, i) => bytes.subarray(cuts[i], cut)))
      if (whole.fault !== undefined) refused++
      return JSON.stringify(whole) === JSON.stringify(split)
    }),
    { numRuns: 5000 },
  )
  t.ok(refused > 500 && refused < 4500, `${refused} of 5000 were refused`)
})

t.test('a parser accepts what the gate passes', async t => {
  check(
    t,
    fc.property(stream, bytes => {
      const { passed, fault } = pass([bytes])
      const parser = mqttPacket.parser()
      let isRight = true
      parser.on('error', () => {
        isRight = false
      })
      const left = parser.parse(Buffer.from(passed, 'hex'))
      return isRight && left === 0 && (fault !== undefined || passed.length <= bytes.length * 2)
    }),
    { numRuns: 3000 },
  )
})

const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.ipV4().map(one => `::ffff:${one}`),
)

t.test('every form of an address has the same group, its /64', async t => {
  check(
    t,
    fc.property(
      fc.ipV4(),
      one =>
        addressGroup(one) === one &&
        addressGroup(`::ffff:${one}`) === one &&
        addressGroup(`::FFFF:${one}%eth0`) === one,
    ),
  )
  check(
    t,
    fc.property(fc.array(fc.integer({ min: 1, max: 0xffff }), { minLength: 8, maxLength: 8 }), groups => {
      const full = groups.map(one => one.toString(16))
      const padded = groups.map(one => one.toString(16).padStart(4, '0').toUpperCase())
      const neighbour = [...full.slice(0, 4), '1', '2', '3', '4']
      const stranger = [...full.slice(0, 3), (groups[3] ?? 0) === 1 ? '2' : '1', ...full.slice(4)]
      const group = addressGroup(full.join(':'))
      return (
        group === `${full.slice(0, 4).join(':')}::/64` &&
        group === addressGroup(padded.join(':')) &&
        group === addressGroup(neighbour.join(':')) &&
        group !== addressGroup(stranger.join(':'))
      )
    }),
  )
})

t.test('any text is an address or not, and all that are not share one group', async t => {
  check(
    t,
    fc.property(fc.oneof(text, address), one => {
      const plain = plainAddress(one)
      const group = addressGroup(one)
      return plain === undefined ? group === 'unknown' : isIP(plain) > 0 && group !== 'unknown'
    }),
  )
})

t.test(
  'X-Forwarded-For: the client is the one that the last proxy saw, whatever the client sent',
  async t => {
    const proxies = new AddressList(['10.0.0.0/8'])
    const proxy = fc.nat(0xffffff).map(n => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`)
    const made = fc.array(fc.oneof(text, address), { maxLength: 4 }).map(parts => parts.join(','))
    const local = new AddressList(['127.0.0.0/8', '0.0.0.0/8', '::1', '::'])
    const client = address.filter(one => !proxies.has(one) && !local.has(one))
    const port = fc.constantFrom('', ':443')
    check(
      t,
      fc.property(
        made,
        client,
        fc.array(proxy, { maxLength: 3 }),
        proxy,
        port,
        (made, client, hops, peer, port) => {
          const heard = isIP(client) === 4 ? `${client}${port}` : `[${client}]${port}`
          return proxies.client(peer, [made, heard, ...hops].join(', ')) === plainAddress(client)
        },
      ),
    )
    check(
      t,
      fc.property(made, client, (made, client) => proxies.client(client, made) === client),
    )
  },
)

t.test('normalising an email is idempotent, and all its spellings have the same normal form', async t => {
  const local = fc.oneof(
    text,
    fc.emailAddress().map(one => one.split('@')[0] ?? ''),
  )
  const domain = fc.oneof(
    fc.domain(),
    fc.constantFrom(
      'bücher.example',
      'BÜCHER.example',
      'xn--bcher-kva.example',
      '例え.テスト',
      'a\u200bb.example',
      'ｅｘ.example',
      'ß.example',
      'a..b',
      '',
    ),
    text,
  )
  let count = 0
  check(
    t,
    fc.property(local, domain, (local, domain) => {
      const email = `${local}@${domain}`
      const normal = normalizeEmail(email)
      if (normal === '') return true
      count++
      return normalizeEmail(normal) === normal && normalizeEmail(email.normalize('NFD')) === normal
    }),
    { numRuns: 5000 },
  )
  t.ok(count > 1000, `${count} were addresses`)
})
