/**
 * The subscriptions of persistent sessions. All are in memory, since every QoS 1 or 2 PUBLISH needs the matching ones;
 * the store has a copy under [clientId, filter]. A change is made in memory at once and returned as writes, so a
 * SUBSCRIBE and an UNSUBSCRIBE from the same socket read reach the store in their order.
 */

import QlobberSub, { type TrieEntry } from 'qlobber/aedes/qlobber-sub.js'
import { decodeRecord, encodeRecord } from '../../../core/record.js'
import { beginsWithWildcard, sharedFilter } from '../../../core/topic-filter.js'
import type { KvWrite } from '../../../store/store.js'
import { TRIE } from '../trie.js'
import { type KvStore, readRow } from './kv.js'

interface SubscriptionOptions {
  qos: number
  rh?: number | undefined
  rap?: boolean | undefined
  nl?: boolean | undefined
  subscriptionIdentifier?: number
}

export interface Subscription extends SubscriptionOptions {
  topic: string
}

export class Subscriptions {
  readonly #byClient = new Map<string, Map<string, SubscriptionOptions>>()
  readonly #trie = new QlobberSub(TRIE)
  /** Those that are shared, by the filter behind the name; their topic is the whole filter. */
  readonly #shared = new QlobberSub(TRIE)

  async load(kv: KvStore): Promise<void> {
    for await (const row of kv.kvRange('subscriptions', [])) {
      const [clientId, filter] = row.key as [string, string]
      this.#set(clientId, filter, readRow('subscriptions', row, decodeRecord<SubscriptionOptions>))
    }
  }

  add(clientId: string, subscriptions: readonly Subscription[]): KvWrite[] {
    return subscriptions.map(({ topic, qos, rh, rap, nl, subscriptionIdentifier }) => {
      const options: SubscriptionOptions = { qos, rh, rap, nl }
      if (subscriptionIdentifier !== undefined) options.subscriptionIdentifier = subscriptionIdentifier
      this.#set(clientId, topic, options)
      return { put: 'subscriptions', key: [clientId, topic], value: encodeRecord(options) }
    })
  }

  remove(clientId: string, filters: Iterable<string>): KvWrite[] {
    const own = this.#byClient.get(clientId)
    if (own === undefined) return []
    const writes: KvWrite[] = []
    for (const filter of filters) {
      if (!own.delete(filter)) continue
      this.#trieOf(filter).remove(sharedFilter(filter) ?? filter, { clientId, topic: filter })
      writes.push({ remove: 'subscriptions', key: [clientId, filter] })
    }
    if (own.size === 0) this.#byClient.delete(clientId)
    return writes
  }

  removeAll(clientId: string): KvWrite[] {
    return this.remove(clientId, [...(this.#byClient.get(clientId)?.keys() ?? [])])
  }

  get clientIds(): Iterable<string> {
    return this.#byClient.keys()
  }

  of(clientId: string): Subscription[] {
    const own = this.#byClient.get(clientId) ?? []
    return Array.from(own, ([topic, options]) => ({ topic, ...options }))
  }

  /** Matching subscriptions of QoS 1 and 2, one entry per client and filter. For QoS 0 no packet is queued. */
  matching(topic: string): TrieEntry[] {
    const matches = this.#trie.match(topic)
    // [MQTT-4.7.2-1]
    return topic.startsWith('$')
      ? matches.filter(({ topic: filter }) => !beginsWithWildcard(filter))
      : matches
  }

  /** The same for shared subscriptions. */
  matchingShares(topic: string): TrieEntry[] {
    const matches = this.#shared.match(topic)
    return topic.startsWith('$')
      ? matches.filter(({ topic: share }) => !beginsWithWildcard(sharedFilter(share) ?? ''))
      : matches
  }

  #trieOf(filter: string): QlobberSub {
    return sharedFilter(filter) === undefined ? this.#trie : this.#shared
  }

  *clientsOf(filter: string): Generator<string> {
    for (const [clientId, own] of this.#byClient) if (own.has(filter)) yield clientId
  }

  get counts(): { subsCount: number; clientsCount: number } {
    return { subsCount: this.#trie.subscriptionsCount, clientsCount: this.#byClient.size }
  }

  #set(clientId: string, filter: string, options: SubscriptionOptions): void {
    const own = this.#byClient.get(clientId) ?? new Map<string, SubscriptionOptions>()
    this.#byClient.set(clientId, own.set(filter, options))
    const trie = this.#trieOf(filter)
    const matched = sharedFilter(filter) ?? filter
    if (options.qos > 0) trie.add(matched, { clientId, topic: filter, ...options })
    else trie.remove(matched, { clientId, topic: filter })
  }
}
