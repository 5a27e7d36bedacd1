/** Stores and routes packets for topics outside `users/`: retained messages, queues of absent sessions, QoS 2 ids. */

import type { AedesPublishPacket, PublishPacket } from 'aedes'
import Packet from 'aedes-packet'
import { GatewayError } from '../../core/errors.js'
import { admit, type Permissions, type UserId } from '../../core/model.js'
import type { TopicAccess } from '../acl/access.js'
import { clientIdOf, userIdOf } from '../acl/client-id.js'
import type { AedesClient, GatewayAedes } from './client.js'
import type { QueueTarget } from './persistence/queue.js'
import type { BrokerState } from './state.js'

/** Owner of what anonymous clients retain: all of them share one limit. */
const ANONYMOUS = 'anonymous'

/** Who publishes a packet. */
export interface PacketSource {
  /** The account whose limits of retained messages count; undefined for an anonymous client. */
  readonly owner: UserId | undefined
  /** Checked when the packet comes, and again in the turn of the write; undefined for an anonymous client. */
  readonly permissions: Permissions | undefined
  /** For a QoS 2 packet: the client whose session records the packet id until PUBREL. */
  readonly receiver: AedesClient | undefined
}

export class TopicStore {
  constructor(
    private readonly broker: GatewayAedes,
    private readonly state: BrokerState,
    private readonly access: TopicAccess,
    private readonly rules: {
      readonly maxUnreleased: number
      readonly onTooMany: (client: AedesClient) => void
    },
  ) {}

  /**
   * Makes a packet durable: as retained message, in the queues of absent sessions, and its QoS 2 id.
   * @returns the packet to route
   * @throws GatewayError ERROR_UNAUTHORIZED if the sender's rights were revoked: nothing is stored
   */
  async store(
    packet: PublishPacket,
    { owner, permissions, receiver }: PacketSource,
  ): Promise<AedesPublishPacket> {
    admit(permissions)
    const numbered = new Packet(packet, this.broker) as AedesPublishPacket
    // RETAIN is 0 for clients that are subscribed already [MQTT-3.3.1-9].
    numbered.retain = false
    if (!packet.retain && packet.qos === 0) return numbered
    const check = () => admit(permissions)
    let targets: QueueTarget[] = []
    if (packet.qos > 0) {
      targets = await this.#targets(numbered.topic)
      check()
    }
    const { messageId = 0 } = packet
    // Rows and packet id in one write: after a crash the sender's resend is known if, and only if, its packet is
    // queued.
    await Promise.all([
      packet.retain ? this.state.storeRetained({ ...packet, owner: owner ?? ANONYMOUS }, check) : undefined,
      targets.length > 0
        ? this.state.outgoing.enqueue(targets, numbered, receiver && { client: receiver, messageId })
        : receiver && this.receive(packet, receiver),
    ])
    return numbered
  }

  /** Sends a stored packet to its subscribers. @throws GatewayError ERROR_UNAUTHORIZED if the rights were revoked */
  route(packet: PublishPacket, permissions: Permissions | undefined): void {
    admit(permissions)
    this.broker.route(packet)
  }

  /** Queues a retained message for one persistent session that has just subscribed. @returns the packet as queued */
  async enqueue(
    packet: PublishPacket,
    { clientId, qos }: { readonly clientId: string; readonly qos: 0 | 1 | 2 },
  ): Promise<AedesPublishPacket> {
    const numbered = new Packet(packet, this.broker) as AedesPublishPacket
    // `rap`: with its RETAIN flag.
    await this.state.outgoingEnqueue({ clientId, qos, rap: true }, numbered)
    return numbered
  }

  /**
   * Whether a QoS 2 packet with this id came before, and its PUBREL has not.
   * @throws GatewayError BAD_FIELD where `mqtt.maxUnreleased` packets wait for PUBREL
   */
  async isReceived(packet: PublishPacket, client: AedesClient): Promise<boolean> {
    const { messageId = 0 } = packet
    // It came on this connection, and may not be stored yet.
    if (client._inboundInflight.has(messageId)) return true
    if (await this.state.hasIncoming(client, packet)) return true
    if (client._inboundInflight.size >= this.rules.maxUnreleased) {
      this.rules.onTooMany(client)
      throw new GatewayError('BAD_FIELD', {
        field: 'packet',
        reason: 'too many QoS 2 packets without PUBREL',
      })
    }
    client._inboundInflight.add(messageId)
    return false
  }

  /** Records the id of a QoS 2 packet until PUBREL. @throws GatewayError */
  async receive(packet: PublishPacket, client: AedesClient): Promise<void> {
    await this.state.incomingStorePacket(client, packet)
  }

  /** Persistent sessions that the topic's packets are queued for, once for each of their filters that matches. */
  async #targets(topic: string): Promise<QueueTarget[]> {
    const subscriptions = await this.state.subscriptionsByTopic(topic)
    return subscriptions.filter(({ clientId }) =>
      this.access.read(userIdOf(clientId), topic, { clientId: clientIdOf(clientId), role: 'any' }),
    )
  }
}
