/** The login on one JSON connection: whose it is, what it may, and the inbox that is delivered to it. */
import type { Principal } from '../auth/authenticate.js'
import type { LoginPermissions } from '../auth/permissions.js'
import { GatewayError, toGatewayError } from '../core/errors.js'
import type { Login, UserId } from '../core/model.js'
import type { LoginTarget } from '../handle/context.js'
import type { Guest } from '../limits/guests.js'
import type { LiveConnection } from '../live/live.js'
import type { RequestData } from '../protocol/requests.js'
import type { FrameWriter } from './frame-writer.js'
import type { ConnectionHost } from './host.js'
import { InboxDelivery } from './inbox-delivery.js'
import type { Quota } from './quota.js'

/** Ends a connection without a login, for another one. */
const makeWay = (connection: LiveConnection): void => connection.end('LOGIN_TIMEOUT')

export class JsonLogin implements LoginTarget {
  userId: UserId | undefined
  login: Login | undefined
  permissions: LoginPermissions | undefined
  readonly #guest: Guest
  #inbox: InboxDelivery | undefined
  /** Logins on this connection so far. */
  #count = 0
  #isOver = false

  constructor(
    private readonly host: ConnectionHost,
    private readonly connection: LiveConnection,
    private readonly ws: { isTrusted: boolean },
    private readonly out: FrameWriter,
    private readonly quota: Quota,
  ) {
    this.#guest = host.services.limits.join(makeWay, connection)
  }

  async enter({ user, login }: Principal, options: RequestData<'login'>): Promise<void> {
    // A pong is not encrypted: who is in between could confirm messages that the client never got.
    if (this.out.isSealed && options.ack !== 'explicit')
      throw new GatewayError('BAD_FIELD', { field: 'ack', reason: 'must be explicit in encrypted packets' })
    const { authenticator, limits, live } = this.host.services
    const userId = user.id
    await live.join(userId, this.connection)
    try {
      if (this.#isOver) throw new GatewayError('ERROR_CONNECTION_CLOSED')
      this.quota.enter(userId)
    } catch (thrown) {
      this.#release(userId)
      throw thrown
    }
    this.userId = userId
    this.ws.isTrusted = true
    this.login = login
    this.permissions = authenticator.since().permissions(userId)
    this.permissions.joined()
    this.#guest.entered()
    limits.logins.loggedInFrom(this.connection.remoteAddress)
    const inbox = new InboxDelivery(this.host, this.out, userId, options, this.#count++)
    try {
      await inbox.reader.enrol()
      if (this.#isOver) throw new GatewayError('ERROR_CONNECTION_CLOSED')
    } catch (thrown) {
      this.leave()
      throw thrown
    }
    this.#inbox = inbox
  }

  leave(): void {
    if (this.userId === undefined) return
    this.#inbox?.reader.close()
    this.#inbox = undefined
    this.#release(this.userId)
    this.permissions?.left()
    this.#guest.loggedOut()
    this.userId = undefined
    this.ws.isTrusted = false
    this.login = undefined
    this.permissions = undefined
  }

  /** The connection has ended. `userId` and `permissions` stay, for requests of a client that left by itself. */
  close(): void {
    this.#isOver = true
    this.#guest.left()
    this.#inbox?.reader.close()
    this.permissions?.left()
    if (this.userId !== undefined) this.#release(this.userId)
  }

  startDelivery(): void {
    this.#inbox?.reader.start().catch(thrown => {
      // Nothing can be delivered. The client reconnects, and delivery resumes at its cursor.
      const err = toGatewayError(thrown)
      const about = { event: 'store.failed', operation: 'startReader', userId: this.userId, err }
      this.host.services.log.error(about, 'inbox not opened')
      this.connection.end('STORE_UNAVAILABLE')
    })
  }

  /** The client takes messages again. */
  resumeDelivery(): void {
    this.#inbox?.reader.resume()
  }

  confirm(seq: number): boolean {
    if (this.#inbox?.isExplicit !== true) return false
    this.#inbox.reader.confirmUpTo(seq)
    return true
  }

  /** See InboxDelivery.notice. */
  notice(event: string, data: unknown): string | undefined {
    return this.#inbox?.notice(event, data)
  }

  /** See InboxDelivery.pingPayload. */
  pingPayload(): string | undefined {
    return this.#inbox?.pingPayload()
  }

  pong(payload: Buffer): void {
    this.#inbox?.pong(payload)
  }

  /** How long the client has owed a confirmation, ms. @param now performance.now() */
  owedFor(now: number): number {
    return this.#inbox?.owedFor(now) ?? 0
  }

  /** Safe to call twice. */
  #release(userId: UserId): void {
    this.host.services.live.leave(userId, this.connection)
    this.quota.leave(userId)
  }
}
