/** The open connections by account, and whether an account may open another one. */

import type { LoginPermissions } from '../auth/permissions.js'
import { type CodeName, GatewayError } from '../core/errors.js'
import type { FrontEnd } from '../core/metrics.js'
import type { Login, UserId } from '../core/model.js'
import { Several } from '../core/several.js'

export type MultiplePolicy = 'reject' | 'replace' | 'allow'

/** A logged-in connection of either front end. */
export interface LiveConnection {
  readonly front: FrontEnd
  /** The login of this connection. */
  readonly login?: Login | undefined
  readonly permissions?: LoginPermissions | undefined
  readonly remoteAddress?: string | undefined
  /** Resolves true as soon as the client sends something, and false after the heartbeat's time-out. */
  probe(): Promise<boolean>
  /** Tells the client the reason, closes the connection, and calls LiveConnections.leave before it returns. */
  end(code: CodeName): void
}

/** What is said of whom a revocation ends: connections, and what goes on without one. */
export type OfLogin = Pick<LiveConnection, 'login'>

/** A request that waits for something, by a login without a connection. */
export type WaitingRequest = Pick<LiveConnection, 'login' | 'permissions' | 'end'>

export class LiveConnections {
  readonly #byUser = new Several<UserId, LiveConnection>()
  readonly #waiting = new Several<UserId, WaitingRequest>()
  #onEnd: (userId: UserId, which: (one: OfLogin) => boolean) => void = () => undefined
  #onPresence: (userId: UserId, online: boolean) => void = () => undefined

  constructor(private readonly policy: MultiplePolicy) {}

  /** `listener` is called when an account's first connection opens and when its last one closes. */
  onPresence(listener: (userId: UserId, online: boolean) => void): void {
    this.#onPresence = listener
  }

  /** `listener` is called when `endAll` is: for what goes on without a connection. */
  onEnd(listener: (userId: UserId, which: (one: OfLogin) => boolean) => void): void {
    this.#onEnd = listener
  }

  isOnline(userId: UserId): boolean {
    return this.#byUser.has(userId)
  }

  /** Ids of all accounts that are online. */
  online(): IterableIterator<UserId> {
    return this.#byUser.keys()
  }

  /**
   * Adds a WebSocket connection as `sessions.multiple` allows. With `reject`, the existing connection is probed, so
   * that a dead one does not lock its owner out.
   * @throws GatewayError ERROR_MULTIPLE_LOGIN
   */
  async join(userId: UserId, connection: LiveConnection): Promise<void> {
    if (this.policy === 'allow') return this.add(userId, connection)
    let others = this.#webSockets(userId)
    // Read again after each answer: another login may have been added meanwhile.
    for (; this.policy === 'reject' && others[0] !== undefined; others = this.#webSockets(userId)) {
      if (await others[0].probe()) throw new GatewayError('ERROR_MULTIPLE_LOGIN')
      this.#end(userId, others[0])
    }
    // The new one is added before the old ones are removed, so that the account does not go offline in between.
    this.add(userId, connection)
    for (const other of others) this.#end(userId, other)
  }

  /** Adds a connection without a check: MQTT has its own rule, one connection per client id [MQTT-3.1.4-2]. */
  add(userId: UserId, connection: LiveConnection): void {
    if (this.#byUser.add(userId, connection)) this.#onPresence(userId, true)
  }

  leave(userId: UserId, connection: LiveConnection): void {
    if (this.#byUser.delete(userId, connection)) this.#onPresence(userId, false)
  }

  /**
   * While it waits, `endAll` reaches the request as it does connections. The account is not online for that.
   * @returns call it when the wait is over
   */
  whileWaiting(userId: UserId, request: WaitingRequest): () => void {
    this.#waiting.add(userId, request)
    return () => void this.#waiting.delete(userId, request)
  }

  /** A copy of the account's connections, so that the caller may end them while it loops. */
  of(userId: UserId): readonly LiveConnection[] {
    return this.#byUser.of(userId)
  }

  /**
   * Revokes the permissions of all connections and waiting requests of an account, or of those that `which` accepts, and
   * ends them. Messages of theirs that still wait are not stored.
   */
  endAll(userId: UserId, code: CodeName, which: (one: OfLogin) => boolean = () => true): void {
    this.#onEnd(userId, which)
    for (const connection of [...this.of(userId), ...this.#waiting.of(userId)]) {
      if (!which(connection)) continue
      connection.permissions?.revoke()
      connection.end(code)
    }
  }

  #end(userId: UserId, connection: LiveConnection): void {
    connection.end('ERROR_CONNECTION_CLOSED')
    // A connection may not know its account yet, and then does not leave by itself.
    this.leave(userId, connection)
  }

  #webSockets(userId: UserId): LiveConnection[] {
    return this.of(userId).filter(({ front }) => front === 'json')
  }
}
