/**
 * All connections together: a share of them is kept for those who are known, and strangers who do not log in make room for
 * others, the one that has not for longest first.
 */

export interface GuestRules {
  /** Connections in all. */
  readonly max: number
  /** Of these, for those who are logged in or come from where somebody logged in. */
  readonly reserved: number
  /** So long a stranger may take to log in when there is no more room, ms. */
  readonly graceMs: number
}

export class Guest {
  constructor(
    private readonly crowd: Guests,
    /** Ends the connection. */
    readonly close: () => void,
  ) {}

  /** Somebody logged in on it. */
  entered(): void {
    this.crowd.settle(this)
  }

  /** Nobody is logged in any more. */
  loggedOut(): void {
    this.crowd.unsettle(this)
  }

  /** The connection is over. */
  left(): void {
    this.crowd.leave(this)
  }
}

export class Guests {
  readonly #guests = new Set<Guest>()
  /** Not logged in since, performance.now(); longest first. */
  readonly #strangers = new Map<Guest, number>()

  constructor(private readonly rules: GuestRules) {}

  join(close: () => void, now = performance.now()): Guest {
    const guest = new Guest(this, close)
    this.#guests.add(guest)
    this.#strangers.set(guest, now)
    return guest
  }

  /** Whether one more may come; a stranger may have to go for it. @param isKnown somebody logged in from its address */
  makeRoom(isKnown: boolean, now = performance.now()): boolean {
    const { max, reserved, graceMs } = this.rules
    const isFull = this.#guests.size >= max
    if (!isFull && (isKnown || this.#strangers.size < max - reserved)) return true
    const [longest] = this.#strangers
    if (longest === undefined) return false
    const [stranger, since] = longest
    if (now - since < graceMs) return false
    this.leave(stranger)
    stranger.close()
    return true
  }

  settle(guest: Guest): void {
    this.#strangers.delete(guest)
  }

  unsettle(guest: Guest): void {
    if (this.#guests.has(guest)) this.#strangers.set(guest, performance.now())
  }

  leave(guest: Guest): void {
    this.#guests.delete(guest)
    this.#strangers.delete(guest)
  }
}
