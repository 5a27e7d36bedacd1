/**
 * That a persistent session exists, even one without subscriptions: meta ['session', clientId]. Whatever else the
 * store has of a client belongs to such a record, so that it can expire.
 */
import type { KvWrite } from '../../../store/store.js'
import { ownerOf } from '../../acl/client-id.js'
import { decodeRecord, encodeRecord, type KvStore } from './kv.js'

interface SessionRecord {
  /** ms since the epoch. */
  readonly createdAt: number
  readonly seenAt: number
}

/** `seenAt` of a session that is being removed: should the process die meanwhile, the next start goes on. */
const ENDED = -1

export class Sessions {
  readonly #records = new Map<string, SessionRecord>()
  /** How many there are of each account. */
  readonly #counts = new Map<string, number>()

  /** @returns ids of sessions whose removal was cut short */
  async load(kv: KvStore): Promise<string[]> {
    const ended: string[] = []
    for await (const { key, value } of kv.kvRange('meta', ['session'])) {
      const [, clientId] = key as [string, string]
      const record = decodeRecord<SessionRecord>(value)
      this.#set(clientId, record)
      if (record.seenAt === ENDED) ended.push(clientId)
    }
    return ended
  }

  has(clientId: string): boolean {
    return this.#records.has(clientId)
  }

  /** How many belong to the same account. */
  countLike(clientId: string): number {
    return this.#counts.get(ownerOf(clientId)) ?? 0
  }

  /** Writes that make it exist; none when it does. */
  ensure(clientId: string, now: number): KvWrite[] {
    return this.#records.has(clientId) ? [] : [this.touch(clientId, now)]
  }

  touch(clientId: string, now: number): KvWrite {
    return this.#put(clientId, { createdAt: this.#records.get(clientId)?.createdAt ?? now, seenAt: now })
  }

  /** It was not written after all. */
  drop(clientId: string): void {
    if (this.#records.delete(clientId)) this.#count(clientId, -1)
  }

  /** @param owner as of `ownerOf` */
  of(owner: string): string[] {
    return this.#counts.has(owner) ? [...this.#records.keys()].filter(id => ownerOf(id) === owner) : []
  }

  /** From here on it does not exist; what is left of it may be removed. */
  end(clientId: string): KvWrite {
    const ended = this.#put(clientId, { createdAt: ENDED, seenAt: ENDED })
    this.drop(clientId)
    return ended
  }

  /** The last write of a removal; none when the session was begun anew meanwhile. */
  forget(clientId: string): KvWrite[] {
    return this.#records.has(clientId) ? [] : [{ remove: 'meta', key: ['session', clientId] }]
  }

  /** Looks at each when it is reached: one seen again meanwhile is left out. */
  *unseenSince(before: number): Generator<string> {
    for (const [clientId, { seenAt }] of this.#records) if (seenAt <= before) yield clientId
  }

  #put(clientId: string, record: SessionRecord): KvWrite {
    this.#set(clientId, record)
    return { put: 'meta', key: ['session', clientId], value: encodeRecord(record) }
  }

  #set(clientId: string, record: SessionRecord): void {
    if (!this.#records.has(clientId)) this.#count(clientId, 1)
    this.#records.set(clientId, record)
  }

  #count(clientId: string, by: number): void {
    const owner = ownerOf(clientId)
    const count = (this.#counts.get(owner) ?? 0) + by
    if (count > 0) this.#counts.set(owner, count)
    else this.#counts.delete(owner)
  }
}
