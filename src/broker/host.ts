import type { AedesPublishPacket } from 'aedes'
import type { Locale } from '../errors.js'
import type { Services } from '../handle/context.js'
import type { InboxSession, SessionOptions } from '../inbox/session.js'
import type { Metrics } from '../metrics.js'
import type { UserId } from '../model.js'
import type { Access } from './access.js'

/** What the broker offers to its connections. */
export interface BrokerHost {
  readonly services: Services
  readonly access: Access
  readonly metrics: Metrics
  readonly locale: Locale
  /** What a PUBLISH to an inbox carries. */
  readonly payload: 'text' | 'json'
  /** Whether a refused PUBLISH also closes the connection. */
  readonly closeOnRefused: boolean
  /** False while the gateway is closing. */
  readonly isOpen: boolean
  openSession(options: Pick<SessionOptions, 'userId' | 'device' | 'sink'>): InboxSession
  /** Makes a packet durable for those who are owed it. @throws GatewayError */
  store(packet: AedesPublishPacket): Promise<void>
  /** The packet was dealt with and is not routed. */
  consume(packet: AedesPublishPacket): void
  /** Publishes to `users/<id>/replies`. */
  reply(userId: UserId, payload: string): void
}
