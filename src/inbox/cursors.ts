/**
 * Devices' cursors, written behind: a reader that moves is noted, and asked for its place when all are written, every
 * WRITE_DELAY_MS.
 * A cursor that is lost with the process makes messages come twice and never makes one go missing, so it may wait;
 * nobody reads a cursor past this class, so nobody sees an old one.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { toGatewayError } from '../core/errors.js'
import type { Logger } from '../core/log.js'
import type { Cursor, UserId } from '../core/model.js'
import type { CursorMove, CursorStore, StoredDevice } from '../store/store.js'

const WRITE_DELAY_MS = 1000
const RETRY_DELAY_MS = 1000
/** Cursors of one commit, which takes about 2 ms of a turn of the event loop: those of 3,000 clients that came at once took 30. */
const PIECE = 256

/** The JSON device of a client that names none. It exists from registration, at 0. */
export const DEFAULT_DEVICE = ''

/** The prefix keeps JSON devices apart from MQTT devices, whose client id may be the same text. */
export const jsonDevice = (name: string | undefined): string =>
  name === undefined ? DEFAULT_DEVICE : `json ${name}`

/** Has the place of one device. */
export interface Mover {
  /** Where the device stands now. */
  readonly place: CursorMove
}

const keyOf = (userId: UserId, device: string) => `${userId} ${device}`

export class Cursors {
  /** They moved since they were last asked. */
  readonly #movers = new Set<Mover>()
  #dirty = new Map<string, CursorMove>()
  #writing = new Map<string, CursorMove>()
  #writer: Promise<void> | undefined
  /** Deleted accounts. Ids are never reused, so none is ever removed from here. */
  readonly #forgotten = new Set<UserId>()
  /** Cuts the writer's pause short. */
  readonly #closing = new AbortController()

  constructor(
    private readonly store: CursorStore,
    private readonly log: Logger,
  ) {}

  /**
   * Where a device stands. A device that was never seen starts at the account's furthest confirmed message, or at 0
   * with `from: 'start'`, and is durably known when this resolves: forgotten in a crash, it would start again at what
   * others confirmed meanwhile, and miss what came between. The default device starts at 0.
   * @throws GatewayError
   */
  async load(userId: UserId, device: string, from?: 'start'): Promise<Cursor> {
    const known = this.#pending(userId, device) ?? (await this.store.cursor(userId, device))
    // Read again: a move may have come while the store was asked.
    const cursor = this.#pending(userId, device) ?? known
    if (cursor !== undefined) return cursor
    if (device === DEFAULT_DEVICE) return { confirmed: 0, sent: 0, released: [] }
    const confirmed = from === 'start' ? 0 : await this.furthest(userId)
    const first = { userId, device, confirmed, sent: confirmed, released: [], seenAt: Date.now() }
    // Another connection of the same device may have been quicker.
    const place = this.#pending(userId, device) ?? first
    await this.moveNow(place)
    return place
  }

  /** The account is deleted: what its sessions still say on their way out is not written. */
  forget(userId: UserId): void {
    this.#askMovers()
    this.#forgotten.add(userId)
    for (const [key, move] of this.#dirty) if (move.userId === userId) this.#dirty.delete(key)
  }

  /** `mover` has moved. Its place is durable within WRITE_DELAY_MS and the commits of all that have moved, or at close. */
  moved(mover: Mover): void {
    this.#movers.add(mover)
    this.#writer ??= this.#write()
  }

  /** Remembers a move and resolves when it is durable. @throws GatewayError */
  async moveNow(move: CursorMove): Promise<void> {
    this.#move(move)
    await this.store.moveCursors([move])
  }

  async furthest(userId: UserId): Promise<number> {
    let furthest = await this.store.furthest(userId)
    this.#askMovers()
    for (const moves of [this.#writing, this.#dirty]) {
      for (const move of moves.values()) {
        if (move.userId === userId) furthest = Math.max(furthest, move.confirmed)
      }
    }
    return furthest
  }

  /** The account's devices by name, at most `limit` of those that are stored. @throws GatewayError */
  async devices(userId: UserId, limit: number): Promise<StoredDevice[]> {
    const stored = await this.store.devices(userId, limit)
    const all = new Map(stored.map(one => [one.device, one]))
    this.#askMovers()
    for (const moves of [this.#writing, this.#dirty]) {
      for (const move of moves.values()) {
        if (move.userId !== userId) continue
        const confirmed = Math.max(move.confirmed, all.get(move.device)?.confirmed ?? 0)
        all.set(move.device, { ...move, confirmed })
      }
    }
    return [...all.values()]
  }

  /** Makes an account's moves durable now. @throws GatewayError */
  async writeNow(userId: UserId): Promise<void> {
    this.#askMovers()
    const moves = [this.#writing, this.#dirty].flatMap(all =>
      [...all.values()].filter(move => move.userId === userId),
    )
    if (moves.length > 0) await this.store.moveCursors(moves)
  }

  /** Writes what is left. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#writer
    this.#askMovers()
    if (this.#dirty.size > 0) await this.store.moveCursors([...this.#dirty.values()])
    this.#dirty.clear()
  }

  #askMovers(): void {
    for (const { place } of this.#movers) this.#move(place)
    this.#movers.clear()
  }

  #move(move: CursorMove): void {
    if (this.#forgotten.has(move.userId)) return
    // Two connections of one device may stand at different places: it never moves back.
    const key = keyOf(move.userId, move.device)
    const before = this.#dirty.get(key) ?? this.#writing.get(key)
    const isBehind = before !== undefined && before.confirmed > move.confirmed
    this.#dirty.set(key, isBehind ? { ...before, seenAt: move.seenAt } : move)
    this.#writer ??= this.#write()
  }

  #pending(userId: UserId, device: string): CursorMove | undefined {
    this.#askMovers()
    const key = keyOf(userId, device)
    return this.#dirty.get(key) ?? this.#writing.get(key)
  }

  async #write(): Promise<void> {
    let pause = WRITE_DELAY_MS
    while (this.#dirty.size + this.#movers.size > 0 && !this.#closing.signal.aborted) {
      await delay(pause, undefined, { ref: false, signal: this.#closing.signal }).catch(() => undefined)
      pause = (await this.#writeAll()) ? WRITE_DELAY_MS : RETRY_DELAY_MS
    }
    this.#writer = undefined
  }

  /** What has moved by now, piece by piece. @returns false if a piece was not written: it will be tried again, with the rest */
  async #writeAll(): Promise<boolean> {
    for (let left = this.#dirty.size + this.#movers.size; left > 0; left -= PIECE) {
      this.#takePiece()
      if (this.#writing.size === 0) return true
      if (!(await this.#writeOnce())) return false
    }
    return true
  }

  #takePiece(): void {
    for (const mover of firstOf(this.#movers)) {
      this.#movers.delete(mover)
      this.#move(mover.place)
    }
    for (const [key, move] of firstOf(this.#dirty)) {
      this.#dirty.delete(key)
      this.#writing.set(key, move)
    }
  }

  async #writeOnce(): Promise<boolean> {
    try {
      await this.store.moveCursors([...this.#writing.values()])
      return true
    } catch (thrown) {
      this.log.error(
        { event: 'store.failed', operation: 'moveCursors', err: toGatewayError(thrown) },
        'cursors not written',
      )
      // Newer moves win over those that go back into the queue.
      this.#dirty = new Map([...this.#writing, ...this.#dirty])
      for (const userId of this.#forgotten) this.forget(userId)
      return false
    } finally {
      this.#writing = new Map()
    }
  }
}

function* firstOf<T>(all: Iterable<T>): Generator<T> {
  let left = PIECE
  for (const one of all) {
    if (left-- === 0) return
    yield one
  }
}
