/** `users/<id>/replies`: what a user's devices are told, in order. What waits meanwhile shares the next commit. */
import { setTimeout as delay } from 'node:timers/promises'
import type { PublishPacket } from 'aedes'
import type { UserId } from '../model.js'
import { makePacket } from './state.js'
import { repliesTopic } from './topics.js'

export interface ReplyTopicOptions {
  /** Makes it durable for sessions that are away. @returns what to route */
  readonly store: (packet: PublishPacket) => Promise<PublishPacket>
  readonly route: (packet: PublishPacket) => void
  readonly onFailed: (thrown: unknown) => void
  /** One was left out: too many of its user's wait. */
  readonly onDropped: () => void
}

interface Reply {
  readonly packet: PublishPacket
  readonly done: () => void
}

interface Line {
  readonly waiting: Reply[]
  sent: Promise<void>
}

/** Of one user. Requests wait for their reply, so one connection has a chunk of its socket here at most. */
const MAX_WAITING = 10_000
/** In one commit, and in one turn of the event loop. */
const BATCH = 500

export class ReplyTopic {
  readonly #lines = new Map<UserId, Line>()
  #isClosed = false

  constructor(private readonly options: ReplyTopicOptions) {}

  /** Resolves when it is stored and routed, or given up and reported; never rejects. */
  tell(userId: UserId, payload: string): Promise<void> {
    return new Promise(done => {
      const reply = { packet: makePacket(repliesTopic(userId), payload, 1), done }
      const line = this.#lines.get(userId)
      if (line === undefined) this.#open(userId, reply)
      else if (line.waiting.length < MAX_WAITING) line.waiting.push(reply)
      else {
        this.options.onDropped()
        done()
      }
    })
  }

  /** Waits for what is under way, but no longer than this. What is left then is given up. */
  async close(timeoutMs: number): Promise<void> {
    const timer = new AbortController()
    const sent = Promise.all(Array.from(this.#lines.values(), line => line.sent))
    const late = delay(timeoutMs, undefined, { signal: timer.signal }).catch(() => undefined)
    await Promise.race([sent, late])
    timer.abort()
    this.#isClosed = true
  }

  #open(userId: UserId, first: Reply): void {
    const line: Line = { waiting: [first], sent: Promise.resolve() }
    this.#lines.set(userId, line)
    line.sent = this.#send(userId, line)
  }

  async #send(userId: UserId, { waiting }: Line): Promise<void> {
    while (waiting.length > 0 && !this.#isClosed) {
      const batch = waiting.splice(0, BATCH)
      const stored = await Promise.allSettled(batch.map(({ packet }) => this.options.store(packet)))
      for (const result of stored) {
        if (result.status === 'fulfilled') this.options.route(result.value)
        else this.options.onFailed(result.reason)
      }
      for (const { done } of batch) done()
    }
    this.#lines.delete(userId)
    for (const { done } of waiting) done()
  }
}
