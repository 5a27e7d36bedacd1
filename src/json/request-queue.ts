/** The requests of one connection, one after the other. */

/** The text of a frame; undefined for a binary one, whose refusal keeps its place in the order, too. */
export type Frame = string | undefined

export class RequestQueue {
  readonly #frames: Frame[] = []
  #size = 0
  #busy = false

  /**
   * @param run starts one request; returns a promise, which must not reject, where the next one must wait for it
   * @param mayRun false while no request may start; call `resume` when that ends
   */
  constructor(
    private readonly run: (frame: Frame) => Promise<void> | undefined,
    private readonly mayRun: () => boolean,
  ) {}

  /** Requests that have not started. */
  get length(): number {
    return this.#frames.length
  }

  /** Their characters. */
  get size(): number {
    return this.#size
  }

  push(frame: Frame): void {
    if (!this.#busy && this.#frames.length === 0 && this.mayRun()) {
      this.#start(frame)
      return
    }
    this.#frames.push(frame)
    this.#size += frame?.length ?? 0
  }

  resume(): void {
    while (this.#frames.length > 0 && !this.#busy && this.mayRun()) {
      const frame = this.#frames.shift()
      this.#size -= frame?.length ?? 0
      this.#start(frame)
    }
  }

  /** Drops what has not started. */
  clear(): void {
    this.#frames.length = 0
    this.#size = 0
  }

  #start(frame: Frame): void {
    const later = this.run(frame)
    if (later === undefined) return
    this.#busy = true
    void later.then(() => {
      this.#busy = false
      this.resume()
    })
  }
}
