/** Aedes in this process: its listeners, its rules, and the seam to the inbox. */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Principal } from '../auth/authenticate.js'
import { type Locale, toGatewayError } from '../core/errors.js'
import { Faults, guarded } from '../core/faults.js'
import type { Metrics } from '../core/metrics.js'
import type { Services } from '../handle/context.js'
import { InboxReader } from '../inbox/reader.js'
import type { Store } from '../store/store.js'
import { Access, type Grantee } from './acl/access.js'
import { clientIdOf, scopedId, userIdOf } from './acl/client-id.js'
import { isOwnTree } from './acl/topics.js'
import { type AedesClient, ClientDelivery, GatewayAedes } from './aedes/client.js'
import { Router } from './aedes/router.js'
import { BrokerState } from './aedes/state.js'
import { TopicStore } from './aedes/topic-store.js'
import type { AedesPublishPacket, AuthenticateError, Client, Subscription } from './aedes/types.js'
import { MqttConnection } from './connection.js'
import type { BrokerHost } from './host.js'
import { login, readUserName, recordLogin, rejectResponse } from './login.js'
import type { BrokerOptions } from './options.js'
import { Presence } from './presence.js'
import { Publisher } from './publisher.js'
import { Pacer } from './wire/pacer.js'
import { noticeSubscribe, REFUSED_FILTER, subackOf } from './wire/suback.js'
import { MqttTransport, type TransportOptions } from './wire/transport.js'
import { WriteGroup } from './wire/write-group.js'

interface Peer {
  readonly connection: MqttConnection
  readonly delivery: ClientDelivery
  readonly pacer: Pacer
}

/** How often sessions that were not seen for long are looked for, ms. */
const EXPIRE_EVERY_MS = 3_600_000

/** Aedes' own words. */
const CONNECT_LATE = 'connect did not arrive in time'

/** Event-loop turns in which a closing broker reads what clients had sent: sockets, then TLS or WebSocket, then packets. */
const TURNS_TO_READ = 5

export class MqttBroker {
  readonly #router = new Router()
  readonly #aedes: GatewayAedes
  readonly #state: BrokerState
  readonly #presence: Presence
  readonly #topics: TopicStore
  readonly #host: BrokerHost
  readonly #group: WriteGroup
  readonly #faults: Faults
  readonly #access: Access
  readonly #peers = new WeakMap<Client, Peer>()
  /** By scoped client id: the connection that holds the session now. */
  readonly #holders = new Map<string, MqttConnection>()
  /** By scoped client id: what those who are connecting or connected may. */
  readonly #grantees = new Map<string, Grantee>()
  readonly #open = new Set<MqttTransport>()
  /** Being published. */
  readonly #wills = new Map<AedesClient, Promise<void>>()
  #expiry: NodeJS.Timeout | undefined
  #isOpen = true

  constructor(
    private readonly services: Services,
    store: Store,
    private readonly metrics: Metrics,
    private readonly options: BrokerOptions,
  ) {
    this.#faults = new Faults(services.log, metrics)
    this.#access = new Access(options.acl, options.presence)
    this.#group = new WriteGroup(options.stallTimeoutMs)
    this.#state = new BrokerState(store, services.live, {
      sessionExpiryMs: options.sessionExpiryMs,
      maxQueuedMessages: options.maxQueuedMessages,
      maxQueuedBytes: options.maxQueuedBytes,
      accountQueuedBytes: options.accountQueuedBytes,
      maxRetained: options.maxRetained,
      maxRetainedBytes: options.maxRetainedBytes,
      accountRetained: options.accountRetained,
      accountRetainedBytes: options.accountRetainedBytes,
      isAllowed: (clientId, filter) =>
        this.#access.subscribe(userIdOf(clientId), filter, this.#granteeOf(clientId)) &&
        this.#holders.get(clientId)?.filters.isRefused(filter) !== true,
      onDropped: (_clientId, count) => metrics.dropped.inc({ limit: 'mqtt.maxQueuedMessages' }, count),
      onNotRetained: limit => {
        metrics.dropped.inc({ limit })
        services.log.info({ event: 'retained.dropped', limit }, 'retained message not kept')
      },
      onError: err => this.#failed('persistence', err),
      inboxHooks: {
        owns: isOwnTree,
        acknowledged: async (clientId, packetId) => this.#holders.get(clientId)?.acknowledged(packetId),
        released: async (clientId, packetId) => this.#holders.get(clientId)?.released(packetId),
      },
    })
    this.#presence = new Presence(services.live, this.#router, {
      windowMs: options.presenceWindowMs,
      onFailed: thrown => this.#failed('presence', thrown),
    })
    this.#aedes = this.#makeAedes()
    this.#topics = new TopicStore(this.#aedes, this.#state, this.#access, {
      maxUnreleased: options.maxUnreleased,
      onTooMany: ({ closed }) => closed || services.limits.count('mqtt.maxUnreleased'),
    })
    this.#host = this.#makeHost()
  }

  /** Resolves when it can take connections. */
  async start(): Promise<void> {
    await this.#aedes.listen()
    await this.#publishWills()
    this.#expiry = setInterval(() => this.#expire(), EXPIRE_EVERY_MS).unref()
    this.services.live.onPresence(userId => this.#presence.changed(userId))
    this.services.accounts.onDeleted(userId => this.#state.forgetAccount(userId))
  }

  get connections(): number {
    return this.#open.size
  }

  get isRunning(): boolean {
    return this.#isOpen && !this.#aedes.closed
  }

  /** Takes an open byte stream that speaks MQTT. @param webSocket the socket under it, where it has one */
  take(
    stream: Duplex,
    extra: Pick<TransportOptions, 'webSocket' | 'remoteAddress'> & {
      readonly locale?: Locale | undefined
    } = {},
  ): void {
    const { options, services, metrics } = this
    const address = extra.remoteAddress ?? (stream instanceof Socket ? stream.remoteAddress : undefined)
    const pacer = new Pacer(services.limits.requestBucket(address), services.limits, {
      bytesPerRequest: options.bytesPerRequest,
      onUnsolicited: count => metrics.refusedPackets.inc({ reason: 'unsolicited' }, count),
    })
    const transport = new MqttTransport(stream, {
      ...options,
      ...extra,
      meter: pacer,
      group: this.#group,
      onMalformed: error => {
        connection.endsFor('malformed')
        metrics.refusedPackets.inc({ reason: 'malformed' })
        // The clause of a limit is its key.
        if (/^[a-z]/.test(error.clause)) services.limits.count(`mqtt.${error.clause}`)
        services.log.info(
          { event: 'packet.refused', reason: error.reason, clause: error.clause },
          'malformed packet',
        )
      },
      onFault: this.#faults.report,
      onStalled: () => {
        connection.endsFor('stalled')
        metrics.closed.inc({ front: 'mqtt', reason: 'stalled' })
        services.log.warn({ event: 'socket.stalled', front: 'mqtt' }, 'client takes nothing')
      },
    })
    this.#open.add(transport)
    metrics.connections.inc({ front: 'mqtt' })
    const guest = services.limits.join(() => transport.destroy())
    transport.once('close', () => {
      guest.left()
      this.#open.delete(transport)
      metrics.connections.dec({ front: 'mqtt' })
    })
    const client = this.#aedes.handle(transport) as AedesClient
    const connection = new MqttConnection(this.#host, client, transport, { guest, locale: extra.locale })
    const delivery = new ClientDelivery(client, transport, {
      mayRead: topic => this.#access.read(connection.userId, topic, connection.grantee),
      recordId: packet => this.#state.outgoingUpdate(client, packet),
      enqueue: (packet, qos) => this.#topics.enqueue(packet, { clientId: client.id, qos }),
      isInFlight: messageId => this.#state.isInFlight(client.id, messageId),
      onSkipped: () => metrics.dropped.inc({ limit: 'mqtt.maxBufferedBytes' }),
      onOverrun: () => connection.end('SLOW_CLIENT'),
      maxHeldBytes: this.options.maxBufferedBytes,
    })
    client._parser.prependListener('packet', noticeSubscribe)
    client.subscriptions = this.#router.follow(client.subscriptions, delivery)
    this.#peers.set(client, { connection, delivery, pacer })
  }

  /** Refuses what comes from now on, so that what is under way can be answered; then `close`. */
  stopTaking(): void {
    this.#isOpen = false
  }

  async close(): Promise<void> {
    clearInterval(this.#expiry)
    this.#presence.close()
    // A client that said DISCONNECT just before leaves no will [MQTT-3.1.2-10].
    for (const transport of this.#open) transport.catchUp()
    for (let turn = 0; turn < TURNS_TO_READ; turn++) await new Promise(setImmediate)
    for (const client of Object.values(this.#aedes.clients ?? {})) {
      const { hasDisconnected } = client.conn as MqttTransport
      if (!hasDisconnected) this.#peers.get(client)?.connection.endsFor('SHUTDOWN')
    }
    await new Promise<void>(resolve => this.#aedes.close(() => resolve()))
    await Promise.all(this.#wills.values())
    for (const transport of this.#open) transport.destroy()
    await this.#state.destroy()
  }

  #makeAedes(): GatewayAedes {
    const { options } = this
    const aedes = new GatewayAedes(this.#router, {
      persistence: this.#state,
      connectTimeout: options.connectTimeoutMs,
      maxTopicLevels: options.maxTopicLevels,
      authenticate: (client, name, password, done) => {
        this.#authenticate(client as AedesClient, name, password).then(
          () => this.#guard('mqtt.connect', client, () => done(null, true)),
          (error: AuthenticateError) => this.#guard('mqtt.connect', client, () => done(error, null)),
        )
      },
      authorizePublish: (client, packet, done) =>
        this.#guard('mqtt.publish', client, () =>
          this.#authorizePublish(client as AedesClient | null, packet as AedesPublishPacket, done),
        ),
      authorizeSubscribe: (client, subscription, done) =>
        this.#guard('mqtt.subscribe', client, () => this.#authorizeSubscribe(client, subscription, done)),
      authorizeForward: (client, packet) => this.#peers.get(client)?.delivery.forwardQueued(packet) ?? null,
    })
    aedes.on('clientReady', client =>
      this.#guard('mqtt.ready', client, () => this.#ready(client as AedesClient)),
    )
    this.#followSubscriptions(aedes)
    const logged = (event: string) => (_client: Client, err: Error) =>
      this.services.log.info({ event, front: 'mqtt', reason: err.message }, 'client closed with an error')
    const failed = logged('client.failed')
    // What was under way when the first one closed it fails, too.
    aedes.on('clientError', (client, err) => {
      if (!client.closed) failed(client, err)
    })
    aedes.on('connectionError', (client, err) => {
      if (err.message === CONNECT_LATE) this.services.limits.count('mqtt.connectTimeout')
      logged('socket.failed')(client, err)
    })
    aedes.on('keepaliveTimeout', client => this.#peers.get(client)?.connection.endsFor('keep-alive'))
    // Without a listener an 'error' would end the process.
    aedes.on(
      'error' as 'closed',
      ((err: Error) =>
        this.services.log.error({ event: 'broker.failed', err }, 'broker error')) as () => void,
    )
    return aedes
  }

  #followSubscriptions(aedes: GatewayAedes): void {
    const subscribed = (granted: Subscription[], client: Client) => {
      const connection = this.#peers.get(client)?.connection
      const count = granted.filter(({ qos }) => (qos as number) === REFUSED_FILTER).length
      const refused = { event: 'subscribe.refused', userId: connection?.userId, count }
      if (count > 0) this.services.log.info(refused, 'filters refused')
      const suback = subackOf(granted)
      if (suback !== undefined) (client.conn as MqttTransport).send(suback)
      connection?.openInbox(granted)
    }
    const unsubscribed = (filters: string[], client: Client) => {
      const connection = this.#peers.get(client)?.connection
      connection?.filters.remove(filters)
      connection?.narrowInbox()
    }
    aedes.on('subscribe', (granted: Subscription[], client) =>
      this.#guard('mqtt.subscribe', client, () => subscribed(granted, client)),
    )
    aedes.on('unsubscribe', (filters, client) =>
      this.#guard('mqtt.unsubscribe', client, () => unsubscribed(filters, client)),
    )
  }

  /** Aedes calls these from callbacks of the store, too, where nobody else would catch. */
  #guard(where: string, client: Client | null, handler: () => void): void {
    guarded(where, { onFault: this.#faults.report, end: () => client?.conn.destroy() }, handler)()
  }

  #makeHost(): BrokerHost {
    const broker = this
    const { services, metrics, options } = this
    return {
      services,
      metrics,
      access: this.#access,
      locale: options.locale,
      payload: options.payload,
      closeOnRefused: options.closeOnRefused,
      maxSubscriptions: options.maxSubscriptions,
      get isOpen() {
        return broker.#isOpen
      },
      openReader: session =>
        new InboxReader(services.inbox, metrics, services.log, {
          windowMessages: options.maxInflight,
          windowChars: options.windowChars,
          ...session,
        }),
      isReceived: (packet, client) => this.#topics.isReceived(packet, client),
      receive: (packet, client) => this.#topics.receive(packet, client),
      store: (packet, from) => this.#topics.store(packet, from),
      route: packet => this.#aedes.route(packet),
      tell: (client, packet) => this.#peers.get(client)?.delivery.tell(packet),
    }
  }

  // ── who ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws an Error with CONNACK's `returnCode` (MQTT 3.1.1, table 3.1) */
  async #authenticate(client: AedesClient, userName?: string, password?: Buffer): Promise<void> {
    const connection = this.#peers.get(client)?.connection
    const { name, locale } = readUserName(userName)
    if (locale !== undefined && connection !== undefined) connection.locale = locale
    const remoteAddress = connection?.remoteAddress
    const isWanted = () => connection?.isGone === false
    const connect = { name, password, clientId: client.id, remoteAddress, isWanted }
    const { mark } = this.services.authenticator
    let who: Principal | undefined
    try {
      who = await login(this.services, this.options.anonymous, connect)
      await this.#letIn(client, who, mark)
      recordLogin(this.services, connect, { who, returnCode: 0 })
    } catch (thrown) {
      const { returnCode = 3 } = thrown as Partial<AuthenticateError>
      recordLogin(this.services, connect, { who, returnCode })
      throw thrown
    }
  }

  /** Whoever has proved who they are may still be one too many. @throws an Error with CONNACK's `returnCode` */
  async #letIn(client: AedesClient, who: Principal | undefined, mark: number): Promise<void> {
    const peer = this.#peers.get(client)
    const clientId = client.id
    const userId = who?.user.id
    const grantee = who && { clientId, role: who.login.role }
    const will = client._will
    if (will && this.#access.publish(userId, will.topic, grantee).kind === 'refused') {
      const { remoteAddress } = client.conn as MqttTransport
      const refused = { event: 'will.refused', userId, device: clientId, remoteAddress }
      this.services.log.info(refused, 'CONNECT refused: may not publish to the topic of its will')
      throw rejectResponse(5)
    }
    client.id = scopedId(userId, clientId)
    const isStored = who?.login.kind === 'token' || who?.login.kind === 'device'
    if (will && isStored) Object.assign(will, { session: who?.login.id })
    if (who !== undefined && grantee !== undefined && peer !== undefined)
      this.#enter(peer, client, { who, grantee, mark })
    const isResumed = await this.#state.resume(client).catch(() => {
      throw rejectResponse(3)
    })
    if (peer !== undefined) peer.connection.isResumed = isResumed
    peer?.pacer.expect(this.#state.countReleased(client.id))
    await this.#takeOver(client.id)
  }

  /** Ends the connection that has this client id [MQTT-3.1.4-2], before the store has the new one's will for its. */
  async #takeOver(scoped: string): Promise<void> {
    const old = this.#aedes.clients[scoped]
    if (old === undefined) return
    this.#peers.get(old)?.connection.endsFor('taken-over')
    await new Promise<void>(resolve => old.close(resolve))
    // It may have been closing already.
    await new Promise(setImmediate)
    await this.#wills.get(old)
  }

  /** @throws an Error with CONNACK's `returnCode` where the account has as many connections or sessions as it may */
  #enter(
    { connection, pacer }: Peer,
    client: AedesClient,
    { who, grantee, mark }: { who: Principal; grantee: Grantee; mark: number },
  ): void {
    const { id } = client
    const isNew = !client.clean && !this.#state.hasSession(id)
    if (isNew && this.#state.sessionsOf(id) >= this.options.maxSessions) {
      this.services.limits.count('mqtt.maxSessions')
      throw rejectResponse(3)
    }
    try {
      const rate = connection.authenticated(who, grantee, { mark, replaces: this.#holders.has(id) })
      pacer.enter(rate, this.services.limits.traffic(who.user.id).sent)
    } catch {
      throw rejectResponse(3)
    }
    this.#grantees.set(id, grantee)
    client.conn.once('close', () => {
      if (this.#grantees.get(id) === grantee) this.#grantees.delete(id)
    })
  }

  #granteeOf(scoped: string): Grantee {
    return this.#grantees.get(scoped) ?? { clientId: clientIdOf(scoped), role: 'any' }
  }

  #admitFilter(connection: MqttConnection, filter: string): boolean {
    if (connection.filters.admit(filter)) return true
    this.services.limits.count('mqtt.maxSubscriptions')
    if (connection.filters.isIgnored) connection.end('OVER_LIMITS')
    return false
  }

  #ready(client: AedesClient): void {
    const peer = this.#peers.get(client)
    if (peer === undefined || client.closed) return
    this.#holders.set(client.id, peer.connection)
    client.conn.once('close', () => {
      if (this.#holders.get(client.id) === peer.connection) this.#holders.delete(client.id)
    })
    // As Aedes does it, whose own timer runs on while the client is not read.
    ;(client.conn as MqttTransport).watchSilence(() => {
      this.#aedes.emit('keepaliveTimeout', client)
      client.emit('error', new Error('keep alive timeout'))
    })
    peer.connection.ready()
    peer.delivery.ready()
  }

  /** Of clients that were connected when the process died, before one of them is back [MQTT-3.1.2-8]. */
  async #publishWills(): Promise<void> {
    for await (const will of this.#state.streamWill() as AsyncIterable<
      AedesPublishPacket & { clientId: string; session?: string }
    >) {
      const error = (await this.#isOfEndedLogin(will))
        ? undefined
        : await new Promise<Error | null | undefined>(resolve =>
            this.#publisher(null, will).publish(will, resolve),
          )
      if (error) this.#failed('publishWill', error)
      else await this.#state.delWill({ id: will.clientId })
    }
  }

  /** Its login was revoked, and the process died before its connection had ended. */
  async #isOfEndedLogin({ clientId, session }: { clientId: string; session?: string }): Promise<boolean> {
    const userId = userIdOf(clientId)
    if (session === undefined || userId === undefined) return false
    return !(await this.services.logins.has(userId, session))
  }

  #authorizeSubscribe(
    client: Client,
    { topic, qos }: Subscription,
    done: (error: Error | null, subscription: Subscription | null) => void,
  ): void {
    const connection = this.#peers.get(client)?.connection
    const isAllowed =
      this.#access.subscribe(connection?.userId, topic, connection?.grantee) &&
      (connection === undefined || this.#admitFilter(connection, topic))
    // At once where it can be: what comes behind it may be its UNSUBSCRIBE.
    const enrolled = isAllowed ? connection?.registerDevice(topic) : undefined
    if (enrolled === undefined) {
      done(null, isAllowed ? { topic, qos } : null)
      return
    }
    const answer = (error: Error | null) =>
      this.#guard('mqtt.subscribe', client, () => done(error, error ? null : { topic, qos }))
    enrolled.then(() => answer(null), answer)
  }

  #authorizePublish(
    client: AedesClient | null,
    packet: AedesPublishPacket,
    done: (error?: Error | null) => void,
  ): void {
    this.#aedes.consume(packet)
    const publisher = this.#publisher(client, packet)
    if (client === null || client.will !== packet) {
      publisher.publish(packet, done)
      return
    }
    // `done` would only have Aedes remove the will again, and not wait for that.
    const will = this.#publishWill(client, packet, publisher)
    this.#wills.set(client, will)
    void will.then(() => this.#wills.delete(client))
  }

  /** Once, and then never again, whatever ends; after DISCONNECT not at all [MQTT-3.1.2-10]. Never rejects. */
  async #publishWill(
    client: AedesClient,
    will: AedesPublishPacket,
    publisher: Pick<Publisher, 'publish'>,
  ): Promise<void> {
    const { hasDisconnected } = client.conn as MqttTransport
    const publish = (done: (error?: Error | null) => void) => publisher.publish(will, done)
    const error = hasDisconnected ? undefined : await new Promise<Error | null | undefined>(publish)
    // It stays stored, and is published by the next start; not where the login was taken away.
    const isRevoked = error && toGatewayError(error).kind === 'ERROR_UNAUTHORIZED'
    if (error && !isRevoked) this.#failed('publishWill', error)
    else await this.#state.delWill(client)
  }

  /** A will outlives its client: after a restart Aedes publishes it for a client that is not there. */
  #publisher(client: Client | null, packet: AedesPublishPacket): Pick<Publisher, 'publish'> {
    const connection = client === null ? undefined : this.#peers.get(client)?.connection
    if (connection !== undefined) return connection
    const { clientId = '' } = packet as { clientId?: string }
    const userId = userIdOf(clientId)
    const permissions = userId === undefined ? undefined : this.services.authenticator.permissions(userId)
    return new Publisher(this.#host, { userId, grantee: this.#granteeOf(clientId), permissions })
  }

  #expire(): void {
    this.#state.expire(Date.now()).catch(err => this.#failed('expire', err))
  }

  #failed(operation: string, thrown: unknown): void {
    this.services.log.error(
      { event: 'store.failed', operation, err: toGatewayError(thrown) },
      'broker state not written',
    )
  }
}
