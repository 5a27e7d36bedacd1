/** The in-memory index of the outgoing queues: a few numbers per client, and a small entry per packet in flight. */
import { ownerOf } from '../../acl/client-id.js'
import { type BrokerPacket, type ClientRef, packetKey } from './kv.js'

export interface ClientQueue {
  /** Bytes queued for all sessions of the account. */
  readonly account: { bytes: number }
  count: number
  bytes: number
  /**
   * Rows up to this n were dropped or belonged to an earlier session; a read that began before may still return them.
   */
  floor: number
  /** By packet identifier. */
  readonly inFlight: Map<number, InFlight>
  /** n of the rows that are being removed after PUBACK or PUBCOMP. */
  readonly leaving: Set<number>
  /** The latest write to this queue. Writes settle in order, so all earlier writes have settled when it has. */
  written: Promise<void>
  /** A write failed with unknown outcome: `inFlight` may differ from the store. */
  isUnsure: boolean
  /** Number of the newest connection that has used the queue. */
  connection: number
  trimming: Promise<void> | undefined
}

export interface InFlight {
  readonly n: number
  readonly size: number
  /** Number of the connection on which it was last sent; 0: before this start of the broker. */
  connection: number
  /** Set when PUBREC came; resolves when the PUBREL is stored. */
  readonly released: Promise<void> | undefined
}

export interface QueueRow {
  readonly n: number
  readonly size: number
}

/** One connection of a session. */
export class QueueConnection {
  /** The stream of this connection delivers the rows up to this n. Later rows are delivered when they are routed. */
  upTo = 0
  /** Rows that the stream has read and that are not yet sent. They are few, since the stream waits for its reader. */
  readonly #streamed = new Map<string, QueueRow>()

  /** @param number counts connections from 1 */
  constructor(readonly number: number) {}

  addStreamed(packet: BrokerPacket, row: QueueRow): void {
    this.#streamed.set(packetKey(packet), row)
  }

  takeStreamed(packet: BrokerPacket): QueueRow | undefined {
    const key = packetKey(packet)
    const row = this.#streamed.get(key)
    this.#streamed.delete(key)
    return row
  }
}

export class QueueIndex {
  /** The highest n assigned so far. */
  last = 0
  readonly #queues = new Map<string, ClientQueue>()
  readonly #accounts = new Map<string, { bytes: number }>()
  readonly #connections = new WeakMap<ClientRef, QueueConnection>()
  #connectionCount = 0

  /** n of a new row. */
  next(): number {
    this.last += 1
    return this.last
  }

  get clientIds(): Iterable<string> {
    return this.#queues.keys()
  }

  get(clientId: string): ClientQueue | undefined {
    return this.#queues.get(clientId)
  }

  /** @param floor for a new queue: the highest n that an earlier session of the client may have used */
  open(clientId: string, floor: number): ClientQueue {
    let queue = this.#queues.get(clientId)
    if (queue === undefined) {
      queue = {
        account: this.#accountOf(clientId),
        count: 0,
        bytes: 0,
        floor,
        inFlight: new Map(),
        leaving: new Set(),
        written: Promise.resolve(),
        isUnsure: false,
        connection: 0,
        trimming: undefined,
      }
      this.#queues.set(clientId, queue)
    }
    return queue
  }

  forget(clientId: string): void {
    const queue = this.#queues.get(clientId)
    if (queue === undefined) return
    queue.account.bytes -= queue.bytes
    queue.floor = Number.POSITIVE_INFINITY
    this.#queues.delete(clientId)
  }

  /** @returns the client's queue if it may still hold the row n */
  holding(clientId: string, n: number): ClientQueue | undefined {
    const queue = this.#queues.get(clientId)
    return queue !== undefined && n > queue.floor ? queue : undefined
  }

  connectionOf(client: ClientRef): QueueConnection | undefined {
    return this.#connections.get(client)
  }

  openConnection(client: ClientRef): QueueConnection {
    let connection = this.#connections.get(client)
    if (connection === undefined) {
      this.#connectionCount += 1
      connection = new QueueConnection(this.#connectionCount)
      this.#connections.set(client, connection)
    }
    return connection
  }

  /** The shared byte count of one account. Kept for each account that had a queue since the start. */
  #accountOf(clientId: string): { bytes: number } {
    const owner = ownerOf(clientId)
    const known = this.#accounts.get(owner) ?? { bytes: 0 }
    this.#accounts.set(owner, known)
    return known
  }
}

/**
 * @returns false if a newer connection of the session has used the queue: this one must assign no packet identifiers
 */
export function claim(queue: ClientQueue, { number }: QueueConnection): boolean {
  if (number < queue.connection) return false
  queue.connection = number
  return true
}

export function account(queue: ClientQueue, packets: number, bytes: number): void {
  const before = queue.bytes
  queue.count += packets
  queue.bytes = queue.count === 0 ? 0 : queue.bytes + bytes
  queue.account.bytes += queue.bytes - before
}
