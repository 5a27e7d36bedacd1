/**
 * The record that a persistent MQTT session exists: meta ['session', clientId]. Sessions without subscriptions have
 * one, too. All other stored state of a client belongs to its record, so that it can expire.
 */
import type { KvWrite } from '../../../store/store.js'
import { ownerOf } from '../../acl/client-id.js'
import { type ClientRef, decodeRecord, encodeRecord, type KvStore } from './kv.js'

interface SessionRecord {
  /** ms since the epoch. */
  readonly createdAt: number
  readonly seenAt: number
}

/** `seenAt` of a session that is being removed. If the process dies meanwhile, the next start finishes the removal. */
const ENDED = -1

export class Sessions {
  readonly #records = new Map<string, SessionRecord>()
  /** Number of sessions by account. */
  readonly #counts = new Map<string, number>()

  /** @returns client ids of sessions whose removal was not finished */
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

  /** Number of sessions of the account that this client belongs to. */
  countLike(clientId: string): number {
    return this.#counts.get(ownerOf(clientId)) ?? 0
  }

  /** The writes that make the session exist; none if it does. */
  ensure(clientId: string, now: number): KvWrite[] {
    return this.#records.has(clientId) ? [] : [this.touch(clientId, now)]
  }

  /** None for a clean session either. */
  ensureFor({ id, clean }: ClientRef): KvWrite[] {
    return clean ? [] : this.ensure(id, Date.now())
  }

  /** The session was seen now. @returns the write; without `drop` the session counts as stored */
  touch(clientId: string, now: number): KvWrite {
    return this.#put(clientId, { createdAt: this.#records.get(clientId)?.createdAt ?? now, seenAt: now })
  }

  /** The write failed: the session does not exist. */
  drop(clientId: string): void {
    if (this.#records.delete(clientId)) this.#count(clientId, -1)
  }

  /** @param owner of `ownerOf` @returns the account's client ids */
  of(owner: string): string[] {
    return this.#counts.has(owner) ? [...this.#records.keys()].filter(id => ownerOf(id) === owner) : []
  }

  /** The session does not exist any more; its rows may be removed. */
  end(clientId: string): KvWrite {
    const ended = this.#put(clientId, { createdAt: ENDED, seenAt: ENDED })
    this.drop(clientId)
    return ended
  }

  /** The last write of a removal; none if a new session with this client id began meanwhile. */
  forget(clientId: string): KvWrite[] {
    return this.#records.has(clientId) ? [] : [{ remove: 'meta', key: ['session', clientId] }]
  }

  /** Checks each session when the generator reaches it, so that one seen again meanwhile is left out. */
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
