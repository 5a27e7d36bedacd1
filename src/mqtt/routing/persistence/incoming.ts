/**
 * Identifiers of QoS 2 packets that were received and whose PUBREL has not come: incoming [clientId, messageId]. Only
 * the identifier is kept (MQTT 3.1.1, 4.3.3, method B), since the message itself was stored or refused before. All
 * identifiers are also in memory. So a PUBREL with an unknown identifier, which must be answered, too, needs no read of
 * the store.
 */
import type { KvWrite } from '../../../store/store.js'
import { type KvStore, removeUnder } from './kv.js'

/** The value of a row; all information is in its key. */
const PRESENT = Buffer.of(1)

/** 'stored', or a promise that settles with the write. Until it settles, the identifier counts as received. */
type Entry = 'stored' | Promise<void>

export class Incoming {
  readonly #kv: KvStore
  readonly #clients = new Map<string, Map<number, Entry>>()

  constructor(kv: KvStore) {
    this.#kv = kv
  }

  /** @param isKept whether a client has a session; identifiers of other clients are removed */
  async load(isKept: (clientId: string) => boolean): Promise<void> {
    await removeUnder(this.#kv, 'incoming', [], ([clientId]) => !isKept(clientId as string))
    for await (const { key } of this.#kv.kvRange('incoming', [])) {
      const [clientId, messageId] = key as [string, number]
      this.#of(clientId).set(messageId, 'stored')
    }
  }

  /** Stores an identifier; resolves when it is durable. @param alongside writes for the same commit */
  async add(clientId: string, messageId: number, alongside: readonly KvWrite[]): Promise<void> {
    const ids = this.#of(clientId)
    const before = ids.get(messageId)
    const written = this.#kv.kvWrite([
      ...alongside,
      { put: 'incoming', key: [clientId, messageId], value: PRESENT },
    ])
    if (before !== 'stored') ids.set(messageId, written)
    try {
      await written
      if (ids.get(messageId) === written) ids.set(messageId, 'stored')
    } catch (error) {
      if (ids.get(messageId) === written) this.#drop(clientId, messageId)
      throw error
    }
  }

  async has(clientId: string, messageId: number): Promise<boolean> {
    const entry = this.#clients.get(clientId)?.get(messageId)
    if (entry === undefined || entry === 'stored') return entry !== undefined
    return entry.then(
      () => true,
      () => false,
    )
  }

  idsOf(clientId: string): Iterable<number> {
    return this.#clients.get(clientId)?.keys() ?? []
  }

  async remove(clientId: string, messageId: number): Promise<void> {
    await this.#kv.kvWrite([{ remove: 'incoming', key: [clientId, messageId] }])
    this.#drop(clientId, messageId)
  }

  /** Removes all identifiers of a client. Does not access the store if there are none. */
  async clear(clientId: string): Promise<void> {
    const ids = this.#clients.get(clientId)
    if (ids === undefined) return
    await Promise.allSettled([...ids.values()])
    const gone = [...ids.keys()]
    const key = (messageId: number) => ({ remove: 'incoming' as const, key: [clientId, messageId] })
    await this.#kv.kvWrite(gone.map(key))
    for (const messageId of gone) this.#drop(clientId, messageId)
  }

  /** Forgets the client's identifiers. Call it after the store has removed its rows. */
  forget(clientId: string): void {
    this.#clients.delete(clientId)
  }

  #of(clientId: string): Map<number, Entry> {
    let ids = this.#clients.get(clientId)
    if (ids === undefined) {
      ids = new Map()
      this.#clients.set(clientId, ids)
    }
    return ids
  }

  #drop(clientId: string, messageId: number): void {
    const ids = this.#clients.get(clientId)
    ids?.delete(messageId)
    if (ids?.size === 0) this.#clients.delete(clientId)
  }
}
