/** One MQTT client: who it is, what it may, and its inbox; Aedes speaks the protocol with it. */

import type { Principal } from '../auth/authenticate.js'
import type { LoginPermissions } from '../auth/permissions.js'
import { type CodeName, GatewayError, type Locale, toGatewayError } from '../core/errors.js'
import type { Login, UserId } from '../core/model.js'
import type { Caller } from '../handle/context.js'
import type { Guest } from '../limits/crowd.js'
import type { TokenBucket } from '../limits/token-bucket.js'
import type { LiveConnection } from '../live/live.js'
import type { Grantee } from './acl/access.js'
import { FilterLimit } from './acl/filter-limit.js'
import { inboxFilters, isInboxFilter, repliesTopic } from './acl/topics.js'
import type { AedesClient } from './aedes/client.js'
import { makePacket } from './aedes/state.js'
import type { PublishPacket, Subscription } from './aedes/types.js'
import { FastLane } from './fast-lane.js'
import type { BrokerHost } from './host.js'
import { InboxDelivery } from './inbox-delivery.js'
import { Publisher } from './publisher.js'
import type { QoS } from './wire/packet-kinds.js'
import type { MqttTransport } from './wire/transport.js'

export class MqttConnection implements Caller, LiveConnection {
  readonly front = 'mqtt'
  userId: UserId | undefined
  login: Login | undefined
  grantee: Grantee | undefined
  permissions: LoginPermissions | undefined
  locale: Locale
  readonly remoteAddress: string | undefined
  /** Whether CONNECT found a session to go on with. */
  isResumed = false
  readonly filters: FilterLimit
  #publisher: Publisher
  #device = ''
  #isCounted = false
  #inbox: InboxDelivery | undefined
  #isReady = false
  #ended = false
  #reason: string | undefined
  readonly #openedAt = performance.now()

  constructor(
    private readonly host: BrokerHost,
    readonly client: AedesClient,
    private readonly transport: MqttTransport,
    private readonly how: { readonly guest: Guest; readonly locale: Locale | undefined },
  ) {
    this.locale = how.locale ?? host.locale
    this.remoteAddress = transport.remoteAddress
    this.filters = new FilterLimit(host.maxSubscriptions)
    this.#publisher = new Publisher(host, {}, this)
    transport.once('close', () => this.#close())
  }

  /**
   * @param grantee with the client id as the client sent it: the name of its device
   * @param how.mark from before the check; see Identity.permissions
   * @param how.replaces whether another connection of this device ends for it
   * @returns the account's request rate
   * @throws GatewayError TOO_MANY_CONNECTIONS; ERROR_CONNECTION_CLOSED when the client is gone already
   */
  authenticated(
    { user, login }: Principal,
    grantee: Grantee,
    { mark, replaces }: { mark: number; replaces: boolean },
  ): TokenBucket {
    if (this.#ended) throw new GatewayError('ERROR_CONNECTION_CLOSED')
    const rate = this.host.services.limits.enter(user.id, replaces)
    this.#isCounted = true
    this.how.guest.entered()
    this.host.services.limits.loggedInFrom(this.remoteAddress)
    this.userId = user.id
    this.login = login
    this.grantee = grantee
    this.permissions = this.host.services.authenticator.permissions(user.id, mark)
    this.#device = `mqtt ${grantee.clientId}`
    this.#publisher = new Publisher(
      this.host,
      { userId: user.id, grantee, permissions: this.permissions },
      this,
    )
    return rate
  }

  /** A PUBLISH of this client, or its will; see Publisher.publish. */
  publish(packet: PublishPacket, done: (error?: Error | null) => void): void {
    this.#publisher.publish(packet, done)
  }

  get isInboxFull(): boolean {
    return this.userId !== undefined && this.host.services.inbox.isFullFor(this.userId)
  }

  /**
   * On `users/<me>/replies`: what this connection asked, and nobody else's to know. So it passes neither the broker nor
   * the store, and is lost where the client has not subscribed, or is gone.
   */
  tell(reply: string): void {
    if (this.userId !== undefined)
      this.host.tell(this.client, makePacket(repliesTopic(this.userId), reply, 1))
  }

  /** The session stands (CONNACK is sent, its queue too). */
  ready(): void {
    if (this.#ended) return
    const { userId } = this
    // Rights were taken away while CONNECT was being judged.
    if (this.permissions?.joined() === false) {
      this.end('ERROR_CONNECTION_CLOSED')
      return
    }
    this.#isReady = true
    if (userId === undefined) return
    this.host.services.live.add(userId, this)
    this.transport.openLane(new FastLane(this.client, this.transport, this))
    this.openInbox()
  }

  // ── the inbox ───────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Before SUBACK, which promises the inbox from here on: the device is known by then, whatever dies after.
   * @returns undefined where there is nothing to wait for; rejects with a GatewayError when the store does not answer
   */
  registerDevice(filter: string): Promise<unknown> | undefined {
    const { userId } = this
    if (userId === undefined || !isInboxFilter(filter, userId)) return undefined
    return this.host.services.inbox.cursors.load(userId, this.#device)
  }

  /** SUBSCRIBE to the inbox, or a restored session that had: what is not confirmed comes (again), oldest first. */
  openInbox(granted?: readonly Subscription[]): void {
    const { userId } = this
    if (userId === undefined || this.#ended) return
    if (granted !== undefined && !granted.some(one => one.qos <= 2 && isInboxFilter(one.topic, userId)))
      return
    const qos = this.#inboxQoS(userId)
    // Subscribed to again, as clients do whose session was restored: what is not confirmed is on its way already.
    if (qos === this.#inbox?.qos) return
    this.closeInbox()
    if (qos === undefined) return
    const inbox = new InboxDelivery(this.transport, {
      userId,
      qos,
      isResumed: this.isResumed,
      tell: event => this.tell(event),
    })
    inbox.reader = this.host.openReader({ userId, device: this.#device, sink: inbox })
    this.#inbox = inbox
    inbox.reader.start().catch(thrown => this.#fail('startSession', thrown))
  }

  /** UNSUBSCRIBE: the inbox stays open while another of its filters is subscribed to. */
  narrowInbox(): void {
    if (this.userId !== undefined && this.#inboxQoS(this.userId) === undefined) this.closeInbox()
  }

  closeInbox(): void {
    this.#inbox?.close()
    this.#inbox = undefined
  }

  acknowledged(packetId: number): void {
    this.#inbox?.acknowledged(packetId)
  }

  async released(packetId: number): Promise<void> {
    await this.#inbox?.released(packetId)
  }

  #inboxQoS(userId: UserId): QoS | undefined {
    const { subscriptions } = this.client
    const qos = inboxFilters(userId).map(filter => subscriptions[filter]?.qos ?? -1)
    const highest = Math.max(...qos)
    return highest < 0 ? undefined : (highest as QoS)
  }

  // ── Caller and LiveConnection ───────────────────────────────────────────────────────────────────────────

  get hasLeft(): boolean {
    return this.#ended
  }

  get isGone(): boolean {
    return this.#ended || this.transport.isGone
  }

  /** Logged out is disconnected: an MQTT connection is somebody's or none. */
  leave(): void {
    this.permissions?.revoke()
    this.end('ERROR_CONNECTION_CLOSED')
  }

  async probe(): Promise<boolean> {
    return !this.#ended
  }

  end(code: CodeName): void {
    if (this.#ended) return
    this.host.metrics.closed.inc({ front: 'mqtt', reason: code })
    this.endsFor(code)
    this.client.close()
    this.#close()
  }

  /** Why it is about to end; the first reason counts. */
  endsFor(reason: string): void {
    this.#reason ??= reason
  }

  #sayEnd(): void {
    const { front, userId, grantee, remoteAddress } = this
    const reason = this.#reason ?? (this.transport.hasDisconnected ? 'left' : 'dropped')
    const facts = { front, userId, device: grantee?.clientId, remoteAddress } as const
    this.host.services.loginLog.ended(facts, reason, this.#openedAt)
  }

  #fail(operation: string, thrown: unknown): void {
    this.host.services.log.error(
      { event: 'store.failed', operation, userId: this.userId, err: toGatewayError(thrown) },
      'inbox not opened',
    )
    this.end('STORE_UNAVAILABLE')
  }

  #close(): void {
    if (this.#ended) return
    this.#ended = true
    this.permissions?.left()
    this.#sayEnd()
    this.closeInbox()
    if (this.userId === undefined) return
    if (this.#isReady) this.host.services.live.leave(this.userId, this)
    if (this.#isCounted) this.host.services.limits.leave(this.userId)
  }
}
