/** What MQTT 5 adds to packets: properties with hostile values, reason codes, subscription options. */
import type { IConnectPacket, IPublishPacket, Packet } from 'mqtt-packet'
import type { Random } from '../random.js'
import { hostileText } from './hostile.js'

const MANY_USER_PROPERTIES = 500

/** Of a packet, some of these. */
function some<T extends object>(random: Random, all: T): Partial<T> {
  return Object.fromEntries(Object.entries(all).filter(() => random.chance(0.3))) as Partial<T>
}

function userProperties(random: Random): Record<string, string | string[]> {
  const count = random.chance(0.05) ? MANY_USER_PROPERTIES : 1 + Math.floor(random.wait(1))
  const names = Array.from({ length: count }, (_, i) => `${text(random).slice(0, 30)}${i}`)
  return Object.fromEntries([['id', text(random)], ...names.map(name => [name, text(random).slice(0, 100)])])
}

/** Well-formed, and without NUL. */
const text = (random: Random): string =>
  hostileText(random).replaceAll('\0', '').slice(0, 6000).toWellFormed()

export const connectProperties = (random: Random): NonNullable<IConnectPacket['properties']> =>
  some(random, {
    sessionExpiryInterval: random.pick([0, 1, 60, 0xffff_ffff]),
    receiveMaximum: random.pick([1, 2, 65_535]),
    maximumPacketSize: random.pick([1, 2, 20, 100, 1_000, 0xffff_ffff]),
    requestResponseInformation: random.chance(0.5),
    requestProblemInformation: random.chance(0.5),
    userProperties: userProperties(random),
  })

const responseTopic = (random: Random, me: string): string =>
  random.pick([
    `users/${me}/replies`,
    `users/${me}/replies/a`,
    'users/123456789/replies',
    'open/a',
    'users/x',
  ])

export const messageProperties = (
  random: Random,
  me: string,
  isWill = false,
): NonNullable<IPublishPacket['properties']> =>
  some(random, {
    payloadFormatIndicator: random.chance(0.5),
    messageExpiryInterval: random.pick([0, 1, 2, 0xffff_ffff]),
    contentType: text(random),
    responseTopic: responseTopic(random, me),
    correlationData: Buffer.alloc(random.pick([0, 1, 100, 60_000]), 1),
    userProperties: userProperties(random),
    ...(isWill
      ? { willDelayInterval: random.pick([0, 1, 2, 0xffff_ffff]) }
      : { topicAlias: random.pick([1, 2, 32, 33, 65_535]) }),
  })

const REASONS = [0, 0, 0, 0x10, 0x80, 0x87, 0x92, 0x97]

/** The same packet with what version 5 has besides. */
export function packet5(random: Random, packet: Packet, me: string): Packet {
  switch (packet.cmd) {
    case 'publish':
      return { ...packet, properties: messageProperties(random, me) }
    case 'subscribe': {
      const subscriptions = packet.subscriptions.map(one => ({
        ...one,
        nl: random.chance(0.2),
        rap: random.chance(0.5),
        rh: random.pick([0, 1, 2]),
      }))
      const subscriptionIdentifier = random.pick([1, 127, 128, 268_435_455])
      const properties = some(random, { subscriptionIdentifier, userProperties: userProperties(random) })
      return { ...packet, subscriptions, properties }
    }
    case 'unsubscribe':
      return { ...packet, properties: some(random, { userProperties: userProperties(random) }) }
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      return {
        ...packet,
        reasonCode: random.pick(REASONS),
        properties: some(random, { reasonString: text(random), userProperties: userProperties(random) }),
      }
    default:
      return packet
  }
}
