/** Bytes of bodies and answers that the API holds at a time: all together, and of one account or address. */

/** One of many may hold this part of all. */
const SHARE = 8

export class Held {
  #total = 0
  readonly #by = new Map<string, number>()

  constructor(private readonly max: number) {}

  get bytes(): number {
    return this.#total
  }

  /** @returns false if there is no room; then nothing is held */
  take(who: string, bytes: number): boolean {
    const own = this.#by.get(who) ?? 0
    if (this.#total + bytes > this.max || own + bytes > this.max / SHARE) return false
    this.add(who, bytes)
    return true
  }

  /** For what is there already: an answer. */
  add(who: string, bytes: number): void {
    this.#total += bytes
    this.#by.set(who, (this.#by.get(who) ?? 0) + bytes)
  }

  free(who: string, bytes: number): void {
    this.#total -= bytes
    const left = (this.#by.get(who) ?? 0) - bytes
    if (left > 0) this.#by.set(who, left)
    else this.#by.delete(who)
  }
}
