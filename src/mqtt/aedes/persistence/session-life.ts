/** The life of persistent sessions: begun or gone on with at CONNECT, ended by a clean one, by expiry, or with the account. */
import type { UserId } from '../../../core/model.js'
import { ownerOf, scopedId } from '../../acl/client-id.js'
import type { Incoming } from './incoming.js'
import type { KvStore } from './kv.js'
import type { PersistenceOptions } from './options.js'
import type { OutgoingQueue } from './queue.js'
import type { Retained } from './retained.js'
import type { Sessions } from './sessions.js'
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

export class SessionLife {
  constructor(
    private readonly kv: KvStore,
    private readonly parts: SessionParts,
    private readonly options: Pick<PersistenceOptions, 'sessionExpiryMs' | 'onError'>,
  ) {}

  /** Whether there is a stored session, with subscriptions or without. */
  has(clientId: string): boolean {
    return this.parts.sessions.has(clientId)
  }

  /** How many stored sessions there are of the account that this session is of. */
  countLike(clientId: string): number {
    return this.parts.sessions.countLike(clientId)
  }

  /** Called at CONNECT, before Aedes goes on. @returns whether a stored session goes on: session-present */
  async touch(clientId: string, clean: boolean): Promise<boolean> {
    const isResumed = !clean && this.has(clientId)
    if (clean) await this.clear(clientId)
    else await this.#writeTime(clientId, isResumed)
    // A connection without a session that this one takes over from may have left identifiers.
    if (!isResumed) await this.parts.incoming.clear(clientId)
    return isResumed
  }

  /** For a session that is stored only the time is written: where that fails the session goes on all the same. */
  async #writeTime(clientId: string, isStored: boolean): Promise<void> {
    const { sessions } = this.parts
    try {
      await this.kv.kvWrite([sessions.touch(clientId, Date.now())])
    } catch (error) {
      if (!isStored) {
        sessions.drop(clientId)
        throw error
      }
      this.options.onError?.(error)
    }
  }

  /** Removes all of a session but its will, which belongs to the last connection. */
  async clear(clientId: string): Promise<void> {
    const { sessions, subscriptions, queue, incoming } = this.parts
    if (!sessions.has(clientId)) return
    const upTo = queue.forget(clientId)
    // When this write is durable, so is all that the session wrote before: the removals below see all of it.
    await this.kv.kvWrite([sessions.end(clientId), ...subscriptions.removeAll(clientId)])
    await queue.removeUpTo(clientId, upTo)
    await incoming.clear(clientId)
    await this.kv.kvWrite(sessions.forget(clientId))
  }

  /** Forgets in memory what the store has removed with a deleted account. */
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
   * Removes sessions unseen for `sessionExpiryMs`.
   * @param isConnected whether a client is connected now: its session is seen
   * @returns how many were removed
   */
  async expire(now: number, isConnected: (clientId: string) => boolean): Promise<number> {
    const { sessionExpiryMs = 0 } = this.options
    if (sessionExpiryMs === 0) return 0
    const { sessions } = this.parts
    // A tenth of the time is early enough: after a crash the store must say that a client was connected for weeks.
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
