/**
 * The number of all connections. A share of them is reserved for known clients. When the rest is full, the connection
 * that has been open longest without a login is closed for a new one.
 */

export interface GuestRules {
  /** Connections in all. */
  readonly max: number
  /** Of these, reserved for clients that are logged in, or from whose address a client has logged in. */
  readonly reserved: number
  /** A connection without a login is not closed for another one before this time, ms. */
  readonly graceMs: number
}

export class Guest {
  constructor(
    private readonly crowd: Guests,
    private readonly end: (who: unknown) => void,
    private readonly who: unknown,
  ) {}

  /** Ends the connection. */
  close(): void {
    this.end(this.who)
  }

  /** A client has logged in on this connection. */
  entered(): void {
    this.crowd.settle(this)
  }

  /** Its login ended; the connection stays open. */
  loggedOut(): void {
    this.crowd.unsettle(this)
  }

  /** The connection has closed. */
  left(): void {
    this.crowd.leave(this)
  }
}

export class Guests {
  readonly #guests = new Set<Guest>()
  /** Connections without a login, and since when (performance.now()); the oldest first. */
  readonly #strangers = new Map<Guest, number>()

  /** @param onReplaced called when a connection is closed for another one */
  constructor(
    private readonly rules: GuestRules,
    private readonly onReplaced: () => void = () => undefined,
  ) {}

  /** @param end ends the connection: it is given `who`, so that all connections may share one function */
  join<T = undefined>(end: (who: T) => void, who?: T, now = performance.now()): Guest {
    const guest = new Guest(this, end as (who: unknown) => void, who)
    this.#guests.add(guest)
    this.#strangers.set(guest, now)
    return guest
  }

  /**
   * Whether there is room for one more connection. May close one without a login.
   * @param isKnown whether a client has logged in from the new connection's address
   */
  makeRoom(isKnown: boolean, now = performance.now()): boolean {
    const { max, reserved, graceMs } = this.rules
    const isFull = this.#guests.size >= max
    if (!isFull && (isKnown || this.#strangers.size < max - reserved)) return true
    const [longest] = this.#strangers
    if (longest === undefined) return false
    const [stranger, since] = longest
    if (now - since < graceMs) return false
    this.leave(stranger)
    this.onReplaced()
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
