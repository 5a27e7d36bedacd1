/** The pipelined requests of one connection, and what is to happen when all are answered (RFC 9112, 9.3.2). */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Entrance, HttpInput } from './input.js'

/** Most requests of one connection. Probes and scrapers send many over time, but no client needs thousands. */
export const MAX_REQUESTS_PER_SOCKET = 1000

export class Pipeline {
  readonly input: HttpInput
  #open = 0
  #all = 0
  #next: (() => void) | undefined

  /** @param entrance see HttpInput */
  constructor(
    private readonly socket: Socket,
    entrance: Entrance,
  ) {
    this.input = new HttpInput(socket, entrance)
  }

  /** How many requests are not answered yet. */
  get open(): number {
    return this.#open
  }

  /** Whether the last permitted request has been received. */
  get isAtEnd(): boolean {
    return this.#all >= MAX_REQUESTS_PER_SOCKET
  }

  /**
   * Whether an upgrade is possible. While more answers wait than the socket holds, Node stops reading, and it does not
   * resume after it has handed the socket over, so a WebSocket would receive nothing.
   */
  get mayUpgrade(): boolean {
    return !this.input.wasFull && !this.socket.isPaused() && !this.isAtEnd
  }

  enter(response: ServerResponse): void {
    this.#open++
    this.#all++
    // Called after Node's own listener, which gives the socket to the next response.
    response.once('finish', () => {
      const next = this.#next
      if (--this.#open > 0 || next === undefined) return
      this.#next = undefined
      this.whenFree(next)
    })
  }

  /**
   * Runs `next` when all requests are answered. A socket that is to be handed over (after an upgrade or bytes that are
   * not HTTP) may owe responses to requests pipelined before; they must be sent first, in order.
   */
  whenFree(next: () => void): void {
    if (this.#open > 0) this.#next ??= next
    else if (this.socket.writable) next()
    else this.socket.destroy()
  }
}
