/**
 * System calls are the cost, so what one event-loop turn writes to a socket leaves in one write: a socket is corked
 * at its first write of a turn, and one setImmediate uncorks all of them.
 */
export interface Corked {
  /** Writes what belongs to the end of a group, then uncorks. Must not throw. */
  uncork(): void
}

export class WriteGroup {
  #corked: Corked[] = []

  add(one: Corked): void {
    if (this.#corked.push(one) === 1) setImmediate(() => this.#flush())
  }

  #flush(): void {
    const corked = this.#corked
    this.#corked = []
    for (const one of corked) one.uncork()
  }
}
