/** Counts the filters of one session, up to `mqtt.maxSubscriptions`. */
export class FilterLimit {
  /** Those of the SUBSCRIBE, or of the restored session, that is under way. */
  #granted: Set<string> | undefined
  /** Made at the first one: most sessions have none. */
  #refused: Set<string> | undefined

  /** @param held those that the connection is subscribed to */
  constructor(
    private readonly held: { readonly count: number; has(filter: string): boolean },
    private readonly max: number,
  ) {}

  /** @param filter of a SUBSCRIBE, or of a restored session @returns false if the limit is reached */
  admit(filter: string): boolean {
    if (this.#isCounted(filter) || this.held.count + (this.#granted?.size ?? 0) < this.max) {
      this.#grant(filter)
      return true
    }
    this.#refused ??= new Set()
    this.#refused.add(filter)
    return false
  }

  #isCounted(filter: string): boolean {
    return this.held.has(filter) || this.#granted?.has(filter) === true
  }

  #grant(filter: string): void {
    this.#refused?.delete(filter)
    if (this.held.has(filter)) return
    this.#granted ??= new Set()
    this.#granted.add(filter)
  }

  /** The connection is subscribed to all that were granted. @returns whether nothing is left to remember */
  settled(): boolean {
    this.#granted = undefined
    return this.#refused === undefined || this.#refused.size === 0
  }

  /** More filters were refused than may be granted: the client ignores SUBACK. */
  get isIgnored(): boolean {
    return this.#refused !== undefined && this.#refused.size > this.max
  }
}
