/** Which connections a packet goes to, and at which QoS. Follows the subscriptions that Aedes keeps for each client. */
import type { AedesPublishPacket } from 'aedes'
import type { QoS } from '../wire/packet-types.js'
import { FilterIndex } from './filter-index.js'

export interface Subscriber {
  /** @param granted the highest QoS of the subscriber's filters that match [MQTT-3.3.5-1] */
  deliver(packet: AedesPublishPacket, granted: QoS): void
  /** A filter was subscribed to. */
  added(filter: string, route: Route): void
  removed(filter: string, route: Route): void
}

/** Aedes' record of a subscription, with two members of ours. */
export interface Route {
  readonly qos: QoS
  /** undefined when the subscription has ended. */
  subscriber?: Subscriber | undefined
  /** Router.tick at the time of the SUBSCRIBE. */
  since?: number
}

type Subscriptions = Record<string, Route>

export class Router {
  readonly #routes = new FilterIndex<Route>()
  #ticks = 0

  /** A number that rises with each call, to tell whether something happened before a subscription or after it. */
  tick(): number {
    return ++this.#ticks
  }

  /**
   * @param subscriptions the object in which Aedes keeps a client's subscriptions
   * @returns what Aedes is to use in its place. Aedes adds, replaces and deletes entries of it, also when a session is
   *   restored and when a connection ends, for which it has no events
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

  /** Delivers a packet once to each connection that is subscribed. */
  route(packet: AedesPublishPacket): void {
    const { byTopic, byWildcard } = this.routesOf(packet.topic)
    // Without wildcard filters no connection is there twice: it has the filter that is the topic itself only once.
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
