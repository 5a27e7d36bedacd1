/**
 * What one HTTP connection sends, on its way to Node's parser, which goes through all that it is given: 64 KiB hold 2,000
 * requests, each with its objects and its answer, also where the connection is refused or closed at the first. It gets
 * small pieces here, and none behind the request that ended the connection.
 */
import type { Socket } from 'node:net'

/** Few requests fit in, and a browser's is no more than some of them. */
const PIECE_BYTES = 256
const NOTHING = Buffer.alloc(0)

type Parse = (piece: Buffer) => void

export class HttpInput {
  /** Of the last read, what the parser has not seen. */
  #rest: Buffer = NOTHING
  #isOver = false
  /** Whether there were once more answers than the socket holds. */
  wasFull = false
  readonly #parsers: readonly Parse[]

  /**
   * @param socket that an HTTP server has taken. Node's parser reads a socket past its events until somebody listens for
   *   'data' too, and then gets what its own listener is given.
   */
  constructor(private readonly socket: Socket) {
    this.#parsers = socket.listeners('data') as Parse[]
    // Of a Node that has none it is as if this was not here.
    if (this.#parsers.length === 0) return
    for (const parse of this.#parsers) socket.off('data', parse)
    socket.on('data', this.#onData)
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Nothing more is parsed: what still comes is read and dropped until the socket is closed. */
  stop(): void {
    this.#isOver = true
    this.#rest = NOTHING
  }

  /** The socket is handed over. @returns what was read of it and not parsed */
  detach(): Buffer {
    const rest = this.#rest
    this.stop()
    this.socket.off('data', this.#onData)
    return rest
  }

  readonly #onData = (read: Buffer): void => {
    this.#rest = read
    while (this.#rest.length > 0 && !this.#isOver && !this.socket.destroyed) {
      // Node reads no further while more answers wait than a socket holds.
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
