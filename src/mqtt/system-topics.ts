/**
 * `$SYS/broker/…`: what the broker counts, as Mosquitto names it, for admins. A subscriber gets all values at once, as
 * retained messages, and then those that change. Nothing of it is stored.
 */
import { covers } from '../core/topic-filter.js'
import { version } from '../core/version.js'
import { SYSTEM } from './acl/topics.js'
import { makePacket, type RoutedPacket } from './routing/packet.js'
import type { Router } from './routing/router.js'
import type { BrokerState } from './routing/state.js'
import { Traffic } from './wire/traffic.js'

/** Of MQTT sessions that have a connection. */
export interface ConnectionCounts {
  readonly connected: number
  /** The most at once, since the start. */
  readonly mostConnected: number
  /** Those whose session is stored. */
  readonly kept: number
  /** Filters of all others. */
  readonly cleanFilters: number
}

interface Sources {
  readonly router: Router
  readonly state: BrokerState
  readonly connections: { readonly counts: ConnectionCounts }
}

/** As Mosquitto by default. */
const EVERY_MS = 10_000

export class SystemTopics {
  /** What went over all connections. */
  readonly traffic = new Traffic()
  readonly #startedAt = performance.now()
  /** The value of each topic that was routed last. */
  readonly #told = new Map<string, string>()
  #timer: NodeJS.Timeout | undefined

  constructor(private readonly sources: Sources) {}

  start(): void {
    this.#timer = setInterval(() => this.tell(), EVERY_MS).unref()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** The values as they are now, of topics that match one of the filters. */
  *matching(filters: readonly string[]): Generator<RoutedPacket> {
    const asked = filters.filter(filter => filter.startsWith(SYSTEM))
    if (asked.length === 0) return
    for (const packet of this.#packets()) if (asked.some(filter => covers(filter, packet.topic))) yield packet
  }

  /** Routes what has changed. */
  tell(): void {
    for (const packet of this.#packets()) {
      const value = packet.payload.toString()
      if (this.#told.get(packet.topic) === value) continue
      this.#told.set(packet.topic, value)
      this.sources.router.route(packet)
    }
  }

  #packets(): RoutedPacket[] {
    return Object.entries(this.#values()).map(([name, value]) =>
      makePacket(`${SYSTEM}broker/${name}`, `${value}`, 0),
    )
  }

  #values(): Record<string, string | number> {
    const { state, connections } = this.sources
    const { connected, mostConnected, cleanFilters, kept } = connections.counts
    const { sessions, filters, retained } = state.sessions.counts
    const { received, sent } = this.traffic
    const away = sessions - kept
    return {
      version: `mumi-gateway version ${version()}`,
      uptime: `${Math.floor((performance.now() - this.#startedAt) / 1000)} seconds`,
      'clients/connected': connected,
      'clients/disconnected': away,
      'clients/total': connected + away,
      'clients/maximum': mostConnected,
      'subscriptions/count': filters + cleanFilters,
      'retained messages/count': retained,
      'messages/received': received.packets,
      'messages/sent': sent.packets,
      'publish/messages/received': received.publishes,
      'publish/messages/sent': sent.publishes,
      'bytes/received': received.bytes,
      'bytes/sent': sent.bytes,
    }
  }
}
