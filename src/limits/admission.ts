/** Admits new connections by their number and their rate. */
import type { AddressList } from './address.js'
import { AddressBuckets, AddressCounts } from './address-buckets.js'
import { type Rate, TokenBucket } from './token-bucket.js'

export interface AdmissionRules {
  /** Connections of one address. */
  readonly perAddress: number
  /** New connections of all addresses, and of each. */
  readonly handshakes: Rate
  readonly handshakesPerAddress: Rate
  /** Share of `handshakes` that is reserved for addresses from which a client has logged in, 0 to 1. */
  readonly knownShare: number
}

export type AdmissionLimit =
  | 'limits.connectionsPerAddress'
  | 'limits.handshakes'
  | 'limits.handshakesPerAddress'

export class Admission {
  readonly #open: AddressCounts
  readonly #all: TokenBucket
  readonly #buckets: AddressBuckets

  /** @param isKnown whether a client has logged in from an address since the start */
  constructor(
    private readonly rules: AdmissionRules,
    private readonly exempt: AddressList,
    private readonly isKnown: (address: string | undefined) => boolean = () => false,
  ) {
    this.#open = new AddressCounts(() => rules.perAddress)
    this.#all = new TokenBucket(rules.handshakes)
    this.#buckets = new AddressBuckets(rules.handshakesPerAddress)
  }

  /** Counts a connection, unless a limit is reached. @returns the limit; undefined: call `left` when it has closed */
  admit(address: string | undefined): AdmissionLimit | undefined {
    if (this.exempt.has(address)) return undefined
    if (!this.#open.hasRoom(address)) return 'limits.connectionsPerAddress'
    // The address's own rate first: a client that connects too fast must not use up the rate that all share.
    if (!this.#buckets.of(address).take()) return 'limits.handshakesPerAddress'
    const { handshakes, knownShare } = this.rules
    const kept = this.isKnown(address) ? 0 : Math.floor(handshakes.burst * knownShare)
    if (!this.#all.take(performance.now(), kept)) return 'limits.handshakes'
    this.#open.enter(address)
    return undefined
  }

  /** A connection that was admitted has closed. @param address the same as before */
  left(address: string | undefined): void {
    if (!this.exempt.has(address)) this.#open.leave(address)
  }
}
