/** The way from an InboxReader to its client, which each front end makes for itself. */
import type { FrontEnd } from '../core/metrics.js'
import type { InboxRow, UserId } from '../core/model.js'
import type { WindowLimits } from './window.js'

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
  readonly front: FrontEnd
  /** False while the client's socket is full; call `InboxReader.resume` when it takes bytes again. */
  readonly canTake: boolean
  deliver(row: InboxRow, how: Delivery): void
  /** Messages that this device never had were removed by a limit, or have expired: seqs `from` to `to`. */
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
