/** The generator's way to a server: a raw socket that costs as little as possible, so that it is not the limit. */
import { connect, type Socket } from 'node:net'

/** Every socket reads into this one: libuv fills it and calls back before it reads the next socket. */
const inbound = Buffer.allocUnsafeSlow(1 << 18)

/** Microseconds of this process modulo 2^32; differences of two are right for 71 minutes. */
export const micros = (): number => (performance.now() * 1000) >>> 0

export abstract class RawSocket {
  protected readonly socket: Socket
  /** When the bytes that are being parsed came. */
  protected readAt = 0
  /** Bytes of a frame that is not complete. */
  #rest: Buffer | undefined
  #isClosing = false
  readonly #opened: Promise<void>
  readonly #closed: Promise<void>
  /** Rejects when the server ends the connection, or the socket fails; never resolves. */
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

  /** Parses whole frames from 0 on. @returns where the first incomplete one begins */
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
