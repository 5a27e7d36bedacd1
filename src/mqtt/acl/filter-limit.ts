/** How many filters one session subscribes to. */
export class FilterLimit {
  readonly #granted = new Set<string>()
  readonly #refused = new Set<string>()

  constructor(private readonly max: number) {}

  /** Of a SUBSCRIBE, or restored. @returns false where it is one too many */
  admit(filter: string): boolean {
    if (this.#granted.has(filter) || this.#granted.size < this.max) {
      this.#granted.add(filter)
      this.#refused.delete(filter)
      return true
    }
    this.#refused.add(filter)
    return false
  }

  /** Whether it was not admitted: Aedes stores all filters of a SUBSCRIBE, the refused ones, too. */
  isRefused(filter: string): boolean {
    return this.#refused.has(filter)
  }

  /** Whether as many were refused as may be granted: a client that does not read SUBACK. */
  get isIgnored(): boolean {
    return this.#refused.size > this.max
  }

  remove(filters: readonly string[]): void {
    for (const filter of filters) this.#granted.delete(filter)
  }
}
