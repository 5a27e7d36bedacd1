/** Finds the connections that get a packet, and their QoS. */

import { sharedFilter } from '../../core/topic-filter.js'
import { isBelowInbox } from '../acl/topics.js'
import type { QoS } from '../wire/packet-types.js'
import { FilterIndex } from './filter-index.js'
import type { RoutedPacket, SharedCopy } from './packet.js'
import type { Grant, Route, Subscriber } from './route.js'
import { Shares } from './shares.js'

export type { Grant, Route, Subscriber } from './route.js'

const RETAIN_AS_PUBLISHED = 4

export const qosOfGrant = (grant: Grant): QoS => (grant & 0x03) as QoS
export const keepsRetain = (grant: Grant): boolean => (grant & RETAIN_AS_PUBLISHED) !== 0

/** What a client asks of a subscription; what is absent is false. */
export interface SubscriptionOptions {
  readonly qos: QoS
  readonly noLocal?: boolean
  readonly retainAsPublished?: boolean
  readonly subscriptionIdentifier?: number | undefined
}

export class Router {
  readonly shares = new Shares()
  readonly #routes = new FilterIndex<Route>()
  #ticks = 0

  /** A number that rises with each call; it orders events against subscriptions. */
  tick(): number {
    return ++this.#ticks
  }

  /** From now on packets that match are delivered. */
  add(filter: string, options: SubscriptionOptions, subscriber: Subscriber): Route {
    const { qos, noLocal = false, retainAsPublished, subscriptionIdentifier: identifier } = options
    const grant = qos | (retainAsPublished ? RETAIN_AS_PUBLISHED : 0)
    const share = sharedFilter(filter) === undefined ? undefined : filter
    const route: Route = { grant, noLocal, identifier, share, subscriber, since: this.tick() }
    if (share !== undefined) this.shares.add(share, route)
    else if (!isBelowInbox(filter)) this.#routes.add(filter, route)
    return route
  }

  /** @param route as returned by `add` for this filter */
  remove(filter: string, route: Route): void {
    if (route.share !== undefined) this.shares.remove(route.share, route)
    else if (!isBelowInbox(filter)) this.#routes.remove(filter, route)
    route.subscriber = undefined
  }

  /**
   * Delivers a packet once to each subscribed connection, and its copies to the members of groups that were chosen for them,
   * in this event-loop turn. @returns to how many, and how many filters with wildcards matched
   */
  route(packet: RoutedPacket): { readonly connections: number; readonly filters: number } {
    const { byTopic, byWildcard } = this.routesOf(packet.topic)
    let connections = routeToAll(packet, byTopic, byWildcard)
    for (const { copy, member } of packet.shared ?? []) if (this.routeToMember(copy, member)) connections++
    return { connections, filters: byWildcard.length }
  }

  /** A member that has gone since it was chosen has the copy in its queue, or another member gets it. */
  routeToMember(copy: RoutedPacket, chosen: SharedCopy['member']): boolean {
    const { share = '', topic, queued } = copy
    const isGone = chosen.subscriber === undefined
    const member = isGone && queued === undefined ? this.shares.chooseOf(share, topic) : chosen
    member?.subscriber?.deliver(copy, member.grant)
    return member !== undefined
  }

  routesOf(topic: string): { readonly byTopic: Iterable<Route>; readonly byWildcard: readonly Route[] } {
    return { byTopic: this.#routes.exactly(topic), byWildcard: this.#routes.byWildcard(topic) }
  }
}

/** No local: the subscriber has published the packet itself. */
const isOwn = ({ publisher }: RoutedPacket, { noLocal, subscriber }: Route): boolean =>
  noLocal && publisher !== undefined && subscriber?.clientId === publisher

function routeToAll(packet: RoutedPacket, byTopic: Iterable<Route>, byWildcard: readonly Route[]): number {
  let count = 0
  // Without wildcard matches each connection occurs once: it has the filter equal to the topic only once.
  if (byWildcard.length > 0) return deliverAll(packet, grants(packet, byTopic, byWildcard))
  for (const route of byTopic) {
    if (route.subscriber === undefined || isOwn(packet, route)) continue
    route.subscriber.deliver(packet, route.grant)
    count++
  }
  return count
}

function deliverAll(packet: RoutedPacket, all: ReadonlyMap<Subscriber, Grant>): number {
  for (const [subscriber, grant] of all) subscriber.deliver(packet, grant)
  return all.size
}

function grants(packet: RoutedPacket, ...all: Iterable<Route>[]): Map<Subscriber, Grant> {
  const best = new Map<Subscriber, Grant>()
  for (const routes of all) {
    for (const route of routes) {
      const { subscriber, grant } = route
      if (subscriber === undefined || isOwn(packet, route)) continue
      const before = best.get(subscriber) ?? 0
      const qos = Math.max(qosOfGrant(before), qosOfGrant(grant))
      best.set(subscriber, qos | ((before | grant) & RETAIN_AS_PUBLISHED))
    }
  }
  return best
}
