/** Something that waits for a time, which may get longer meanwhile. */
export class Hold {
  #timer: NodeJS.Timeout | undefined
  /** performance.now() */
  #until = 0

  /** @param ended called when it is over */
  constructor(private readonly ended: () => void) {}

  get isOn(): boolean {
    return this.#timer !== undefined
  }

  /** From now on, @param ms 0 = as it is */
  extend(ms: number): void {
    if (ms === 0) return
    this.#until = performance.now() + ms
    this.#timer ??= setTimeout(this.#look, ms)
  }

  clear(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  readonly #look = (): void => {
    const left = this.#until - performance.now()
    if (left > 0) {
      this.#timer = setTimeout(this.#look, left)
      return
    }
    this.#timer = undefined
    this.ended()
  }
}
