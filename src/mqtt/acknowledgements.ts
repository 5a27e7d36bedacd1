/** Acknowledgements of PUBLISH: in order, and only after what they promise is stored. */
import { CODES, type GatewayError } from '../core/errors.js'
import { InOrder, type Place } from '../flow/in-order.js'
import type { StoreWaiter } from '../inbox/inbox.js'
import type { BrokerParts } from './parts.js'

export type Done = (error?: Error | null) => void

class Acknowledgement implements Place {
  isDecided = false
  error: Error | null = null
  constructor(readonly done: Done) {}
}

/** Sends PUBACKs and PUBRECs in the order of their PUBLISHes [MQTT-4.6.0-2], [MQTT-4.6.0-3]. */
export class Acknowledgements {
  readonly #places = new InOrder<Acknowledgement>(({ done, error }) => done(error))

  /** @returns the callback to call once in place of `done` */
  reserve(done: Done): Done {
    const place = new Acknowledgement(done)
    this.#places.push(place)
    return (error = null) => {
      place.error = error
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
