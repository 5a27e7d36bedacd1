/**
 * Addresses that accounts had until a while ago, and may take back. Nobody else may have one as long: a thief of the account
 * could otherwise register it and so keep the owner out. A change of which no row is left cannot be taken back.
 */
import { createHash } from 'node:crypto'
import type { UserId } from '../core/model.js'
import type { KeyValue, KvKey } from '../store/store.js'

export interface Held {
  readonly userId: UserId
  /** When the account changed its address, and how long it may take that back; ms since the epoch. */
  readonly since: number
  readonly until: number
}

export class HeldAddresses {
  constructor(private readonly kv: KeyValue) {}

  async hold(emailKey: string, { userId, since, until }: Held): Promise<void> {
    const value = Buffer.from([userId, since, until].join(' '))
    await this.kv.kvWrite([{ put: 'meta', key: keyOf(emailKey), value }])
  }

  /** @returns undefined if it is held for nobody */
  async find(emailKey: string): Promise<Held | undefined> {
    const value = await this.kv.kvGet('meta', keyOf(emailKey))
    const held = value && decode(value)
    return held !== undefined && held.until > Date.now() ? held : undefined
  }

  /** How many addresses are held for an account. */
  async count(userId: UserId): Promise<number> {
    let count = 0
    for await (const [, held] of this.#all()) if (held.userId === userId && held.until > Date.now()) count++
    return count
  }

  /** Changes of an account from a time on cannot be taken back any more. */
  release(userId: UserId, since: number): Promise<void> {
    return this.#remove(held => held.userId === userId && held.since >= since)
  }

  /** Removes those whose time is over. @param now ms since the epoch */
  sweep(now = Date.now()): Promise<void> {
    return this.#remove(({ until }) => until <= now)
  }

  async #remove(which: (held: Held) => boolean): Promise<void> {
    for await (const [key, held] of this.#all())
      if (which(held)) await this.kv.kvWrite([{ remove: 'meta', key }])
  }

  /** Those of the last days: an account has a few at most. */
  async *#all(): AsyncIterable<[KvKey, Held]> {
    for await (const { key, value } of this.kv.kvRange('meta', ['held'])) yield [key, decode(value)]
  }
}

/** By a hash: an address may be longer than a part of a key. */
const keyOf = (emailKey: string): KvKey => ['held', createHash('sha256').update(emailKey).digest('base64url')]

function decode(value: Uint8Array): Held {
  const [userId = '', since = '', until = ''] = Buffer.from(value).toString().split(' ')
  return { userId, since: Number(since), until: Number(until) }
}
