/** Metrics that nobody counts: their sources are asked at each scrape, so each must answer at once. */
import { Gauge, type Registry } from 'prom-client'
import type { Buckets } from './histogram.js'

/** How a connected device stands to its inbox: see InboxReader. */
export const READER_STATES = ['live', 'catching-up', 'parked'] as const
export type ReaderState = (typeof READER_STATES)[number]

/** What one round over all inboxes found: what the slowest device of each has not confirmed. */
export interface Unconfirmed {
  /** Messages. */
  readonly messages: Buckets
  readonly mostMessages: number
  /** Seconds since the oldest of them was accepted, of inboxes that have one. */
  readonly ages: Buckets
  readonly oldestSeconds: number
  /** performance.now() when the round ended. */
  readonly endedAt: number
}

export interface Watched {
  /** Size of all files of the embedded store; undefined if it cannot be told. */
  readonly storeBytes: () => number | undefined
  /** Of LMDB's file: bytes of pages to be used again, and of the memory map. undefined: another store. */
  readonly storePages: () => { readonly freeBytes: number; readonly mapBytes: number } | undefined
  /** Free bytes of the file system of `data.dir`, for this user; undefined if it cannot be told. */
  readonly diskFreeBytes: () => number | undefined
  /** Passwords that wait for their turn, and that are being hashed. */
  readonly passwords: () => { readonly waiting: number; readonly running: number }
  /** Messages that wait to be stored. */
  readonly waitingMessages: () => number
  /** [front, state, how many] of connected devices. */
  readonly readers: () => Iterable<readonly [front: string, state: ReaderState, count: number]>
  /** undefined before the end of the first round. */
  readonly unconfirmed: () => Unconfirmed | undefined
}

/** Adds the gauges to the registry. */
export function watch(registry: Registry, sources: Watched): void {
  const gauge = <T extends string>(
    name: string,
    help: string,
    set: (gauge: Gauge<T>) => void,
    labelNames: T[] = [],
  ) => {
    new Gauge<T>({
      ...{ name, help, labelNames, registers: [registry] },
      collect() {
        this.reset()
        set(this)
      },
    })
  }
  /** There is no value where there is nothing to tell. */
  const number = (name: string, help: string, value: () => number | undefined) =>
    gauge(name, help, gauge => {
      const now = value()
      if (now === undefined) gauge.remove()
      else gauge.set(now)
    })
  const { storeBytes, storePages, passwords, readers, unconfirmed } = sources
  number('mumi_store_bytes', 'Size of all files of the embedded store: data and journal.', storeBytes)
  number(
    'mumi_store_free_bytes',
    'Free pages in the file of the embedded store, which are used before it grows.',
    () => storePages()?.freeBytes,
  )
  number(
    'mumi_store_map_bytes',
    'Memory map of the embedded store; it grows as needed.',
    () => storePages()?.mapBytes,
  )
  number('mumi_disk_free_bytes', 'Free space of the file system of `data.dir`.', sources.diskFreeBytes)
  number(
    'mumi_passwords_waiting',
    'Passwords that wait for their turn to be hashed.',
    () => passwords().waiting,
  )
  number('mumi_passwords_running', 'Passwords that are being hashed.', () => passwords().running)
  number(
    'mumi_messages_waiting',
    'Messages that wait for the commit that stores them.',
    sources.waitingMessages,
  )
  gauge(
    'mumi_sessions',
    'Connected devices by how they stand to their inbox: live, reading on from the store, or waiting for their client to confirm or to take more.',
    gauge => {
      for (const [front, state, count] of readers()) gauge.set({ front, state }, count)
    },
    ['front', 'state'],
  )
  const buckets = (name: string, help: string, of: (found: Unconfirmed) => Buckets) =>
    gauge(
      name,
      help,
      gauge => {
        const found = unconfirmed()
        if (found === undefined) return
        for (const [le, count] of of(found).cumulative) gauge.set({ le }, count)
      },
      ['le'],
    )
  buckets(
    'mumi_inbox_unconfirmed',
    'Inboxes with at most `le` messages that their slowest device has not confirmed, by the last round over all.',
    found => found.messages,
  )
  buckets(
    'mumi_inbox_oldest_seconds',
    'Inboxes whose oldest unconfirmed message was accepted at most `le` seconds ago, by the last round over all.',
    found => found.ages,
  )
  number(
    'mumi_inbox_unconfirmed_max',
    'Unconfirmed messages of the inbox that has the most.',
    () => unconfirmed()?.mostMessages,
  )
  number(
    'mumi_inbox_oldest_max_seconds',
    'Age of the oldest unconfirmed message of all.',
    () => unconfirmed()?.oldestSeconds,
  )
  number('mumi_inbox_round_age_seconds', 'How long ago the last round over all inboxes ended.', () => {
    const found = unconfirmed()
    return found && (performance.now() - found.endedAt) / 1000
  })
}
