/**
 * What waits for persistent sessions: queue [clientId, n], n rising over all clients and starts of the broker, so that
 * a client's range is its queue in order. In memory: a few numbers a client, and one small entry for each packet that
 * is in flight; never a packet.
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
import { account, type ClientQueue, QueueIndex, type Unsent } from './queue-index.js'

export interface QueueOptions {
  readonly maxQueuedMessages: number
  /** Bytes as stored: payload, topic and about 150 bytes each. */
  readonly maxQueuedBytes: number
  /** All sessions of an account together. */
  readonly accountQueuedBytes: number
  /** The oldest went because a queue was over its limits. */
  readonly onDropped: (clientId: string, count: number) => void
  /** A write failed that nobody waits for. */
  readonly onError: (error: unknown) => void
}

/** Whom a packet is queued for; one client may be named several times, by overlapping subscriptions. */
export interface QueueTarget {
  readonly clientId: string
  readonly qos?: number
  readonly rap?: boolean | undefined
}

const REMOVALS_PER_WRITE = 1000

export class OutgoingQueue {
  readonly #kv: KvStore
  readonly #options: QueueOptions
  readonly #index = new QueueIndex()
  /** Acknowledged, and its removal under way. */
  readonly #leaving = new Set<number>()
  #last = 0

  constructor(kv: KvStore, options: QueueOptions) {
    this.#kv = kv
    this.#options = options
  }

  async load(): Promise<void> {
    for await (const { key, value } of this.#kv.kvRange('queue', [])) {
      const [clientId, n] = key as [string, number]
      const queue = this.#index.open(clientId)
      const size = value.byteLength
      const { messageId, isReleased } = peekPacket(value)
      if (messageId !== undefined) queue.inFlight.set(messageId, { n, size, isReleased, connection: 0 })
      account(queue, 1, size)
      this.#last = Math.max(this.#last, n)
    }
  }

  /** One commit for all, `alongside` included; resolves when it is durable and the limits hold again. */
  async enqueue(
    targets: readonly QueueTarget[],
    packet: BrokerPacket,
    alongside: readonly KvWrite[],
  ): Promise<void> {
    if (targets.length === 0) return
    const writes = [...alongside]
    const values = new Map<string, KvValue>()
    const added: (Unsent & { clientId: string })[] = []
    for (const [clientId, { qos, retain }] of highestGrants(targets, packet)) {
      const kind = `${qos} ${retain}`
      const value =
        values.get(kind) ?? encodePacket(publishFields({ ...packet, qos, retain, messageId: undefined }))
      values.set(kind, value)
      this.#last += 1
      const queue = this.#index.open(clientId)
      added.push({ clientId, queue, n: this.#last, size: value.byteLength, qos })
      writes.push({ put: 'queue', key: [clientId, this.#last], value })
    }
    await this.#kv.kvWrite(writes)
    for (const entry of added) {
      account(entry.queue, 1, entry.size)
      this.#index.remember(entry.clientId, packet, entry)
    }
    await Promise.all(added.map(({ clientId, queue }) => this.#trim(clientId, queue)))
  }

  /**
   * Notes under which packet identifier a packet is sent. QoS 2 waits for the commit. QoS 1 does not: an identifier
   * lost with the process costs a repeat under another one, and waiting would make every packet of a queue that is
   * drained wait for a commit of its own.
   */
  async send(client: ClientRef, packet: BrokerPacket): Promise<void> {
    if (packet.messageId === undefined) return
    const entry = this.#index.takeUnsent(client.id, packet)
    if (entry === undefined) return
    const { queue, n, size, qos } = entry
    const isStored = queue.inFlight.get(packet.messageId)?.n === n
    const value = isStored ? undefined : encodePacket(publishFields({ ...packet, qos }))
    const connection = this.#index.connection(client)
    const sent = { n, size: value?.byteLength ?? size, isReleased: false, connection }
    queue.inFlight.set(packet.messageId, sent)
    if (value === undefined) return
    account(queue, 0, sent.size - size)
    const written = this.#kv.kvWrite([{ put: 'queue', key: [client.id, n], value }])
    if (qos === 2) return written
    queue.identified = written.catch(this.#options.onError)
  }

  /**
   * Keeps a PUBREL in place of what PUBREC confirms. Also of an identifier unknown here: retained messages are sent
   * without having been queued, with QoS 2 too.
   */
  async release(client: ClientRef, messageId: number, alongside: readonly KvWrite[]): Promise<void> {
    const queue = this.#index.open(client.id)
    const known = queue.inFlight.get(messageId)
    const value = encodePacket({ cmd: 'pubrel', messageId })
    const size = value.byteLength
    if (known === undefined) this.#last += 1
    const n = known?.n ?? this.#last
    queue.inFlight.set(messageId, { n, size, isReleased: true, connection: this.#index.connection(client) })
    account(queue, known === undefined ? 1 : 0, size - (known?.size ?? 0))
    if (known?.isReleased) return
    await this.#kv.kvWrite([...alongside, { put: 'queue', key: [client.id, n], value }])
  }

  /** Removes what PUBACK or PUBCOMP confirms. @returns the packet, undefined when there is none of that identifier */
  async take(clientId: string, messageId: number): Promise<BrokerPacket | undefined> {
    const queue = this.#index.get(clientId)
    const sent = queue?.inFlight.get(messageId)
    if (queue === undefined || sent === undefined || this.#leaving.has(sent.n)) return undefined
    const key = [clientId, sent.n]
    this.#leaving.add(sent.n)
    try {
      const value = await this.#kv.kvGet('queue', key)
      if (value === undefined) return undefined
      await this.#kv.kvWrite([{ remove: 'queue', key }])
      if (sent.n > queue.floor) account(queue, -1, -sent.size)
      return { ...decodePacket(value), messageId }
    } finally {
      this.#leaving.delete(sent.n)
      if (queue.inFlight.get(messageId)?.n === sent.n) queue.inFlight.delete(messageId)
    }
  }

  isInFlight(clientId: string, messageId: number): boolean {
    return this.#index.get(clientId)?.inFlight.has(messageId) ?? false
  }

  /** Packets whose PUBREC came and whose PUBCOMP did not. */
  countReleased(clientId: string): number {
    let count = 0
    for (const { isReleased } of this.#index.get(clientId)?.inFlight.values() ?? []) if (isReleased) count++
    return count
  }

  /** What waits by now, oldest first. [MQTT-3.3.1-1]: DUP on what an earlier connection was sent already. */
  stream(client: ClientRef): Readable {
    return Readable.from(this.#waiting(client, this.#last))
  }

  async *#waiting(client: ClientRef, upTo: number): AsyncGenerator<BrokerPacket> {
    const queue = this.#index.get(client.id)
    if (queue === undefined) return
    await queue.identified
    for await (const { key, value } of this.#kv.kvRange('queue', [client.id])) {
      const n = key[1] as number
      if (n > upTo) return
      if (n <= queue.floor || this.#leaving.has(n)) continue
      const packet = decodePacket(value)
      if (packet.cmd === 'publish') {
        const { qos = 0 } = packet
        this.#index.remember(client.id, packet, { queue, n, size: value.byteLength, qos })
        packet.messageId ??= undefined // present in any case, as in Aedes' own packets
        packet.dup = packet.messageId !== undefined && !this.#index.isSentOn(client, packet.messageId, n)
      }
      yield packet
    }
  }

  get clientIds(): Iterable<string> {
    return this.#index.clientIds
  }

  /** Forgets the client's queue in memory. @returns the highest n that may be in the store for it */
  forget(clientId: string): number {
    this.#index.forget(clientId)
    return this.#last
  }

  async removeUpTo(clientId: string, upTo: number): Promise<void> {
    await removeUnder(this.#kv, 'queue', [clientId], ([, n]) => (n as number) <= upTo)
  }

  #isOver({ account: { bytes: all }, count, bytes }: ClientQueue): boolean {
    const { maxQueuedMessages, maxQueuedBytes, accountQueuedBytes } = this.#options
    return count > maxQueuedMessages || bytes > maxQueuedBytes || (all > accountQueuedBytes && count > 0)
  }

  #trim(clientId: string, queue: ClientQueue): Promise<void> | undefined {
    if (queue.trimming === undefined && this.#isOver(queue))
      queue.trimming = this.#dropOldest(clientId, queue)
    return queue.trimming
  }

  async #dropOldest(clientId: string, queue: ClientQueue): Promise<void> {
    try {
      while (this.#isOver(queue)) {
        const removals = await this.#pickOldest(clientId, queue)
        if (removals.length === 0) return
        await this.#kv.kvWrite(removals)
        this.#options.onDropped(clientId, removals.length)
      }
    } finally {
      queue.trimming = undefined
    }
  }

  async #pickOldest(clientId: string, queue: ClientQueue): Promise<KvWrite[]> {
    const removals: KvWrite[] = []
    for await (const { key, value } of this.#kv.kvRange('queue', [clientId])) {
      if (!this.#isOver(queue) || removals.length === REMOVALS_PER_WRITE) break
      const n = key[1] as number
      if (n <= queue.floor || this.#leaving.has(n)) continue
      queue.floor = n
      account(queue, -1, -value.byteLength)
      const { messageId = -1 } = peekPacket(value)
      if (queue.inFlight.get(messageId)?.n === n) queue.inFlight.delete(messageId)
      removals.push({ remove: 'queue', key })
    }
    return removals
  }
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
