/** The connections that are open now, by account, and whether one more may join. */

import type { LoginPermissions } from '../auth/permissions.js'
import { type CodeName, GatewayError } from '../core/errors.js'
import type { FrontEnd } from '../core/metrics.js'
import type { Login, UserId } from '../core/model.js'

export type MultiplePolicy = 'reject' | 'replace' | 'allow'

/** A logged-in connection of either front end. */
export interface LiveConnection {
  readonly front: FrontEnd
  /** The login that let it in. */
  readonly login?: Login | undefined
  readonly permissions?: LoginPermissions | undefined
  readonly remoteAddress?: string | undefined
  /** Resolves true as soon as the client shows that it is there, false after the heartbeat's time-out. */
  probe(): Promise<boolean>
  /** Tells the client why, closes, and calls LiveConnections.leave before it returns. */
  end(code: CodeName): void
}

export class LiveConnections {
  readonly #byUser = new Map<UserId, Set<LiveConnection>>()
  #onPresence: (userId: UserId, online: boolean) => void = () => undefined

  constructor(private readonly policy: MultiplePolicy) {}

  /** Called at an account's first connection and after its last. */
  onPresence(listener: (userId: UserId, online: boolean) => void): void {
    this.#onPresence = listener
  }

  isOnline(userId: UserId): boolean {
    return this.#byUser.has(userId)
  }

  /** Ids of all accounts that are online. */
  online(): IterableIterator<UserId> {
    return this.#byUser.keys()
  }

  /**
   * Lets a WebSocket connection in as `sessions.multiple` says. With `reject` the one that is there is probed, so
   * that a connection that died without a close does not lock its owner out.
   * @throws GatewayError ERROR_MULTIPLE_LOGIN
   */
  async join(userId: UserId, connection: LiveConnection): Promise<void> {
    if (this.policy === 'allow') return this.add(userId, connection)
    let others = this.#webSockets(userId)
    // Looked at again after each answer: another login may have been let in meanwhile.
    for (; this.policy === 'reject' && others[0] !== undefined; others = this.#webSockets(userId)) {
      if (await others[0].probe()) throw new GatewayError('ERROR_MULTIPLE_LOGIN')
      this.#end(userId, others[0])
    }
    // First in, then out: the account does not go offline in between.
    this.add(userId, connection)
    for (const other of others) this.#end(userId, other)
  }

  /** Lets a connection in without asking: MQTT has its own rule, one connection a client id [MQTT-3.1.4-2]. */
  add(userId: UserId, connection: LiveConnection): void {
    const all = this.#byUser.get(userId)
    if (all !== undefined) {
      all.add(connection)
      return
    }
    this.#byUser.set(userId, new Set([connection]))
    this.#onPresence(userId, true)
  }

  leave(userId: UserId, connection: LiveConnection): void {
    const all = this.#byUser.get(userId)
    if (!all?.delete(connection) || all.size > 0) return
    this.#byUser.delete(userId)
    this.#onPresence(userId, false)
  }

  /** Connections of an account, also when some of them end meanwhile. */
  of(userId: UserId): readonly LiveConnection[] {
    return [...(this.#byUser.get(userId) ?? [])]
  }

  /**
   * Takes the rights of every connection of an account, or of those that `which` picks, and ends it: what it sent and
   * waits is not stored.
   */
  endAll(userId: UserId, code: CodeName, which: (connection: LiveConnection) => boolean = () => true): void {
    for (const connection of this.of(userId)) {
      if (!which(connection)) continue
      connection.permissions?.revoke()
      connection.end(code)
    }
  }

  #end(userId: UserId, connection: LiveConnection): void {
    connection.end('ERROR_CONNECTION_CLOSED')
    // It may not know yet whose it is.
    this.leave(userId, connection)
  }

  #webSockets(userId: UserId): LiveConnection[] {
    return this.of(userId).filter(({ front }) => front === 'json')
  }
}
