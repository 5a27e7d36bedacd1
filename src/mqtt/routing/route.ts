/** A subscription of a connection, as the router has it. */
import type { RoutedPacket } from './packet.js'

export interface Subscriber {
  /** Scoped client id. */
  readonly clientId: string
  /** The session is stored, so that packets at QoS 1 and 2 are queued for it. */
  readonly isKept: boolean
  /** A packet would be sent at once. */
  readonly hasRoom: boolean
  /** Whether packets on this topic may reach it. */
  mayGet(topic: string): boolean
  /** @param grant of all the subscriber's filters that match */
  deliver(packet: RoutedPacket, grant: Grant): void
}

/** The highest QoS of the filters that match [MQTT-3.3.5-1], and RETAIN_AS_PUBLISHED if one of them asks for it. */
export type Grant = number

/** One filter of one connection. */
export interface Route {
  readonly grant: Grant
  readonly noLocal: boolean
  readonly identifier: number | undefined
  /** The filter, if the subscription is shared. */
  readonly share: string | undefined
  /** undefined after the subscription has ended. */
  subscriber: Subscriber | undefined
  /** Router.tick at the time of the SUBSCRIBE. */
  readonly since: number
}
