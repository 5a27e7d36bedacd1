/** Packets inside the broker. */
import type { PublishPacket } from '../wire/decode.js'
import type { QoS } from '../wire/packet-types.js'
import type { Queued } from './persistence/kv.js'

/** A PUBLISH on its way to its subscribers. */
export interface RoutedPacket extends PublishPacket {
  readonly cmd: 'publish'
  /** The broker that numbered the packet, with `brokerCounter`; undefined for a packet that is stored nowhere. */
  readonly brokerId?: string | undefined
  readonly brokerCounter?: number | undefined
  /** Scoped client id of the publisher, for subscriptions with no local. */
  readonly publisher?: string | undefined
  /** ms since the epoch: the packet is not delivered any more. */
  readonly expiresAt?: number | undefined
  /** The shared subscription that this copy is for. */
  readonly share?: string
  /** Copies for members of groups, which are routed with the packet. */
  shared?: readonly SharedCopy[]
  /** Set when the packet is queued; see OutgoingQueue. */
  queued?: Queued
}

/** A packet for one member of a group, and the member that was chosen for it. */
export interface SharedCopy {
  readonly copy: RoutedPacket
  readonly member: {
    readonly grant: number
    /** undefined: it has gone. */
    readonly subscriber: { deliver(packet: RoutedPacket, grant: number): void } | undefined
  }
}

/** A packet for one client, with all that is decided of it. */
export interface Outgoing {
  readonly packet: RoutedPacket
  readonly qos: QoS
  readonly retain: boolean
  /** undefined at QoS 0. */
  readonly messageId: number | undefined
  /** Only identifiers of subscriptions that are at least as new go with it: a tick of the router. Absent: all. */
  readonly since?: number
}

/** What is left of its message expiry interval, s; undefined if it has none. */
export const secondsLeft = ({ expiresAt }: Pick<RoutedPacket, 'expiresAt'>): number | undefined =>
  expiresAt && Math.max(1, Math.ceil((expiresAt - Date.now()) / 1000))

export const isExpired = ({
  expiresAt = Number.POSITIVE_INFINITY,
}: Pick<RoutedPacket, 'expiresAt'>): boolean => Date.now() >= expiresAt

/** A packet that the gateway itself makes. */
export const makePacket = (topic: string, payload: string, qos: 0 | 1): RoutedPacket => ({
  cmd: 'publish',
  topic,
  payload: Buffer.from(payload),
  qos,
  retain: false,
  dup: false,
  messageId: undefined,
})
