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

export class HttpInput {
  /** The part of the last read that is not parsed yet. */
  #rest: Buffer = NOTHING
  #isOver = false
  /** Whether the client has ever sent requests while more answers waited than the socket holds. */
  wasFull = false
  readonly #parsers: readonly Parse[]

  /**
   * @param socket a socket that an HTTP server has taken. Node's parser reads the socket directly until there is
   *   another listener for 'data'; then it gets its input from its own 'data' listener, which is replaced here.
   */
  constructor(private readonly socket: Socket) {
    this.#parsers = socket.listeners('data') as Parse[]
    // If Node has no such listener, its parser keeps reading the socket directly.
    if (this.#parsers.length === 0) return
    for (const parse of this.#parsers) socket.off('data', parse)
    socket.on('data', this.#onData)
  }

  get isOver(): boolean {
    return this.#isOver
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
