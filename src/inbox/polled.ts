/** An inbox that is asked for page by page, by a device without a connection that messages could be written to. */
import type { FrontEnd } from '../core/metrics.js'
import type { Cursor, InboxRow, UserId } from '../core/model.js'
import type { Inbox, LiveReader } from './inbox.js'

/** UTF-16 units of the texts of a page; it has one message at least. */
const PAGE_CHARS = 1_000_000

export interface Page {
  /** Rising. */
  readonly rows: readonly InboxRow[]
  /** Everything up to this seq is in `rows`, or was removed or has expired. Never behind the end of the inbox. */
  readonly upTo: number
  /** What the device has confirmed. */
  readonly confirmed: number
  /** Whether there is something behind `upTo`. */
  readonly more: boolean
}

export class PolledInbox {
  constructor(
    private readonly inbox: Inbox,
    private readonly userId: UserId,
    private readonly device: string,
    private readonly front: FrontEnd,
  ) {}

  /**
   * Reads on, and keeps the device's place. It passes over what is not there any more, and what has expired and was not read before.
   * @param after seq; undefined: what the device has confirmed
   * @throws GatewayError STORE_UNAVAILABLE
   */
  async read(limit: number, after?: number): Promise<Page> {
    const { cursor, from, end, rows, upTo } = await this.#look(limit, after)
    const confirmed = rows.length === 0 && from === cursor.confirmed ? upTo : cursor.confirmed
    // Behind a gap that the device was never sent, the place stays: what is in the gap may still expire.
    const isNext = from <= Math.max(cursor.sent, cursor.confirmed)
    this.inbox.cursors.moved({ place: this.#placeOf(cursor, confirmed, isNext ? upTo : confirmed) })
    this.inbox.metrics.delivered.inc(rows.length)
    return { rows, upTo, confirmed, more: upTo < end }
  }

  /**
   * Changes nothing.
   * @param after as of `read`
   * @returns the seq behind which a message would be the first that `read` gives; undefined: it need not be waited for, since there
   *   is one, or `after` is no seq of this inbox yet
   * @throws GatewayError STORE_UNAVAILABLE
   */
  async emptyUpTo(after?: number): Promise<number | undefined> {
    const { from, end, rows, upTo } = await this.#look(1, after)
    return rows.length === 0 && from <= end ? upTo : undefined
  }

  async #look(limit: number, after?: number) {
    const { store, cursors } = this.inbox
    // Before the rows are read: what is stored meanwhile is not passed over.
    const [cursor, end] = await Promise.all([
      cursors.load(this.userId, this.device),
      store.lastSeq(this.userId),
    ])
    const from = after ?? cursor.confirmed
    const found = await store.readInbox(this.userId, from, limit, PAGE_CHARS)
    const now = Date.now()
    const isGone = ({ expiresAt, seq }: InboxRow) =>
      expiresAt !== undefined && now >= expiresAt && seq > cursor.sent
    const rows = found.filter(row => !isGone(row))
    // Whatever the client says it has, nothing is behind the end.
    return { cursor, from, end, rows, upTo: found.at(-1)?.seq ?? end }
  }

  /**
   * Everything up to `seq` arrived. It never takes back what was confirmed, nor confirms what is not there yet.
   * @returns what is confirmed now, durably @throws GatewayError STORE_UNAVAILABLE, STORE_FULL
   */
  async confirm(seq: number): Promise<number> {
    const { store, cursors } = this.inbox
    const [cursor, end] = await Promise.all([
      cursors.load(this.userId, this.device),
      store.lastSeq(this.userId),
    ])
    const confirmed = Math.max(cursor.confirmed, Math.min(seq, end))
    await cursors.moveNow(this.#placeOf(cursor, confirmed, confirmed))
    this.inbox.metrics.confirmed.inc(confirmed - cursor.confirmed)
    return confirmed
  }

  /** Resolves when there is something behind `after`, after `ms`, or with `signal`. @throws GatewayError STORE_UNAVAILABLE */
  async arrival(after: number, ms: number, signal: AbortSignal): Promise<void> {
    const { userId, device, front } = this
    let end: () => void = () => undefined
    const over = new Promise<void>(resolve => {
      end = resolve
    })
    const reader: LiveReader = {
      ...{ userId, device, front, state: 'live' },
      stateOf: () => undefined,
      touch: () => undefined,
      offer: ({ seq }) => {
        if (seq > after) end()
        return false
      },
    }
    const late = setTimeout(end, ms).unref()
    signal.addEventListener('abort', end)
    // First, so that nothing comes in between.
    this.inbox.attach(reader)
    try {
      if (!signal.aborted && (await this.inbox.store.lastSeq(userId)) <= after) await over
    } finally {
      this.inbox.detach(reader)
      signal.removeEventListener('abort', end)
      clearTimeout(late)
    }
  }

  /** @param upTo was handed out, or passed over */
  #placeOf({ sent, released }: Cursor, confirmed: number, upTo: number) {
    const { userId, device } = this
    return { userId, device, confirmed, sent: Math.max(sent, upTo), released, seenAt: Date.now() }
  }
}
