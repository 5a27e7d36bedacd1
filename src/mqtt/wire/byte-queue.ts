/** A FIFO of bytes, kept in the pieces that were pushed. */
export class ByteQueue {
  #pieces: Uint8Array[] = []
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  push(piece: Uint8Array): void {
    this.#bytes += piece.length
    this.#pieces.push(piece)
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
    const taken = this.#pieces.splice(0, count)
    return taken.length === 1 && taken[0] ? taken[0] : Buffer.concat(taken, bytes)
  }

  takeAll(): Uint8Array {
    return this.take(this.#bytes)
  }
}
