/** In-flight packets of persistent sessions: packet identifiers, PUBREC, and the last acknowledgement. */
import type { KvWrite } from '../../../store/store.js'
import {
  type BrokerPacket,
  type ClientRef,
  encodePacket,
  type KvStore,
  packetKey,
  packetOf,
  publishFields,
} from './kv.js'
import {
  account,
  type ClientQueue,
  claim,
  type InFlight,
  type QueueIndex,
  type QueueRow,
} from './queue-index.js'

const NO_ROW: QueueRow = { n: 0, size: 0 }

export class Handshakes {
  /** @param onError called if a write fails for which no caller waits */
  constructor(
    private readonly kv: KvStore,
    private readonly index: QueueIndex,
    private readonly onError: (error: unknown) => void,
  ) {}

  /**
   * Stores the packet identifier under which a packet is sent. QoS 2 waits for the commit. QoS 1 does not: if the
   * process dies before the commit, the packet is sent again under another identifier. If QoS 1 waited, each packet of
   * a queue would need a commit of its own.
   * @param packet with the QoS at which it is sent
   */
  async send(client: ClientRef, packet: BrokerPacket): Promise<void> {
    const { messageId, qos } = packet
    if (messageId === undefined) return
    const connection = this.index.openConnection(client)
    const { n, size } = this.#rowOf(client, packet) ?? (await this.#find(client.id, packet))
    const queue = this.index.holding(client.id, n)
    if (queue === undefined || !claim(queue, connection)) return
    const { number } = connection
    const before = queue.inFlight.get(messageId)
    if (before?.n === n) {
      before.connection = number
      return
    }
    const value = encodePacket(publishFields(packet))
    const sent = { n, size: value.byteLength, connection: number, released: undefined }
    queue.inFlight.set(messageId, sent)
    account(queue, 0, sent.size - size)
    const written = this.#write(queue, [{ put: 'queue', key: [client.id, n], value }])
    if (qos === 2) return written
    written.catch(this.onError)
  }

  /**
   * Replaces the packet that PUBREC confirms with a PUBREL. Resolves when the PUBREL is durable, for a repeated PUBREC,
   * too. The identifier may be unknown: its packet was dropped, or was not queued because the subscription began
   * meanwhile.
   * @param alongside writes for the same commit
   */
  async release(client: ClientRef, messageId: number, alongside: readonly KvWrite[]): Promise<void> {
    const { index } = this
    const queue = index.open(client.id, index.last)
    const known = inFlight(queue, messageId)
    if (known?.released !== undefined) return known.released
    const value = encodePacket({ cmd: 'pubrel', messageId })
    const n = known?.n ?? index.next()
    const released = this.#write(queue, [...alongside, { put: 'queue', key: [client.id, n], value }])
    const size = value.byteLength
    const { number } = index.openConnection(client)
    queue.inFlight.set(messageId, { n, size, connection: number, released })
    const [rows, bytes] = known === undefined ? [1, size] : [0, size - known.size]
    account(queue, rows, bytes)
    try {
      await released
    } catch (error) {
      account(queue, -rows, -bytes)
      if (known === undefined) queue.inFlight.delete(messageId)
      else queue.inFlight.set(messageId, known)
      throw error
    }
  }

  /** Removes the packet that PUBACK or PUBCOMP confirms. @returns the packet; undefined if none has this identifier */
  async take(clientId: string, messageId: number): Promise<BrokerPacket | undefined> {
    const queue = this.index.get(clientId)
    const sent = queue && inFlight(queue, messageId)
    if (queue === undefined || sent === undefined) return undefined
    const { n, size } = sent
    const key = [clientId, n]
    queue.leaving.add(n)
    try {
      const value = await this.kv.kvGet('queue', key)
      if (value !== undefined) {
        await this.#write(queue, [{ remove: 'queue', key }])
        if (this.index.get(clientId) === queue) account(queue, -1, -size)
      }
      if (queue.inFlight.get(messageId)?.n === n) queue.inFlight.delete(messageId)
      return value && { ...packetOf(value), messageId }
    } finally {
      queue.leaving.delete(n)
    }
  }

  isInFlight(clientId: string, messageId: number): boolean {
    return this.index.get(clientId)?.inFlight.has(messageId) ?? false
  }

  /** Number of packets that got PUBREC and not yet PUBCOMP. */
  countReleased(clientId: string): number {
    let count = 0
    for (const { released } of this.index.get(clientId)?.inFlight.values() ?? []) if (released) count++
    return count
  }

  /** @returns undefined if the packet does not name its rows and the stream of this connection has not read it */
  #rowOf(client: ClientRef, packet: BrokerPacket): QueueRow | undefined {
    const { queued } = packet
    if (queued === undefined) return this.index.openConnection(client).takeStreamed(packet)
    const size = queued.sizes.get(client.id)
    return size === undefined ? NO_ROW : { n: queued.n, size }
  }

  /** Searches the queue for a packet by its broker id and counter. */
  async #find(clientId: string, packet: BrokerPacket): Promise<QueueRow> {
    for await (const { key, value } of this.kv.kvRange('queue', [clientId])) {
      const queued = packetOf(value)
      if (queued !== undefined && packetKey(queued) === packetKey(packet))
        return { n: key[1] as number, size: value.byteLength }
    }
    return NO_ROW
  }

  async #write(queue: ClientQueue, writes: readonly KvWrite[]): Promise<void> {
    const written = this.kv.kvWrite(writes)
    queue.written = written
    try {
      await written
    } catch (error) {
      queue.isUnsure = true
      throw error
    }
  }
}

/** @returns undefined also for a packet that was dropped or is being removed */
function inFlight(queue: ClientQueue, messageId: number): InFlight | undefined {
  const sent = queue.inFlight.get(messageId)
  return sent !== undefined && sent.n > queue.floor && !queue.leaving.has(sent.n) ? sent : undefined
}
