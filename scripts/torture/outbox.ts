/** The outgoing messages of a client: a few unacknowledged at a time, resent after a lost connection. */

import type { Random } from '../random.js'
import type { Ledger, Pair } from './ledger.js'

export interface Outgoing {
  readonly pair: Pair
  readonly n: number
  readonly content: string
  /** MQTT packet id, kept over the connections of one session. */
  packetId?: number
}

export class Outbox {
  /** Unacknowledged messages in the order of their first sending. */
  readonly inFlight = new Set<Outgoing>()
  #budget = 0

  constructor(
    private readonly ledger: Ledger,
    private readonly pairs: readonly Pair[],
    private readonly window: number,
    private readonly random: Random,
  ) {}

  /** Messages to send now. @param allowance additional messages; those that cannot be sent yet follow in a burst later */
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
