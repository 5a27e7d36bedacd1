/**
 * The broker's stored state, over any Store: MQTT sessions with their subscriptions, queued packets and unreleased QoS
 * 2 identifiers, retained messages, and wills. Implements the async interface of aedes-persistence 11. A method must
 * not reject where that contract handles no rejection; see `subscriptionsByTopic` and `delWill`.
 *
 * Store keys: subscriptions [clientId, filter], queue [clientId, n], incoming [clientId, messageId],
 * wills [clientId], retained [level, level, …], meta ['session', clientId], meta ['retained', account, hash of topic].
 */
import { Readable } from 'node:stream'
import type { TrieEntry } from 'qlobber/aedes/qlobber-sub.js'
import { Incoming } from './incoming.js'
import type { BrokerPacket, ClientRef, KvStore } from './kv.js'
import type { PersistenceOptions } from './options.js'
import { Outgoing } from './outgoing.js'
import type { QueueTarget } from './queue.js'
import { Retained } from './retained.js'
import { SessionLife } from './session-life.js'
import { SessionSubscriptions } from './session-subscriptions.js'
import { Sessions } from './sessions.js'
import { type Subscription, Subscriptions } from './subscriptions.js'
import { Wills } from './wills.js'

interface BrokerRef {
  readonly id: string
  /** Connected clients by id. */
  readonly clients?: Readonly<Record<string, unknown>>
}

export class BrokerPersistence {
  readonly sessions: SessionLife
  readonly outgoing: Outgoing
  readonly #kv: KvStore
  readonly #options: PersistenceOptions
  readonly #records = new Sessions()
  readonly #subscriptions = new Subscriptions()
  readonly #incoming: Incoming
  readonly #retained: Retained
  readonly #wills: Wills
  readonly #sessionSubscriptions: SessionSubscriptions
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
      (...row) => options.onDamaged?.(...row),
    )
    this.outgoing = new Outgoing(kv, { sessions: this.#records, incoming: this.#incoming }, options)
    const parts = { sessions: this.#records, subscriptions: this.#subscriptions }
    this.#sessionSubscriptions = new SessionSubscriptions(kv, parts)
    const { queue } = this.outgoing
    const [incoming, wills, retained] = [this.#incoming, this.#wills, this.#retained]
    this.sessions = new SessionLife(kv, { ...parts, queue, incoming, wills, retained }, options)
  }

  get broker(): BrokerRef {
    return this.#broker
  }

  /** Loads the part of the state that is kept in memory. The contract of aedes-persistence asks for an `async function`. */
  async setup(broker: BrokerRef): Promise<void> {
    this.#broker = broker
    const [ended] = await Promise.all([
      this.#records.load(this.#kv),
      this.#subscriptions.load(this.#kv),
      this.outgoing.queue.load(),
      this.#retained.load(),
    ])
    for (const clientId of ended) await this.sessions.clear(clientId)
    const holders = [...this.#subscriptions.clientIds, ...this.outgoing.queue.clientIds]
    const found = holders.flatMap(clientId => this.#records.ensure(clientId, Date.now()))
    if (found.length > 0) await this.#kv.kvWrite(found)
    // QoS 2 identifiers of clean sessions must not outlive the connection, nor the process.
    await this.#incoming.load(clientId => this.#records.has(clientId))
  }

  /** Resolves when all pending removals of wills are done. Does not close the store, which the caller opened. */
  async destroy(): Promise<void> {
    await this.#wills.settled()
  }

  /** Removes expired sessions. @returns how many */
  async expire(now: number): Promise<number> {
    return this.sessions.expire(now, clientId => this.#broker.clients?.[clientId] !== undefined)
  }

  // ── subscriptions ───────────────────────────────────────────────────────────────────────────────────────

  async addSubscriptions(client: ClientRef, subscriptions: readonly Subscription[]): Promise<void> {
    await this.#sessionSubscriptions.add(client, subscriptions)
  }

  async removeSubscriptions(client: ClientRef, filters: readonly string[]): Promise<void> {
    await this.#sessionSubscriptions.remove(client, filters)
  }

  /** Called at CONNECT. */
  async subscriptionsByClient(client: ClientRef): Promise<Subscription[]> {
    return this.#sessionSubscriptions.restore(client)
  }

  /** Answers from memory. Never rejects: the contract of aedes-persistence handles no rejection here. */
  async subscriptionsByTopic(topic: string): Promise<TrieEntry[]> {
    return this.#subscriptions.matching(topic)
  }

  /** The same of shared subscriptions. */
  sharesByTopic(topic: string): TrieEntry[] {
    return this.#subscriptions.matchingShares(topic)
  }

  /** Removes the whole session [MQTT-3.1.2-6]; called when a session ends. */
  async cleanSubscriptions(client: ClientRef): Promise<void> {
    await this.sessions.clear(client.id)
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    return this.#subscriptions.counts
  }

  getClientList(filter: string): Readable {
    return Readable.from(this.#subscriptions.clientsOf(filter))
  }

  // ── outgoing QoS 1 and 2 ────────────────────────────────────────────────────────────────────────────────

  async outgoingEnqueue(target: QueueTarget, packet: BrokerPacket): Promise<void> {
    await this.outgoing.enqueue([target], packet)
  }

  async outgoingEnqueueCombi(targets: readonly QueueTarget[], packet: BrokerPacket): Promise<void> {
    await this.outgoing.enqueue(targets, packet)
  }

  async outgoingUpdate(client: ClientRef, packet: BrokerPacket): Promise<void> {
    await this.outgoing.update(client, packet)
  }

  async outgoingClearMessageId(
    client: ClientRef,
    { messageId }: Pick<BrokerPacket, 'messageId'>,
  ): Promise<BrokerPacket | undefined> {
    return this.outgoing.acknowledged(client.id, messageId)
  }

  outgoingStream(client: ClientRef): Readable {
    return this.outgoing.stream(client)
  }

  // ── incoming QoS 2 ──────────────────────────────────────────────────────────────────────────────────────

  /** Stores the identifier of the packet, not the packet. */
  async incomingStorePacket(client: ClientRef, { messageId = 0 }: BrokerPacket): Promise<void> {
    await this.#incoming.add(client.id, messageId, this.#records.ensureFor(client))
  }

  /** Rejects for an unknown packet, as the contract of aedes-persistence says that it is new. */
  async incomingGetPacket(client: ClientRef, packet: BrokerPacket): Promise<BrokerPacket> {
    if (!(await this.hasIncoming(client, packet))) throw new Error('no such packet')
    return { messageId: packet.messageId }
  }

  /** Whether a packet with this identifier was received and waits for PUBREL. */
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
   * Called when a connection without a stored session ends. Three cases must not remove identifiers: the
   * client sent no CONNECT (its id is null), its CONNECT was refused and named the id of another client, or a later
   * connection holds its id by now.
   */
  async cleanIncoming(client: ClientRef | { readonly id: null }): Promise<void> {
    if (client.id === null || client._authorized === false) return
    const holder = this.#broker.clients?.[client.id]
    if (holder === undefined || holder === client) await this.#incoming.clear(client.id)
  }

  // ── retained messages ───────────────────────────────────────────────────────────────────────────────────

  /**
   * Stores or removes a retained message; resolves when it is durable.
   * @param check called in the event-loop turn of the write; throws if the message may no longer be stored
   * @throws GatewayError STORE_FULL over the limits, STORE_UNAVAILABLE
   */
  async storeRetained(packet: BrokerPacket, check?: () => void): Promise<void> {
    await this.#retained.put(packet.topic ?? '', packet, check)
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter])
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.retainedOf(filters))
  }

  /** The matching retained messages, each once, read as they are asked for. */
  retainedOf(filters: readonly string[]): AsyncGenerator<BrokerPacket> {
    return this.#retained.matching(filters)
  }

  // ── wills ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Stores a will. Sets `brokerId` and `clientId` in `packet` itself, since that object is published later. */
  async putWill(client: ClientRef, packet: BrokerPacket): Promise<void> {
    packet.brokerId = this.#broker.id
    packet.clientId = client.id
    await this.#wills.put(client, packet)
  }

  async getWill(client: ClientRef): Promise<BrokerPacket | undefined> {
    return this.#wills.get(client.id)
  }

  /** Never rejects: the contract of aedes-persistence handles no rejection here. */
  async delWill(client: ClientRef): Promise<BrokerPacket | undefined> {
    try {
      return await this.#wills.remove(client.id)
    } catch (error) {
      this.#report(error)
      return undefined
    }
  }

  /** Stored wills. @param brokers ids of brokers whose wills are left out */
  streamWill(brokers: Readonly<Record<string, unknown>> = {}): Readable {
    return Readable.from(this.#wills.ofOtherBrokers(brokers))
  }

  readonly #report = (error: unknown): void => this.#options.onError?.(error)
}
