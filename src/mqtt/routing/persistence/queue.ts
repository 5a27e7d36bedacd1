/**
 * The stored queues of persistent sessions: queue [clientId, n]. n rises with each packet, also across restarts, so the
 * range of a client is its queue in order. A packet has the same n in the queues of all sessions.
 *
 * Each row is delivered by one of two ways: by the connection's stream if it was queued before the stream began,
 * otherwise when it is routed. So a connection sends a row once, under one packet identifier [MQTT-4.3.3-1], and the
 * next connection uses that identifier again [MQTT-4.4.0-1].
 */
import { Readable } from 'node:stream'
import type { KvValue, KvWrite } from '../../../store/store.js'
import {
  type BrokerPacket,
  type ClientRef,
  encodePacket,
  type KvStore,
  type OnDamaged,
  packetOf,
  peekPacket,
  publishFields,
  removeUnder,
} from './kv.js'
import {
  account,
  type ClientQueue,
  claim,
  type InFlight,
  type QueueConnection,
  type QueueIndex,
} from './queue-index.js'
import type { QueueLimits } from './queue-limits.js'

/** A session that a packet is queued for. A client may occur several times, once per overlapping subscription. */
export interface QueueTarget {
  readonly clientId: string
  readonly qos?: number
  readonly rap?: boolean | undefined
}

/** `InFlight.released` of a PUBREL that is already stored. */
const STORED = Promise.resolve()

export class OutgoingQueue {
  constructor(
    private readonly kv: KvStore,
    private readonly index: QueueIndex,
    private readonly limits: QueueLimits,
    private readonly onDamaged: OnDamaged,
  ) {}

  async load(): Promise<void> {
    for await (const { key, value } of this.kv.kvRange('queue', [])) {
      const [clientId, n] = key as [string, number]
      const queue = this.index.open(clientId, 0)
      noteSent(queue.inFlight, n, value)
      account(queue, 1, value.byteLength)
      this.index.last = Math.max(this.index.last, n)
    }
  }

  /**
   * Queues a packet for all sessions in one commit. Resolves when it is durable and the limits are enforced again. Sets
   * `packet.queued`.
   * @param commit writes the given rows, and what else belongs to the packet, at once
   */
  async enqueue(
    targets: readonly QueueTarget[],
    packet: BrokerPacket,
    commit: (writes: KvWrite[]) => Promise<void>,
  ): Promise<void> {
    if (targets.length === 0) return
    const n = this.index.next()
    const writes: KvWrite[] = []
    const values = new Map<string, KvValue>()
    const sizes = new Map<string, number>()
    for (const [clientId, { qos, retain }] of highestGrants(targets, packet)) {
      const kind = `${qos} ${retain}`
      const value =
        values.get(kind) ?? encodePacket(publishFields({ ...packet, qos, retain, messageId: undefined }))
      values.set(kind, value)
      sizes.set(clientId, value.byteLength)
      writes.push({ put: 'queue', key: [clientId, n], value })
    }
    packet.queued = { n, sizes }
    const written = commit(writes)
    for (const clientId of sizes.keys()) this.index.open(clientId, n - 1).written = written
    await written
    await Promise.all(Array.from(sizes, ([clientId, size]) => this.#added(clientId, n, size)))
  }

  #added(clientId: string, n: number, size: number): Promise<void> | undefined {
    const queue = this.index.holding(clientId, n)
    if (queue === undefined) return undefined
    account(queue, 1, size)
    return this.limits.trim(clientId, queue)
  }

  /** Whether the stream of this connection delivers the packet, now or once it begins. */
  isStreamed(client: ClientRef, { queued }: BrokerPacket): boolean {
    if (queued?.sizes.has(client.id) !== true) return false
    const connection = this.index.connectionOf(client)
    return connection === undefined || queued.n <= connection.upTo
  }

  /**
   * The queued packets for one connection, oldest first. DUP is set on those that an earlier connection was sent
   * [MQTT-3.3.1-1].
   */
  stream(client: ClientRef): Readable {
    const connection = this.index.openConnection(client)
    connection.upTo = this.index.last
    const queue = this.index.get(client.id)
    if (queue === undefined || !claim(queue, connection)) return Readable.from([])
    return Readable.from(this.#waiting(client.id, queue, connection))
  }

  async *#waiting(
    clientId: string,
    queue: ClientQueue,
    connection: QueueConnection,
  ): AsyncGenerator<BrokerPacket> {
    // Waits for writes that are not stored yet.
    await Promise.allSettled([queue.written])
    if (queue.isUnsure) await this.#reload(clientId, queue)
    for await (const { key, value } of this.kv.kvRange('queue', [clientId])) {
      const n = key[1] as number
      if (n > connection.upTo || queue.connection !== connection.number) return
      if (n <= queue.floor || queue.leaving.has(n)) continue
      const packet = packetOf(value)
      if (packet === undefined) {
        // It stays until its session ends: those behind it are not kept from the client.
        this.onDamaged('queue', key)
        continue
      }
      const due = await packetDue(queue, connection, { n, size: value.byteLength, packet })
      if (due !== undefined) yield due
    }
  }

  get clientIds(): Iterable<string> {
    return this.index.clientIds
  }

  /** Forgets the client's queue in memory. @returns the highest n that its rows in the store may have */
  forget(clientId: string): number {
    this.index.forget(clientId)
    return this.index.last
  }

  async removeUpTo(clientId: string, upTo: number): Promise<void> {
    await removeUnder(this.kv, 'queue', [clientId], ([, n]) => (n as number) <= upTo)
  }

  /** Replaces `inFlight` with what the store holds. */
  async #reload(clientId: string, queue: ClientQueue): Promise<void> {
    queue.isUnsure = false
    const stored = new Map<number, InFlight>()
    for await (const { key, value } of this.kv.kvRange('queue', [clientId]))
      noteSent(stored, key[1] as number, value)
    queue.inFlight.clear()
    for (const [messageId, sent] of stored) queue.inFlight.set(messageId, sent)
  }
}

/** @returns the packet to send for a row; undefined if the client has acknowledged it since the row was read */
async function packetDue(
  queue: ClientQueue,
  connection: QueueConnection,
  { n, size, packet }: { readonly n: number; readonly size: number; readonly packet: BrokerPacket },
): Promise<BrokerPacket | undefined> {
  const { messageId } = packet
  if (messageId === undefined) {
    packet.messageId = undefined // present in any case: packets have one shape
    packet.dup = false
  } else {
    const sent = queue.inFlight.get(messageId)
    if (sent === undefined) return undefined
    if (sent.n === n && sent.released !== undefined) {
      await sent.released
      return { cmd: 'pubrel', messageId }
    }
    packet.dup = sent.n !== n || sent.connection !== connection.number
  }
  connection.addStreamed(packet, { n, size })
  return packet
}

function noteSent(inFlight: Map<number, InFlight>, n: number, value: KvValue): void {
  const { messageId, isReleased } = peekPacket(value)
  if (messageId === undefined) return
  const released = isReleased ? STORED : undefined
  inFlight.set(messageId, { n, size: value.byteLength, connection: 0, released })
}

/**
 * One entry per client. With overlapping subscriptions a client gets the message once, at the highest QoS of the
 * matching ones [MQTT-3.3.5-1] but not above the QoS of the publish. RETAIN is 0 for an existing subscription
 * [MQTT-3.3.1-9], unless `rap` (retain as published) is set.
 */
function highestGrants(
  targets: readonly QueueTarget[],
  packet: BrokerPacket,
): Map<string, { qos: number; retain: boolean }> {
  const grants = new Map<string, { qos: number; retain: boolean }>()
  const { qos: published = 0, retain = false } = packet
  for (const { clientId, qos = published, rap = false } of targets) {
    const other = grants.get(clientId)
    grants.set(clientId, {
      qos: Math.max(other?.qos ?? 0, Math.min(qos, published)),
      retain: other?.retain || (retain && rap),
    })
  }
  return grants
}
