/** The state of one MQTT connection. The command files (connect, subscribe, publish, wills) take it as their argument. */
import type { LoginPermissions } from '../auth/permissions.js'
import type { CodeName, Locale } from '../core/errors.js'
import type { Login, UserId } from '../core/model.js'
import type { LiveConnection } from '../live/live.js'
import type { Grantee } from './acl/access.js'
import { FilterLimit } from './acl/filter-limit.js'
import type { InboxDelivery } from './inbox-delivery.js'
import type { Link } from './link.js'
import type { BrokerParts } from './parts.js'
import { Publisher } from './publish.js'
import { type Asker, tellReply } from './replies.js'
import type { Done } from './wire/socket-output.js'

/** The logged-in user of a connection, and what the login allows. */
export interface Identity {
  readonly userId: UserId
  readonly login: Login
  readonly permissions: LoginPermissions
  /** With the client id as the client sent it. */
  readonly grantee: Grantee
}

export class MqttConnection implements Asker, LiveConnection {
  readonly front = 'mqtt'
  readonly client: Link['client']
  readonly transport: Link['transport']
  readonly remoteAddress: string | undefined
  locale: Locale
  /** Whether CONNECT found a stored MQTT session. */
  isResumed = false
  /** The filters that the MQTT session is subscribed to, and how many it may be. */
  readonly filters: FilterLimit
  /** While the client is subscribed to its inbox. */
  inbox: InboxDelivery | undefined
  #who: Identity | undefined
  #publisher: Publisher
  #isLive = false
  #hasEnded = false
  #reason: string | undefined
  readonly #openedAt = performance.now()

  constructor(
    private readonly parts: BrokerParts,
    readonly link: Link,
  ) {
    this.client = link.client
    this.transport = link.transport
    this.remoteAddress = link.transport.remoteAddress
    this.locale = link.locale ?? parts.options.locale
    this.filters = new FilterLimit(parts.options.maxSubscriptions)
    this.#publisher = new Publisher(parts, {}, this)
    this.transport.once('close', () => this.#close())
  }

  /** undefined before CONNECT, and for an anonymous client. */
  get userId(): UserId | undefined {
    return this.#who?.userId
  }

  get login(): Login | undefined {
    return this.#who?.login
  }

  get permissions(): LoginPermissions | undefined {
    return this.#who?.permissions
  }

  get grantee(): Grantee | undefined {
    return this.#who?.grantee
  }

  /** The name of this device's inbox cursor. */
  get device(): string {
    return `mqtt ${this.#who?.grantee.clientId}`
  }

  /** From now on the connection is this user's, and is counted for the account until it closes. */
  identify(who: Identity): void {
    this.#who = who
    this.#publisher = new Publisher(this.parts, who, this)
  }

  /** From now on the account is online, and a revocation ends this connection. */
  goLive(userId: UserId): void {
    this.#isLive = true
    this.parts.services.live.add(userId, this)
  }

  /** Takes a PUBLISH of this client, or its will; see Publisher.publish. */
  publish(packet: Parameters<Publisher['publish']>[0], done: Done): void {
    this.#publisher.publish(packet, done)
  }

  /** Too many bytes of this sender wait for the store, from whichever of its connections. */
  get hasTooMuchWaiting(): boolean {
    return this.#who !== undefined && this.parts.services.inbox.hasTooMuchWaiting(this.#who.userId)
  }

  /** PUBACK or PUBCOMP of an inbox packet. */
  acknowledged(packetId: number): void {
    this.inbox?.acknowledged(packetId)
  }

  /** PUBREC of an inbox packet. Resolves when PUBREL may go out. @throws GatewayError */
  async released(packetId: number): Promise<void> {
    await this.inbox?.released(packetId)
  }

  /** Sends a reply or an event on `users/<me>/replies`. */
  tell(reply: string): void {
    if (this.#who !== undefined) tellReply(this.link, this.#who.userId, reply)
  }

  get hasLeft(): boolean {
    return this.#hasEnded
  }

  get isGone(): boolean {
    return this.#hasEnded || this.transport.isGone
  }

  /** MQTT has no logout but the end of the connection. */
  leave(): void {
    this.permissions?.revoke()
    this.end('ERROR_CONNECTION_CLOSED')
  }

  /** Asked by a login of the JSON front end; an MQTT connection is never in its way. */
  async probe(): Promise<boolean> {
    return !this.#hasEnded
  }

  /** Closes the connection. @param code why, for the metrics and the log: MQTT 3.1.1 cannot tell the client */
  end(code: CodeName): void {
    if (this.#hasEnded) return
    this.parts.metrics.closed.inc({ front: 'mqtt', reason: code })
    this.endsFor(code)
    this.client.close()
    this.#close()
  }

  /** Notes for the log why the connection is about to end; the first reason counts. */
  endsFor(reason: string): void {
    this.#reason ??= reason
  }

  closeInbox(): void {
    this.inbox?.close()
    this.inbox = undefined
  }

  #close(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.permissions?.left()
    this.#logEnd()
    this.closeInbox()
    if (this.#who === undefined) return
    const { live, limits } = this.parts.services
    if (this.#isLive) live.leave(this.#who.userId, this)
    limits.leave(this.#who.userId)
  }

  #logEnd(): void {
    const { front, userId, grantee, remoteAddress } = this
    const reason = this.#reason ?? (this.transport.hasDisconnected ? 'left' : 'dropped')
    const facts = { front, userId, device: grantee?.clientId, remoteAddress } as const
    this.parts.services.loginLog.ended(facts, reason, this.#openedAt)
  }
}
