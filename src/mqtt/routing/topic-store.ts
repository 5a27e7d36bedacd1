/** Stores and routes packets for topics outside `users/`: retained messages, queues of absent sessions, QoS 2 ids. */
import { GatewayError } from '../../core/errors.js'
import { admit, type Permissions, type UserId } from '../../core/model.js'
import type { TopicAccess } from '../acl/access.js'
import type { PublishPacket } from '../wire/decode.js'
import type { QoS } from '../wire/packet-types.js'
import { REASON } from '../wire/reason-codes.js'
import type { RoutedPacket } from './packet.js'
import type { ClientRef } from './persistence/kv.js'
import type { QueueTarget } from './persistence/queue.js'
import type { Router } from './router.js'
import { SharedTopics } from './shared-topics.js'
import type { BrokerState } from './state.js'

/** Owner of what anonymous clients retain: all of them share one limit. */
const ANONYMOUS = 'anonymous'

/** A client that sends QoS 2 packets. */
export interface Receiver extends ClientRef {
  /** Ids of those whose PUBREL has not come. */
  readonly unreleased: Set<number>
}

/** Who publishes a packet. */
export interface PacketSource {
  /** The account whose limits of retained messages count; undefined for an anonymous client. */
  readonly owner: UserId | undefined
  /** Checked when the packet comes, and again in the turn of the write; undefined for an anonymous client. */
  readonly permissions: Permissions | undefined
  /** Scoped client id of the publisher. */
  readonly publisher: string | undefined
  /** For a QoS 2 packet: the client whose session records the packet id until PUBREL. */
  readonly receiver: Receiver | undefined
}

export class TopicStore {
  readonly shared: SharedTopics
  #count = 0

  constructor(
    private readonly router: Router,
    private readonly state: BrokerState,
    private readonly access: TopicAccess,
    private readonly rules: {
      readonly maxUnreleased: number
      readonly onTooMany: (client: Receiver) => void
      /** An account's packet is stored once for each of several sessions: so many bytes in all. */
      readonly onCopies: (owner: UserId, bytes: number) => void
      /** So many filters matched an account's packet. */
      readonly onMatched: (owner: UserId, filters: number) => void
    },
  ) {
    this.shared = new SharedTopics({
      router,
      state,
      mayRead: (clientId, topic) => access.readAway(clientId, topic),
      numbered: packet => ({ ...packet, brokerCounter: ++this.#count }),
    })
  }

  /**
   * Makes a packet durable: as retained message, in the queues of absent sessions, and its QoS 2 id.
   * @returns the packet to route
   * @throws GatewayError ERROR_UNAUTHORIZED if the sender's rights were revoked: nothing is stored
   */
  async store(
    packet: PublishPacket,
    { owner, permissions, publisher, receiver }: PacketSource,
  ): Promise<RoutedPacket> {
    admit(permissions)
    const numbered = this.#numbered(packet, publisher)
    const queued = this.shared.share(numbered)
    if (!packet.retain && packet.qos === 0) return numbered
    const check = () => admit(permissions)
    if (packet.qos > 0) {
      const targets = await this.#targets(numbered.topic, publisher)
      check()
      if (targets.length > 0) queued.push({ targets, packet: numbered })
      if (targets.length > 1 && owner !== undefined)
        this.rules.onCopies(owner, targets.length * (packet.topic.length + packet.payload.length))
    }
    const { messageId = 0 } = packet
    // Rows and packet id in one write: after a crash the sender's resend is known if, and only if, its packet is
    // queued.
    await Promise.all([
      packet.retain ? this.#retain(numbered, owner, check) : undefined,
      queued.length > 0
        ? this.state.outgoing.enqueueAll(queued, receiver && { client: receiver, messageId })
        : receiver && this.receive(packet, receiver),
    ])
    return numbered
  }

  /** Sends a stored packet to its subscribers. @returns the reason code of its acknowledgement; @throws GatewayError ERROR_UNAUTHORIZED if the rights were revoked */
  route(packet: RoutedPacket, { owner, permissions }: Pick<PacketSource, 'owner' | 'permissions'>): number {
    admit(permissions)
    const { connections, filters } = this.router.route(packet)
    if (owner !== undefined) this.rules.onMatched(owner, filters)
    const isHeard = connections > 0 || packet.queued !== undefined
    return isHeard ? REASON.SUCCESS : REASON.NO_MATCHING_SUBSCRIBERS
  }

  /** Queues a retained message for one persistent session that has just subscribed. @returns the packet as queued */
  async enqueue(
    packet: RoutedPacket,
    { clientId, qos }: { readonly clientId: string; readonly qos: QoS },
  ): Promise<RoutedPacket> {
    const numbered = { ...this.#numbered(packet, undefined), expiresAt: packet.expiresAt }
    // `rap`: with its RETAIN flag.
    await this.state.outgoingEnqueue({ clientId, qos, rap: true }, numbered)
    return numbered
  }

  /**
   * Whether a QoS 2 packet with this id came before, and its PUBREL has not.
   * @throws GatewayError TOO_MANY_UNRELEASED
   */
  async isReceived(packet: PublishPacket, client: Receiver): Promise<boolean> {
    const { messageId = 0 } = packet
    // It came on this connection, and may not be stored yet.
    if (client.unreleased.has(messageId)) return true
    if (await this.state.hasIncoming(client, packet)) return true
    if (client.unreleased.size >= this.rules.maxUnreleased) {
      this.rules.onTooMany(client)
      throw new GatewayError('TOO_MANY_UNRELEASED')
    }
    client.unreleased.add(messageId)
    return false
  }

  /** Records the id of a QoS 2 packet until PUBREL. @throws GatewayError */
  async receive(packet: PublishPacket, client: Receiver): Promise<void> {
    await this.state.incomingStorePacket(client, packet)
  }

  /** Removes the id of a QoS 2 packet: PUBREL came. Resolves when PUBCOMP may go out. @returns whether it was known */
  async released(messageId: number, client: Receiver): Promise<boolean> {
    // An unknown id is answered, too [MQTT-4.3.3-2].
    if (!(await this.state.hasIncoming(client, { messageId }))) return false
    await this.state.incomingDelPacket(client, { messageId })
    client.unreleased.delete(messageId)
    return true
  }

  /** The number tells a packet from every other one, and is the same in all its copies. */
  #numbered(packet: PublishPacket, publisher: string | undefined): RoutedPacket {
    const { topic, payload, qos, retain, block, properties } = packet
    const expirySeconds = properties?.messageExpiryInterval
    return {
      cmd: 'publish',
      topic,
      payload,
      qos,
      retain,
      dup: false,
      messageId: undefined,
      brokerId: this.state.broker.id,
      brokerCounter: ++this.#count,
      publisher,
      ...(block?.length ? { block } : {}),
      ...(expirySeconds === undefined ? {} : { expiresAt: Date.now() + expirySeconds * 1000 }),
    }
  }

  #retain(packet: RoutedPacket, owner: UserId | undefined, check: () => void): Promise<void> {
    const { topic, payload, qos, block, expiresAt } = packet
    const kept = { cmd: 'publish', topic, payload, qos, retain: true, dup: false, owner: owner ?? ANONYMOUS }
    return this.state.storeRetained({ ...kept, block, expiresAt }, check)
  }

  /** Persistent sessions that the topic's packets are queued for, once for each of their filters that matches. */
  async #targets(topic: string, publisher: string | undefined): Promise<QueueTarget[]> {
    const subscriptions = await this.state.subscriptionsByTopic(topic)
    return subscriptions.filter(
      ({ clientId, nl }) => !(nl && clientId === publisher) && this.access.readAway(clientId, topic),
    )
  }
}
