/** What is in memory of the outgoing queues: a few numbers a client, and a small entry for each packet in flight. */
import { ownerOf } from '../../acl/client-id.js'
import { type BrokerPacket, type ClientRef, packetKey } from './kv.js'

export interface ClientQueue {
  /** Bytes that all sessions of its account have queued together. */
  readonly account: { bytes: number }
  count: number
  bytes: number
  /** Rows up to this n are dropped, or were another session's; a read that began earlier may still show them. */
  floor: number
  /** By packet identifier. */
  readonly inFlight: Map<number, InFlight>
  /** Rows that are being removed because PUBACK or PUBCOMP came, by n. */
  readonly leaving: Set<number>
  /** The latest write of a row of this queue. Writes settle in order: when it has settled, all before it have. */
  written: Promise<void>
  /** A write failed, and nobody knows whether the store has done it: `inFlight` may differ from the store. */
  isUnsure: boolean
  /** The newest connection that has used the queue. */
  connection: number
  trimming: Promise<void> | undefined
}

export interface InFlight {
  readonly n: number
  readonly size: number
  /** On which connection it was last sent; 0 = before this start. */
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
  /** The stream of this connection brings the rows up to this n; rows above it are delivered when they are routed. */
  upTo = 0
  /** Rows that the stream has read and that were not sent yet: a few, since the stream waits for its reader. */
  readonly #streamed = new Map<string, QueueRow>()

  /** @param number from 1, rising with time */
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
  /** The highest n so far. */
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

  /** @param floor of a queue that is made here: the highest n that an earlier session of the client may have used */
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

  /** The queue, where the row of this n is still in it. */
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

  /** One for each account that had a queue since the start. */
  #accountOf(clientId: string): { bytes: number } {
    const owner = ownerOf(clientId)
    const known = this.#accounts.get(owner) ?? { bytes: 0 }
    this.#accounts.set(owner, known)
    return known
  }
}

/** @returns false for a connection that another one of the session has followed: it may not give packet identifiers */
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
