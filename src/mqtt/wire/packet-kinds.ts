/** The packets that a client may send, by the first byte of the fixed header, and how each is checked. */
import { MQTT_3_1 } from './connect-rules.js'
import {
  checkPacketId,
  checkPublish,
  checkPublishQos0,
  checkSubscribe,
  checkUnsubscribe,
  MalformedPacket,
  type PacketLimits,
} from './packet-rules.js'
import * as rules5 from './packet-rules5.js'
import {
  AUTH,
  CONNECT,
  DISCONNECT,
  DUP,
  PINGREQ,
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  SUBSCRIBE,
  UNSUBSCRIBE,
} from './packet-types.js'
import { REASON } from './reason-codes.js'

export interface PacketKind {
  /** @returns the number of topic filters in SUBSCRIBE and UNSUBSCRIBE; otherwise 1 @throws MalformedPacket */
  readonly check: (bytes: Buffer, at: number, end: number, limits: PacketLimits) => number
  /** Most bytes behind the fixed header. */
  readonly maxLength: number
}

/** Four bytes of seven bits each (MQTT 3.1.1, 2.2.3). */
const MAX_REMAINING_LENGTH = 0x0fffffff
/** Protocol name to keep alive, then client id, will topic, will message, user name, password of 65,537 bytes each. */
const MAX_CONNECT_LENGTH = 12 + 5 * 65_537

const publishQos0: PacketKind = { check: checkPublishQos0, maxLength: MAX_REMAINING_LENGTH }
const publish: PacketKind = { check: checkPublish, maxLength: MAX_REMAINING_LENGTH }
const acknowledgement: PacketKind = { check: checkPacketId, maxLength: 2 }
/** PINGREQ, DISCONNECT. */
export const bare: PacketKind = { check: () => 1, maxLength: 0 }

/** By the first byte: packet type and flags (MQTT 3.1.1, 2.2). */
export const KINDS: ReadonlyMap<number, PacketKind> = new Map([
  [CONNECT, { check: () => 1, maxLength: MAX_CONNECT_LENGTH }],
  [0x30, publishQos0],
  [0x31, publishQos0],
  [0x32, publish],
  [0x33, publish],
  [0x34, publish],
  [0x35, publish],
  [0x3a, publish],
  [0x3b, publish],
  [0x3c, publish],
  [0x3d, publish],
  [PUBACK, acknowledgement],
  [PUBREC, acknowledgement],
  [PUBREL, acknowledgement],
  [PUBCOMP, acknowledgement],
  [SUBSCRIBE, { check: checkSubscribe, maxLength: MAX_REMAINING_LENGTH }],
  [UNSUBSCRIBE, { check: checkUnsubscribe, maxLength: MAX_REMAINING_LENGTH }],
  [PINGREQ, bare],
  [DISCONNECT, bare],
])

const publish5: PacketKind = { check: rules5.checkPublish, maxLength: MAX_REMAINING_LENGTH }
const publish5Qos0: PacketKind = { check: rules5.checkPublishQos0, maxLength: MAX_REMAINING_LENGTH }
const kind5 = (check: PacketKind['check']): PacketKind => ({ check, maxLength: MAX_REMAINING_LENGTH })

/** The same of MQTT 5. */
export const KINDS5: ReadonlyMap<number, PacketKind> = new Map([
  ...Array.from(KINDS, ([first, kind]): [number, PacketKind] => {
    if (kind === publishQos0) return [first, publish5Qos0]
    return kind === publish ? [first, publish5] : [first, kind]
  }),
  ...[PUBACK, PUBREC, PUBREL, PUBCOMP].map((first): [number, PacketKind] => [
    first,
    kind5(rules5.checkAcknowledgement(first)),
  ]),
  [SUBSCRIBE, kind5(rules5.checkSubscribe)],
  [UNSUBSCRIBE, kind5(rules5.checkUnsubscribe)],
  [DISCONNECT, kind5(rules5.checkDisconnect)],
  [AUTH, kind5(rules5.checkAuth)],
])

/** CONNACK, SUBACK, UNSUBACK, PINGRESP. */
const FROM_SERVERS: ReadonlySet<number> = new Set([2, 9, 11, 13])

/** The fault of a first byte that is not in KINDS. */
export function firstByteFault(first: number): MalformedPacket {
  const type = first >> 4
  if (type === 3) {
    return (first & 0x06) === 0x06
      ? new MalformedPacket('PUBLISH with QoS 3', '[MQTT-3.3.1-4]')
      : new MalformedPacket('DUP at QoS 0', '[MQTT-3.3.1-2]')
  }
  return KINDS.has(first & 0xf0) || KINDS.has((first & 0xf0) | 0x02)
    ? new MalformedPacket(`wrong flags for packet type ${type}`, '[MQTT-2.2.2-2]')
    : new MalformedPacket(
        `packet type ${type} from a client`,
        '[MQTT-4.8.0-1]',
        FROM_SERVERS.has(type) ? REASON.PROTOCOL_ERROR : REASON.MALFORMED_PACKET,
      )
}

/** First bytes of PUBREL, SUBSCRIBE and UNSUBSCRIBE, whose flags are 0010. */
const ACKNOWLEDGED: ReadonlySet<number> = new Set([PUBREL, SUBSCRIBE, UNSUBSCRIBE])

/** @returns the first byte without the DUP flag that only MQTT 3.1 allows */
export const withoutOldDup = (first: number, level: number): number =>
  first & DUP && level === MQTT_3_1 && ACKNOWLEDGED.has(first & ~DUP) ? first & ~DUP : first
