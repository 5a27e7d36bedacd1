/**
 * The life of persistent sessions: begun or resumed at CONNECT; ended by a clean CONNECT, by expiry, or with the
 * account.
 */
import type { UserId } from '../../../core/model.js'
import { ownerOf, scopedId } from '../../acl/client-id.js'
import type { Incoming } from './incoming.js'
import type { KvStore } from './kv.js'
import type { PersistenceOptions } from './options.js'
import type { OutgoingQueue } from './queue.js'
import type { Retained } from './retained.js'
import type { Sessions, SessionTerms } from './sessions.js'
import type { Subscriptions } from './subscriptions.js'
import type { Wills } from './wills.js'

export interface SessionParts {
  readonly sessions: Sessions
  readonly subscriptions: Subscriptions
  readonly queue: OutgoingQueue
  readonly incoming: Incoming
  readonly wills: Wills
  readonly retained: Retained
}

export interface SessionStart {
  /** What is stored of the session is removed first. */
  readonly cleanStart: boolean
  /** The session outlives its connection. */
  readonly isKept: boolean
  readonly terms: SessionTerms
}

export class SessionLife {
  constructor(
    private readonly kv: KvStore,
    private readonly parts: SessionParts,
    private readonly options: Pick<PersistenceOptions, 'sessionExpiryMs' | 'onError'>,
  ) {}

  /** Whether a session is stored, with or without subscriptions. */
  has(clientId: string): boolean {
    return this.parts.sessions.has(clientId)
  }

  /** Of what is stored. */
  get counts(): { readonly sessions: number; readonly filters: number; readonly retained: number } {
    const { sessions, subscriptions, retained } = this.parts
    return { sessions: sessions.count, filters: subscriptions.counts.subsCount, retained: retained.count }
  }

  /** Number of stored sessions of the account that this client belongs to. */
  countLike(clientId: string): number {
    return this.parts.sessions.countLike(clientId)
  }

  /** Called at CONNECT. @returns whether a stored session is resumed (session present) */
  async begin(clientId: string, { cleanStart, isKept, terms }: SessionStart): Promise<boolean> {
    const isResumed = !cleanStart && this.has(clientId)
    if (cleanStart) await this.clear(clientId)
    if (isKept || isResumed) await this.#writeTime(clientId, isResumed, terms)
    // A connection without a stored session, which this one takes over from, may have left identifiers.
    if (!isResumed) await this.parts.incoming.clear(clientId)
    return isResumed
  }

  /** Called at CONNECT of MQTT 3. */
  async touch(clientId: string, clean: boolean): Promise<boolean> {
    return this.begin(clientId, { cleanStart: clean, isKept: !clean, terms: {} })
  }

  /** The connection of an MQTT 5 client ends: notes when, and how long its session is kept from now on. */
  async leave(clientId: string, expiry: number): Promise<void> {
    if (this.has(clientId))
      await this.kv.kvWrite([this.parts.sessions.touch(clientId, Date.now(), { expiry })])
  }

  /** When sessions expire by the interval of their clients, ms since the epoch. To be called at start. */
  expiries(): Iterable<[clientId: string, at: number]> {
    return this.parts.sessions.expiries(Date.now())
  }

  /**
   * Stores the time of the connection. If that fails, a stored session is resumed anyway, and a new one is not begun.
   */
  async #writeTime(clientId: string, isStored: boolean, terms: SessionTerms): Promise<void> {
    const { sessions } = this.parts
    try {
      await this.kv.kvWrite([sessions.touch(clientId, Date.now(), terms)])
    } catch (error) {
      if (!isStored) {
        sessions.drop(clientId)
        throw error
      }
      this.options.onError?.(error)
    }
  }

  /** Removes a session, except its will, which belongs to the last connection. */
  async clear(clientId: string): Promise<void> {
    const { sessions, subscriptions, queue, incoming } = this.parts
    if (!sessions.has(clientId)) return
    const upTo = queue.forget(clientId)
    // When this write is durable, so are all earlier writes of the session, and the removals below find them.
    await this.kv.kvWrite([sessions.end(clientId), ...subscriptions.removeAll(clientId)])
    await queue.removeUpTo(clientId, upTo)
    await incoming.clear(clientId)
    await this.kv.kvWrite(sessions.forget(clientId))
  }

  /** Forgets the sessions of a deleted account. Call it after the store has removed its data. */
  forgetAccount(userId: UserId): void {
    const { sessions, subscriptions, queue, incoming, wills, retained } = this.parts
    for (const clientId of sessions.of(ownerOf(scopedId(userId, '')))) {
      sessions.drop(clientId)
      subscriptions.removeAll(clientId)
      queue.forget(clientId)
      incoming.forget(clientId)
      wills.forget(clientId)
    }
    retained.forget(userId)
  }

  /**
   * Removes sessions whose client was last connected at least `sessionExpiryMs` ago.
   * @param isConnected whether a client is connected now; its session does not expire
   * @returns how many were removed
   */
  async expire(now: number, isConnected: (clientId: string) => boolean): Promise<number> {
    const { sessionExpiryMs = 0 } = this.options
    if (sessionExpiryMs === 0) return 0
    const { sessions } = this.parts
    // Updates the stored time of long connections, so that a crash does not let their sessions expire. A tenth of the
    // expiry time is precise enough.
    const connected = [...sessions.unseenSince(now - sessionExpiryMs / 10)].filter(isConnected)
    if (connected.length > 0) await this.kv.kvWrite(connected.map(id => sessions.touch(id, now)))
    let expired = 0
    for (const clientId of sessions.unseenSince(now - sessionExpiryMs)) {
      await this.clear(clientId)
      expired += 1
    }
    return expired
  }
}
