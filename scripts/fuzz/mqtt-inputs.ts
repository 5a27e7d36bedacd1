/** MQTT inputs: well-formed packets with hostile content, and sessions with bytes changed. */
import mqttPacket, { type IConnectPacket, type Packet } from 'mqtt-packet'
import type { Random } from '../random.js'
import { edgeConnect } from './edges.js'
import { floodOfPackets } from './floods.js'
import { hostileText, hostileValue, mutate, writeJson } from './hostile.js'
import type { Account, Input } from './input.js'
import { connectProperties, messageProperties, packet5 } from './mqtt5-inputs.js'

export type Version = 4 | 5

export interface MqttInput extends Input {
  readonly version: Version
  /** Sent first, unchanged; empty if `bytes` begins the connection. */
  readonly connect: Buffer
  /** Every packet is well-formed, so the server must answer the packet after them or close. */
  readonly isWhole: boolean
}

type QoS = 0 | 1 | 2

const packetId = (random: Random) => random.pick([1, 2, 3, 255, 256, 32767, 32768, 65535])
const qosOf = (random: Random) => random.pick<QoS>([0, 1, 2])

/** Only a few client ids, so that sessions are resumed and taken over. */
const clientId = (random: Random) =>
  random.pick(['a', 'b', 'c/d', '+', '#', '__proto__', '漢字', '😀', '\u202e', '123456789:x'])

function connectPacket(
  random: Random,
  { email, password }: Account,
  protocolVersion: Version,
): IConnectPacket {
  const hasWill = random.chance(0.2)
  return {
    cmd: 'connect',
    protocolVersion,
    clientId: clientId(random),
    clean: random.chance(0.7),
    keepalive: random.pick([0, 60, 65535]),
    ...(random.chance(0.8) && { username: email, password: Buffer.from(password) }),
    ...(protocolVersion === 5 && { properties: connectProperties(random) }),
    ...(hasWill && {
      will: {
        ...(protocolVersion === 5 && { properties: messageProperties(random, '123456789', true) }),
        // mqtt-packet cannot write an empty one.
        topic: topic(random, '123456789') || '#',
        payload: Buffer.from('gone'),
        qos: qosOf(random),
        retain: random.chance(0.5),
      },
    }),
  }
}

function topic(random: Random, me: string): string {
  const user = random.pick([me, '123456789', '+', '#', hostileText(random).slice(0, 20)])
  return random.pick([
    `users/${user}/inbox`,
    `users/${user}/inbox/#`,
    `users/${user}/inbox/+`,
    `users/${user}/inbox/1`,
    `users/${user}/requests`,
    `users/${user}/replies`,
    `users/${user}/presence`,
    'users/#',
    '#',
    '+/+/+',
    '$SYS/#',
    `$share/g/users/${user}/inbox/#`,
    'open/a',
    `open/${hostileText(random).slice(0, 100)}`,
    hostileText(random).slice(0, 300),
    Array.from({ length: random.pick([15, 16, 17, 200]) }, () => 'a').join('/'),
  ])
}

/** A topic as a plain name. */
const nameOf = (random: Random, me: string) =>
  topic(random, me)
    .replace(/[+#\0]/g, 'x')
    .toWellFormed() || 'x'

function payload(random: Random): Buffer {
  return random.pick<() => Buffer>([
    () => Buffer.from(hostileText(random)),
    () => Buffer.from(random.pick([[], [0], [0xff, 0xfe], [0xed, 0xa0, 0x80]])),
    () => Buffer.alloc(random.pick([1, 127, 128, 16_383, 16_384, 70_000]), 'x'),
    () => Buffer.from(writeJson(hostileValue(random))),
    () =>
      Buffer.from(
        writeJson({
          type: 'message',
          id: 'm',
          data: { recipient: '123456789', content: hostileText(random) },
        }),
      ),
    () =>
      Buffer.from(
        writeJson({
          type: 'action',
          action: 'query',
          id: hostileText(random),
          data: { email: hostileValue(random) },
        }),
      ),
  ])()
}

type MakePacket = (random: Random, me: string) => Packet

/** A PUBLISH to one of the client's own topics that the gateway itself reads. */
const toOwn =
  (name: 'inbox' | 'requests'): MakePacket =>
  (random, me) => ({
    cmd: 'publish',
    topic: `users/${me}/${name}`,
    payload: payload(random),
    qos: 1,
    dup: false,
    retain: false,
    messageId: packetId(random),
  })

const PACKETS: readonly MakePacket[] = [
  (random, me) => ({
    cmd: 'publish',
    topic: nameOf(random, me),
    payload: payload(random),
    qos: 0,
    dup: false,
    retain: random.chance(0.3),
  }),
  (random, me) => ({
    cmd: 'publish',
    topic: nameOf(random, me),
    payload: payload(random),
    qos: random.pick<QoS>([1, 2]),
    dup: random.chance(0.3),
    retain: random.chance(0.3),
    messageId: packetId(random),
  }),
  toOwn('inbox'),
  toOwn('requests'),
  (random, me) => ({
    cmd: 'subscribe',
    messageId: packetId(random),
    subscriptions: Array.from({ length: 1 + Math.floor(random.wait(1)) }, () => ({
      topic: topic(random, me),
      qos: qosOf(random),
    })),
  }),
  (_, me) => ({
    cmd: 'subscribe',
    messageId: 9,
    subscriptions: [
      { topic: `users/${me}/inbox/#`, qos: 2 },
      { topic: `users/${me}/replies`, qos: 1 },
    ],
  }),
  (random, me) => ({ cmd: 'unsubscribe', messageId: packetId(random), unsubscriptions: [topic(random, me)] }),
  (random, _) => ({
    cmd: random.pick(['puback', 'pubrec', 'pubrel', 'pubcomp']),
    messageId: packetId(random),
  }),
  () => ({ cmd: 'pingreq' }),
]

function packets(random: Random, { id }: Account, protocolVersion: Version): Buffer[] {
  const make = () => {
    const packet = random.pick(PACKETS)(random, id)
    return protocolVersion === 5 ? packet5(random, packet, id) : packet
  }
  return Array.from({ length: 1 + Math.floor(random.wait(3)) }, () =>
    mqttPacket.generate(make(), { protocolVersion }),
  )
}

export function mqttInput(random: Random, account: Account): MqttInput {
  const version = random.pick<Version>([4, 5])
  const connect = mqttPacket.generate(connectPacket(random, account, version))
  const rest = Buffer.concat(packets(random, account, version))
  const none = Buffer.alloc(0)
  const how = random.next()
  if (how < 0.1)
    return { kind: 'packet flood', version, connect, bytes: floodOfPackets(random, version), isWhole: true }
  if (how < 0.4) return { kind: 'packets', version, connect, bytes: rest, isWhole: true }
  if (how < 0.7)
    return { kind: 'packet bytes', version, connect, bytes: mutate(random, rest), isWhole: false }
  if (how < 0.8)
    return { kind: 'edge', version, connect: none, bytes: edgeConnect(random, version), isWhole: false }
  if (how < 0.95) {
    const bytes = mutate(random, Buffer.concat([connect, rest]))
    return { kind: 'session bytes', version, connect: none, bytes, isWhole: false }
  }
  return { kind: 'no CONNECT', version, connect: none, bytes: rest, isWhole: false }
}
