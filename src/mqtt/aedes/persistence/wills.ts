/** Wills, under [clientId]: published by a later start of the broker when this one dies with clients connected. */
import type { BrokerPacket, ClientRef, KvStore } from './kv.js'
import { decodePacket, encodePacket } from './kv.js'

/** A will that is stored, or on its way to the store, and the connection whose it is. */
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
    // Its connection ended while CONNECT was under way: nobody would remove it again.
    if (client.closed) return
    this.#held.set(client.id, { client, will })
    await this.#kv.kvWrite([{ put: 'wills', key: [client.id], value: encodePacket(will) }])
  }

  async get(clientId: string): Promise<BrokerPacket | undefined> {
    const value = await this.#kv.kvGet('wills', [clientId])
    return value === undefined ? undefined : decodePacket(value)
  }

  /**
   * Asked for by client id alone, also when a connection that was taken over has published its will. By then the will
   * stored is the new connection's, which is open still: it stays.
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

  /** Its row is gone. */
  forget(clientId: string): void {
    this.#held.delete(clientId)
  }

  /** Resolves when no removal is under way; Aedes waits for none. */
  async settled(): Promise<void> {
    while (this.#removals.size > 0) await Promise.allSettled(this.#removals)
  }

  async #remove(clientId: string): Promise<BrokerPacket | undefined> {
    const held = this.#held.get(clientId)
    if (held?.client.closed === false) return undefined
    this.#held.delete(clientId)
    // Of one that is held the removal is asked for at once, behind its write and before that of a next connection.
    const will = held?.will ?? (await this.get(clientId))
    if (will === undefined || this.#held.has(clientId)) return undefined
    await this.#kv.kvWrite([{ remove: 'wills', key: [clientId] }])
    return will
  }

  /** Those of brokers not named. */
  async *ofOtherBrokers(brokers: Readonly<Record<string, unknown>>): AsyncGenerator<BrokerPacket> {
    for await (const { value } of this.#kv.kvRange('wills', [])) {
      const will = decodePacket(value)
      if (!Object.hasOwn(brokers, will.brokerId ?? '')) yield will
    }
  }
}
