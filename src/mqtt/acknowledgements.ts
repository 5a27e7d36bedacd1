/** Acknowledgements of PUBLISH: in order, and not before what they promise is stored. */
import { CODES, type GatewayError } from '../core/errors.js'
import { InOrder, type Place } from '../flow/in-order.js'
import type { StoreWaiter } from '../inbox/inbox.js'
import type { BrokerParts } from './parts.js'

type Done = (error?: Error | null) => void

class Acknowledgement implements Place {
  isDecided = false
  error: Error | null = null
  constructor(readonly done: Done) {}
}

/** PUBACKs and PUBRECs leave in the order of their PUBLISHes [MQTT-4.6.0-2], [MQTT-4.6.0-3]. */
export class Acknowledgements {
  readonly #places = new InOrder<Acknowledgement>(({ done, error }) => done(error))

  /** @returns what to call instead of `done`, once */
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

/** Acknowledges a message when it is stored. Refers to nothing of the packet, since thousands wait for their commit. */
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
    // The recipient was deleted meanwhile: to send the message again would not help.
    this.done(error.kind === 'ERROR_FIND_USER' ? null : error)
  }
}
