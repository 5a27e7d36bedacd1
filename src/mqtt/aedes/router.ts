/**
 * Finds the connections that get a packet, and their QoS. Follows the subscriptions that Aedes keeps for each client.
 */
import type { AedesPublishPacket } from 'aedes'
import type { QoS } from '../wire/packet-types.js'
import { FilterIndex } from './filter-index.js'

export interface Subscriber {
  /** @param granted the highest QoS of the subscriber's matching filters [MQTT-3.3.5-1] */
  deliver(packet: AedesPublishPacket, granted: QoS): void
  /** Called when a filter is subscribed to. */
  added(filter: string, route: Route): void
  removed(filter: string, route: Route): void
}

/** Aedes' record of a subscription, with two added members. */
export interface Route {
  readonly qos: QoS
  /** undefined after the subscription has ended. */
  subscriber?: Subscriber | undefined
  /** Router.tick at the time of the SUBSCRIBE. */
  since?: number
}

type Subscriptions = Record<string, Route>

export class Router {
  readonly #routes = new FilterIndex<Route>()
  #ticks = 0

  /** A number that rises with each call; it orders events against subscriptions. */
  tick(): number {
    return ++this.#ticks
  }

  /**
   * @param subscriptions the object in which Aedes keeps a client's subscriptions
   * @returns an object for Aedes to use in its place. Aedes also changes its entries when it restores a session and
   *   when a connection ends, for which it has no events
   */
  follow(subscriptions: Subscriptions, subscriber: Subscriber): Subscriptions {
    const drop = (filter: string) => {
      const route = subscriptions[filter]
      if (route === undefined) return
      this.#routes.remove(filter, route)
      subscriber.removed(filter, route)
      route.subscriber = undefined
    }
    return new Proxy(subscriptions, {
      set: (all, filter: string, route: Route) => {
        drop(filter)
        route.subscriber = subscriber
        route.since = this.tick()
        this.#routes.add(filter, route)
        subscriber.added(filter, route)
        all[filter] = route
        return true
      },
      deleteProperty: (all, filter: string) => {
        drop(filter)
        delete all[filter]
        return true
      },
    })
  }

  /** Delivers a packet once to each subscribed connection. */
  route(packet: AedesPublishPacket): void {
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
