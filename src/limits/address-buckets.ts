/**
 * Token buckets of an address and of the networks around it. A subscriber with an IPv6 /56 or /48 (RFC 6177) has
 * hundreds or tens of thousands of /64 networks, and each counts as one address.
 */

import { recentMap } from '../core/recent.js'
import { addressGroup } from './address.js'
import { type Rate, TokenBucket } from './token-bucket.js'

/** Most buckets. The least recently used one is dropped first; unless there is an attack, it is full again by then. */
export const MAX_BUCKETS = 100_000

/** A network's limit as a multiple of that of one address, since it may hold several households or a company. */
const NETWORKS = [
  { prefix: 64, times: 1 },
  { prefix: 56, times: 4 },
  { prefix: 48, times: 16 },
] as const

interface Network {
  readonly group: string
  readonly times: number
}

/** The groups of an address, the smallest first. An IPv4 address has one. */
function networksOf(address: string | undefined): Network[] {
  const all = NETWORKS.map(({ prefix, times }) => ({ group: addressGroup(address, prefix), times }))
  return all[0]?.group === all[1]?.group ? all.slice(0, 1) : all
}

/** The buckets of one address. A token is taken from each of them. */
export class AddressBucket {
  constructor(private readonly buckets: readonly TokenBucket[]) {}

  /** @returns false if one of the buckets is empty; then no token is taken */
  take(now = performance.now()): boolean {
    if (!this.buckets.every(bucket => bucket.has(now))) return false
    for (const bucket of this.buckets) bucket.take(now)
    return true
  }

  /** Takes a token even if there is none. @returns ms until the next may be taken; 0 = at once */
  borrow(count: number, now = performance.now()): number {
    let waitMs = 0
    for (const bucket of this.buckets) waitMs = Math.max(waitMs, bucket.borrow(count, now))
    return waitMs
  }
}

export class AddressBuckets {
  readonly #buckets = recentMap<string, TokenBucket>(MAX_BUCKETS)

  /** By the multiple. They follow the rate of one address, which may change. */
  readonly #rates: ReadonlyMap<number, Rate>

  /** @param rate of one address */
  constructor(rate: Rate) {
    this.#rates = new Map(NETWORKS.map(({ times }) => [times, times === 1 ? rate : multiple(rate, times)]))
  }

  of(address: string | undefined): AddressBucket {
    return new AddressBucket(networksOf(address).map(network => this.#bucket(network)))
  }

  #bucket({ group, times }: Network): TokenBucket {
    const bucket = this.#buckets.get(group) ?? new TokenBucket(this.#rates.get(times) as Rate)
    this.#buckets.set(group, bucket)
    return bucket
  }
}

/** Token buckets of email addresses. */
export class RecipientBuckets {
  readonly #buckets = recentMap<string, TokenBucket>(MAX_BUCKETS)

  constructor(private readonly rate: Rate) {}

  /** @returns false if the address has used up its rate */
  take(recipient: string): boolean {
    const bucket = this.#buckets.get(recipient) ?? new TokenBucket(this.rate)
    this.#buckets.set(recipient, bucket)
    return bucket.take()
  }
}

const multiple = (rate: Rate, times: number): Rate => ({
  get perSecond() {
    return rate.perSecond * times
  },
  get burst() {
    return rate.burst * times
  },
})

/** Counts what is open at one time, by address and network. */
export class AddressCounts {
  readonly #open = new Map<string, number>()

  /** @param max of one address */
  constructor(private readonly max: () => number) {}

  hasRoom(address: string | undefined): boolean {
    const max = this.max()
    return networksOf(address).every(({ group, times }) => (this.#open.get(group) ?? 0) < max * times)
  }

  enter(address: string | undefined): void {
    for (const { group } of networksOf(address)) this.#open.set(group, (this.#open.get(group) ?? 0) + 1)
  }

  /** To be called once for each `enter`, at the end. */
  leave(address: string | undefined): void {
    for (const { group } of networksOf(address)) this.#leave(group)
  }

  #leave(group: string): void {
    const left = (this.#open.get(group) ?? 1) - 1
    if (left > 0) this.#open.set(group, left)
    else this.#open.delete(group)
  }
}
