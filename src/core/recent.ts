/** A bounded map that evicts the least recently used entry. */
import { LRUCache } from 'lru-cache'

/**
 * Uses lru-cache with `maxSize`, so that memory grows with the entries. With `max` the library allocates room for all
 * entries at once (12 ms per map of 100,000).
 * @param count maximum number of entries
 * @param ttl ms after which an entry expires; undefined = never
 */
export const recentMap = <K extends {}, V extends {}>(count: number, ttl?: number): LRUCache<K, V> =>
  new LRUCache<K, V>({ maxSize: count, sizeCalculation: () => 1, ...(ttl !== undefined && { ttl }) })
