/** Moments at which something is due, one for each key, to the second: one timer serves all. It keeps no process alive. */

const TICK_MS = 1000

const secondOf = (at: number): number => Math.ceil(at / 1000)

export class Deadlines {
  /** Keys by the second (since the epoch) in which they are due. */
  readonly #bySecond = new Map<number, Set<string>>()
  /** ms since the epoch. */
  readonly #times = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  /** @param onDue called once for each key, not before its time and up to a second later */
  constructor(private readonly onDue: (key: string) => void) {}

  /** @param at ms since the epoch. Replaces what was set for the key before. */
  set(key: string, at: number): void {
    this.delete(key)
    const second = secondOf(at)
    this.#times.set(key, at)
    const keys = this.#bySecond.get(second)
    if (keys === undefined) this.#bySecond.set(second, new Set([key]))
    else keys.add(key)
    this.#timer ??= setInterval(this.#tick, TICK_MS).unref()
  }

  /** @returns what was set, if anything was: it may have passed already */
  delete(key: string): number | undefined {
    const at = this.#times.get(key)
    if (at === undefined) return undefined
    this.#times.delete(key)
    const second = secondOf(at)
    const keys = this.#bySecond.get(second)
    keys?.delete(key)
    if (keys?.size === 0) this.#bySecond.delete(second)
    return at
  }

  close(): void {
    clearInterval(this.#timer)
  }

  readonly #tick = (): void => {
    const now = Date.now() / 1000
    for (const [second, keys] of this.#bySecond) {
      if (second > now) continue
      this.#bySecond.delete(second)
      for (const key of keys) {
        this.#times.delete(key)
        this.onDue(key)
      }
    }
    if (this.#times.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
