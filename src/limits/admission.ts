/** Whether one more connection may come: how many there are, and how fast they come. */
import { LRUCache } from 'lru-cache'
import { type AddressList, addressGroup } from './address.js'
import { type Rate, TokenBucket } from './token-bucket.js'

export interface AdmissionRules {
  /** Connections of one address. */
  readonly perAddress: number
  /** New connections of all addresses, and of each. */
  readonly handshakes: Rate
  readonly handshakesPerAddress: Rate
}

export type AdmissionLimit =
  | 'limits.connectionsPerAddress'
  | 'limits.handshakes'
  | 'limits.handshakesPerAddress'

/** Buckets kept; the one that was used longest ago goes first, and is full again by then unless under attack. */
export const MAX_BUCKETS = 100_000

export class Admission {
  readonly #open = new Map<string, number>()
  readonly #all: TokenBucket
  readonly #buckets = new LRUCache<string, TokenBucket>({ max: MAX_BUCKETS })

  constructor(
    private readonly rules: AdmissionRules,
    private readonly exempt: AddressList,
  ) {
    this.#all = new TokenBucket(rules.handshakes)
  }

  /**
   * Counts a connection in, unless one limit is reached.
   * @returns which; or what to call when the connection is over
   */
  admit(address: string | undefined): AdmissionLimit | (() => void) {
    if (this.exempt.has(address)) return () => undefined
    const group = addressGroup(address)
    const count = this.#open.get(group) ?? 0
    if (count >= this.rules.perAddress) return 'limits.connectionsPerAddress'
    // The address first: who comes too fast must not use up what all have together.
    if (!this.#bucket(group).take()) return 'limits.handshakesPerAddress'
    if (!this.#all.take()) return 'limits.handshakes'
    this.#open.set(group, count + 1)
    return () => this.#leave(group)
  }

  #leave(group: string): void {
    const left = (this.#open.get(group) ?? 1) - 1
    if (left > 0) this.#open.set(group, left)
    else this.#open.delete(group)
  }

  #bucket(group: string): TokenBucket {
    const bucket = this.#buckets.get(group) ?? new TokenBucket(this.rules.handshakesPerAddress)
    this.#buckets.set(group, bucket)
    return bucket
  }
}
