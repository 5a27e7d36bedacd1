/** The requests of one connection: each begins when the one before it needs no more waiting for. */

/** The text of a message; undefined for a binary one, whose refusal keeps its place in the order. */
export type Message = string | undefined

/** What runs the requests. */
export interface Runner {
  /** False while no request may begin; call `RequestQueue.resume` when that ends. */
  readonly mayBegin: boolean
  /** Begins one request; returns a promise, which must not reject, where the next one must wait for it. */
  begin(message: Message, bytes: number): Promise<void> | undefined
}

/** Of all in which nothing waits. Nothing is ever added to it. */
const NONE: never[] = []

export class RequestQueue {
  #messages: Message[] = NONE
  /** Of each message. */
  #lengths: number[] = NONE
  #bytes = 0
  #isBusy = false

  constructor(private readonly runner: Runner) {}

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
    if (!this.#isBusy && this.#messages.length === 0 && this.runner.mayBegin) {
      this.#begin(message, bytes)
      return
    }
    if (this.#messages === NONE) {
      this.#messages = []
      this.#lengths = []
    }
    this.#messages.push(message)
    this.#lengths.push(bytes)
    this.#bytes += bytes
  }

  resume(): void {
    while (this.#messages.length > 0 && !this.#isBusy && this.runner.mayBegin) {
      const message = this.#messages.shift()
      const bytes = this.#lengths.shift() ?? 0
      this.#bytes -= bytes
      this.#begin(message, bytes)
    }
    if (this.#messages.length === 0) this.#empty()
  }

  /** Drops the requests that have not begun. */
  clear(): void {
    this.#empty()
    this.#bytes = 0
  }

  #empty(): void {
    this.#messages = NONE
    this.#lengths = NONE
  }

  #begin(message: Message, bytes: number): void {
    const later = this.runner.begin(message, bytes)
    if (later === undefined) return
    this.#isBusy = true
    void later.then(() => {
      this.#isBusy = false
      this.resume()
    })
  }
}
