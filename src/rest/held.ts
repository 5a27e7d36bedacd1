/** Bytes of bodies and answers that the API holds at a time: all together, and of one account or address. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { whenOver } from '../http/ends.js'

/** One of many may hold this part of all. */
const SHARE = 8

/** A request, and the answer that is to be read. */
interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

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

  /** As `take`, until the answer has been read or never will be. */
  takeFor(exchange: Exchange, who: string, bytes: number): boolean {
    const isTaken = this.take(who, bytes)
    if (isTaken) this.#freeAfter(exchange, who, bytes)
    return isTaken
  }

  /** As `add`, the same. */
  addFor(exchange: Exchange, who: string, bytes: number): void {
    this.add(who, bytes)
    this.#freeAfter(exchange, who, bytes)
  }

  #freeAfter({ request, response }: Exchange, who: string, bytes: number): void {
    whenOver(request.socket, response, () => this.free(who, bytes))
  }

  free(who: string, bytes: number): void {
    this.#total -= bytes
    const left = (this.#by.get(who) ?? 0) - bytes
    if (left > 0) this.#by.set(who, left)
    else this.#by.delete(who)
  }
}
