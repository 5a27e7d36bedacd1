/** Which connections a packet goes to, and at which QoS: in step with what Aedes notes of each client's subscriptions. */
import type { AedesPublishPacket } from 'aedes'
import type { QoS } from '../wire/packet-kinds.js'
import { FilterIndex } from './filter-index.js'

export interface Subscriber {
  /** @param granted the highest QoS of its filters that match [MQTT-3.3.5-1] */
  deliver(packet: AedesPublishPacket, granted: QoS): void
  added(filter: string, route: Route): void
  removed(filter: string, route: Route): void
}

/** Aedes' own note of a subscription, and what we add to it. */
export interface Route {
  readonly qos: QoS
  /** Whose it is; undefined when it has ended. */
  subscriber?: Subscriber | undefined
  /** Router.tick of when it began. */
  since?: number
}

type Subscriptions = Record<string, Route>

export class Router {
  readonly #routes = new FilterIndex<Route>()
  #ticks = 0

  /** A number that rises: says what came first, a subscription or something else. */
  tick(): number {
    return ++this.#ticks
  }

  /**
   * What Aedes is to keep a client's subscriptions in: it adds, replaces and deletes entries, and nothing is told of a
   * restored session or the end of a connection otherwise.
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

  /** Once to each connection. */
  route(packet: AedesPublishPacket): void {
    const { byTopic, byWildcard } = this.routesOf(packet.topic)
    // A connection has a topic's own filter once.
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
