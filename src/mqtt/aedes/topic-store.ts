/** What a PUBLISH to a topic other than the gateway's own leaves behind: retained message, queues, QoS 2 ids. */

import type { AedesPublishPacket, PublishPacket } from 'aedes'
import Packet from 'aedes-packet'
import { GatewayError } from '../../core/errors.js'
import { admit, type Permissions, type UserId } from '../../core/model.js'
import type { Access } from '../acl/access.js'
import { clientIdOf, userIdOf } from '../acl/client-id.js'
import type { AedesClient, GatewayAedes } from './client.js'
import type { BrokerState } from './state.js'

/** All of them are one owner. */
const ANONYMOUS = 'anonymous'

/** Whom a packet comes from. */
export interface PacketSource {
  /** Whose limits of retained messages count; undefined for an anonymous client, which is one of many. */
  readonly owner: UserId | undefined
  /** Asked for until it is stored; undefined for an anonymous client. */
  readonly permissions: Permissions | undefined
  /** Of a QoS 2 packet: the client whose session knows its id until PUBREL. */
  readonly receiver: AedesClient | undefined
}

export class TopicStore {
  constructor(
    private readonly broker: GatewayAedes,
    private readonly state: BrokerState,
    private readonly access: Access,
    private readonly rules: {
      readonly maxUnreleased: number
      readonly onTooMany: (client: AedesClient) => void
    },
  ) {}

  /** Retained message, offline queues and QoS 2 id, before anyone is told. */
  async store(
    packet: PublishPacket,
    { owner, permissions, receiver }: PacketSource,
  ): Promise<AedesPublishPacket> {
    admit(permissions)
    const numbered = new Packet(packet, this.broker) as AedesPublishPacket
    // To those who are subscribed already it goes without the flag [MQTT-3.3.1-9].
    numbered.retain = false
    if (!packet.retain && packet.qos === 0) return numbered
    const queues = packet.qos > 0 ? await this.#queues(numbered) : []
    const check = () => admit(permissions)
    check()
    // Begun in one turn, so that one commit carries all of it: after a crash either all is there or nothing.
    await Promise.all([
      packet.retain ? this.state.storeRetained({ ...packet, owner: owner ?? ANONYMOUS }, check) : undefined,
      ...queues.map(({ targets, qos }) => this.state.outgoingEnqueueCombi(targets, { ...numbered, qos })),
      receiver && this.receive(packet, receiver),
    ])
    return numbered
  }

  /** Sends a stored packet to its subscribers. @throws GatewayError ERROR_UNAUTHORIZED where the rights were revoked */
  route(packet: PublishPacket, permissions: Permissions | undefined): void {
    admit(permissions)
    this.broker.route(packet)
  }

  /** A retained message for one session that has just subscribed. @returns it as queued */
  async enqueue(
    packet: PublishPacket,
    { clientId, qos }: { readonly clientId: string; readonly qos: 0 | 1 | 2 },
  ): Promise<AedesPublishPacket> {
    const numbered = new Packet(packet, this.broker) as AedesPublishPacket
    // `rap`: with its RETAIN flag.
    await this.state.outgoingEnqueue({ clientId, qos, rap: true }, numbered)
    return numbered
  }

  /** @throws GatewayError with too many QoS 2 packets half received */
  async isReceived(packet: PublishPacket, client: AedesClient): Promise<boolean> {
    const { messageId = 0 } = packet
    // On this connection, and perhaps not recorded yet.
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

  async receive(packet: PublishPacket, client: AedesClient): Promise<void> {
    await this.state.incomingStorePacket(client, packet)
  }

  /** One entry a session, at the highest QoS of its filters that match. */
  async #queues({ topic, qos: published }: PublishPacket) {
    const best = new Map<string, number>()
    for (const { clientId, qos } of await this.state.subscriptionsByTopic(topic)) {
      const grantee = { clientId: clientIdOf(clientId), role: 'any' } as const
      if (this.access.read(userIdOf(clientId), topic, grantee))
        best.set(clientId, Math.max(qos, best.get(clientId) ?? 0))
    }
    const targets = Array.from(best, ([clientId, qos]) => ({
      clientId,
      topic,
      qos: Math.min(qos, published),
    }))
    return ([1, 2] as const)
      .map(qos => ({ qos, targets: targets.filter(target => target.qos === qos) }))
      .filter(queue => queue.targets.length > 0)
  }
}
