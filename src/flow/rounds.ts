/** The members of a set, a part of them at a time, round after round: work on many that is not done in one turn. */
export class Rounds<T> {
  #round: IterableIterator<T>

  /** @param parts of a round */
  constructor(
    private readonly all: ReadonlySet<T>,
    private readonly parts: number,
  ) {
    this.#round = all.values()
  }

  /** The next part. Of `parts` calls in a row each member comes in one at least; who is new comes at the end of the round. */
  next(): T[] {
    const part: T[] = []
    for (let left = Math.ceil(this.all.size / this.parts); left > 0; left--) {
      const next = this.#take()
      if (next.done) break
      part.push(next.value)
    }
    return part
  }

  #take(): IteratorResult<T, unknown> {
    const next = this.#round.next()
    if (!next.done) return next
    this.#round = this.all.values()
    return this.#round.next()
  }
}
