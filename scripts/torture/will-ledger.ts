/** Which wills must have been published, which may have been, and which were. */

/** How the client sees its connection end: it sent DISCONNECT, it ended it otherwise, or the server did. */
export type WillEnd = 'left' | 'cut' | 'lost'

/** After so long the server has removed a will that it has published, or whose client has left, ms. */
const SETTLE_MS = 1000

/** The will of one connection. */
export class Will {
  /** CONNACK came. */
  isStored = false
  end: WillEnd | undefined
  /** performance.now() of that. */
  endedAt = Number.POSITIVE_INFINITY
  /** Its client's part was over before a clean stop that has ended well: nothing more may come of it. */
  settledAt = Number.POSITIVE_INFINITY
  firstAt = Number.POSITIVE_INFINITY
  /** Which came to each reader. */
  readonly #arrivals = new Map<string, Set<string>>()

  constructor(readonly text: string) {}

  /** @param arrival the same for the same one that is sent again */
  came(reader: string, arrival: string): void {
    this.firstAt = Math.min(this.firstAt, performance.now())
    const arrivals = this.#arrivals.get(reader) ?? new Set()
    this.#arrivals.set(reader, arrivals.add(arrival))
  }

  /** How often it was published: all readers have got it so often at least. */
  publications(readers: Iterable<string>): number {
    return Math.min(...Array.from(readers, reader => this.#arrivals.get(reader)?.size ?? 0))
  }

  ended(how: WillEnd): void {
    if (this.end !== undefined) return
    this.end = how
    this.endedAt = performance.now()
  }
}

export interface WillFindings {
  /** Whose CONNECT was acknowledged. */
  readonly wills: number
  readonly published: number
  /** Of connections that ended without DISCONNECT, and came at no time. */
  readonly missing: number
  readonly repeated: number
  /** Came though their client had said DISCONNECT. */
  readonly unwanted: number
  readonly details: readonly string[]
}

/** Lines of each kind in the report. */
const MAX_DETAILS = 10

export class WillLedger {
  readonly #wills = new Map<string, Will>()
  /** performance.now() of each kill -9. */
  readonly #kills: number[] = []
  /** Messages that are nobody's will. */
  readonly #unknown: string[] = []
  readonly #readers = new Set<string>()

  hasReader(name: string): void {
    this.#readers.add(name)
  }

  add(text: string): Will {
    const will = new Will(text)
    this.#wills.set(text, will)
    return will
  }

  killed(): void {
    this.#kills.push(performance.now())
  }

  /** A clean stop has published the wills of all who had not left, and removed them. */
  stopped(): void {
    const now = performance.now()
    for (const will of this.#wills.values()) will.settledAt = Math.min(will.settledAt, now)
  }

  published(text: string, reader: string, arrival: string): void {
    const will = this.#wills.get(text)
    if (will === undefined) this.#unknown.push(text)
    else will.came(reader, arrival)
  }

  /** Whether some will that must come has not come yet. */
  get isBehind(): boolean {
    return [...this.#wills.values()].some(will => this.#isMissing(will))
  }

  findings(): WillFindings {
    const wills = [...this.#wills.values()]
    const missing = wills.filter(will => this.#isMissing(will))
    const over = wills.filter(will => this.#count(will) > this.#most(will))
    const unwanted = over.filter(({ end }) => end === 'left')
    const repeated = over.filter(({ end }) => end !== 'left')
    return {
      wills: wills.filter(({ isStored }) => isStored).length,
      published: wills.filter(will => this.#count(will) > 0).length,
      missing: missing.length,
      repeated: repeated.length,
      unwanted: unwanted.length + this.#unknown.length,
      details: [
        ...this.#lines('missing', missing),
        ...this.#lines('repeated', repeated),
        ...this.#lines('unwanted', unwanted),
        ...this.#unknown.slice(0, MAX_DETAILS).map(text => `will unwanted: nobody has ${text}`),
      ],
    }
  }

  #count(will: Will): number {
    return will.publications(this.#readers)
  }

  #isMissing(will: Will): boolean {
    const { isStored, end } = will
    return isStored && end !== undefined && end !== 'left' && this.#count(will) === 0
  }

  #lines(name: string, found: readonly Will[]): string[] {
    return found.slice(0, MAX_DETAILS).map(will => {
      const { text, end, endedAt } = will
      const at = (endedAt / 1000).toFixed(3)
      return `will ${name}: ${text}, ${end ?? 'open'} at ${at} s, came ${this.#count(will)} times`
    })
  }

  /**
   * A publication and the removal from the store are two writes: a process that is killed between them publishes the will
   * again when it starts, and one that is killed when it has read a DISCONNECT may not have removed it.
   */
  #most({ end, endedAt, firstAt, settledAt }: Will): number {
    const until = Math.min(settledAt, (end === 'left' ? endedAt : firstAt) + SETTLE_MS)
    const kills = this.#kills.filter(at => at >= endedAt && at <= until).length
    return end === 'left' ? Math.min(1, kills) : 1 + kills
  }
}
