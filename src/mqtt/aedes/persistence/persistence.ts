/**
 * The broker's state over any Store: MQTT sessions with their subscriptions, queued packets and half-received QoS 2
 * packets, retained messages, wills. The contract is that of aedes-persistence 11 in its async form; what Aedes 1.2
 * does with a rejection decides where one is allowed: see `delWill`.
 *
 * Store keys: subscriptions [clientId, filter], queue [clientId, n], incoming [clientId, messageId],
 * wills [clientId], retained [level, level, …], meta ['session', clientId], meta ['retained', account, hash of topic].
 */
import { Readable } from 'node:stream'
import type { TrieEntry } from 'qlobber/aedes/qlobber-sub.js'
import type { UserId } from '../../../core/model.js'
import type { KvWrite } from '../../../store/store.js'
import { ownerOf, scopedId } from '../../acl/client-id.js'
import { Handshakes } from './handshakes.js'
import { Incoming } from './incoming.js'
import type { BrokerPacket, ClientRef, KvStore } from './kv.js'
import { FIRST_INBOX_ID, type PersistenceOptions } from './options.js'
import { OutgoingQueue, type QueueTarget } from './queue.js'
import { QueueIndex } from './queue-index.js'
import { QueueLimits } from './queue-limits.js'
import { Retained } from './retained.js'
import { Sessions } from './sessions.js'
import { type Subscription, Subscriptions } from './subscriptions.js'
import { Wills } from './wills.js'

interface BrokerRef {
  readonly id: string
  /** Connected ones, by id. */
  readonly clients?: Readonly<Record<string, unknown>>
}

/** A QoS 2 packet that waits for PUBREL. */
export interface ReceivedPacket {
  readonly client: ClientRef
  readonly messageId: number
}

/** The SUBSCRIBE being stored: Aedes passes all its subscriptions once for each that was granted. */
interface Storing {
  readonly clientId: string
  readonly done: Promise<void>
}

export class BrokerPersistence {
  readonly #kv: KvStore
  readonly #options: PersistenceOptions
  readonly #sessions = new Sessions()
  readonly #subscriptions = new Subscriptions()
  readonly #incoming: Incoming
  readonly #queue: OutgoingQueue
  readonly #handshakes: Handshakes
  readonly #retained: Retained
  readonly #wills: Wills
  readonly #storing = new WeakMap<readonly Subscription[], Storing>()
  #broker: BrokerRef = { id: '' }

  constructor(kv: KvStore, options: PersistenceOptions = {}) {
    const unlimited = Number.POSITIVE_INFINITY
    this.#kv = kv
    this.#options = options
    this.#incoming = new Incoming(kv)
    this.#wills = new Wills(kv)
    const { maxRetained = unlimited, maxRetainedBytes = unlimited } = options
    const { accountRetained = unlimited, accountRetainedBytes = unlimited } = options
    this.#retained = new Retained(
      kv,
      { maxRetained, maxRetainedBytes, accountRetained, accountRetainedBytes },
      this.#report,
    )
    const index = new QueueIndex()
    const limits = new QueueLimits(kv, {
      maxQueuedMessages: options.maxQueuedMessages ?? unlimited,
      maxQueuedBytes: options.maxQueuedBytes ?? unlimited,
      accountQueuedBytes: options.accountQueuedBytes ?? unlimited,
      onDropped: (clientId, count) => options.onDropped?.(clientId, count),
    })
    this.#queue = new OutgoingQueue(kv, index, limits)
    this.#handshakes = new Handshakes(kv, index, this.#report)
  }

  get broker(): BrokerRef {
    return this.#broker
  }

  /** Reads what must be in memory. Aedes wants an `async` method by its very constructor. */
  async setup(broker: BrokerRef): Promise<void> {
    this.#broker = broker
    const [ended] = await Promise.all([
      this.#sessions.load(this.#kv),
      this.#subscriptions.load(this.#kv),
      this.#queue.load(),
      this.#retained.load(),
    ])
    for (const clientId of ended) await this.clearSession(clientId)
    const holders = [...this.#subscriptions.clientIds, ...this.#queue.clientIds]
    const found = holders.flatMap(clientId => this.#ensureSession(clientId))
    if (found.length > 0) await this.#kv.kvWrite(found)
    // QoS 2 packets of clean sessions end with their connection, at the latest with the process.
    await this.#incoming.load(clientId => this.#sessions.has(clientId))
  }

  /** Resolves when what nobody waited for is written. The store belongs to who opened it. */
  async destroy(): Promise<void> {
    await this.#wills.settled()
  }

  // ── sessions ────────────────────────────────────────────────────────────────────────────────────────────

  /** Whether there is a stored session, of subscriptions or without. */
  hasSession(clientId: string): boolean {
    return this.#sessions.has(clientId)
  }

  /** How many stored sessions there are of the account that this session is of. */
  sessionsOf(clientId: string): number {
    return this.#sessions.countLike(clientId)
  }

  /** To be called at CONNECT, before Aedes goes on. @returns whether a stored session goes on: session-present */
  async touchSession(clientId: string, clean: boolean): Promise<boolean> {
    const isResumed = !clean && this.hasSession(clientId)
    if (clean) await this.clearSession(clientId)
    else await this.#touch(clientId, isResumed)
    // Of a connection without a session that this one takes over from.
    if (!isResumed) await this.#incoming.clear(clientId)
    return isResumed
  }

  /** Of a session that is stored only the time is written: without room for that it goes on all the same. */
  async #touch(clientId: string, isStored: boolean): Promise<void> {
    try {
      await this.#kv.kvWrite([this.#sessions.touch(clientId, Date.now())])
    } catch (error) {
      if (!isStored) {
        this.#sessions.drop(clientId)
        throw error
      }
      this.#report(error)
    }
  }

  /** All there is of a session, but for its will: that is the last connection's. */
  async clearSession(clientId: string): Promise<void> {
    if (!this.#sessions.has(clientId)) return
    const upTo = this.#queue.forget(clientId)
    // Durable first, and with it whatever the session wrote before: the removal below then sees all of it.
    await this.#kv.kvWrite([this.#sessions.end(clientId), ...this.#subscriptions.removeAll(clientId)])
    await this.#queue.removeUpTo(clientId, upTo)
    await this.#incoming.clear(clientId)
    await this.#kv.kvWrite(this.#sessions.forget(clientId))
  }

  /** The store has removed all that it had of a deleted account: what is in memory goes, too. */
  forgetAccount(userId: UserId): void {
    for (const clientId of this.#sessions.of(ownerOf(scopedId(userId, '')))) {
      this.#sessions.drop(clientId)
      this.#subscriptions.removeAll(clientId)
      this.#queue.forget(clientId)
      this.#incoming.forget(clientId)
      this.#wills.forget(clientId)
    }
    this.#retained.forget(userId)
  }

  /** Removes sessions unseen for `sessionExpiryMs`. @returns how many */
  async expire(now: number): Promise<number> {
    const { sessionExpiryMs = 0 } = this.#options
    if (sessionExpiryMs === 0) return 0
    const isConnected = (clientId: string): boolean => this.#broker.clients?.[clientId] !== undefined
    // Long before it would matter: the time of a client that is connected for weeks must be in the store by then.
    const connected = [...this.#sessions.unseenSince(now - sessionExpiryMs / 10)].filter(isConnected)
    if (connected.length > 0) await this.#kv.kvWrite(connected.map(id => this.#sessions.touch(id, now)))
    let expired = 0
    for (const clientId of this.#sessions.unseenSince(now - sessionExpiryMs)) {
      await this.clearSession(clientId)
      expired += 1
    }
    return expired
  }

  #ensureSession(clientId: string): KvWrite[] {
    return this.#sessions.ensure(clientId, Date.now())
  }

  // ── subscriptions ───────────────────────────────────────────────────────────────────────────────────────

  /** Takes a whole SUBSCRIBE as Aedes passes it, refused filters included, and stores what is allowed. */
  async addSubscriptions(client: ClientRef, subscriptions: readonly Subscription[]): Promise<void> {
    const storing = this.#storing.get(subscriptions)
    if (storing?.clientId === client.id) return storing.done
    const done = this.#storeSubscriptions(client.id, subscriptions)
    this.#storing.set(subscriptions, { clientId: client.id, done })
    try {
      await done
    } finally {
      this.#storing.delete(subscriptions)
    }
  }

  async #storeSubscriptions(clientId: string, subscriptions: readonly Subscription[]): Promise<void> {
    // Aedes calls this when the first filter is granted, and asks about the rest of them later in the same turn.
    await undefined
    const allowed = subscriptions.filter(({ topic }) => this.#isAllowed(clientId, topic))
    const writes = this.#subscriptions.add(clientId, allowed)
    if (writes.length > 0) await this.#kv.kvWrite([...this.#ensureSession(clientId), ...writes])
  }

  async removeSubscriptions(client: ClientRef, filters: readonly string[]): Promise<void> {
    // Behind what was asked for before: see #storeSubscriptions.
    await undefined
    const writes = this.#subscriptions.remove(client.id, filters)
    if (writes.length > 0) await this.#kv.kvWrite(writes)
  }

  /** Asked at CONNECT. What is allowed no more is removed. */
  async subscriptionsByClient(client: ClientRef): Promise<Subscription[]> {
    const filters = this.#subscriptions.of(client.id).map(({ topic }) => topic)
    await this.removeSubscriptions(
      client,
      filters.filter(filter => !this.#isAllowed(client.id, filter)),
    )
    return this.#subscriptions.of(client.id)
  }

  /** From memory; must never reject: Aedes would not call back, and emit 'error'. */
  async subscriptionsByTopic(topic: string): Promise<TrieEntry[]> {
    return this.#subscriptions.matching(topic)
  }

  /** Aedes' name for the end of a session [MQTT-3.1.2-6]. */
  async cleanSubscriptions(client: ClientRef): Promise<void> {
    await this.clearSession(client.id)
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    return this.#subscriptions.counts
  }

  getClientList(filter: string): Readable {
    return Readable.from(this.#subscriptions.clientsOf(filter))
  }

  #isAllowed(clientId: string, filter: string): boolean {
    return this.#options.isAllowed?.(clientId, filter) ?? true
  }

  // ── outgoing QoS 1 and 2 ────────────────────────────────────────────────────────────────────────────────

  async outgoingEnqueue(target: QueueTarget, packet: BrokerPacket): Promise<void> {
    await this.outgoingEnqueueCombi([target], packet)
  }

  /**
   * Durable when it resolves; one write for all targets.
   * @param received the QoS 2 packet that brought it: its identifier is stored by the same write, so that a resend after
   * a crash is known [MQTT-4.3.3-2]
   */
  async outgoingEnqueueCombi(
    targets: readonly QueueTarget[],
    packet: BrokerPacket,
    received?: ReceivedPacket,
  ): Promise<void> {
    if (this.#options.inboxHooks?.owns(packet.topic ?? '')) return
    const sessions = targets.flatMap(({ clientId }) => this.#ensureSession(clientId))
    await this.#queue.enqueue(targets, packet, rows =>
      received === undefined
        ? this.#kv.kvWrite([...sessions, ...rows])
        : this.#receive(received, [...sessions, ...rows]),
    )
  }

  async outgoingUpdate(client: ClientRef, packet: BrokerPacket): Promise<void> {
    const { inboxHooks } = this.#options
    const { cmd, messageId = 0 } = packet
    const isSeams = inboxHooks !== undefined && messageId >= FIRST_INBOX_ID
    if (cmd === 'pubrel' && isSeams) await inboxHooks.released(client.id, messageId)
    else if (cmd === 'pubrel')
      await this.#handshakes.release(client, messageId, this.#ensureSession(client.id))
    else if (!isSeams) await this.#handshakes.send(client, packet)
  }

  /** @returns the packet that was confirmed; undefined without one, and for the seam's */
  async outgoingClearMessageId(
    client: ClientRef,
    { messageId }: Pick<BrokerPacket, 'messageId'>,
  ): Promise<BrokerPacket | undefined> {
    // Aedes asks with no identifier, too, when it finds a packet delivered twice: that one is not for removal.
    if (messageId === undefined) return undefined
    const { inboxHooks } = this.#options
    if (inboxHooks === undefined || messageId < FIRST_INBOX_ID)
      return this.#handshakes.take(client.id, messageId)
    await inboxHooks.acknowledged(client.id, messageId)
    return undefined
  }

  /** Whether the stream of this connection brings the packet, or will when it begins. */
  isStreamed(client: ClientRef, packet: BrokerPacket): boolean {
    return this.#queue.isStreamed(client, packet)
  }

  /** Whether the client owes the acknowledgement of a packet that was sent with this identifier. */
  isInFlight(clientId: string, messageId: number): boolean {
    return this.#handshakes.isInFlight(clientId, messageId)
  }

  /** How many packets are sent again as PUBREL only. */
  countReleased(clientId: string): number {
    return this.#handshakes.countReleased(clientId)
  }

  outgoingStream(client: ClientRef): Readable {
    return client.clean ? Readable.from([]) : this.#queue.stream(client)
  }

  // ── incoming QoS 2 ──────────────────────────────────────────────────────────────────────────────────────

  /** Records its identifier, not the packet. */
  async incomingStorePacket(client: ClientRef, { messageId = 0 }: BrokerPacket): Promise<void> {
    await this.#receive({ client, messageId }, [])
  }

  #receive({ client, messageId }: ReceivedPacket, alongside: readonly KvWrite[]): Promise<void> {
    const session = client.clean ? [] : this.#ensureSession(client.id)
    return this.#incoming.add(client.id, messageId, [...session, ...alongside])
  }

  /** Rejects when there is none: so Aedes knows that the packet is new. It looks at nothing of what it gets. */
  async incomingGetPacket(client: ClientRef, packet: BrokerPacket): Promise<BrokerPacket> {
    if (!(await this.hasIncoming(client, packet))) throw new Error('no such packet')
    return { messageId: packet.messageId }
  }

  /** Whether it waits for PUBREL. */
  async hasIncoming(client: ClientRef, { messageId = 0 }: BrokerPacket): Promise<boolean> {
    return this.#incoming.has(client.id, messageId)
  }

  /** Identifiers that wait for PUBREL. */
  incomingIds(client: ClientRef): Iterable<number> {
    return this.#incoming.idsOf(client.id)
  }

  async incomingDelPacket(client: ClientRef, { messageId = 0 }: BrokerPacket): Promise<void> {
    await this.#incoming.remove(client.id, messageId)
  }

  /**
   * Aedes calls it for every connection without a session that ends: also for one that never said CONNECT (its id is
   * null), one that was refused and says to be another's device, and one whose id a later connection has by now.
   */
  async cleanIncoming(client: ClientRef | { readonly id: null }): Promise<void> {
    if (client.id === null || client._authorized === false) return
    const holder = this.#broker.clients?.[client.id]
    if (holder === undefined || holder === client) await this.#incoming.clear(client.id)
  }

  // ── retained messages ───────────────────────────────────────────────────────────────────────────────────

  /**
   * Durable when it resolves.
   * @param check throws where it may not be stored after all; called in the turn of the write
   * @throws GatewayError STORE_FULL over the limits, STORE_UNAVAILABLE
   */
  async storeRetained(packet: BrokerPacket, check?: () => void): Promise<void> {
    await this.#retained.put(packet.topic ?? '', packet, check)
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter])
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.#retained.matching(filters))
  }

  // ── wills ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Writes into the packet whose it is: Aedes publishes that same object. */
  async putWill(client: ClientRef, packet: BrokerPacket): Promise<void> {
    packet.brokerId = this.#broker.id
    packet.clientId = client.id
    await this.#wills.put(client, packet)
  }

  async getWill(client: ClientRef): Promise<BrokerPacket | undefined> {
    return this.#wills.get(client.id)
  }

  /** Never rejects: at CONNECT Aedes calls it with nothing but `finally`, and the process would die. */
  async delWill(client: ClientRef): Promise<BrokerPacket | undefined> {
    try {
      return await this.#wills.remove(client.id)
    } catch (error) {
      this.#report(error)
      return undefined
    }
  }

  /** Those of brokers that are not named, by id. */
  streamWill(brokers: Readonly<Record<string, unknown>> = {}): Readable {
    return Readable.from(this.#wills.ofOtherBrokers(brokers))
  }

  readonly #report = (error: unknown): void => this.#options.onError?.(error)
}
