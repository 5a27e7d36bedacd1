/**
 * One connected device reading its owner's inbox; both front ends use this class.
 *
 * Live: rows come from the append that has just been stored, when each is the next one. Catching up: in every other
 * case (just connected, a hole, a full window, a full socket) rows are read from the store. The log is the truth and
 * a notification only the fast way, so a lost one costs a page read and never a message. Memory is bounded by the
 * window, whatever the reader does.
 */
import { toGatewayError } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import type { Metrics } from '../core/metrics.js'
import type { Cursor, InboxRow, UserId } from '../core/model.js'
import type { CursorMove } from '../store/store.js'
import type { Inbox, LiveReader } from './inbox.js'
import { Window, type WindowLimits } from './window.js'

/** How a row comes to this device. */
export interface Delivery {
  /** Was in the inbox when the reader started: to an MQTT client a retained message. */
  readonly waited: boolean
  /** May have been sent to this device before: DUP. */
  readonly again: boolean
  /** QoS 2 and its PUBREC came: go on with PUBREL [MQTT-4.3.3-1]. */
  readonly released: boolean
}

/** The way out to one client. */
export interface Sink {
  /** False while the client's socket is full; call `InboxReader.resume` when it takes bytes again. */
  readonly canTake: boolean
  deliver(row: InboxRow, how: Delivery): void
  /** Messages that this device never had were removed by a limit: seqs `from` to `to`. */
  gap(from: number, to: number): void
}

export interface ReaderOptions extends WindowLimits {
  readonly userId: UserId
  /** Whose cursor this is. */
  readonly device: string
  readonly sink: Sink
  /** A device that was never seen asks for everything. */
  readonly from?: 'start' | undefined
}

/** What readers have without a PUBREC. Nothing is ever added to it. */
const NONE: ReadonlySet<number> = new Set()
const PAGE = 256
const RETRY_MS = 1000

export class InboxReader implements LiveReader {
  readonly userId: UserId
  readonly #device: string
  readonly #sink: Sink
  readonly #from: 'start' | undefined
  readonly #window: Window
  #released = NONE as Set<number>
  #confirmed = 0
  #sent = 0
  #sentBefore = 0
  #waitedUpTo = Number.POSITIVE_INFINITY
  #isStarted = false
  #live = false
  #missed = false
  #reading = false
  #closed = false
  #retry: NodeJS.Timeout | undefined

  constructor(
    private readonly inbox: Inbox,
    private readonly metrics: Metrics,
    private readonly log: Logger,
    { userId, device, sink, from, windowMessages, windowChars }: ReaderOptions,
  ) {
    this.#device = device
    this.#sink = sink
    this.#from = from
    this.#window = new Window(windowMessages, windowChars)
    this.userId = userId
  }

  /** Highest seq written to the client. */
  get sent(): number {
    return this.#sent
  }

  get confirmed(): number {
    return this.#confirmed
  }

  /** Whether the device should confirm soon: half of what may be in flight is. */
  get isHalfFull(): boolean {
    return this.#window.isHalfFull
  }

  /**
   * Makes a device that was never seen durably known: before it is told that it is in, so that a crash right after
   * that costs it no message. @throws GatewayError when the store does not answer
   */
  async enrol(): Promise<void> {
    await this.#cursor()
  }

  #cursor(): Promise<Cursor> {
    return this.inbox.cursors.load(this.userId, this.#device, this.#from)
  }

  /** Finds the cursor and begins to deliver. @throws GatewayError when the store does not answer */
  async start(): Promise<void> {
    // The client may be gone before it is told that it is in.
    if (this.#closed) return
    // First of all: what is stored from now on is offered, and what was stored before is there to be read.
    this.inbox.attach(this)
    // Both as of now: what comes while a new device's first cursor is written did not wait; see also `offer`.
    const [cursor, lastSeq] = await Promise.all([this.#cursor(), this.inbox.store.lastSeq(this.userId)])
    if (this.#closed) return
    this.#confirmed = this.#sent = cursor.confirmed
    this.#sentBefore = cursor.sent
    if (cursor.released.length > 0) this.#released = new Set(cursor.released)
    this.#waitedUpTo = Math.min(this.#waitedUpTo, lastSeq)
    this.#isStarted = true
    // Written even when nothing moved: a device that was seen keeps its place from now on.
    this.#remember()
    await this.#catchUp()
  }

  offer(row: InboxRow): boolean {
    // A slow store may count it with what was there before.
    if (!this.#isStarted) this.#waitedUpTo = Math.min(this.#waitedUpTo, row.seq - 1)
    if (!this.#isStarted || row.seq <= this.#sent) return false
    if (this.#live && row.seq === this.#sent + 1 && this.#hasRoom()) {
      this.#write(row)
      return true
    }
    this.#live = false
    this.#missed = true
    this.resume()
    return false
  }

  /** Everything up to `seq` arrived (ack action, or a pong, or a QoS 0 write that left the process). */
  confirmUpTo(seq: number): void {
    const count = this.#window.removeUpTo(seq)
    if (count > 0) this.#advance(count)
  }

  /** One message arrived (PUBACK, PUBCOMP): they may come out of order; the cursor waits for the oldest. */
  confirmOne(seq: number): void {
    if (!this.#window.remove(seq)) return
    this.#released.delete(seq)
    this.#advance(1)
  }

  /** PUBREC came for `seq`. Resolves when that is durable, so that PUBREL may go [MQTT-4.3.3-1]. @throws GatewayError */
  async release(seq: number): Promise<void> {
    if (!this.#window.has(seq)) return
    if (this.#released === NONE) this.#released = new Set()
    this.#released.add(seq)
    await this.inbox.cursors.moveNow(this.place)
  }

  /** The socket takes bytes again. */
  resume(): void {
    if (this.#isStarted && !this.#live && !this.#reading && !this.#closed && this.#hasRoom())
      void this.#catchUp()
  }

  /** The device is still here: its place is not forgotten for want of messages. */
  touch(): void {
    if (this.#isStarted) this.#remember()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#retry)
    this.inbox.detach(this)
    if (this.#sent > 0) this.#remember()
  }

  #hasRoom(): boolean {
    return this.#sink.canTake && this.#window.hasRoom(this.#sent - this.#confirmed)
  }

  #write(row: InboxRow): void {
    const { seq, text } = row
    // A log has no holes of its own: what is not there any more was trimmed.
    if (seq > this.#sent + 1) this.#sink.gap(this.#sent + 1, seq - 1)
    this.#sent = seq
    this.#window.add(seq, text.length)
    this.metrics.delivered.inc()
    this.#sink.deliver(row, {
      waited: seq <= this.#waitedUpTo,
      again: seq <= this.#sentBefore,
      released: this.#released.size > 0 && this.#released.has(seq),
    })
  }

  #advance(count: number): void {
    this.metrics.confirmed.inc(count)
    const { oldest } = this.#window
    const confirmed = oldest === undefined ? this.#sent : oldest - 1
    if (confirmed > this.#confirmed) {
      this.#confirmed = confirmed
      this.#remember()
    }
    this.resume()
  }

  /** What its device has confirmed, and what it was sent. */
  get place(): CursorMove {
    return {
      userId: this.userId,
      device: this.#device,
      confirmed: this.#confirmed,
      sent: Math.max(this.#sent, this.#sentBefore),
      released: [...this.#released],
      seenAt: Date.now(),
    }
  }

  #remember(): void {
    this.inbox.cursors.moved(this)
  }

  async #catchUp(): Promise<void> {
    this.#reading = true
    try {
      while (!this.#closed && !this.#live && this.#hasRoom()) await this.#readPage()
    } catch (thrown) {
      const err = toGatewayError(thrown, 'STORE_UNAVAILABLE')
      this.log.error(
        { event: 'store.failed', operation: 'readInbox', userId: this.userId, err },
        'inbox not read',
      )
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined
        this.resume()
      }, RETRY_MS).unref()
    } finally {
      this.#reading = false
    }
  }

  async #readPage(): Promise<void> {
    this.#missed = false
    const limit = Math.min(PAGE, this.#window.messagesLeft)
    const room = this.#window.charsLeft
    const rows = await this.inbox.store.readInbox(this.userId, this.#sent, limit, room)
    let chars = 0
    for (const row of rows) {
      if (this.#closed || !this.#hasRoom()) return
      this.#write(row)
      chars += row.text.length
    }
    const isEnd = rows.length < limit && chars < room
    if (isEnd && !this.#missed) this.#live = true
  }
}
