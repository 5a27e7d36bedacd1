/** What one client sends: a few messages on the way at a time, and after a lost connection the unanswered ones again. */

import type { Random } from '../random.js'
import type { Ledger, Pair } from './ledger.js'

export interface Outgoing {
  readonly pair: Pair
  readonly n: number
  readonly content: string
  /** MQTT: kept over connections of one session. */
  packetId?: number
}

export class Outbox {
  /** In the order in which they were sent first; an acknowledged one is gone. */
  readonly inFlight = new Set<Outgoing>()
  #budget = 0

  constructor(
    private readonly ledger: Ledger,
    private readonly pairs: readonly Pair[],
    private readonly window: number,
    private readonly random: Random,
  ) {}

  /** Messages that may be sent now. @param allowance how many more than before; what could not be sent comes in a burst later */
  *take(allowance: number): Generator<Outgoing> {
    this.#budget = Math.min(this.#budget + allowance, 2 * this.window)
    while (this.#budget >= 1 && this.inFlight.size < this.window) {
      this.#budget--
      const pair = this.random.pick(this.pairs)
      const message = { pair, ...this.ledger.send(pair) }
      this.inFlight.add(message)
      yield message
    }
  }

  acknowledged(message: Outgoing): void {
    if (this.inFlight.delete(message)) this.ledger.acknowledged(message.pair, message.n)
  }
}
