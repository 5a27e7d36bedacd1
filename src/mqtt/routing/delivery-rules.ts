import type { QoS } from '../wire/packet-types.js'
import type { Terms } from '../wire/terms.js'
import type { RoutedPacket } from './packet.js'
import type { BrokerPacket, ClientRef } from './persistence/kv.js'
import type { Router } from './router.js'

/** The client to which packets are delivered. */
export interface Recipient extends ClientRef {
  readonly clean: boolean
  readonly closed: boolean
  readonly terms: Terms
  /** Whether packets on this topic may reach the client. */
  mayRead(topic: string): boolean
  /** A QoS 1 or 2 packet cannot be sent because the client's output buffer is full, or the store failed: ends the connection. */
  overrun(): void
}

/** What all deliveries of a broker share. */
export interface DeliveryRules {
  readonly router: Router
  /** Whether the stream of the stored queue delivers the packet. */
  readonly isStreamed: (client: ClientRef, packet: RoutedPacket) => boolean
  /** Stores the packet id and QoS with which a queued packet is sent; rejects if the store fails. */
  readonly recordId: (client: ClientRef, packet: BrokerPacket) => Promise<void>
  /** Removes a queued packet whose id was recorded. */
  readonly forgetId: (client: ClientRef, packet: BrokerPacket) => Promise<unknown>
  /**
   * Queues a retained message for this session, at this QoS; rejects if the store fails. @returns the packet as queued
   */
  readonly enqueue: (client: ClientRef, packet: RoutedPacket, qos: QoS) => Promise<RoutedPacket>
  /** Whether the client still owes an acknowledgement with this packet id, possibly since an earlier connection. */
  readonly isInFlight: (client: ClientRef, messageId: number) => boolean
  /** Called when a packet is not sent. @param limit the config key, or what the client asked for */
  readonly onSkipped: (limit: 'mqtt.maxBufferedBytes' | 'maximumPacketSize') => void
  /** Bytes of live packets that may be held in memory while the stored queue is sent. */
  readonly maxHeldBytes: number
}
