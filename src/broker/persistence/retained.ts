/** Retained messages, under their topic's levels: a filter reads what begins as its levels before the first wildcard. */
import { setImmediate } from 'node:timers/promises'
import { GatewayError } from '../../errors.js'
import type { KvKey } from '../../store/store.js'
import { type BrokerPacket, decodePacket, encodePacket, type KvStore } from './kv.js'

export interface RetainedLimits {
  /** In all. Replacing one is always possible. */
  readonly maxRetained: number
  /** Bytes as stored: payload, topic and about 150 bytes each. */
  readonly maxRetainedBytes: number
}

export class OverRetainedLimit extends GatewayError {
  constructor(
    readonly limit: 'mqtt.maxRetained' | 'mqtt.maxRetainedBytes',
    reason: string,
  ) {
    super('STORE_FULL', { reason })
  }
}

/** About a millisecond; a store that reads at once would otherwise hold the event loop for all of `+/x`. */
const WALKED_PER_TURN = 500

/** What is known of a topic while writes to it are under way. */
interface Slot {
  ready: Promise<void>
  /** 0 = nothing retained. */
  size: number
  writers: number
}

export class Retained {
  readonly #kv: KvStore
  readonly #limits: RetainedLimits
  readonly #onError: (error: unknown) => void
  readonly #slots = new Map<string, Slot>()
  #count = 0
  #bytes = 0

  constructor(kv: KvStore, limits: RetainedLimits, onError: (error: unknown) => void) {
    this.#kv = kv
    this.#limits = limits
    this.#onError = onError
  }

  async load(): Promise<void> {
    for await (const { value } of this.#kv.kvRange('retained', [])) {
      this.#count += 1
      this.#bytes += value.byteLength
    }
  }

  /**
   * An empty payload removes [MQTT-3.3.1-10]. Writes to one topic reach the store in the order of the calls.
   * @param check called in the turn of the write: what it throws keeps all as it is
   * @throws OverRetainedLimit, nothing changed; GatewayError
   */
  async put(topic: string, packet: BrokerPacket, check?: () => void): Promise<void> {
    const slot = this.#slot(topic)
    slot.writers += 1
    try {
      await slot.ready
      check?.()
      await this.#replace(slot, topic, packet.payload?.length ? encodePacket(packet) : undefined)
    } finally {
      slot.writers -= 1
      if (slot.writers === 0) this.#slots.delete(topic)
    }
  }

  /**
   * A topic that matches several filters comes once. Ends early when the store fails, and reports that: Aedes has no
   * 'error' listener on the stream made of this, and the process would die.
   */
  async *matching(filters: readonly string[]): AsyncGenerator<BrokerPacket> {
    const split = filters.map(filter => filter.split('/'))
    let walked = 0
    try {
      for (const [i, filter] of split.entries()) {
        const earlier = split.slice(0, i)
        for await (const { key, value } of this.#candidates(filter)) {
          if (isMatch(filter, key) && !earlier.some(other => isMatch(other, key))) yield decodePacket(value)
          walked += 1
          if (walked % WALKED_PER_TURN === 0) await setImmediate()
        }
      }
    } catch (error) {
      this.#onError(error)
    }
  }

  #candidates(filter: readonly string[]): ReturnType<KvStore['kvRange']> {
    const wildcard = filter.findIndex(level => level === '+' || level === '#')
    return wildcard < 0 ? this.#exactly(filter) : this.#kv.kvRange('retained', filter.slice(0, wildcard))
  }

  async *#exactly(topic: readonly string[]): ReturnType<KvStore['kvRange']> {
    const value = await this.#kv.kvGet('retained', topic)
    if (value !== undefined) yield { key: topic, value }
  }

  async #replace(slot: Slot, topic: string, value: Uint8Array | undefined): Promise<void> {
    const size = value?.byteLength ?? 0
    const growth = size - slot.size
    const added = Math.sign(size) - Math.sign(slot.size)
    this.#checkRoom(added, growth)
    this.#account(slot, added, growth)
    const key = topic.split('/')
    try {
      await this.#kv.kvWrite([
        value === undefined ? { remove: 'retained', key } : { put: 'retained', key, value },
      ])
    } catch (error) {
      this.#account(slot, -added, -growth)
      throw error
    }
  }

  #account(slot: Slot, added: number, growth: number): void {
    slot.size += growth
    this.#count += added
    this.#bytes += growth
  }

  #checkRoom(added: number, growth: number): void {
    const { maxRetained, maxRetainedBytes } = this.#limits
    if (added > 0 && this.#count >= maxRetained) {
      throw new OverRetainedLimit('mqtt.maxRetained', `no more than ${maxRetained} retained messages`)
    }
    if (growth > 0 && this.#bytes + growth > maxRetainedBytes) {
      throw new OverRetainedLimit(
        'mqtt.maxRetainedBytes',
        `no more than ${maxRetainedBytes} bytes of retained messages`,
      )
    }
  }

  #slot(topic: string): Slot {
    const known = this.#slots.get(topic)
    if (known !== undefined) return known
    const read = async (): Promise<void> => {
      const value = await this.#kv.kvGet('retained', topic.split('/'))
      slot.size = value?.byteLength ?? 0
    }
    const slot: Slot = { ready: Promise.resolve(), size: 0, writers: 0 }
    slot.ready = read()
    this.#slots.set(topic, slot)
    return slot
  }
}

/** MQTT 3.1.1, 4.7: `+` is one level, empty ones too; `#` is the rest, and the level before it. */
function isMatch(filter: readonly string[], topic: KvKey): boolean {
  const [first] = filter
  // [MQTT-4.7.2-1]
  if ((first === '+' || first === '#') && String(topic[0]).startsWith('$')) return false
  for (const [i, level] of filter.entries()) {
    if (level === '#') return true
    if (i >= topic.length || (level !== '+' && level !== topic[i])) return false
  }
  return filter.length === topic.length
}
