/** An inbox over JSON: message frames out, confirmed by the pong to a ping that names a seq, or by the ack action. */

import type { InboxRow } from '../core/model.js'
import { DEFAULT_DEVICE } from '../inbox/cursors.js'
import type { InboxReader, ReaderOptions, Sink } from '../inbox/reader.js'
import { encodeEvent, extendMessage } from '../protocol/replies.js'
import type { RequestData } from '../protocol/requests.js'

/** The part of the connection that writes. */
export interface Writer {
  readonly canTake: boolean
  /** One text frame; leaves with the others of this turn. */
  write(frame: string): void
  /** Sees to it that `pingPayload` is asked at this turn's end. */
  wake(): void
}

/** The front ends' devices are apart: a client id and a device name may be the same by chance. */
const deviceName = (name: string | undefined): string =>
  name === undefined ? DEFAULT_DEVICE : `json ${name}`

export interface InboxDeliveryOptions extends RequestData<'login'> {
  /** Logins that were on this connection before. */
  readonly nth: number
}

export class InboxDelivery implements Sink {
  readonly reader: InboxReader
  readonly isExplicit: boolean
  readonly #events: ReadonlySet<string>
  /** Tells the pongs of this login from those that an earlier one on this connection is still owed. */
  readonly #mark: string
  readonly #encode: (row: InboxRow) => string
  /** seq named in the ping that is out, 0 for none. */
  #pinged = 0
  /** performance.now() when that ping went out. */
  #pingedAt = 0

  constructor(
    private readonly writer: Writer,
    options: InboxDeliveryOptions,
    open: (options: Pick<ReaderOptions, 'device' | 'sink' | 'from'>) => InboxReader,
  ) {
    const { ack, device, events, from } = options
    this.isExplicit = ack === 'explicit'
    this.#events = new Set(events)
    this.#mark = options.nth === 0 ? '' : ` ${options.nth}`
    const isExtended = ack !== undefined || device !== undefined || events !== undefined || from !== undefined
    this.#encode = isExtended ? extendMessage : ({ text }) => text
    this.reader = open({ device: deviceName(device), sink: this, ...(from && { from }) })
  }

  get canTake(): boolean {
    return this.writer.canTake
  }

  deliver(row: InboxRow): void {
    this.writer.write(this.#encode(row))
  }

  gap(from: number, to: number): void {
    if (this.#events.has('dropped')) this.writer.write(encodeEvent('dropped', { from, to }))
  }

  /**
   * Old clients know no acks, but every WebSocket endpoint answers pings (RFC 6455 5.5.2) and frames are ordered: the
   * pong to a ping that names a seq proves that everything up to it arrived. One ping at a time, for many messages.
   */
  pingPayload(): string | undefined {
    const { sent, confirmed } = this.reader
    if (this.isExplicit || this.#pinged !== 0 || sent === confirmed) return undefined
    this.#pinged = sent
    this.#pingedAt = performance.now()
    return `${sent}${this.#mark}`
  }

  /** How long the client has owed a confirmation, ms. @param now performance.now() */
  owedFor(now: number): number {
    return this.#pinged === 0 ? 0 : now - this.#pingedAt
  }

  pong(payload: Buffer): void {
    if (this.#pinged === 0 || payload.toString() !== `${this.#pinged}${this.#mark}`) return
    const seq = this.#pinged
    this.#pinged = 0
    this.reader.confirmUpTo(seq)
    if (this.reader.sent > this.reader.confirmed) this.writer.wake()
  }
}
