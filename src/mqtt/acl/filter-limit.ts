/** Counts the filters of one session, up to `mqtt.maxSubscriptions`. */
export class FilterLimit {
  readonly #granted = new Set<string>()
  /** Made at the first one: most sessions have none. */
  #refused: Set<string> | undefined

  constructor(private readonly max: number) {}

  /** @param filter of a SUBSCRIBE, or of a restored session @returns false if the limit is reached */
  admit(filter: string): boolean {
    if (this.#granted.has(filter) || this.#granted.size < this.max) {
      this.#granted.add(filter)
      this.#refused?.delete(filter)
      return true
    }
    this.#refused ??= new Set()
    this.#refused.add(filter)
    return false
  }

  /** More filters were refused than may be granted: the client ignores SUBACK. */
  get isIgnored(): boolean {
    return this.#refused !== undefined && this.#refused.size > this.max
  }

  /** UNSUBSCRIBE. */
  remove(filters: readonly string[]): void {
    for (const filter of filters) this.#granted.delete(filter)
  }
}
