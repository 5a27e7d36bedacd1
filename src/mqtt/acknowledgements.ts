/** Whatever becomes of a client's packets, it is told in the order in which they came. */
import { InOrder, type Place } from '../flow/in-order.js'

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
