/** Work that is decided in any order leaves in the order in which it began. */

/** The place of one piece of work in the order. */
export interface Place {
  /** Whether it is decided. Once true, it stays so. */
  readonly isDecided: boolean
}

/** Of all that have no place taken. Nothing is ever added to it. */
const NONE: never[] = []

/** The array is copied only when at least this many of its places have left. */
const COMPACT_AT = 1024

/** For work that reports by a call, without a promise per piece. */
export class InOrder<P extends Place> {
  #places: P[] = NONE
  #head = 0

  /** @param leave called once for each place */
  constructor(private readonly leave: (place: P) => void) {}

  /** Places that have not left. */
  get length(): number {
    return this.#places.length - this.#head
  }

  /** Takes the next place. */
  push(place: P): void {
    if (this.#places.length === 0) this.#places = [place]
    else this.#places.push(place)
  }

  /** To be called when a place is decided: lets go every decided place that has no undecided one before it. */
  flush(): void {
    for (let place = this.#places[this.#head]; place?.isDecided; place = this.#places[this.#head]) {
      this.#head++
      this.leave(place)
    }
    if (this.#head === this.#places.length) this.#places = NONE
    else if (this.#head >= COMPACT_AT) this.#places = this.#places.slice(this.#head)
    else return
    this.#head = 0
  }
}

/** For work that reports by a promise. */
export class AnswersInOrder {
  #last: Promise<unknown> = Promise.resolve()

  /** @returns what `answer` becomes, when all answers before it have come */
  keep<T>(answer: Promise<T>): Promise<T> {
    // It may be rejected while those before it are waited for.
    answer.catch(() => undefined)
    const inTurn = this.#last.then(() => answer)
    this.#last = inTurn.then(nothing, nothing)
    return inTurn
  }

  /** Resolves when all answers so far have come. */
  async idle(): Promise<void> {
    await this.#last
  }
}

/** Without the value: each promise would hold on to the one before it. */
const nothing = (): void => undefined
