/**
 * Messages that wait to be stored, in two queues. The second queue holds broadcasts and the messages of a sender who has
 * much waiting; a batch takes from the first queue first. So a sender in bulk delays only himself. Each sender's
 * messages keep their order: while one is in the second queue, the sender's next ones go there, too.
 */
import { MESSAGE_KINDS } from '../core/message-kinds.js'
import type { NewMessage, UserId } from '../core/model.js'

export interface BacklogLimits {
  /** Bytes that may wait, of all senders. */
  readonly maxWaitingBytes: number
  /** Bytes of one commit. */
  readonly batchBytes: number
}

/** Messages of one commit. It keeps a burst from becoming one long commit that everyone waits for. */
const MAX_BATCH = 4096
/** The second queue may have this part of a batch: one eighth. */
const BULK_PART = 8
/** Memory of a waiting message besides its text, roughly. */
const MESSAGE_BYTES = 300
/** While less than this waits in all, nothing is counted by sender and every message goes into the first queue. */
const LITTLE_BYTES = 65_536

/** An item of the second queue. `behind`: so many items of the first queue must leave before it, to keep the sender's order. */
interface Held<W> {
  readonly waiting: W
  readonly behind: number
}

/** What one sender has waiting. */
interface Share {
  bytes: number
  /** Messages in the second queue. */
  bulk: number
}

export class Backlog<W extends { readonly message: NewMessage }> {
  readonly #first = new Fifo<W>()
  readonly #second = new Fifo<Held<W>>()
  readonly #shares = new Map<UserId, Share>()
  #bytes = 0
  /** How many were ever put into the first queue, and taken out of it. */
  #pushed = 0
  #taken = 0

  constructor(private readonly limits: BacklogLimits) {}

  get length(): number {
    return this.#first.length + this.#second.length
  }

  /** Whether this sender has as much waiting as is left for all: one may have half of it, two a third each. */
  hasTooMuchWaiting(sender: UserId): boolean {
    const free = this.limits.maxWaitingBytes - this.#bytes
    // Most of the time nothing is to be looked up.
    return free < this.#bytes && (this.#shares.get(sender)?.bytes ?? 0) >= free
  }

  push(waiting: W): void {
    const { message } = waiting
    const bytes = heldBytes(message)
    this.#bytes += bytes
    const { isBulk } = MESSAGE_KINDS[message.kind]
    const isCounted = isBulk || this.#shares.size > 0 || this.#bytes >= LITTLE_BYTES
    const share = isCounted ? this.#shareOf(message.sender) : undefined
    if (share !== undefined) share.bytes += bytes
    if (share === undefined || (!isBulk && share.bulk === 0 && share.bytes < LITTLE_BYTES)) {
      this.#first.push(waiting)
      this.#pushed++
      return
    }
    share.bulk++
    this.#second.push({ waiting, behind: this.#pushed })
  }

  /** The next batch; empty only when nothing waits. */
  take(): W[] {
    const { batchBytes } = this.limits
    const batch: W[] = []
    this.#takeFirst(batch, batchBytes)
    this.#takeSecond(batch, batchBytes / BULK_PART)
    if (this.length === 0) {
      // Also of an empty one V8 makes another table, which is garbage that stays (window.ts).
      if (this.#shares.size > 0) this.#shares.clear()
      this.#bytes = 0
    }
    return batch
  }

  /** Takes at least one, of any size. */
  #takeFirst(batch: W[], maxBytes: number): void {
    for (let bytes = 0; batch.length < MAX_BATCH && bytes < maxBytes; this.#taken++) {
      const waiting = this.#first.shift()
      if (waiting === undefined) return
      bytes += this.#take(batch, waiting, false)
    }
  }

  #takeSecond(batch: W[], maxBytes: number): void {
    const most = batch.length + Math.max(MAX_BATCH / BULK_PART, MAX_BATCH - batch.length)
    for (let bytes = 0; batch.length < most && bytes < maxBytes; ) {
      const held = this.#second.peek()
      if (held === undefined || held.behind > this.#taken) return
      this.#second.shift()
      bytes += this.#take(batch, held.waiting, true)
    }
  }

  /** @returns what it adds to the batch, bytes */
  #take(batch: W[], waiting: W, isBulk: boolean): number {
    batch.push(waiting)
    this.#left(waiting.message, isBulk)
    return MESSAGE_BYTES + waiting.message.text.length
  }

  #left(message: NewMessage, isBulk: boolean): void {
    const bytes = heldBytes(message)
    this.#bytes -= bytes
    const share = this.#shares.size === 0 ? undefined : this.#shares.get(message.sender)
    if (share === undefined) return
    share.bytes = Math.max(0, share.bytes - bytes)
    if (isBulk) share.bulk--
    if (share.bulk === 0 && share.bytes === 0) this.#shares.delete(message.sender)
  }

  #shareOf(sender: UserId): Share {
    const known = this.#shares.get(sender)
    if (known !== undefined) return known
    const share = { bytes: 0, bulk: 0 }
    this.#shares.set(sender, share)
    return share
  }
}

/** The copies of a broadcast have one text together. */
const heldBytes = ({ kind, text }: NewMessage): number =>
  MESSAGE_KINDS[kind].isShared ? MESSAGE_BYTES : MESSAGE_BYTES + text.length

/** An array whose front is passed over, and cut off now and then: `shift` of a long one moves all of it. */
class Fifo<T> {
  #items: T[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(item: T): void {
    this.#items.push(item)
  }

  peek(): T | undefined {
    return this.#items[this.#head]
  }

  shift(): T | undefined {
    const item = this.peek()
    if (item === undefined) return undefined
    this.#head++
    if (this.#head === this.#items.length) {
      this.#items = []
      this.#head = 0
    } else if (this.#head >= MAX_BATCH) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
}
