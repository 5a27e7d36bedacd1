/** The subscriptions of one connection. */
import type { QoS } from '../wire/packet-types.js'
import { FilterIndex } from './filter-index.js'
import type { RoutedPacket } from './packet.js'
import { qosOfGrant, type Route, type Router, type Subscriber, type SubscriptionOptions } from './router.js'

export class ClientFilters {
  readonly #routes = new Map<string, Route>()
  /** Made when it is first asked which filters match a topic. */
  #index: FilterIndex<Route> | undefined
  /** How many have an identifier. */
  #identifiers = 0

  constructor(
    private readonly router: Router,
    private readonly subscriber: Subscriber,
  ) {}

  get count(): number {
    return this.#routes.size
  }

  has(filter: string): boolean {
    return this.#routes.has(filter)
  }

  /** @returns undefined if there is no subscription to exactly this filter */
  granted(filter: string): QoS | undefined {
    const route = this.#routes.get(filter)
    return route && qosOfGrant(route.grant)
  }

  /** @returns the highest QoS of its subscriptions to exactly these filters; undefined if it has none */
  highestOf(filters: readonly string[]): QoS | undefined {
    return highest(filters.flatMap(filter => this.granted(filter) ?? []))
  }

  /** Packets are routed to the client from this turn on. Replaces a subscription with this filter [MQTT-3.8.4-3]. */
  add(filter: string, options: SubscriptionOptions): void {
    this.remove(filter)
    const route = this.router.add(filter, options, this.subscriber)
    this.#routes.set(filter, route)
    if (route.share === undefined) this.#index?.add(filter, route)
    if (route.identifier !== undefined) this.#identifiers++
  }

  /** @returns whether there was a subscription with this filter */
  remove(filter: string): boolean {
    const route = this.#routes.get(filter)
    if (route === undefined) return false
    this.#routes.delete(filter)
    this.router.remove(filter, route)
    if (route.share === undefined) this.#index?.remove(filter, route)
    if (route.identifier !== undefined) this.#identifiers--
    return true
  }

  removeAll(): void {
    for (const filter of [...this.#routes.keys()]) this.remove(filter)
  }

  /** @param since see Outgoing @returns the highest QoS of the filters that match; undefined if none does */
  highest(topic: string, since = 0): QoS | undefined {
    return highest(this.#matching(topic, since).map(({ grant }) => qosOfGrant(grant)))
  }

  /** Identifiers of the subscriptions that match [MQTT-3.3.4-4]; undefined if there are none. */
  identifiers(topic: string, since = 0): readonly number[] | undefined {
    if (this.#identifiers === 0) return undefined
    const all = this.#matching(topic, since).flatMap(({ identifier }) => identifier ?? [])
    return all.length > 0 ? all : undefined
  }

  /** Of the subscriptions for which the client gets the packet. @param since see Outgoing */
  identifiersOf({ topic, share }: RoutedPacket, since?: number): readonly number[] | undefined {
    if (share === undefined) return this.identifiers(topic, since)
    const identifier = this.identifier(share)
    return identifier === undefined ? undefined : [identifier]
  }

  /** Of one filter, whatever it matches. */
  identifier(filter: string): number | undefined {
    return this.#routes.get(filter)?.identifier
  }

  #matching(topic: string, since: number): Route[] {
    this.#index ??= this.#makeIndex()
    const all = [...this.#index.exactly(topic), ...this.#index.byWildcard(topic)]
    return since === 0 ? all : all.filter(route => route.since >= since)
  }

  #makeIndex(): FilterIndex<Route> {
    const index = new FilterIndex<Route>()
    for (const [filter, route] of this.#routes) if (route.share === undefined) index.add(filter, route)
    return index
  }
}

const highest = (granted: readonly QoS[]): QoS | undefined =>
  granted.reduce<QoS | undefined>((most, one) => (most === undefined || one > most ? one : most), undefined)
