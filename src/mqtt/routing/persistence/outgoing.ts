/** Packets that persistent sessions get at QoS 1 and 2. */
import { Readable } from 'node:stream'
import type { KvWrite } from '../../../store/store.js'
import { Handshakes } from './handshakes.js'
import type { Incoming } from './incoming.js'
import type { BrokerPacket, ClientRef, KvStore } from './kv.js'
import type { PersistenceOptions } from './options.js'
import { OutgoingQueue, type QueueTarget } from './queue.js'
import { QueueIndex } from './queue-index.js'
import { QueueLimits } from './queue-limits.js'
import type { Sessions } from './sessions.js'

/** A QoS 2 packet that waits for PUBREL. */
export interface ReceivedPacket {
  readonly client: ClientRef
  readonly messageId: number
}

/** A packet and the sessions that it is queued for: at least one. */
export interface QueuedPacket {
  readonly targets: readonly QueueTarget[]
  readonly packet: BrokerPacket
}

export class Outgoing {
  readonly queue: OutgoingQueue
  readonly #handshakes: Handshakes

  constructor(
    private readonly kv: KvStore,
    private readonly parts: { readonly sessions: Sessions; readonly incoming: Incoming },
    options: PersistenceOptions,
  ) {
    const unlimited = Number.POSITIVE_INFINITY
    const index = new QueueIndex()
    const limits = new QueueLimits(kv, {
      maxQueuedMessages: options.maxQueuedMessages ?? unlimited,
      maxQueuedBytes: options.maxQueuedBytes ?? unlimited,
      accountQueuedBytes: options.accountQueuedBytes ?? unlimited,
      onDropped: (clientId, count) => options.onDropped?.(clientId, count),
    })
    this.queue = new OutgoingQueue(kv, index, limits, (...row) => options.onDamaged?.(...row))
    this.#handshakes = new Handshakes(kv, index, error => options.onError?.(error))
  }

  /**
   * Queues a packet for all targets in one write; resolves when it is durable.
   * @param received the QoS 2 packet that the sender sent. The same write stores its identifier, so a resend after a
   *   crash is recognised [MQTT-4.3.3-2]
   */
  async enqueue(
    targets: readonly QueueTarget[],
    packet: BrokerPacket,
    received?: ReceivedPacket,
  ): Promise<void> {
    await this.enqueueAll([{ targets, packet }], received)
  }

  /** The same for several packets, in one write. */
  async enqueueAll(packets: readonly QueuedPacket[], received?: ReceivedPacket): Promise<void> {
    const made = packets
      .flatMap(({ targets }) => targets)
      .flatMap(({ clientId }) => this.parts.sessions.ensure(clientId, Date.now()))
    await this.#enqueueNext(packets, rows => this.#write([...made, ...rows], received))
  }

  /** @param commit gets the rows of all packets */
  #enqueueNext(
    [next, ...rest]: readonly QueuedPacket[],
    commit: (rows: KvWrite[]) => Promise<void>,
  ): Promise<void> {
    if (next === undefined) return commit([])
    return this.queue.enqueue(next.targets, next.packet, own =>
      this.#enqueueNext(rest, others => commit([...own, ...others])),
    )
  }

  #write(rows: KvWrite[], received: ReceivedPacket | undefined): Promise<void> {
    if (received === undefined) return this.kv.kvWrite(rows)
    const { sessions, incoming } = this.parts
    const { client, messageId } = received
    return incoming.add(client.id, messageId, [...sessions.ensureFor(client), ...rows])
  }

  /** @param packet a PUBLISH that is about to be sent, or the PUBREL that answers a PUBREC */
  async update(client: ClientRef, packet: BrokerPacket): Promise<void> {
    const { cmd, messageId = 0 } = packet
    if (cmd !== 'pubrel') return this.#handshakes.send(client, packet)
    const session = this.parts.sessions.ensure(client.id, Date.now())
    await this.#handshakes.release(client, messageId, session)
  }

  /** @returns the confirmed packet; undefined if there is none */
  async acknowledged(clientId: string, messageId: number | undefined): Promise<BrokerPacket | undefined> {
    // Without an identifier: the packet was not sent, and stays queued.
    return messageId === undefined ? undefined : this.#handshakes.take(clientId, messageId)
  }

  stream(client: ClientRef): Readable {
    return client.clean ? Readable.from([]) : this.queue.stream(client)
  }

  /** Whether the stream of this connection delivers the packet, now or once it begins. */
  isStreamed(client: ClientRef, packet: BrokerPacket): boolean {
    return this.queue.isStreamed(client, packet)
  }

  /** Whether a packet with this identifier was sent and the client has not acknowledged it. */
  isInFlight(clientId: string, messageId: number): boolean {
    return this.#handshakes.isInFlight(clientId, messageId)
  }

  /** Number of packets of which only PUBREL is sent again. */
  countReleased(clientId: string): number {
    return this.#handshakes.countReleased(clientId)
  }
}
