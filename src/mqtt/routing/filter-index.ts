/** Values by topic filter. The cost of a look-up does not depend on the number of filters that do not match. */
import { Qlobber } from 'qlobber'
import { beginsWithWildcard, hasWildcard } from '../../core/topic-filter.js'
import { TRIE } from './trie.js'

const NONE: readonly never[] = []

export class FilterIndex<T> {
  /** Values of filters without wildcards; such a filter is a topic. */
  readonly #exact = new Map<string, Set<T>>()
  /** Values of filters with wildcards, in a trie of levels. */
  readonly #wildcards = new Qlobber<T>(TRIE)
  /** Values of filters that begin with a wildcard: they do not match topics that begin with `$` [MQTT-4.7.2-1]. */
  readonly #leading = new Set<T>()
  #wildcardCount = 0

  /** @param value must not be in the index */
  add(filter: string, value: T): void {
    if (!hasWildcard(filter)) {
      const values = this.#exact.get(filter)
      if (values === undefined) this.#exact.set(filter, new Set([value]))
      else values.add(value)
      return
    }
    this.#wildcards.add(filter, value)
    this.#wildcardCount++
    if (beginsWithWildcard(filter)) this.#leading.add(value)
  }

  /** @param value as added with this filter */
  remove(filter: string, value: T): void {
    if (hasWildcard(filter)) {
      this.#wildcards.remove(filter, value)
      this.#wildcardCount--
      this.#leading.delete(value)
      return
    }
    const values = this.#exact.get(filter)
    if (values?.delete(value) && values.size === 0) this.#exact.delete(filter)
  }

  /** Values of the filter that is equal to this topic. */
  exactly(topic: string): Iterable<T> {
    return this.#exact.get(topic) ?? NONE
  }

  /** Values of the filters with wildcards that match this topic. */
  byWildcard(topic: string): readonly T[] {
    if (this.#wildcardCount === 0) return NONE
    const found = this.#wildcards.match(topic)
    return topic.startsWith('$') ? found.filter(value => !this.#leading.has(value)) : found
  }
}
