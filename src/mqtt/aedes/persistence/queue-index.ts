/** What is in memory of the outgoing queues: a few numbers a client, and small entries for packets being sent. */
import { ownerOf } from '../../acl/client-id.js'
import type { BrokerPacket, ClientRef } from './kv.js'

export interface ClientQueue {
  /** What all sessions of its account have queued together. */
  readonly account: { bytes: number }
  count: number
  bytes: number
  /** Everything up to this n has been dropped, whatever a read that began earlier still shows. */
  floor: number
  /** By packet identifier. */
  readonly inFlight: Map<number, InFlight>
  /** Settles when every packet identifier given so far is in the store. */
  identified: Promise<void>
  trimming: Promise<void> | undefined
}

export interface InFlight {
  readonly n: number
  readonly size: number
  /** Its PUBREC came: what is stored is a PUBREL. */
  readonly isReleased: boolean
  /** On which connection it was last sent; 0 = before this start. */
  readonly connection: number
}

/** A queued packet that has no packet identifier yet on this connection. */
export interface Unsent {
  readonly queue: ClientQueue
  readonly n: number
  readonly size: number
  /** What it is queued, and so sent, with: the packet that is routed may have a higher one. */
  readonly qos: number
}

/**
 * Between being queued, or read for sending, and being sent there are milliseconds, so the latest suffice. One that
 * fell out is sent all the same, keeps its place in the queue and is sent again on the next connection.
 */
const MAX_UNSENT = 32_768

export class QueueIndex {
  readonly #queues = new Map<string, ClientQueue>()
  readonly #accounts = new Map<string, { bytes: number }>()
  readonly #unsent = new Map<string, Unsent>()
  readonly #connections = new WeakMap<ClientRef, number>()
  #connectionCount = 0

  get clientIds(): Iterable<string> {
    return this.#queues.keys()
  }

  get(clientId: string): ClientQueue | undefined {
    return this.#queues.get(clientId)
  }

  open(clientId: string): ClientQueue {
    let queue = this.#queues.get(clientId)
    if (queue === undefined) {
      queue = {
        account: this.#accountOf(clientId),
        count: 0,
        bytes: 0,
        floor: 0,
        inFlight: new Map(),
        identified: Promise.resolve(),
        trimming: undefined,
      }
      this.#queues.set(clientId, queue)
    }
    return queue
  }

  forget(clientId: string): void {
    const queue = this.#queues.get(clientId)
    if (queue !== undefined) queue.account.bytes -= queue.bytes
    this.#queues.delete(clientId)
  }

  /** One for each account that ever had a queue since the start. */
  #accountOf(clientId: string): { bytes: number } {
    const owner = ownerOf(clientId)
    const known = this.#accounts.get(owner) ?? { bytes: 0 }
    this.#accounts.set(owner, known)
    return known
  }

  remember(clientId: string, packet: BrokerPacket, entry: Unsent): void {
    const id = unsentId(clientId, packet)
    this.#unsent.delete(id)
    this.#unsent.set(id, entry)
    if (this.#unsent.size > MAX_UNSENT) this.#forgetOlderHalf()
  }

  /** Half at a time: a Map passes over every deleted entry on the way to its first. */
  #forgetOlderHalf(): void {
    for (const id of this.#unsent.keys()) {
      this.#unsent.delete(id)
      if (this.#unsent.size <= MAX_UNSENT / 2) return
    }
  }

  /** Undefined also for what a removed session left behind, and for what has been dropped. */
  takeUnsent(clientId: string, packet: BrokerPacket): Unsent | undefined {
    const id = unsentId(clientId, packet)
    const entry = this.#unsent.get(id)
    this.#unsent.delete(id)
    if (entry === undefined || entry.queue !== this.#queues.get(clientId)) return undefined
    return entry.n > entry.queue.floor ? entry : undefined
  }

  /** A number for each connection, from 1. */
  connection(client: ClientRef): number {
    let connection = this.#connections.get(client)
    if (connection === undefined) {
      this.#connectionCount += 1
      connection = this.#connectionCount
      this.#connections.set(client, connection)
    }
    return connection
  }

  isSentOn(client: ClientRef, messageId: number, n: number): boolean {
    const sent = this.#queues.get(client.id)?.inFlight.get(messageId)
    return sent?.n === n && sent.connection === this.connection(client)
  }
}

export function account(queue: ClientQueue, packets: number, bytes: number): void {
  const before = queue.bytes
  queue.count += packets
  queue.bytes = queue.count === 0 ? 0 : queue.bytes + bytes
  queue.account.bytes += queue.bytes - before
}

/** No two packets and clients share one: the first two parts cannot hold a space. */
function unsentId(clientId: string, { brokerCounter, brokerId = '' }: BrokerPacket): string {
  return `${brokerCounter} ${brokerId.length} ${brokerId}${clientId}`
}
