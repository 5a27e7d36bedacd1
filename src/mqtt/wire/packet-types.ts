/** First bytes of packets: type, and the flags where they are fixed (MQTT 3.1.1, 2.2). */

/** The bits of the type. */
export const TYPE = 0xf0

export const CONNECT = 0x10
export const CONNACK = 0x20
/** With DUP, QoS and RETAIN in its flags. */
export const PUBLISH = 0x30
export const PUBACK = 0x40
export const PUBREC = 0x50
export const PUBREL = 0x62
export const PUBCOMP = 0x70
export const SUBSCRIBE = 0x82
export const SUBACK = 0x90
export const UNSUBSCRIBE = 0xa2
export const UNSUBACK = 0xb0
export const PINGREQ = 0xc0
export const DISCONNECT = 0xe0
/** MQTT 5 only. */
export const AUTH = 0xf0

/** Flag of a PUBLISH; in MQTT 3.1 of SUBSCRIBE, UNSUBSCRIBE and PUBREL, too. */
export const DUP = 0x08
/** Flag of a PUBLISH. */
export const RETAIN = 0x01

/** Quality of service (MQTT 3.1.1, 4.3). */
export type QoS = 0 | 1 | 2

/** First byte of a PUBLISH. DUP is 0 at QoS 0 [MQTT-3.3.1-2]. */
export const publishByte = (qos: QoS, isDup: boolean, isRetained: boolean): number =>
  PUBLISH | (qos > 0 && isDup ? DUP : 0) | (qos << 1) | (isRetained ? RETAIN : 0)

/** QoS bits in the first byte of a PUBLISH. */
export const qosOf = (first: number): number => (first >> 1) & 0x03
