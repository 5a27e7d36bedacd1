/** Acknowledgements of PUBLISH: in order, and only after what they promise is stored. */
import { CODES, type CodeName, type GatewayError } from '../core/errors.js'
import { InOrder, type Place } from '../flow/in-order.js'
import type { StoreWaiter } from '../inbox/inbox.js'
import type { BrokerParts } from './parts.js'

/**
 * @param error without one: acknowledge; with one: no acknowledgement, and the connection closes
 * @param reason reason code of the acknowledgement (MQTT 5, 3.4.2.1), or the error for which the packet was refused
 * @param why in words
 */
export type Done = (error?: Error | null, reason?: number | CodeName, why?: string) => void

class Acknowledgement implements Place {
  isDecided = false
  error: Error | null = null
  reason: number | CodeName | undefined
  why: string | undefined
  constructor(readonly done: Done) {}
}

/** Sends PUBACKs and PUBRECs in the order of their PUBLISHes [MQTT-4.6.0-2], [MQTT-4.6.0-3]. */
export class Acknowledgements {
  readonly #places = new InOrder<Acknowledgement>(({ done, error, reason, why }) => done(error, reason, why))

  /** @returns the callback to call once in place of `done` */
  reserve(done: Done): Done {
    const place = new Acknowledgement(done)
    this.#places.push(place)
    return (error = null, reason, why) => {
      place.error = error
      place.reason = reason
      place.why = why
      place.isDecided = true
      this.#places.flush()
    }
  }
}

/** Acknowledges a message when it is stored. Holds no reference to the packet: thousands may wait for their commit. */
export class MessageWaiter implements StoreWaiter {
  constructor(
    private readonly parts: Pick<BrokerParts, 'metrics'>,
    private readonly done: Done,
  ) {}

  stored(): void {
    this.parts.metrics.answered('mqtt', 'message', CODES.MESSAGE_SUCCESS.code)
    this.done()
  }

  failed(error: GatewayError): void {
    this.parts.metrics.answered('mqtt', 'message', error.number)
    // The recipient was deleted meanwhile. A resend would fail, too, so the message is acknowledged.
    this.done(error.kind === 'ERROR_FIND_USER' ? null : error)
  }
}
