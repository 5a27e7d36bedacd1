/** The state of one MQTT connection. The command files (connect, subscribe, publish, wills) take it as their argument. */
import { type CodeName, type Locale, toGatewayError } from '../core/errors.js'
import type { LiveConnection } from '../live/live.js'
import { FilterLimit } from './acl/filter-limit.js'
import type { Identity } from './identity.js'
import type { InboxDelivery } from './inbox-delivery.js'
import type { Link } from './link.js'
import type { BrokerParts } from './parts.js'
import { Publisher } from './publish.js'
import { type Asker, tellReply } from './replies.js'
import { ClientDelivery } from './routing/delivery.js'
import type { Recipient } from './routing/delivery-rules.js'
import { TERMS4, type Terms } from './wire/terms.js'

/** What else a DISCONNECT of MQTT 5 says. */
type Properties = Parameters<Terms['encoder']['disconnect']>[1]

export class MqttConnection implements Asker, LiveConnection, Recipient {
  readonly front = 'mqtt'
  readonly remoteAddress: string | undefined
  locale: Locale
  /** The client id inside the broker (acl/client-id.ts); empty before CONNECT. */
  id = ''
  /** Nothing of the session is stored. */
  clean = true
  /** From CONNECT on. */
  terms: Terms = TERMS4
  /** How long an MQTT 5 session is kept when the connection has ended, s; undefined for MQTT 3: as long as the server keeps any. */
  expirySeconds: number | undefined
  /** CONNACK has gone out. */
  isAccepted = false
  /** Reason code of the client's DISCONNECT. */
  leftFor = 0
  /** Whether CONNECT found a stored MQTT session. */
  isResumed = false
  /** From CONNACK on, where the client left one. */
  will: Asker['will']
  /** While the client is subscribed to its inbox. */
  inbox: InboxDelivery | undefined
  readonly delivery: ClientDelivery
  readonly openedAt = performance.now()
  #who: Identity | undefined
  #publisher: Publisher | undefined
  #filters: FilterLimit | undefined
  #unreleased: Set<number> | undefined
  #isLive = false
  #reason: string | undefined

  constructor(
    private readonly parts: BrokerParts,
    readonly link: Link,
  ) {
    const { transport, locale } = link
    this.remoteAddress = transport.remoteAddress
    this.locale = locale ?? parts.options.locale
    this.delivery = new ClientDelivery(this, transport, parts.delivery)
  }

  get transport(): Link['transport'] {
    return this.link.transport
  }

  /** undefined before CONNECT, and for an anonymous client. */
  get userId(): Identity['userId'] | undefined {
    return this.#who?.userId
  }

  get login(): Identity['login'] | undefined {
    return this.#who?.login
  }

  get permissions(): Identity['permissions'] | undefined {
    return this.#who?.permissions
  }

  get grantee(): Identity['grantee'] | undefined {
    return this.#who?.grantee
  }

  /** The name of this device's inbox cursor. */
  get device(): string {
    return `mqtt ${this.#who?.grantee.clientId}`
  }

  /** How many filters it may be subscribed to. */
  get filters(): FilterLimit {
    this.#filters ??= new FilterLimit(this.delivery.filters, this.parts.options.maxSubscriptions)
    return this.#filters
  }

  /** It is subscribed to all filters that `filters` has granted. */
  filtersSettled(): void {
    if (this.#filters?.settled()) this.#filters = undefined
  }

  get unreleased(): Set<number> {
    this.#unreleased ??= new Set()
    return this.#unreleased
  }

  get unreleasedCount(): number {
    return this.#unreleased?.size ?? 0
  }

  /** From now on the connection is this user's, and is counted for the account until it closes. */
  identify(who: Identity): void {
    this.#who = who
  }

  /** From now on the account is online, and a revocation ends this connection. */
  goLive(userId: Identity['userId']): void {
    this.#isLive = true
    this.parts.services.live.add(userId, this)
  }

  /** Takes a PUBLISH of this client, or its will; see Publisher.publish. */
  publish(...[packet, receipt]: Parameters<Publisher['publish']>): void {
    this.#publisher ??= new Publisher(this.parts, this.#who ?? {}, this)
    this.#publisher.publish(packet, receipt)
  }

  mayRead(topic: string): boolean {
    return this.parts.access.read(this.userId, topic, this.grantee)
  }

  overrun(): void {
    this.end('SLOW_CLIENT')
  }

  /** Too many bytes of this sender wait for the store, from whichever of its connections. */
  get hasTooMuchWaiting(): boolean {
    return this.#who !== undefined && this.parts.services.inbox.hasTooMuchWaiting(this.#who.userId)
  }

  /** PUBACK or PUBCOMP of an inbox packet. */
  acknowledged(packetId: number): void {
    this.inbox?.acknowledged(packetId)
  }

  /** The hand-shake of a packet is over: another one may go out in its place. */
  settled(packetId: number): void {
    this.delivery.settled(packetId)
    if (!this.terms.inFlight?.delete(packetId)) return
    this.delivery.acknowledged()
    this.inbox?.resume()
  }

  /** PUBREC of an inbox packet. Resolves when PUBREL may go out. @throws GatewayError */
  async released(packetId: number): Promise<void> {
    await this.inbox?.released(packetId)
  }

  /** Sends a reply or an event on `users/<me>/replies`. */
  tell(...[reply, to]: Parameters<Asker['tell']>): void {
    if (this.#who !== undefined) tellReply(this.delivery, this.#who.userId, reply, to)
  }

  get hasLeft(): boolean {
    return this.transport.isDestroyed
  }

  /** The same, for what is stored of the session. */
  get closed(): boolean {
    return this.transport.isDestroyed
  }

  get isGone(): boolean {
    return this.transport.isGone
  }

  /** MQTT has no logout but the end of the connection. */
  leave(): void {
    this.permissions?.revoke()
    this.end('ERROR_CONNECTION_CLOSED')
  }

  /** Asked by a login of the JSON front end; an MQTT connection is never in its way. */
  async probe(): Promise<boolean> {
    return !this.hasLeft
  }

  /**
   * Closes the connection.
   * @param code why, for the metrics and the log: MQTT 3.1.1 cannot tell the client
   * @param reason told to a client of MQTT 5, if it is not that of `code`
   * @param properties of its DISCONNECT
   */
  end(code: CodeName, reason: number | CodeName = code, properties?: Properties): void {
    if (this.hasLeft) return
    this.parts.metrics.closed.inc({ front: 'mqtt', reason: code })
    this.endsFor(code)
    this.dismiss(reason, properties)
  }

  /** @param packet undefined where the client's version has none */
  answer(packet: Buffer | undefined): void {
    if (packet !== undefined) this.transport.send(packet)
  }

  /** Closes the connection, and says why to a client of MQTT 5: not one that has left properly [MQTT-3.14.4-1]. */
  dismiss(reason: number | CodeName, properties?: Properties): void {
    if (this.hasLeft) return
    if (this.isAccepted && !this.transport.hasDisconnected)
      this.answer(this.terms.encoder.disconnect(reason, properties))
    this.transport.destroy()
  }

  /** A packet of the client cannot be acknowledged, or its connection failed: closes it. */
  fail(error: Error, code: number | CodeName = toGatewayError(error).kind): void {
    if (this.hasLeft) return
    const { message: reason } = error
    const event = this.id === '' ? 'socket.failed' : 'client.failed'
    this.parts.services.log.info({ event, front: 'mqtt', reason }, 'client closed with an error')
    this.dismiss(code)
  }

  /** Notes for the log why the connection is about to end; the first reason counts. */
  endsFor(reason: string): void {
    this.#reason ??= reason
  }

  closeInbox(): void {
    this.inbox?.close()
    this.inbox = undefined
  }

  /** The transport has ended, which ends all else. @returns what other members of shared subscriptions get */
  ended(): ReturnType<ClientDelivery['close']> {
    this.permissions?.left()
    this.#logEnd()
    this.closeInbox()
    const unsettled = this.delivery.close()
    if (this.#who === undefined) return unsettled
    const { live, limits } = this.parts.services
    if (this.#isLive) live.leave(this.#who.userId, this)
    limits.leave(this.#who.userId)
    return unsettled
  }

  #logEnd(): void {
    const { front, userId, grantee, remoteAddress } = this
    const reason = this.#reason ?? (this.transport.hasDisconnected ? 'left' : 'dropped')
    const facts = { front, userId, device: grantee?.clientId, remoteAddress } as const
    this.parts.services.loginLog.ended(facts, reason, this.openedAt)
  }
}
