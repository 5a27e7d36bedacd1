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
import type { FrontEnd, Metrics } from '../core/metrics.js'
import type { Cursor, InboxRow } from '../core/model.js'
import type { ReaderState } from '../core/watched.js'
import { DevicePlace } from './device-place.js'
import type { Inbox, LiveReader } from './inbox.js'
import type { ReaderOptions, Sink } from './sink.js'

const PAGE = 256
const RETRY_MS = 1000

export class InboxReader extends DevicePlace implements LiveReader {
  readonly #sink: Sink
  readonly #from: 'start' | undefined
  /** Up to here each was delivered, or told to be gone. */
  #told = 0
  #waitedUpTo = Number.POSITIVE_INFINITY
  #live = false
  #missed = false
  #reading = false
  #closed = false
  #retry: NodeJS.Timeout | undefined

  constructor(
    private readonly inbox: Inbox,
    metrics: Metrics,
    private readonly log: Logger,
    options: ReaderOptions,
  ) {
    super(options.userId, options.device, inbox.cursors, metrics, options)
    this.#sink = options.sink
    this.#from = options.from
  }

  /**
   * Makes a device that was never seen durably known: before it is told that it is in, so that a crash right after
   * that costs it no message. @throws GatewayError when the store does not answer
   */
  async enrol(): Promise<void> {
    await this.#cursor()
  }

  #cursor(): Promise<Cursor> {
    return this.inbox.cursors.load(this.userId, this.device, this.#from)
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
    this.#told = cursor.confirmed
    this.#waitedUpTo = Math.min(this.#waitedUpTo, lastSeq)
    this.begin(cursor)
    // Nothing waits, as for most when all come back at once: what is there needs no look.
    if (lastSeq <= cursor.confirmed && !this.#missed) this.#live = true
    else await this.#catchUp()
  }

  offer(row: InboxRow): boolean {
    if (!this.isFound) {
      // A slow store may count it with what was there before.
      this.#waitedUpTo = Math.min(this.#waitedUpTo, row.seq - 1)
      this.#missed = true
      return false
    }
    if (row.seq <= this.sent) return false
    if (this.#live && row.seq === this.sent + 1 && this.#hasRoom()) {
      if (this.#write(row)) return true
      this.#tellUpTo(row.seq)
      return false
    }
    this.#live = false
    this.#missed = true
    this.resume()
    return false
  }

  /** The socket takes bytes again, or the window has room. */
  resume(): void {
    if (this.isFound && !this.#live && !this.#reading && !this.#closed && this.#hasRoom())
      void this.#catchUp()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#retry)
    this.inbox.detach(this)
    this.metrics.samples.forget(this)
    if (this.sent > 0) this.touch()
  }

  get front(): FrontEnd {
    return this.#sink.front
  }

  /** `parked`: its client must confirm, or take what was written, before more is read for it. */
  get state(): ReaderState {
    if (this.#live) return 'live'
    return this.isFound && !this.#hasRoom() ? 'parked' : 'catching-up'
  }

  #hasRoom(): boolean {
    return this.#sink.canTake && this.window.hasRoom(this.span)
  }

  /**
   * @returns false if it is passed over: an earlier connection has settled it, or it has expired, and the device is told of that
   *   later, with those behind it
   */
  #write(row: InboxRow): boolean {
    const { seq, text, expiresAt } = row
    if (this.isSettled(seq)) {
      this.#tellUpTo(seq - 1)
      this.#told = seq
      this.passOver(seq)
      return false
    }
    // What was sent once does not expire any more (MQTT 5, 4.3.3).
    if (expiresAt !== undefined && !this.wasSent(seq) && Date.now() >= expiresAt) {
      this.metrics.expired.inc()
      this.passOver(seq)
      return false
    }
    // A log has no holes of its own: what is not there any more was trimmed, or has expired.
    this.#tellUpTo(seq - 1)
    this.#told = seq
    this.send(seq, text.length)
    this.metrics.delivered.inc()
    const waited = seq <= this.#waitedUpTo
    this.#sink.deliver(row, {
      waited,
      again: this.wasSent(seq),
      released: this.isReleased(seq),
    })
    this.inbox.tracing?.delivered(row.id, seq, this.front)
    if (!waited) this.metrics.samples.handed(this, seq, row.id)
    return true
  }

  #tellUpTo(seq: number): void {
    if (seq <= this.#told) return
    this.#sink.gap(this.#told + 1, seq)
    this.#told = seq
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
    const limit = Math.min(PAGE, this.window.messagesLeft)
    const room = this.window.charsLeft
    const rows = await this.inbox.store.readInbox(this.userId, this.sent, limit, room)
    let chars = 0
    for (const row of rows) {
      if (this.#closed || !this.#hasRoom()) return
      this.#write(row)
      chars += row.text.length
    }
    const isEnd = rows.length < limit && chars < room
    if (isEnd) this.#tellUpTo(this.sent)
    if (isEnd && !this.#missed) this.#live = true
  }
}
