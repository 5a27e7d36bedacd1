import type { Locale } from '../core/errors.js'
import type { Metrics } from '../core/metrics.js'
import type { Services } from '../handle/context.js'
import type { InboxReader, ReaderOptions } from '../inbox/reader.js'
import type { Access } from './acl/access.js'
import type { AedesClient } from './aedes/client.js'
import type { PacketSource } from './aedes/topic-store.js'
import type { AedesPublishPacket, PublishPacket } from './aedes/types.js'

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
  /** Filters of one session. */
  readonly maxSubscriptions: number
  /** False while the gateway is closing. */
  readonly isOpen: boolean
  openReader(options: Pick<ReaderOptions, 'userId' | 'device' | 'sink'>): InboxReader
  /**
   * Whether a QoS 2 packet with this id came before and still waits for PUBREL.
   * @throws GatewayError when too many do
   */
  isReceived(packet: PublishPacket, client: AedesClient): Promise<boolean>
  /** Records the id of a QoS 2 packet until PUBREL. @throws GatewayError */
  receive(packet: PublishPacket, client: AedesClient): Promise<void>
  /**
   * Makes a packet durable for those who are owed it.
   * @param from.receiver of a QoS 2 packet: as for `receive`, in the same commit
   * @returns what to route
   * @throws GatewayError ERROR_UNAUTHORIZED, nothing stored, where the rights ended meanwhile
   */
  store(packet: PublishPacket, from: PacketSource): Promise<PublishPacket>
  /** To subscribers that are connected. */
  route(packet: PublishPacket): void
  /** A packet for this connection alone, where it has subscribed to just this topic; it is kept nowhere. */
  tell(client: AedesClient, packet: AedesPublishPacket): void
}
