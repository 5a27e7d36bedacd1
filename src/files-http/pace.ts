/** Whether a long body moves. A connection on which too little moves for a while is closed. */
import type { Readable } from 'node:stream'

/** Bytes that must have moved before the time begins anew. */
const STEP_BYTES = 16_384

export class Pace {
  #left = STEP_BYTES

  /**
   * @param wait see Route
   * @param stallMs how long `STEP_BYTES` may take
   */
  constructor(
    private readonly wait: (ms: number) => void,
    private readonly stallMs: number,
  ) {
    wait(stallMs)
  }

  /** Counts what passes. */
  async *count(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of body) {
      this.#left -= piece.length
      if (this.#left <= 0) {
        this.#left = STEP_BYTES
        this.wait(this.stallMs)
      }
      yield piece
    }
  }

  /** The same of a request. Whoever stops reading leaves it as it is: the answer needs its connection. */
  countUpload(request: Readable): AsyncGenerator<Buffer> {
    return this.count(request.iterator({ destroyOnReturn: false }))
  }

  /** While we work and the client waits. */
  async while<T>(work: Promise<T>): Promise<T> {
    const again = () => this.wait(this.stallMs)
    again()
    const timer = setInterval(again, this.stallMs / 2)
    try {
      return await work
    } finally {
      clearInterval(timer)
    }
  }
}
