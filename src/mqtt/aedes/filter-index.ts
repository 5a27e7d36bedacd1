/** Values by topic filter: what a topic costs does not grow with the number of filters that do not match it. */
import { Qlobber } from 'qlobber'
import { beginsWithWildcard, hasWildcard } from '../../core/topic-filter.js'

const NONE: readonly never[] = []

export class FilterIndex<T> {
  /** Of filters without wildcards, which are topics: one look-up. */
  readonly #exact = new Map<string, Set<T>>()
  /** Of filters with wildcards: a trie of levels. */
  readonly #wildcards = new Qlobber<T>({
    separator: '/',
    wildcard_one: '+',
    wildcard_some: '#',
    match_empty_levels: true, // MQTT 3.1.1, 4.7.1.3: "/finance" matches "+/+" and "/+"
  })
  /** Of filters that begin with a wildcard: they match no topic that begins with `$` [MQTT-4.7.2-1]. */
  readonly #leading = new Set<T>()
  #wildcardCount = 0

  /** @param value not in the index yet */
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

  /** @param value what was added with this filter */
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

  /** Of filters that are this topic, or this text. */
  exactly(topic: string): Iterable<T> {
    return this.#exact.get(topic) ?? NONE
  }

  /** Of filters with wildcards that match. */
  byWildcard(topic: string): readonly T[] {
    if (this.#wildcardCount === 0) return NONE
    const found = this.#wildcards.match(topic)
    return topic.startsWith('$') ? found.filter(value => !this.#leading.has(value)) : found
  }
}
