/** Limits of outgoing queues. A queue that exceeds them loses its oldest rows. */
import type { KvWrite } from '../../../store/store.js'
import { type KvStore, peekPacket } from './kv.js'
import { account, type ClientQueue } from './queue-index.js'

export interface QueueLimitOptions {
  /** Limit of one session. */
  readonly maxQueuedMessages: number
  /** Limit of one session; bytes as stored: payload, topic and about 150 bytes per packet. */
  readonly maxQueuedBytes: number
  /** Limit of all sessions of an account together. */
  readonly accountQueuedBytes: number
  /** Called when the `count` oldest packets of a client were dropped. */
  readonly onDropped: (clientId: string, count: number) => void
}

const REMOVALS_PER_WRITE = 1000

export class QueueLimits {
  constructor(
    private readonly kv: KvStore,
    private readonly options: QueueLimitOptions,
  ) {}

  /** Resolves when the queue is within its limits. */
  trim(clientId: string, queue: ClientQueue): Promise<void> | undefined {
    if (queue.trimming === undefined && this.#isOver(queue))
      queue.trimming = this.#dropOldest(clientId, queue)
    return queue.trimming
  }

  #isOver({ account: { bytes: all }, count, bytes }: ClientQueue): boolean {
    const { maxQueuedMessages, maxQueuedBytes, accountQueuedBytes } = this.options
    return count > maxQueuedMessages || bytes > maxQueuedBytes || (all > accountQueuedBytes && count > 0)
  }

  async #dropOldest(clientId: string, queue: ClientQueue): Promise<void> {
    try {
      while (this.#isOver(queue)) {
        const removals = await this.#pickOldest(clientId, queue)
        if (removals.length === 0) return
        await this.kv.kvWrite(removals)
        this.options.onDropped(clientId, removals.length)
      }
    } finally {
      queue.trimming = undefined
    }
  }

  async #pickOldest(clientId: string, queue: ClientQueue): Promise<KvWrite[]> {
    const removals: KvWrite[] = []
    for await (const { key, value } of this.kv.kvRange('queue', [clientId])) {
      if (!this.#isOver(queue) || removals.length === REMOVALS_PER_WRITE) break
      const n = key[1] as number
      if (n <= queue.floor || queue.leaving.has(n)) continue
      queue.floor = n
      account(queue, -1, -value.byteLength)
      const { messageId = -1 } = peekPacket(value)
      if (queue.inFlight.get(messageId)?.n === n) queue.inFlight.delete(messageId)
      removals.push({ remove: 'queue', key })
    }
    return removals
  }
}
