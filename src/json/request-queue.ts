/** The requests of one connection: each begins when the one before it needs no more waiting for. */

/** The text of a message; undefined for a binary one, whose refusal keeps its place in the order. */
export type Message = string | undefined

export class RequestQueue {
  readonly #messages: Message[] = []
  /** Of each message. */
  readonly #lengths: number[] = []
  #bytes = 0
  #isBusy = false

  /**
   * @param run begins one request; returns a promise, which must not reject, where the next one must wait for it
   * @param mayRun false while no request may begin; call `resume` when that ends
   */
  constructor(
    private readonly run: (message: Message, bytes: number) => Promise<void> | undefined,
    private readonly mayRun: () => boolean,
  ) {}

  /** Requests that have not begun. */
  get length(): number {
    return this.#messages.length
  }

  /** Bytes of the requests that have not begun. */
  get bytes(): number {
    return this.#bytes
  }

  /** @param bytes length of the message as UTF-8 */
  push(message: Message, bytes: number): void {
    if (!this.#isBusy && this.#messages.length === 0 && this.mayRun()) {
      this.#begin(message, bytes)
      return
    }
    this.#messages.push(message)
    this.#lengths.push(bytes)
    this.#bytes += bytes
  }

  resume(): void {
    while (this.#messages.length > 0 && !this.#isBusy && this.mayRun()) {
      const message = this.#messages.shift()
      const bytes = this.#lengths.shift() ?? 0
      this.#bytes -= bytes
      this.#begin(message, bytes)
    }
  }

  /** Drops the requests that have not begun. */
  clear(): void {
    this.#messages.length = 0
    this.#lengths.length = 0
    this.#bytes = 0
  }

  #begin(message: Message, bytes: number): void {
    const later = this.run(message, bytes)
    if (later === undefined) return
    this.#isBusy = true
    void later.then(() => {
      this.#isBusy = false
      this.resume()
    })
  }
}
