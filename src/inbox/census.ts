/** How many connected devices stand how to their inbox: counted a part a second, so that no scrape waits for all of them. */
import { READER_STATES, type ReaderState } from '../core/watched.js'

const EVERY_MS = 1000
/** A round takes so many parts, or fewer where a part of the least size has all. */
const PARTS = 10
const MIN_PART = 1000

interface Counted {
  readonly front: string
  readonly state: ReaderState
}

export class Census<T extends Counted> {
  readonly #timer = setInterval(() => this.run(), EVERY_MS).unref()
  #round: Iterator<T> | undefined
  #counting = new Map<string, number>()
  #counts: ReadonlyMap<string, number> = new Map()

  /** @param all begins a round; what joins or leaves meanwhile may be in it or not */
  constructor(
    private readonly all: () => Iterator<T>,
    private readonly size: () => number,
  ) {}

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Counts one part. Where that ends a round, `counts` tells of it. */
  run(): void {
    this.#round ??= this.all()
    for (let left = Math.max(MIN_PART, Math.ceil(this.size() / PARTS)); left > 0; left--) {
      const { value, done } = this.#round.next()
      if (done) {
        this.#counts = this.#counting
        this.#counting = new Map()
        this.#round = undefined
        return
      }
      const key = `${value.front} ${value.state}`
      this.#counting.set(key, (this.#counting.get(key) ?? 0) + 1)
    }
  }

  /** By the last whole round. */
  *counts(): Generator<readonly [front: string, state: ReaderState, count: number]> {
    for (const front of ['json', 'mqtt'])
      for (const state of READER_STATES) yield [front, state, this.#counts.get(`${front} ${state}`) ?? 0]
    // Requests that wait for a message.
    yield ['rest', 'live', this.#counts.get('rest live') ?? 0]
  }
}
