/** Finds the connections that get a packet, and their QoS. */
import type { QoS } from '../wire/packet-types.js'
import { FilterIndex } from './filter-index.js'
import type { RoutedPacket } from './packet.js'

export interface Subscriber {
  /** Scoped client id. */
  readonly clientId: string
  /** @param grant of all the subscriber's filters that match */
  deliver(packet: RoutedPacket, grant: Grant): void
}

/** The highest QoS of the filters that match [MQTT-3.3.5-1], and RETAIN_AS_PUBLISHED if one of them asks for it. */
export type Grant = number

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

/** One filter of one connection. */
export interface Route {
  readonly grant: Grant
  readonly noLocal: boolean
  readonly identifier: number | undefined
  /** undefined after the subscription has ended. */
  subscriber: Subscriber | undefined
  /** Router.tick at the time of the SUBSCRIBE. */
  readonly since: number
}

export class Router {
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
    const route: Route = { grant, noLocal, identifier, subscriber, since: this.tick() }
    this.#routes.add(filter, route)
    return route
  }

  /** @param route as returned by `add` for this filter */
  remove(filter: string, route: Route): void {
    this.#routes.remove(filter, route)
    route.subscriber = undefined
  }

  /** Delivers a packet once to each subscribed connection, in this event-loop turn. @returns to how many */
  route(packet: RoutedPacket): number {
    const { byTopic, byWildcard } = this.routesOf(packet.topic)
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

  routesOf(topic: string): { readonly byTopic: Iterable<Route>; readonly byWildcard: readonly Route[] } {
    return { byTopic: this.#routes.exactly(topic), byWildcard: this.#routes.byWildcard(topic) }
  }
}

/** No local: the subscriber has published the packet itself. */
const isOwn = ({ publisher }: RoutedPacket, { noLocal, subscriber }: Route): boolean =>
  noLocal && publisher !== undefined && subscriber?.clientId === publisher

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
