/**
 * Packets of shared subscriptions: a copy for one member of each group, chosen before the packet is stored, so that the copy
 * is in the queue of a session that is kept before the publisher hears of it.
 */
import type { RoutedPacket, SharedCopy } from './packet.js'
import type { ClientRef } from './persistence/kv.js'
import type { QueuedPacket } from './persistence/outgoing.js'
import { keepsRetain, qosOfGrant, type Router } from './router.js'
import type { Member } from './shares.js'
import type { BrokerState } from './state.js'
import type { Unsettled } from './unsettled.js'

/** Stands for a session that is away: the copy is in its queue. */
const AWAY: SharedCopy['member'] = { grant: 0, subscriber: undefined }

interface SharedTopicsParts {
  readonly router: Router
  readonly state: BrokerState
  /** Whether a session, which may be away, may get packets on this topic. */
  readonly mayRead: (clientId: string, topic: string) => boolean
  /** A copy is a packet of its own: its client may get the packet itself, too. */
  readonly numbered: (packet: RoutedPacket) => RoutedPacket
}

export class SharedTopics {
  constructor(private readonly parts: SharedTopicsParts) {}

  /**
   * Makes the copies of a packet, which are routed with it. A session that is away gets one where no member is connected.
   * @returns those that are queued
   */
  share(packet: RoutedPacket): QueuedPacket[] {
    const chosen = this.parts.router.shares.choose(packet.topic)
    const copies = chosen.map(member => ({ member, copy: this.#copyFor(packet, member.share ?? '') }))
    const queued = copies.flatMap(({ member, copy }) => queuedFor(member, copy) ?? [])
    const away = packet.qos === 0 ? [] : this.#queuedAway(packet, new Set(chosen.map(({ share }) => share)))
    const shared = [...copies, ...away.map(one => ({ member: AWAY, copy: one.packet }))]
    if (shared.length > 0) packet.shared = shared
    return [...queued, ...away]
  }

  /** @param served the groups of which a connected member gets a copy */
  #queuedAway(
    packet: RoutedPacket,
    served: Set<string | undefined>,
  ): (QueuedPacket & { packet: RoutedPacket })[] {
    const { state, mayRead } = this.parts
    const queued = []
    for (const { clientId, topic: share, qos, rap } of state.sharesByTopic(packet.topic)) {
      if (served.has(share) || !mayRead(clientId, packet.topic)) continue
      served.add(share)
      queued.push({ targets: [{ clientId, qos, rap }], packet: this.#copyFor(packet, share) })
    }
    return queued
  }

  #copyFor(packet: RoutedPacket, share: string): RoutedPacket {
    const { shared: _, queued: __, ...fields } = packet
    return this.parts.numbered({ ...fields, dup: false, messageId: undefined, share })
  }

  /**
   * What a member was sent at QoS 1 and did not acknowledge before it vanished goes to another one, if one is connected. For
   * a session that is kept it stays in the queue otherwise.
   */
  async passOn(from: ClientRef, unsettled: readonly Unsettled[]): Promise<void> {
    const { router, state } = this.parts
    for (const { packet, messageId } of unsettled) {
      const { share = '', topic } = packet
      const member = router.shares.chooseOf(share, topic, from.id)
      if (member === undefined) continue
      const copy = this.#copyFor(packet, share)
      const queued = queuedFor(member, copy)
      if (queued !== undefined) await state.outgoing.enqueueAll([queued])
      router.routeToMember(copy, member)
      if (!from.clean && messageId !== undefined) await state.outgoing.acknowledged(from.id, messageId)
    }
  }
}

/** @returns undefined if nothing is queued for the member */
function queuedFor({ grant, subscriber }: Member, copy: RoutedPacket): QueuedPacket | undefined {
  const qos = qosOfGrant(grant)
  if (!subscriber.isKept || qos === 0 || copy.qos === 0) return undefined
  return { targets: [{ clientId: subscriber.clientId, qos, rap: keepsRetain(grant) }], packet: copy }
}
