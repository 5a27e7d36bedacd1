/**
 * Gives Node's HTTP parser what came in small pieces. By itself it reads all that one read brought, 64 KiB, and makes
 * objects for each of 2,000 pipelined requests, though the first was refused: 100 connections kept the process from
 * everything else for seconds.
 */
import type { Socket } from 'node:net'

/** A few requests of the shortest kind; one of a browser's takes two or three. */
const SLICE_BYTES = 512

const NOTHING: Buffer = Buffer.alloc(0)

export class Slices {
  #rest: Buffer = NOTHING

  /**
   * @param socket in the hands of Node's HTTP server
   * @param isOver whether nothing that it sends is looked at any more
   */
  constructor(
    private readonly socket: Socket,
    private readonly isOver: () => boolean,
  ) {
    // Node's own, which parses. With a listener of ours its parser no longer reads from the system past the stream.
    const [parse] = socket.listeners('data')
    if (parse === undefined) return
    socket.off('data', parse as (chunk: Buffer) => void)
    socket.on('data', this.#take)
    this.#parse = piece => parse.call(socket, piece)
  }

  #parse: (piece: Buffer) => void = () => undefined

  /** The socket is another protocol's. @param head what the parser has left of its piece @returns all that came */
  handOver(head: Buffer): Buffer {
    const rest = this.#rest
    this.#rest = NOTHING
    this.socket.off('data', this.#take)
    return rest.length === 0 ? head : Buffer.concat([head, rest])
  }

  readonly #take = (chunk: Buffer): void => {
    this.#rest = chunk
    while (this.#rest.length > 0 && !this.socket.destroyed && !this.isOver()) {
      // A paused parser takes nothing: Node waits until its answers are taken.
      if (this.socket.isPaused()) {
        this.socket.unshift(this.#rest)
        break
      }
      const piece = this.#rest.subarray(0, SLICE_BYTES)
      this.#rest = this.#rest.subarray(SLICE_BYTES)
      this.#parse(piece)
    }
    this.#rest = NOTHING
  }
}
