/**
 * The input of one HTTP connection, given to Node's parser in small pieces. The parser processes all that it is given:
 * one read of 64 KiB holds 2,000 requests, and each costs objects and an answer, even if the connection is refused or
 * closed at the first one. With small pieces, nothing after the request that ends the connection is parsed.
 */
import type { Socket } from 'node:net'

/** Few requests fit into one piece. A browser's request takes a few pieces. */
const PIECE_BYTES = 256
const NOTHING = Buffer.alloc(0)

type Parse = (piece: Buffer) => void

/** In which turn of the event loop a handshake is done: see flow/turnstile.ts. */
export interface Entrance {
  enter(job: () => void): void
  passes(): boolean
  add(job: () => void): void
}

/** Longest read that waits for its turn, so that those of all who come back at once take little. A handshake has 200 to 2,000 bytes. */
const MAX_WAITING_BYTES = 4096

/** Whether it may be the request of a handshake, which is for the parser to say. */
const seemsToUpgrade = (read: Buffer): boolean => read.length <= MAX_WAITING_BYTES && read.includes('pgrade:')

export class HttpInput {
  /** The part of the last read that is not parsed yet. */
  #rest: Buffer = NOTHING
  #isOver = false
  #isFirst = true
  #hasTurn = false
  /** Whether the client has ever sent requests while more answers waited than the socket holds. */
  wasFull = false
  readonly #parsers: readonly Parse[]

  /**
   * @param socket a socket that an HTTP server has taken. Node's parser reads the socket directly until there is
   *   another listener for 'data'; then it gets its input from its own 'data' listener, which is replaced here.
   * @param entrance where a handshake waits before it is parsed, if that is the first that the client sends: where thousands
   *   come in one turn, to parse them takes most of it
   */
  constructor(
    private readonly socket: Socket,
    private readonly entrance: Entrance,
  ) {
    this.#parsers = socket.listeners('data') as Parse[]
    // If Node has no such listener, its parser keeps reading the socket directly.
    if (this.#parsers.length === 0) return
    for (const parse of this.#parsers) socket.off('data', parse)
    socket.on('data', this.#onData)
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** While what has waited for its turn is parsed: an upgrade need not wait again. */
  get hasTurn(): boolean {
    return this.#hasTurn
  }

  /** Stops parsing. Further input is read and dropped until the socket is closed. */
  stop(): void {
    this.#isOver = true
    this.#rest = NOTHING
  }

  /** Call it when the socket is handed over. @returns the bytes that were read and not parsed */
  detach(): Buffer {
    const rest = this.#rest
    this.stop()
    this.socket.off('data', this.#onData)
    return rest
  }

  readonly #onData = (read: Buffer): void => {
    this.#rest = read
    const mayWait = this.#isFirst && seemsToUpgrade(read)
    this.#isFirst = false
    if (!mayWait) this.#parse()
    else if (this.entrance.passes()) this.#parseInTurn()
    else {
      // No more is read meanwhile.
      this.socket.pause()
      this.entrance.add(() => {
        this.socket.resume()
        this.#parseInTurn()
      })
    }
  }

  #parseInTurn(): void {
    this.#hasTurn = true
    this.#parse()
    this.#hasTurn = false
  }

  #parse(): void {
    while (this.#rest.length > 0 && !this.#isOver && !this.socket.destroyed) {
      // Node pauses the socket while more answers wait than it holds.
      if (this.socket.isPaused()) {
        this.#putBack()
        return
      }
      const piece = this.#rest.subarray(0, PIECE_BYTES)
      this.#rest = this.#rest.subarray(PIECE_BYTES)
      for (const parse of this.#parsers) parse(piece)
    }
    this.#rest = NOTHING
  }

  #putBack(): void {
    const rest = this.#rest
    this.#rest = NOTHING
    this.wasFull = true
    this.socket.unshift(rest)
  }
}
