/**
 * The properties of MQTT 5 (2.2.2.2): one table of their identifiers, forms, packets and rules. The values are named as in
 * the specification.
 */
import { MalformedPacket } from './packet-rules.js'
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
} from './packet-types.js'
import { REASON } from './reason-codes.js'

export type UserProperty = readonly [name: string, value: string]

/** What a block of properties says; a property that is not in it is absent here. */
export interface Properties {
  readonly payloadFormatIndicator?: number
  readonly messageExpiryInterval?: number
  readonly contentType?: string
  readonly responseTopic?: string
  readonly correlationData?: Uint8Array
  readonly subscriptionIdentifier?: number
  readonly sessionExpiryInterval?: number
  readonly assignedClientIdentifier?: string
  readonly serverKeepAlive?: number
  readonly authenticationMethod?: string
  readonly authenticationData?: Uint8Array
  readonly requestProblemInformation?: number
  readonly willDelayInterval?: number
  readonly requestResponseInformation?: number
  readonly responseInformation?: string
  readonly serverReference?: string
  readonly reasonString?: string
  readonly receiveMaximum?: number
  readonly topicAliasMaximum?: number
  readonly topicAlias?: number
  readonly maximumQoS?: number
  readonly retainAvailable?: number
  /** In the order in which they came. */
  readonly userProperties?: readonly UserProperty[]
  readonly maximumPacketSize?: number
  readonly wildcardSubscriptionAvailable?: number
  readonly subscriptionIdentifiersAvailable?: number
  readonly sharedSubscriptionAvailable?: number
}

export type PropertyName = keyof Properties
export type PropertyValue = number | string | Uint8Array | UserProperty

/** How a value is written (1.5). `flag`: a byte that is 0 or 1. `pair`: name and value of a user property. */
export type Form = 'flag' | 'uint16' | 'uint32' | 'varint' | 'text' | 'data' | 'pair'

export interface PropertyRow {
  readonly id: number
  readonly name: PropertyName
  readonly form: Form
  /** One bit for each packet that it may stand in. */
  readonly packets: number
  /** Those of them that clients send, too, in which it may come from the server alone. Absent: none. */
  readonly fromServer?: number
  /** @throws MalformedPacket for a value that has the form and is not allowed */
  readonly check?: (value: PropertyValue) => void
}

/** Stands for the properties of a will, which are those of a PUBLISH and the delay. No packet has this type. */
export const WILL = 0x00

/** @param packet its first byte */
const bit = (packet: number): number => 1 << (packet >> 4)
const inPackets = (...packets: number[]): number => packets.reduce((bits, packet) => bits | bit(packet), 0)

const MESSAGE = inPackets(PUBLISH, WILL)
const SESSION = inPackets(CONNECT, CONNACK)
const ACKNOWLEDGEMENTS = inPackets(PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK)
const ANSWERS = ACKNOWLEDGEMENTS | inPackets(CONNACK, DISCONNECT, AUTH)
const ANY = ANSWERS | MESSAGE | inPackets(CONNECT, SUBSCRIBE, UNSUBSCRIBE)

/** Of a value, or of a block. */
export const fault = (reason: string, clause: string, code: number = REASON.PROTOCOL_ERROR) =>
  new MalformedPacket(reason, clause, code)

const notZero =
  (what: string, clause: string) =>
  (value: PropertyValue): void => {
    if (value === 0) throw fault(`${what} 0`, clause)
  }

/** Highest topic alias that a client may use; CONNACK tells it. */
export const TOPIC_ALIAS_MAXIMUM = 32

function checkTopicAlias(alias: PropertyValue): void {
  if (alias === 0) throw fault('topic alias 0', '[MQTT-3.3.2-8]', REASON.TOPIC_ALIAS_INVALID)
  if ((alias as number) > TOPIC_ALIAS_MAXIMUM)
    throw fault('topic alias over the maximum', '[MQTT-3.3.2-9]', REASON.TOPIC_ALIAS_INVALID)
}

function checkResponseTopic(topic: PropertyValue): void {
  if (topic === '') throw fault('empty response topic', '[MQTT-4.7.3-1]')
  if (/[+#]/.test(topic as string)) throw fault('wildcard in the response topic', '[MQTT-3.3.2-14]')
}

const ROWS: readonly PropertyRow[] = [
  { id: 1, name: 'payloadFormatIndicator', form: 'flag', packets: MESSAGE },
  { id: 2, name: 'messageExpiryInterval', form: 'uint32', packets: MESSAGE },
  { id: 3, name: 'contentType', form: 'text', packets: MESSAGE },
  { id: 8, name: 'responseTopic', form: 'text', packets: MESSAGE, check: checkResponseTopic },
  { id: 9, name: 'correlationData', form: 'data', packets: MESSAGE },
  {
    id: 11,
    name: 'subscriptionIdentifier',
    form: 'varint',
    packets: inPackets(PUBLISH, SUBSCRIBE),
    // [MQTT-3.3.4-6]
    fromServer: bit(PUBLISH),
    check: notZero('subscription identifier', '(MQTT 5, 3.8.2.1.2)'),
  },
  { id: 17, name: 'sessionExpiryInterval', form: 'uint32', packets: SESSION | bit(DISCONNECT) },
  { id: 18, name: 'assignedClientIdentifier', form: 'text', packets: bit(CONNACK) },
  { id: 19, name: 'serverKeepAlive', form: 'uint16', packets: bit(CONNACK) },
  { id: 21, name: 'authenticationMethod', form: 'text', packets: SESSION | bit(AUTH) },
  { id: 22, name: 'authenticationData', form: 'data', packets: SESSION | bit(AUTH) },
  { id: 23, name: 'requestProblemInformation', form: 'flag', packets: bit(CONNECT) },
  { id: 24, name: 'willDelayInterval', form: 'uint32', packets: bit(WILL) },
  { id: 25, name: 'requestResponseInformation', form: 'flag', packets: bit(CONNECT) },
  { id: 26, name: 'responseInformation', form: 'text', packets: bit(CONNACK) },
  {
    id: 28,
    name: 'serverReference',
    form: 'text',
    packets: inPackets(CONNACK, DISCONNECT),
    // (MQTT 5, 3.14.2.2.5)
    fromServer: bit(DISCONNECT),
  },
  { id: 31, name: 'reasonString', form: 'text', packets: ANSWERS },
  {
    id: 33,
    name: 'receiveMaximum',
    form: 'uint16',
    packets: SESSION,
    check: notZero('receive maximum', '(MQTT 5, 3.1.2.11.3)'),
  },
  { id: 34, name: 'topicAliasMaximum', form: 'uint16', packets: SESSION },
  {
    id: 35,
    name: 'topicAlias',
    form: 'uint16',
    packets: bit(PUBLISH),
    check: checkTopicAlias,
  },
  { id: 36, name: 'maximumQoS', form: 'flag', packets: bit(CONNACK) },
  { id: 37, name: 'retainAvailable', form: 'flag', packets: bit(CONNACK) },
  { id: 38, name: 'userProperties', form: 'pair', packets: ANY },
  {
    id: 39,
    name: 'maximumPacketSize',
    form: 'uint32',
    packets: SESSION,
    check: notZero('maximum packet size', '(MQTT 5, 3.1.2.11.4)'),
  },
  { id: 40, name: 'wildcardSubscriptionAvailable', form: 'flag', packets: bit(CONNACK) },
  { id: 41, name: 'subscriptionIdentifiersAvailable', form: 'flag', packets: bit(CONNACK) },
  { id: 42, name: 'sharedSubscriptionAvailable', form: 'flag', packets: bit(CONNACK) },
]

/** By identifier. All that are defined have one byte. */
export const PROPERTIES: ReadonlyMap<number, PropertyRow> = new Map(ROWS.map(row => [row.id, row]))

/** @param packet first byte of a packet, or WILL */
export const mayStandIn = ({ packets }: PropertyRow, packet: number): boolean => (packets & bit(packet)) !== 0

/** The same of a packet that a client sends. */
export const mayClientSay = ({ fromServer = 0 }: PropertyRow, packet: number): boolean =>
  (fromServer & bit(packet)) === 0
