/** Counts the filters of one session, up to `mqtt.maxSubscriptions`. */
export class FilterLimit {
  readonly #granted = new Set<string>()
  readonly #refused = new Set<string>()

  constructor(private readonly max: number) {}

  /** @param filter of a SUBSCRIBE, or of a restored session @returns false if the limit is reached */
  admit(filter: string): boolean {
    if (this.#granted.has(filter) || this.#granted.size < this.max) {
      this.#granted.add(filter)
      this.#refused.delete(filter)
      return true
    }
    this.#refused.add(filter)
    return false
  }

  /** More filters were refused than may be granted: the client ignores SUBACK. */
  get isIgnored(): boolean {
    return this.#refused.size > this.max
  }

  /** UNSUBSCRIBE. */
  remove(filters: readonly string[]): void {
    for (const filter of filters) this.#granted.delete(filter)
  }
}
