/** An inbox over JSON: messages out, confirmed by the pong to a ping that names a seq, or by the ack action. */

import { encodeExtendedFrame, encodeFrame, type FileRef, type FileUrls, type Links } from '../core/message.js'
import type { InboxRow, UserId } from '../core/model.js'
import { jsonDevice } from '../inbox/cursors.js'
import type { InboxReader } from '../inbox/reader.js'
import type { Sink } from '../inbox/sink.js'
import { encodeEvent } from '../protocol/replies.js'
import type { RequestData } from '../protocol/requests.js'
import type { ConnectionHost } from './host.js'

/** What writes to the client. */
export interface Writer {
  readonly canTake: boolean
  /** A text frame; leaves with the others of this turn. */
  write(text: string): void
  /** Sees to it that `pingPayload` is asked at this turn's end. */
  wake(): void
}

/**
 * Shortest time between two pings, ms, while messages keep coming and less than half of the window is in flight. To ping, to
 * read the pong and to move the cursor costs more than a message does, and a later confirmation only means that more comes
 * twice after a crash.
 */
const PING_PAUSE_MS = 1000
/** When nothing was sent for so long, ms, no more is waited for. */
const QUIET_MS = 200

/** What it takes of the server. */
export type DeliveryHost = Pick<ConnectionHost, 'later' | 'openReader'> & {
  readonly services: Pick<ConnectionHost['services'], 'files'>
}

export class InboxDelivery implements Sink, Links {
  readonly reader: InboxReader
  readonly isExplicit: boolean
  /** What it is told of besides messages; undefined: nothing. */
  readonly #events: readonly string[] | undefined
  /**
   * Behind the seq in a ping's payload: tells this login's pongs from late ones of an earlier login on the connection.
   */
  readonly #suffix: string
  readonly #encode: (row: InboxRow, links: Links) => string
  /** The seq in the ping that is not answered yet; 0: none. */
  #pinged = 0
  /** performance.now() when the last ping went out. */
  #pingedAt = Number.NEGATIVE_INFINITY
  /** Waits for messages to stop coming, or for the end of the pause. */
  #isWaiting = false
  /** The last seq sent, and performance.now() when that was seen. */
  #sent = 0
  #sentAt = 0

  /** @param nth logins on this connection before this one */
  constructor(
    private readonly host: DeliveryHost,
    private readonly writer: Writer,
    userId: UserId,
    { ack, device, events, from }: RequestData<'login'>,
    nth: number,
  ) {
    this.isExplicit = ack === 'explicit'
    this.#events = events
    this.#suffix = nth === 0 ? '' : ` ${nth}`
    const isExtended = ack !== undefined || device !== undefined || events !== undefined || from !== undefined
    this.#encode = isExtended ? encodeExtendedFrame : encodeFrame
    this.reader = host.openReader({ userId, device: jsonDevice(device), sink: this, from })
  }

  get front() {
    return 'json' as const
  }

  get canTake(): boolean {
    return this.writer.canTake
  }

  deliver(row: InboxRow): void {
    this.writer.write(this.#encode(row, this))
  }

  urlsFor(file: FileRef): FileUrls {
    return this.host.services.files.urlsFor(file, this.reader.userId)
  }

  gap(from: number, to: number): void {
    const notice = this.notice('dropped', { from, to })
    if (notice !== undefined) this.writer.write(notice)
  }

  /** @returns the text of an event; undefined if the client did not ask for this kind */
  notice(event: string, data: unknown): string | undefined {
    return this.#events?.includes(event) ? encodeEvent(event, data) : undefined
  }

  /**
   * Old clients know no acks, but every WebSocket endpoint answers pings (RFC 6455 5.5.2), and frames are ordered. So
   * the pong to a ping that names a seq proves that everything up to that seq arrived. One ping at a time confirms many
   * messages.
   * @returns undefined if no ping is needed
   */
  pingPayload(): string | undefined {
    const { sent, confirmed } = this.reader
    if (this.isExplicit || this.#pinged !== 0 || sent === confirmed) return undefined
    const now = performance.now()
    if (sent !== this.#sent) {
      this.#sent = sent
      this.#sentAt = now
    }
    if (this.#mayWait(now)) {
      this.#pingLater()
      return undefined
    }
    this.#pinged = sent
    this.#pingedAt = now
    return `${sent}${this.#suffix}`
  }

  #mayWait(now: number): boolean {
    return now - this.#pingedAt < PING_PAUSE_MS && now - this.#sentAt < QUIET_MS && !this.reader.isHalfFull
  }

  #pingLater(): void {
    if (this.#isWaiting) return
    this.#isWaiting = true
    this.host.later.add(this)
  }

  /** It has waited for a while. */
  run(): void {
    this.#isWaiting = false
    this.writer.wake()
  }

  /** How long the client has owed a confirmation, ms. @param now performance.now() */
  owedFor(now: number): number {
    return this.#pinged === 0 ? 0 : now - this.#pingedAt
  }

  pong(payload: Buffer): void {
    if (this.#pinged === 0 || payload.toString() !== `${this.#pinged}${this.#suffix}`) return
    const seq = this.#pinged
    this.#pinged = 0
    this.reader.confirmUpTo(seq)
    if (this.reader.sent > this.reader.confirmed) this.writer.wake()
  }
}
