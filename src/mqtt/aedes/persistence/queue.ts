/**
 * What waits for persistent sessions: queue [clientId, n]. n rises over all packets and starts of the broker, so that a
 * client's range is its queue in order; a packet has one n in the queues of all sessions that it waits for.
 *
 * Each row is sent by one of two: what was queued before a connection's stream began comes by that stream, what was
 * queued later is delivered when it is routed. So a row is sent once on a connection, under one packet identifier
 * [MQTT-4.3.3-1], and the next connection goes on with that identifier [MQTT-4.4.0-1].
 */
import { Readable } from 'node:stream'
import type { KvValue, KvWrite } from '../../../store/store.js'
import {
  type BrokerPacket,
  type ClientRef,
  decodePacket,
  encodePacket,
  type KvStore,
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

/** Whom a packet is queued for; one client may be named several times, by overlapping subscriptions. */
export interface QueueTarget {
  readonly clientId: string
  readonly qos?: number
  readonly rap?: boolean | undefined
}

/** For a PUBREL that is stored already. */
const STORED = Promise.resolve()

export class OutgoingQueue {
  constructor(
    private readonly kv: KvStore,
    private readonly index: QueueIndex,
    private readonly limits: QueueLimits,
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
   * One commit for all sessions; resolves when it is durable and the limits hold again. Notes in the packet which rows
   * hold it.
   * @param commit writes all it is given at once, with what else belongs to the packet
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

  /** Whether the stream of this connection brings the packet, or will when it begins. */
  isStreamed(client: ClientRef, { queued }: BrokerPacket): boolean {
    if (queued?.sizes.has(client.id) !== true) return false
    const connection = this.index.connectionOf(client)
    return connection === undefined || queued.n <= connection.upTo
  }

  /**
   * What is queued by now, oldest first, for one connection. [MQTT-3.3.1-1]: DUP on what an earlier connection was sent
   * already.
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
    // What is queued or sent by now, and not stored yet.
    await Promise.allSettled([queue.written])
    if (queue.isUnsure) await this.#reload(clientId, queue)
    for await (const { key, value } of this.kv.kvRange('queue', [clientId])) {
      const n = key[1] as number
      if (n > connection.upTo || queue.connection !== connection.number) return
      if (n <= queue.floor || queue.leaving.has(n)) continue
      const packet = await packetDue(queue, connection, { n, value })
      if (packet !== undefined) yield packet
    }
  }

  get clientIds(): Iterable<string> {
    return this.index.clientIds
  }

  /** Forgets the client's queue in memory. @returns the highest n that may be in the store for it */
  forget(clientId: string): number {
    this.index.forget(clientId)
    return this.index.last
  }

  async removeUpTo(clientId: string, upTo: number): Promise<void> {
    await removeUnder(this.kv, 'queue', [clientId], ([, n]) => (n as number) <= upTo)
  }

  /** Reads again from the store what is in flight. */
  async #reload(clientId: string, queue: ClientQueue): Promise<void> {
    queue.isUnsure = false
    const stored = new Map<number, InFlight>()
    for await (const { key, value } of this.kv.kvRange('queue', [clientId]))
      noteSent(stored, key[1] as number, value)
    queue.inFlight.clear()
    for (const [messageId, sent] of stored) queue.inFlight.set(messageId, sent)
  }
}

/** @returns what is to be sent for a row; undefined when the client has finished with it since the row was read */
async function packetDue(
  queue: ClientQueue,
  connection: QueueConnection,
  { n, value }: { readonly n: number; readonly value: KvValue },
): Promise<BrokerPacket | undefined> {
  const packet = decodePacket(value)
  const { messageId } = packet
  if (messageId === undefined) {
    packet.messageId = undefined // present in any case, as in Aedes' own packets
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
  connection.addStreamed(packet, { n, size: value.byteLength })
  return packet
}

function noteSent(inFlight: Map<number, InFlight>, n: number, value: KvValue): void {
  const { messageId, isReleased } = peekPacket(value)
  if (messageId === undefined) return
  const released = isReleased ? STORED : undefined
  inFlight.set(messageId, { n, size: value.byteLength, connection: 0, released })
}

/**
 * One entry a client: with overlapping subscriptions a message comes once, at the highest of their QoS
 * [MQTT-3.3.5-1], and never above the one it was published with. RETAIN is 0 on what an existing subscription
 * gets [MQTT-3.3.1-9], unless it is a bridge's (`rap`).
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
