/** Of all that are empty. Nothing is ever added to it. */
const NONE: never[] = []

/** A FIFO of bytes, kept in the pieces that were pushed. */
export class ByteQueue {
  #pieces: Uint8Array[] = NONE
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  push(piece: Uint8Array): void {
    this.#bytes += piece.length
    if (this.#pieces === NONE) this.#pieces = [piece]
    else this.#pieces.push(piece)
  }

  /**
   * Takes at most `maxBytes` from the front; empty if there are none. Small pieces are copied into one buffer, which
   * costs less than a vectored write; a piece larger than `maxBytes` is cut without a copy.
   */
  take(maxBytes: number): Uint8Array {
    const [first] = this.#pieces
    if (first && first.length > maxBytes) {
      this.#pieces[0] = first.subarray(maxBytes)
      this.#bytes -= maxBytes
      return first.subarray(0, maxBytes)
    }
    let count = 0
    let bytes = 0
    for (const piece of this.#pieces) {
      if (bytes + piece.length > maxBytes) break
      bytes += piece.length
      count++
    }
    this.#bytes -= bytes
    const taken = this.#removeFirst(count)
    return taken.length === 1 && taken[0] ? taken[0] : Buffer.concat(taken, bytes)
  }

  #removeFirst(count: number): readonly Uint8Array[] {
    if (count < this.#pieces.length) return this.#pieces.splice(0, count)
    const all = this.#pieces
    this.#pieces = NONE
    return all
  }

  takeAll(): Uint8Array {
    return this.take(this.#bytes)
  }
}
