/** Whatever becomes of a client's packets, it is told in the order in which they came. */

/** What became of one piece of work. */
type Done = (error?: Error | null) => void

interface Place {
  readonly done: Done
  /** undefined while the packet is worked on. */
  outcome: { readonly error: Error | null } | undefined
}

/** PUBACKs and PUBRECs leave in the order of their PUBLISHes [MQTT-4.6.0-2], [MQTT-4.6.0-3]. */
export class Acknowledgements {
  readonly #places: Place[] = []

  /** @returns what to call instead of `done`, once */
  reserve(done: Done): Done {
    const place: Place = { done, outcome: undefined }
    this.#places.push(place)
    return (error = null) => {
      place.outcome = { error }
      this.#flush()
    }
  }

  #flush(): void {
    for (let place = this.#places[0]; place?.outcome !== undefined; place = this.#places[0]) {
      this.#places.shift()
      place.done(place.outcome.error)
    }
  }
}
