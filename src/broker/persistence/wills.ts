/** Wills, under [clientId]: published by a later start of the broker when this one dies with clients connected. */
import type { BrokerPacket, ClientRef, KvStore } from './kv.js'
import { decodePacket, encodePacket } from './kv.js'

export class Wills {
  readonly #kv: KvStore
  /** The connection whose will is stored. */
  readonly #holders = new Map<string, ClientRef>()

  constructor(kv: KvStore) {
    this.#kv = kv
  }

  async put(client: ClientRef, will: BrokerPacket): Promise<void> {
    this.#holders.set(client.id, client)
    await this.#kv.kvWrite([{ put: 'wills', key: [client.id], value: encodePacket(will) }])
  }

  async get(clientId: string): Promise<BrokerPacket | undefined> {
    const value = await this.#kv.kvGet('wills', [clientId])
    return value === undefined ? undefined : decodePacket(value)
  }

  /**
   * Aedes asks for it by client id alone, also when a connection that was taken over has published its will. By then
   * the will stored is the new connection's, which is open still: it stays.
   */
  async remove(clientId: string): Promise<BrokerPacket | undefined> {
    if (this.#holders.get(clientId)?.closed === false) return undefined
    this.#holders.delete(clientId)
    const will = await this.get(clientId)
    if (will !== undefined) await this.#kv.kvWrite([{ remove: 'wills', key: [clientId] }])
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
