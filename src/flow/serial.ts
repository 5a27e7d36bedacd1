/** Work that must not overlap: what one piece has read is still so when it writes. */

/** Runs pieces of work one behind the other, in the order of the calls. */
export class Serial {
  #last: Promise<void> = Promise.resolve()
  #open = 0

  /** Whether nothing runs or waits. */
  get isIdle(): boolean {
    return this.#open === 0
  }

  /** @returns what `work` becomes; a failure does not keep later work from running */
  run<T>(work: () => T | Promise<T>): Promise<T> {
    this.#open++
    const mine = this.#last.then(work)
    this.#last = mine.then(this.#done, this.#done)
    return mine
  }

  /** Resolves when all work so far is done. */
  idle(): Promise<void> {
    return this.#last
  }

  readonly #done = (): void => {
    this.#open--
  }
}

/** A Serial for each key: an account, say. Keys of which nothing runs or waits take no memory. */
export class KeyedSerial {
  readonly #serials = new Map<string, Serial>()

  async run<T>(key: string, work: () => T | Promise<T>): Promise<T> {
    const serial = this.#serials.get(key) ?? new Serial()
    this.#serials.set(key, serial)
    try {
      return await serial.run(work)
    } finally {
      if (serial.isIdle) this.#serials.delete(key)
    }
  }
}
