declare module 'qlobber/aedes/qlobber-sub.js' {
  /** One client's subscription to one filter. */
  export interface TrieEntry {
    clientId: string
    topic: string
    qos: number
    rh?: number | undefined
    rap?: boolean | undefined
    nl?: boolean | undefined
  }

  export interface TrieOptions {
    wildcard_one: string
    wildcard_some: string
    separator: string
    match_empty_levels: boolean
    max_words: number
  }

  export default class QlobberSub {
    constructor(options: TrieOptions)
    readonly subscriptionsCount: number
    add(filter: string, entry: TrieEntry): void
    remove(filter: string, entry: Pick<TrieEntry, 'clientId' | 'topic'>): void
    match(topic: string): TrieEntry[]
  }
}

declare module 'qlobber' {
  export class Qlobber<T> {
    constructor(options: import('qlobber/aedes/qlobber-sub.js').TrieOptions)
    add(filter: string, value: T): void
    /** Removes the value, compared by identity; does nothing if it is not there. */
    remove(filter: string, value: T): void
    match(topic: string): T[]
  }
}
