/** Records which wills must be published, which may be, and which were. */

/** End of a connection as the client sees it. `left`: it sent DISCONNECT; `cut`: it ended otherwise; `lost`: the server ended it. */
export type WillEnd = 'left' | 'cut' | 'lost'

/** Time in which the server removes a will after publishing it or after DISCONNECT, ms. */
const SETTLE_MS = 1000

/** The will of one connection. */
export class Will {
  /** CONNACK was received. */
  isStored = false
  end: WillEnd | undefined
  /** performance.now() of the end. */
  endedAt = Number.POSITIVE_INFINITY
  /**
   * performance.now() from when on the server may have ended the connection, which the client sees later: its device begins to
   * take it over.
   */
  mayEndAt = Number.POSITIVE_INFINITY
  /** performance.now() of a clean stop after the connection's end: the will must not be published after it. */
  settledAt = Number.POSITIVE_INFINITY
  firstAt = Number.POSITIVE_INFINITY
  /** Arrivals at each reader. */
  readonly #arrivals = new Map<string, Set<string>>()

  constructor(readonly text: string) {}

  /** @param arrival identifies a publication; a resend has the same value */
  came(reader: string, arrival: string): void {
    this.firstAt = Math.min(this.firstAt, performance.now())
    const arrivals = this.#arrivals.get(reader) ?? new Set()
    this.#arrivals.set(reader, arrivals.add(arrival))
  }

  /** How often each reader has got it. */
  counts(readers: Iterable<string>): number[] {
    return Array.from(readers, reader => this.#arrivals.get(reader)?.size ?? 0)
  }

  /** Another connection of its device is about to take its own over. */
  takenOver(): void {
    this.mayEndAt = performance.now()
  }

  ended(how: WillEnd): void {
    if (this.end !== undefined) return
    this.end = how
    this.endedAt = performance.now()
  }
}

export interface WillFindings {
  /** Wills whose CONNECT was acknowledged. */
  readonly wills: number
  readonly published: number
  /** Wills that were never published although their connection ended without DISCONNECT. */
  readonly missing: number
  /** Wills that every reader got more often than allowed. */
  readonly repeated: number
  /** Wills that some reader got more often than allowed. Reported, but no failure yet: its cause is not known. */
  readonly repeatedAtOne: number
  /** Wills that were published although their client had sent DISCONNECT. */
  readonly unwanted: number
  readonly details: readonly string[]
}

/** Lines per kind in the report. */
const MAX_DETAILS = 10

export class WillLedger {
  readonly #wills = new Map<string, Will>()
  /** performance.now() of each kill -9. */
  readonly #kills: number[] = []
  /** Messages that are not a known will. */
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

  /** A clean stop has published and removed the wills of all clients without DISCONNECT. */
  stopped(): void {
    const now = performance.now()
    for (const will of this.#wills.values()) will.settledAt = Math.min(will.settledAt, now)
  }

  published(text: string, reader: string, arrival: string): void {
    const will = this.#wills.get(text)
    if (will === undefined) this.#unknown.push(text)
    else will.came(reader, arrival)
  }

  /** Whether a will that must be published has not arrived yet. */
  get isBehind(): boolean {
    return [...this.#wills.values()].some(will => this.#isMissing(will))
  }

  findings(): WillFindings {
    const wills = [...this.#wills.values()]
    const missing = wills.filter(will => this.#isMissing(will))
    const over = wills.filter(will => Math.min(...will.counts(this.#readers)) > this.#most(will))
    const overAtOne = wills.filter(will => Math.max(...will.counts(this.#readers)) > this.#most(will))
    const unwanted = over.filter(({ end }) => end === 'left')
    const repeated = over.filter(({ end }) => end !== 'left')
    const repeatedAtOne = overAtOne.filter(will => !over.includes(will))
    return {
      wills: wills.filter(({ isStored }) => isStored).length,
      published: wills.filter(will => this.#hasCome(will)).length,
      missing: missing.length,
      repeated: repeated.length,
      repeatedAtOne: repeatedAtOne.length,
      unwanted: unwanted.length + this.#unknown.length,
      details: [
        ...this.#lines('missing', missing),
        ...this.#lines('repeated', repeated),
        ...this.#lines('repeated at one reader', repeatedAtOne),
        ...this.#lines('unwanted', unwanted),
        ...this.#unknown.slice(0, MAX_DETAILS).map(text => `will unwanted: nobody has ${text}`),
      ],
    }
  }

  /** To all readers. */
  #hasCome(will: Will): boolean {
    return Math.min(...will.counts(this.#readers)) > 0
  }

  #isMissing(will: Will): boolean {
    const { isStored, end } = will
    return isStored && end !== undefined && end !== 'left' && !this.#hasCome(will)
  }

  #lines(name: string, found: readonly Will[]): string[] {
    return found.slice(0, MAX_DETAILS).map(will => {
      const { text, end, endedAt } = will
      const at = (endedAt / 1000).toFixed(3)
      return `will ${name}: ${text}, ${end ?? 'open'} at ${at} s, came ${will.counts(this.#readers).join(' and ')} times`
    })
  }

  /**
   * How often a reader may get the will. Publication and removal from the store are two writes. If the process is killed
   * between them, the next start publishes the will again. If it is killed after it has read a DISCONNECT, the will may not
   * have been removed. The times of the two writes are not seen from outside, but they lie between the end of the connection
   * and SETTLE_MS after the first arrival at a reader: each kill in that time allows one publication more.
   */
  #most({ end, endedAt, mayEndAt, firstAt, settledAt }: Will): number {
    const from = Math.min(endedAt, mayEndAt)
    const until = Math.min(settledAt, (end === 'left' ? endedAt : firstAt) + SETTLE_MS)
    const kills = this.#kills.filter(at => at >= from && at <= until).length
    return end === 'left' ? Math.min(1, kills) : 1 + kills
  }
}
