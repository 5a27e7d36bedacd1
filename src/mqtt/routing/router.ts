/** Finds the connections that get a packet, and their QoS. */
import type { QoS } from '../wire/packet-types.js'
import { FilterIndex } from './filter-index.js'
import type { RoutedPacket } from './packet.js'

export interface Subscriber {
  /** @param granted the highest QoS of the subscriber's matching filters [MQTT-3.3.5-1] */
  deliver(packet: RoutedPacket, granted: QoS): void
}

/** One filter of one connection. */
export interface Route {
  readonly qos: QoS
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
  add(filter: string, qos: QoS, subscriber: Subscriber): Route {
    const route: Route = { qos, subscriber, since: this.tick() }
    this.#routes.add(filter, route)
    return route
  }

  /** @param route as returned by `add` for this filter */
  remove(filter: string, route: Route): void {
    this.#routes.remove(filter, route)
    route.subscriber = undefined
  }

  /** Delivers a packet once to each subscribed connection, in this event-loop turn. */
  route(packet: RoutedPacket): void {
    const { byTopic, byWildcard } = this.routesOf(packet.topic)
    // Without wildcard matches each connection occurs once: it has the filter equal to the topic only once.
    if (byWildcard.length === 0) for (const { subscriber, qos } of byTopic) subscriber?.deliver(packet, qos)
    else for (const [subscriber, qos] of highest(byTopic, byWildcard)) subscriber.deliver(packet, qos)
  }

  routesOf(topic: string): { readonly byTopic: Iterable<Route>; readonly byWildcard: readonly Route[] } {
    return { byTopic: this.#routes.exactly(topic), byWildcard: this.#routes.byWildcard(topic) }
  }
}

function highest(...all: Iterable<Route>[]): Map<Subscriber, QoS> {
  const best = new Map<Subscriber, QoS>()
  for (const routes of all) {
    for (const { subscriber, qos } of routes) {
      if (subscriber !== undefined && qos >= (best.get(subscriber) ?? 0)) best.set(subscriber, qos)
    }
  }
  return best
}
