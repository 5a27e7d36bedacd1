/**
 * The records of persistent MQTT sessions: meta ['session', clientId]. A session without subscriptions has a record,
 * too. Every client with other stored state has a record, so that the state can expire.
 */
import { decodeRecord, encodeRecord } from '../../../core/record.js'
import type { KvWrite } from '../../../store/store.js'
import { ownerOf } from '../../acl/client-id.js'
import { type ClientRef, type KvStore, readRow } from './kv.js'

interface SessionRecord {
  /** ms since the epoch. */
  readonly createdAt: number
  readonly seenAt: number
  /** Session expiry interval of an MQTT 5 client, s; absent: the server's own limit alone. */
  readonly expiry?: number
  /** An MQTT 5 client was connected when this was written. */
  readonly isOpen?: boolean
}

/** What a CONNECT or the end of a connection says of its session. */
export type SessionTerms = Pick<SessionRecord, 'expiry' | 'isOpen'>

/** `seenAt` of a session that is being removed. If the process dies meanwhile, the next start finishes the removal. */
const ENDED = -1

/** Session expiry interval of a session that does not expire (MQTT 5, 3.1.2.11.2). */
export const NEVER = 0xffff_ffff

export class Sessions {
  readonly #records = new Map<string, SessionRecord>()
  /** Number of sessions by account. */
  readonly #counts = new Map<string, number>()

  /** @returns client ids of sessions whose removal was not finished */
  async load(kv: KvStore): Promise<string[]> {
    const ended: string[] = []
    for await (const row of kv.kvRange('meta', ['session'])) {
      const [, clientId] = row.key as [string, string]
      const record = readRow('meta', row, decodeRecord<SessionRecord>)
      this.#set(clientId, record)
      if (record.seenAt === ENDED) ended.push(clientId)
    }
    return ended
  }

  has(clientId: string): boolean {
    return this.#records.has(clientId)
  }

  get count(): number {
    return this.#records.size
  }

  /** Number of sessions of the account that this client belongs to. */
  countLike(clientId: string): number {
    return this.#counts.get(ownerOf(clientId)) ?? 0
  }

  /** @returns the writes that create the session; none if it exists */
  ensure(clientId: string, now: number): KvWrite[] {
    return this.#records.has(clientId) ? [] : [this.touch(clientId, now)]
  }

  /** The same for a client; none for a clean session. */
  ensureFor({ id, clean }: ClientRef): KvWrite[] {
    return clean ? [] : this.ensure(id, Date.now())
  }

  /**
   * Sets the time of the session, and creates it if needed. @returns the write; if it fails for a new session, call
   * `drop`
   */
  touch(clientId: string, now: number, terms?: SessionTerms): KvWrite {
    const { createdAt = now, expiry, isOpen } = this.#records.get(clientId) ?? {}
    const { expiry: wanted, isOpen: open } = terms ?? { expiry, isOpen }
    return this.#put(clientId, {
      createdAt,
      seenAt: now,
      ...(wanted === undefined ? {} : { expiry: wanted }),
      ...(open ? { isOpen: true } : {}),
    })
  }

  /** When sessions of MQTT 5 clients expire by their own interval, ms since the epoch. @param now where a client was connected */
  *expiries(now: number): Generator<[clientId: string, at: number]> {
    for (const [clientId, { seenAt, expiry, isOpen }] of this.#records)
      if (expiry !== undefined && expiry < NEVER) yield [clientId, (isOpen ? now : seenAt) + expiry * 1000]
  }

  /** Removes the session from memory only. */
  drop(clientId: string): void {
    if (this.#records.delete(clientId)) this.#count(clientId, -1)
  }

  /** @param owner as returned by `ownerOf` @returns the account's client ids */
  of(owner: string): string[] {
    return this.#counts.has(owner) ? [...this.#records.keys()].filter(id => ownerOf(id) === owner) : []
  }

  /**
   * Removes the session from memory. @returns the write that notes the removal; after it the session's rows may be
   * removed
   */
  end(clientId: string): KvWrite {
    const ended = this.#put(clientId, { createdAt: ENDED, seenAt: ENDED })
    this.drop(clientId)
    return ended
  }

  /** @returns the last write of a removal; none if a new session with this client id began meanwhile */
  forget(clientId: string): KvWrite[] {
    return this.#records.has(clientId) ? [] : [{ remove: 'meta', key: ['session', clientId] }]
  }

  /**
   * Sessions last seen at or before `before`. Each is checked when the generator reaches it, so one seen again
   * meanwhile is omitted.
   */
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
