import { ByteQueue } from './byte-queue.js'

/** Most bytes that are taken at a time where many small chunks came. */
const TAKE_BYTES = 65_536
const NOTHING = Buffer.alloc(0)

/** Input that was received and not looked at yet, in order. */
export class PendingInput {
  /** What is left of the bytes taken last: before all in the queue. */
  #rest: Buffer = NOTHING
  /** Made when the first has to wait. */
  #queue: ByteQueue | undefined

  get isEmpty(): boolean {
    return this.#rest.length === 0 && (this.#queue === undefined || this.#queue.bytes === 0)
  }

  push(chunk: Buffer): void {
    this.#queue ??= new ByteQueue()
    this.#queue.push(chunk)
  }

  /** @returns the first bytes; empty when there are none */
  take(): Buffer {
    const rest = this.#rest
    this.#rest = NOTHING
    if (rest.length > 0 || this.#queue === undefined) return rest
    return asBuffer(this.#queue.take(TAKE_BYTES))
  }

  /** @param rest the end of what was taken last */
  putBack(rest: Buffer): void {
    this.#rest = rest
  }

  clear(): void {
    this.#rest = NOTHING
    this.#queue = undefined
  }
}

const asBuffer = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength)
