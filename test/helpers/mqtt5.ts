/** Blocks of MQTT 5 properties in the words of mqtt-packet, which is the oracle of our own reader and writer. */
import fc from 'fast-check'
import mqttPacket, { type Packet } from 'mqtt-packet'
import {
  type Properties,
  type PropertyName,
  TOPIC_ALIAS_MAXIMUM,
  type UserProperty,
} from '../../src/mqtt/wire/property-table.js'

/** Text without NUL, and without the lone surrogates that have no UTF-8. */
export const mqttText = fc.string({ unit: 'binary', maxLength: 12 }).map(text => text.replaceAll('\0', '0'))
/** mqtt-packet forgets an empty value when the name comes again. */
const pairs = fc.array(
  fc.tuple(
    mqttText,
    mqttText.map(text => text || '0'),
  ),
  { minLength: 1, maxLength: 4 },
)
const uint16 = fc.integer({ min: 0, max: 0xffff })
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff })
const flag = fc.constantFrom(0, 1)
const data = fc.uint8Array({ maxLength: 20 }).map(bytes => Buffer.from(bytes))

/** A value of each property that is allowed. */
const VALUES: Readonly<Record<PropertyName, fc.Arbitrary<unknown>>> = {
  payloadFormatIndicator: flag,
  messageExpiryInterval: uint32,
  contentType: mqttText,
  responseTopic: mqttText.map(text => `t${text.replaceAll(/[+#]/g, '/')}`),
  correlationData: data,
  subscriptionIdentifier: fc.integer({ min: 1, max: 0xfff_ffff }),
  sessionExpiryInterval: uint32,
  assignedClientIdentifier: mqttText,
  serverKeepAlive: uint16,
  authenticationMethod: mqttText,
  authenticationData: data,
  requestProblemInformation: flag,
  willDelayInterval: uint32,
  requestResponseInformation: flag,
  responseInformation: mqttText,
  serverReference: mqttText,
  reasonString: mqttText,
  receiveMaximum: fc.integer({ min: 1, max: 0xffff }),
  topicAliasMaximum: uint16,
  topicAlias: fc.integer({ min: 1, max: TOPIC_ALIAS_MAXIMUM }),
  maximumQoS: flag,
  retainAvailable: flag,
  userProperties: pairs,
  maximumPacketSize: fc.integer({ min: 1, max: 0xffff_ffff }),
  wildcardSubscriptionAvailable: flag,
  subscriptionIdentifiersAvailable: flag,
  sharedSubscriptionAvailable: flag,
}

/** Any of these properties, in any order. */
export const someOf = (...names: readonly PropertyName[]): fc.Arbitrary<Properties> =>
  fc
    .shuffledSubarray([...names])
    .chain(some =>
      fc
        .tuple(...some.map(name => VALUES[name]))
        .map(values => Object.fromEntries(some.map((name, i) => [name, values[i]])) as Properties),
    )

/** The bytes as mqtt-packet's booleans: all flags but maximumQoS. */
const BOOLEAN: ReadonlySet<string> = new Set<PropertyName>([
  'payloadFormatIndicator',
  'requestProblemInformation',
  'requestResponseInformation',
  'retainAvailable',
  'wildcardSubscriptionAvailable',
  'subscriptionIdentifiersAvailable',
  'sharedSubscriptionAvailable',
])

/** The values of one name together, as mqtt-packet has them. */
function grouped(pairs: readonly UserProperty[]): Record<string, string | string[]> {
  const all: Record<string, string | string[]> = Object.create(null)
  for (const [name, value] of pairs) {
    const before = all[name]
    all[name] = before === undefined ? value : [before, value].flat()
  }
  return all
}

const valueFor = (name: string, value: unknown): unknown => {
  if (name === 'userProperties') return grouped(value as readonly UserProperty[])
  return BOOLEAN.has(name) ? value === 1 : value
}

/** In the words of mqtt-packet; undefined if there are none. */
export function forOracle(properties: Properties): Record<string, unknown> | undefined {
  const entries = Object.entries(properties).map(([name, value]) => [name, valueFor(name, value)])
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}

/** Comparable: user properties by name, and every property in one order. */
export const normal = (properties: object | undefined): string =>
  JSON.stringify(
    Object.entries(properties ?? {})
      .map(([name, value]) => [
        name,
        name === 'userProperties'
          ? Object.entries(value).sort()
          : value instanceof Uint8Array
            ? [...value]
            : value,
      ])
      .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
  )

export const generate5 = (packet: object): Buffer =>
  mqttPacket.generate(packet as Packet, { protocolVersion: 5 })

/** @throws what mqtt-packet says of them */
export function parse5(bytes: Buffer): Packet[] {
  const packets: Packet[] = []
  const parser = mqttPacket.parser({ protocolVersion: 5 })
  parser.on('packet', packet => packets.push(packet))
  parser.on('error', error => {
    throw error
  })
  if (parser.parse(bytes) !== 0) throw new Error('bytes are left')
  return packets
}
