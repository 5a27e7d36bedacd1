/** Keys with one value or several. Nearly all have one: it is kept as it is, and only a second one makes a set. */
export class Several<K, V extends object> {
  readonly #all = new Map<K, V | Set<V>>()

  has(key: K): boolean {
    return this.#all.has(key)
  }

  /** Number of keys. */
  get size(): number {
    return this.#all.size
  }

  keys(): IterableIterator<K> {
    return this.#all.keys()
  }

  /** What is kept for `key`: one value, or the set of all, which is only to be read. */
  get(key: K): V | Set<V> | undefined {
    return this.#all.get(key)
  }

  /** A copy. */
  of(key: K): readonly V[] {
    const found = this.#all.get(key)
    if (found === undefined) return []
    return found instanceof Set ? [...found] : [found]
  }

  /** @returns whether it is the first value of the key */
  add(key: K, value: V): boolean {
    const found = this.#all.get(key)
    if (found instanceof Set) found.add(value)
    else if (found !== value) this.#all.set(key, found === undefined ? value : new Set([found, value]))
    return found === undefined
  }

  /** @returns whether it was the last value of the key */
  delete(key: K, value: V): boolean {
    const found = this.#all.get(key)
    if (found === value) return this.#all.delete(key)
    return found instanceof Set && found.delete(value) && found.size === 0 && this.#all.delete(key)
  }
}
