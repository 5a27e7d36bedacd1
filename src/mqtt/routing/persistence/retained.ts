/**
 * Retained messages, keyed by the levels of their topic. A look-up by filter reads the keys that begin with the levels
 * before the filter's first wildcard.
 */
import { createHash } from 'node:crypto'
import { GatewayError } from '../../../core/errors.js'
import { isUserId, type UserId } from '../../../core/model.js'
import { levelsCover } from '../../../core/topic-filter.js'
import type { KvKey, KvWrite } from '../../../store/store.js'
import {
  type BrokerPacket,
  decodePacket,
  encodePacket,
  type KvStore,
  type OnDamaged,
  packetOf,
  readRow,
} from './kv.js'

interface RetainedLimits {
  /** Limit of all accounts together. A retained message may always be replaced. */
  readonly maxRetained: number
  /** Bytes as stored: payload, topic and about 150 bytes per message. */
  readonly maxRetainedBytes: number
  /** Limit of the messages of one account. A message counts for the account that published it last. */
  readonly accountRetained: number
  readonly accountRetainedBytes: number
}

export class OverRetainedLimit extends GatewayError {
  constructor(
    readonly limit: `mqtt.${keyof RetainedLimits}`,
    reason: string,
  ) {
    super('STORE_FULL', { reason })
  }
}

/** Levels of a filter, or of a topic. */
type Filter = readonly string[]

interface FilterGroup {
  readonly place: Filter
  /** They have no wildcard: `place` is the one topic that they name. */
  readonly isExact: boolean
  readonly filters: Filter[]
}

/**
 * Filters that look at the same part of the keys: below the levels before the first wildcard, so that a filter such as
 * `+/x` looks at all. One look serves all of a part, since one SUBSCRIBE may have thousands.
 */
function groups(filters: readonly Filter[]): Iterable<FilterGroup> {
  const found = new Map<string, FilterGroup>()
  for (const filter of filters) {
    const wildcard = filter.findIndex(level => level === '+' || level === '#')
    const isExact = wildcard < 0
    const place = isExact ? filter : filter.slice(0, wildcard)
    const name = JSON.stringify([isExact, ...place])
    const group = found.get(name) ?? { place, isExact, filters: [] }
    group.filters.push(filter)
    found.set(name, group)
  }
  return found.values()
}

/** State of a topic during writes to it. */
interface Slot {
  ready: Promise<void>
  kept: Kept
  writers: number
}

/** The retained message of one topic. */
interface Kept {
  /** Bytes as stored; 0: no message is retained. */
  readonly size: number
  /** The account that published it, 'anonymous', or '' if it is not known (rows of 0.1.0). */
  readonly owner: string
}

const NOTHING: Kept = { size: 0, owner: '' }

/** Totals of one account, or of all accounts. */
type Total = { count: number; bytes: number }

export class Retained {
  readonly #kv: KvStore
  readonly #limits: RetainedLimits
  readonly #onError: (error: unknown) => void
  readonly #onDamaged: OnDamaged
  readonly #slots = new Map<string, Slot>()
  readonly #all: Total = { count: 0, bytes: 0 }
  readonly #owners = new Map<string, Total>()

  constructor(
    kv: KvStore,
    limits: RetainedLimits,
    onError: (error: unknown) => void,
    onDamaged: OnDamaged = () => undefined,
  ) {
    this.#onDamaged = onDamaged
    this.#kv = kv
    this.#limits = limits
    this.#onError = onError
  }

  get count(): number {
    return this.#all.count
  }

  async load(): Promise<void> {
    for await (const row of this.#kv.kvRange('retained', [])) {
      this.#account(readRow('retained', row, keptOf), 1)
    }
  }

  /**
   * Stores a retained message; an empty payload removes it [MQTT-3.3.1-10]. Writes to one topic reach the store in the
   * order of the calls.
   * @param check called in the event-loop turn of the write; if it throws, nothing is changed
   * @throws OverRetainedLimit (nothing was changed), GatewayError
   */
  async put(topic: string, packet: BrokerPacket, check?: () => void): Promise<void> {
    const slot = this.#slot(topic)
    slot.writers += 1
    try {
      await slot.ready
      check?.()
      await this.#replace(slot, topic, packet.payload?.length ? packet : undefined)
    } finally {
      slot.writers -= 1
      if (slot.writers === 0) this.#slots.delete(topic)
    }
  }

  /**
   * The matching messages, each once. If the store fails, it reports that and ends early: the contract of aedes-persistence
   * has no 'error' listener on the stream made of this, so an error would end the process.
   */
  async *matching(filters: readonly string[]): AsyncGenerator<BrokerPacket> {
    const seen: Filter[] = []
    try {
      for (const group of groups(filters.map(filter => filter.split('/')))) {
        const { filters: alike } = group
        const isFound = (topic: Filter) =>
          alike.some(filter => levelsCover(filter, topic)) && !seen.some(filter => levelsCover(filter, topic))
        for await (const { key, value } of this.#under(group, isFound)) {
          const packet = packetOf(value)
          if (packet === undefined) this.#onDamaged('retained', key)
          else yield packet
        }
        for (const filter of alike) seen.push(filter)
      }
    } catch (error) {
      this.#onError(error)
    }
  }

  /** Looks at keys, and reads what is found alone: a message may be large, and filters many. */
  async *#under(
    { place, isExact }: FilterGroup,
    isFound: (topic: Filter) => boolean,
  ): AsyncGenerator<{ readonly key: KvKey; readonly value: Uint8Array }> {
    if (isExact) {
      const value = isFound(place) ? await this.#kv.kvGet('retained', place) : undefined
      if (value !== undefined) yield { key: place, value }
      return
    }
    const wants = (key: KvKey) => isFound(key as Filter)
    yield* this.#kv.kvRange('retained', place, undefined, wants)
  }

  async #replace(slot: Slot, topic: string, packet: BrokerPacket | undefined): Promise<void> {
    const value = packet && encodePacket(packet)
    const before = slot.kept
    const after = value === undefined ? NOTHING : { size: value.byteLength, owner: packet?.owner ?? '' }
    this.#checkRoom(before, after)
    this.#set(slot, after)
    const key = topic.split('/')
    try {
      await this.#kv.kvWrite([
        value === undefined ? { remove: 'retained', key } : { put: 'retained', key, value },
        ...ownerWrites(topic, before, after),
      ])
    } catch (error) {
      this.#set(slot, before)
      throw error
    }
  }

  /** Call it after the store has removed all messages of a deleted account. */
  forget(owner: UserId): void {
    for (const slot of this.#slots.values()) if (slot.kept.owner === owner) slot.kept = NOTHING
    const own = this.#owners.get(owner)
    this.#owners.delete(owner)
    this.#all.count -= own?.count ?? 0
    this.#all.bytes -= own?.bytes ?? 0
  }

  #set(slot: Slot, kept: Kept): void {
    this.#account(slot.kept, -1)
    this.#account(kept, 1)
    slot.kept = kept
  }

  #account({ size, owner }: Kept, sign: 1 | -1): void {
    if (size === 0) return
    const own = this.#owners.get(owner) ?? { count: 0, bytes: 0 }
    for (const total of [this.#all, own]) {
      total.count += sign
      total.bytes += sign * size
    }
    if (own.count > 0) this.#owners.set(owner, own)
    else this.#owners.delete(owner)
  }

  #checkRoom(before: Kept, after: Kept): void {
    const { maxRetained, maxRetainedBytes, accountRetained, accountRetainedBytes } = this.#limits
    const added = Math.sign(after.size) - Math.sign(before.size)
    const growth = after.size - before.size
    if (added > 0 && this.#all.count >= maxRetained) throw over('mqtt.maxRetained', maxRetained)
    if (growth > 0 && this.#all.bytes + growth > maxRetainedBytes)
      throw over('mqtt.maxRetainedBytes', maxRetainedBytes)
    if (after.size === 0 || after.owner === '') return
    // If another account published the message before, it counts for this account from now on.
    const isOwn = before.owner === after.owner && before.size > 0
    const { count, bytes } = this.#owners.get(after.owner) ?? { count: 0, bytes: 0 }
    if (!isOwn && count >= accountRetained) throw over('mqtt.accountRetained', accountRetained)
    const more = isOwn ? growth : after.size
    if (more > 0 && bytes + more > accountRetainedBytes)
      throw over('mqtt.accountRetainedBytes', accountRetainedBytes)
  }

  #slot(topic: string): Slot {
    const known = this.#slots.get(topic)
    if (known !== undefined) return known
    const read = async (): Promise<void> => {
      const value = await this.#kv.kvGet('retained', topic.split('/'))
      if (value !== undefined) slot.kept = keptOf(value)
    }
    const slot: Slot = { ready: Promise.resolve(), kept: NOTHING, writers: 0 }
    slot.ready = read()
    this.#slots.set(topic, slot)
    return slot
  }
}

const over = (limit: OverRetainedLimit['limit'], most: number) =>
  new OverRetainedLimit(limit, `no more than ${most}`)

/**
 * The writes that keep the index meta ['retained', owner, hash of the topic] → topic up to date. The store uses it to
 * find the messages of a deleted account (store/deleted.ts). The topic is hashed because it may already be as long as a
 * whole key may be.
 */
function ownerWrites(topic: string, before: Kept, after: Kept): KvWrite[] {
  const [old, owner] = [before, after].map(kept => (kept.size > 0 && isUserId(kept.owner) ? kept.owner : ''))
  if (old === owner) return []
  const hash = createHash('sha256').update(topic).digest('base64url')
  return [
    ...(old ? [{ remove: 'meta' as const, key: ['retained', old, hash] }] : []),
    ...(owner ? [{ put: 'meta' as const, key: ['retained', owner, hash], value: Buffer.from(topic) }] : []),
  ]
}

const keptOf = (value: Uint8Array): Kept => ({
  size: value.byteLength,
  owner: decodePacket(value).owner ?? '',
})
