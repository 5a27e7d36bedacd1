/** Work of one client that begins at once where nothing is under way; otherwise it waits for its turn. No promise apiece. */

/** @returns a promise if later steps must wait; it must not reject */
export type Step = () => Promise<void> | undefined

export class Steps {
  /** Steps that wait; undefined while nothing is under way. */
  #waiting: Step[] | undefined

  /** A step is under way: another one is to be given to `run`. */
  get isBusy(): boolean {
    return this.#waiting !== undefined
  }

  run(step: Step): void {
    if (this.#waiting === undefined) this.follow(step())
    else this.#waiting.push(step)
  }

  /** @param pending what a step has returned that began while nothing was under way */
  follow(pending: Promise<void> | undefined): void {
    if (pending !== undefined) void this.#runAll(pending)
  }

  async #runAll(first: Promise<void>): Promise<void> {
    const waiting: Step[] = []
    this.#waiting = waiting
    await first
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) await step()
    this.#waiting = undefined
  }
}
