/**
 * What an address has used, and the networks around it: whoever is given an IPv6 /56 or /48 (RFC 6177) has hundreds or
 * tens of thousands of /64, each an address of its own to every limit.
 */

import { recentMap } from '../core/recent.js'
import { addressGroup } from './address.js'
import { type Rate, TokenBucket } from './token-bucket.js'

/** Buckets kept; the one that was used longest ago goes first, and is full again by then unless under attack. */
export const MAX_BUCKETS = 100_000

/** How many times as much as one address a network may have: several households, or a company. */
const NETWORKS = [
  { prefix: 64, times: 1 },
  { prefix: 56, times: 4 },
  { prefix: 48, times: 16 },
] as const

interface Network {
  readonly group: string
  readonly times: number
}

/** The address's own group first. Of IPv4 it is the only one. */
function networksOf(address: string | undefined): Network[] {
  const all = NETWORKS.map(({ prefix, times }) => ({ group: addressGroup(address, prefix), times }))
  return all[0]?.group === all[1]?.group ? all.slice(0, 1) : all
}

/** The buckets of one address: what is taken is taken from each. */
export class AddressBucket {
  constructor(private readonly buckets: readonly TokenBucket[]) {}

  /** @returns false where one has none left; then nothing is taken */
  take(now = performance.now()): boolean {
    if (!this.buckets.every(bucket => bucket.has(now))) return false
    for (const bucket of this.buckets) bucket.take(now)
    return true
  }

  /** Takes also what is not there. @returns how long nothing more may be taken, ms; 0 = go on */
  borrow(count: number, now = performance.now()): number {
    let waitMs = 0
    for (const bucket of this.buckets) waitMs = Math.max(waitMs, bucket.borrow(count, now))
    return waitMs
  }
}

export class AddressBuckets {
  readonly #buckets = recentMap<string, TokenBucket>(MAX_BUCKETS)

  /** @param rate of one address */
  constructor(private readonly rate: Rate) {}

  of(address: string | undefined): AddressBucket {
    return new AddressBucket(networksOf(address).map(network => this.#bucket(network)))
  }

  #bucket({ group, times }: Network): TokenBucket {
    const { perSecond, burst } = this.rate
    const bucket =
      this.#buckets.get(group) ?? new TokenBucket({ perSecond: perSecond * times, burst: burst * times })
    this.#buckets.set(group, bucket)
    return bucket
  }
}

/** How many are open at one time. */
export class AddressCounts {
  readonly #open = new Map<string, number>()

  /** @param max of one address */
  constructor(private readonly max: number) {}

  hasRoom(address: string | undefined): boolean {
    return networksOf(address).every(({ group, times }) => (this.#open.get(group) ?? 0) < this.max * times)
  }

  /** @returns what to call when it is over */
  enter(address: string | undefined): () => void {
    const networks = networksOf(address)
    for (const { group } of networks) this.#open.set(group, (this.#open.get(group) ?? 0) + 1)
    return () => {
      for (const { group } of networks) this.#leave(group)
    }
  }

  #leave(group: string): void {
    const left = (this.#open.get(group) ?? 1) - 1
    if (left > 0) this.#open.set(group, left)
    else this.#open.delete(group)
  }
}
