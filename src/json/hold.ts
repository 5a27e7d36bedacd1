/** A wait that may be made longer while it is on. */
import type { Fuse } from '../core/faults.js'

export class Hold {
  #timer: NodeJS.Timeout | undefined
  /** End of the wait, performance.now(). */
  #until = 0

  /** @param ended called when the wait is over */
  constructor(
    private readonly ended: () => void,
    private readonly fuse: Fuse,
  ) {}

  get isOn(): boolean {
    return this.#timer !== undefined
  }

  /** Waits until `ms` from now. @param ms 0 changes nothing */
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
    try {
      this.ended()
    } catch (thrown) {
      this.fuse.fault('ws.hold', thrown)
    }
  }
}
