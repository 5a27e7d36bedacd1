/** The generator's raw socket to a server. It costs as little as possible, so that the generator is not the bottleneck. */
import { connect, type Socket } from 'node:net'

/** All sockets read into this buffer: libuv fills it and calls back before it reads the next socket. */
const inbound = Buffer.allocUnsafeSlow(1 << 18)

/** Time of this process in µs, modulo 2^32; differences are valid for 71 minutes. */
export const micros = (): number => (performance.now() * 1000) >>> 0

export abstract class RawSocket {
  protected readonly socket: Socket
  /** Arrival time of the bytes that are being parsed. */
  protected readAt = 0
  /** Bytes of an incomplete frame. */
  #rest: Buffer | undefined
  #isClosing = false
  readonly #opened: Promise<void>
  readonly #closed: Promise<void>
  /** Rejects if the server closes the connection or the socket fails; never resolves. */
  readonly broken: Promise<never>

  constructor(port: number) {
    const callback = (length: number): boolean => {
      this.readAt = micros()
      this.#take(length)
      return true
    }
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true, onread: { buffer: inbound, callback } })
    this.#opened = new Promise(resolve => this.socket.once('connect', resolve))
    this.#closed = new Promise(resolve => this.socket.once('close', () => resolve()))
    this.broken = new Promise((_, reject) => {
      this.socket.once('error', reject)
      this.socket.once('close', () => {
        if (!this.#isClosing) reject(new Error('the server closed a connection'))
      })
    })
    this.broken.catch(() => undefined)
  }

  /** Parses complete frames from offset 0. @returns offset of the first incomplete frame */
  protected abstract parse(bytes: Buffer, end: number): number

  protected opened(): Promise<void> {
    return Promise.race([this.#opened, this.broken])
  }

  close(): Promise<void> {
    this.#isClosing = true
    this.socket.destroy()
    return this.#closed
  }

  #take(length: number): void {
    const fresh = inbound.subarray(0, length)
    const bytes = this.#rest === undefined ? fresh : Buffer.concat([this.#rest, fresh])
    const parsed = this.parse(bytes, bytes.length)
    this.#rest = parsed === bytes.length ? undefined : Buffer.from(bytes.subarray(parsed))
  }
}
