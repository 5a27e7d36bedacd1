/** Stored wills, under [clientId]. If the process dies while clients are connected, the next start publishes theirs. */
import type { BrokerPacket, ClientRef, KvStore } from './kv.js'
import { decodePacket, encodePacket, readRow } from './kv.js'

/** A will that is stored or being stored, with its connection. */
interface Held {
  readonly client: ClientRef
  readonly will: BrokerPacket
}

export class Wills {
  readonly #kv: KvStore
  readonly #held = new Map<string, Held>()
  readonly #removals = new Set<Promise<unknown>>()

  constructor(kv: KvStore) {
    this.#kv = kv
  }

  async put(client: ClientRef, will: BrokerPacket): Promise<void> {
    // If the connection ended during CONNECT, no later step would remove the will.
    if (client.closed) return
    this.#held.set(client.id, { client, will })
    await this.#kv.kvWrite([{ put: 'wills', key: [client.id], value: encodePacket(will) }])
  }

  async get(clientId: string): Promise<BrokerPacket | undefined> {
    const value = await this.#kv.kvGet('wills', [clientId])
    return value === undefined ? undefined : decodePacket(value)
  }

  /**
   * Removes a client's will, unless its connection is open: when that of a connection which was taken over is published, the
   * stored one is the new connection's, and stays.
   */
  async remove(clientId: string): Promise<BrokerPacket | undefined> {
    const removal = this.#remove(clientId)
    this.#removals.add(removal)
    try {
      return await removal
    } finally {
      this.#removals.delete(removal)
    }
  }

  /** Forgets the client's will. Call it after the store has removed its row. */
  forget(clientId: string): void {
    this.#held.delete(clientId)
  }

  /** Resolves when no removal is under way. */
  async settled(): Promise<void> {
    while (this.#removals.size > 0) await Promise.allSettled(this.#removals)
  }

  async #remove(clientId: string): Promise<BrokerPacket | undefined> {
    const held = this.#held.get(clientId)
    if (held?.client.closed === false) return undefined
    this.#held.delete(clientId)
    // If the will is in `#held`, its removal is queued in this turn: after its own write, before that of a next
    // connection.
    const will = held?.will ?? (await this.get(clientId))
    if (will === undefined || this.#held.has(clientId)) return undefined
    await this.#kv.kvWrite([{ remove: 'wills', key: [clientId] }])
    return will
  }

  /** @param brokers ids of brokers whose wills are left out */
  async *ofOtherBrokers(brokers: Readonly<Record<string, unknown>>): AsyncGenerator<BrokerPacket> {
    for await (const row of this.#kv.kvRange('wills', [])) {
      const will = readRow('wills', row, decodePacket)
      if (!Object.hasOwn(brokers, will.brokerId ?? '')) yield will
    }
  }
}
