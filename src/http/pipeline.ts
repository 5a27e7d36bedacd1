/** Requests of one connection whose answers have not left, and what is to be done with it when all have (RFC 9112 9.3.2). */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { HttpInput } from './input.js'

/** Requests that one connection may send. Probes and scrapers send many over time, but no client needs thousands. */
export const MAX_REQUESTS_PER_SOCKET = 1000

export class Pipeline {
  readonly input: HttpInput
  #open = 0
  #all = 0
  #next: (() => void) | undefined

  constructor(private readonly socket: Socket) {
    this.input = new HttpInput(socket)
  }

  /** Requests without an answer. */
  get open(): number {
    return this.#open
  }

  /** Its last request came. */
  get isAtEnd(): boolean {
    return this.#all >= MAX_REQUESTS_PER_SOCKET
  }

  /**
   * Node reads no further while more answers wait than a socket holds, and does not begin again once it has let go of
   * the socket: a WebSocket would hear nothing on it, and who sends so much ahead wants none.
   */
  get mayUpgrade(): boolean {
    return !this.input.wasFull && !this.socket.isPaused() && !this.isAtEnd
  }

  enter(response: ServerResponse): void {
    this.#open++
    this.#all++
    // Behind Node's own listener, which gives the socket to the next response.
    response.once('finish', () => {
      const next = this.#next
      if (--this.#open > 0 || next === undefined) return
      this.#next = undefined
      this.whenFree(next)
    })
  }

  /**
   * A socket that is handed over (an upgrade, what is no HTTP) may owe responses to requests that were pipelined before:
   * they leave first, in order, and until then the socket is theirs.
   */
  whenFree(next: () => void): void {
    if (this.#open > 0) this.#next ??= next
    else if (this.socket.writable) next()
    else this.socket.destroy()
  }
}
