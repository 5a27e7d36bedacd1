/**
 * A WebSocket that can be paused. In ws, `pause` only stops the socket, and the receiver goes on with all that was
 * read: one read of 64 KiB holds 10,000 frames, which were processed even if the client had to wait or was cut off.
 */
import { WebSocket } from 'ws'
import { MAX_FRAGMENTS } from './frames.js'

const NOTHING = Buffer.alloc(0)

/** The part of ws' Receiver that is used. It is not documented, so ws is checked for it at run time. */
interface Receiver {
  /**
   * While true, the receiver goes on with what was read. If set to false it stops after the current frame, until a
   * write.
   */
  _loop: boolean
  /** Most bytes of one message. */
  _maxPayload: number
  readonly writable: boolean
  write(bytes: Buffer): boolean
  _write(bytes: Buffer, encoding: string, done: () => void): void
}

export class PausableWebSocket extends WebSocket {
  /** Whether frames that were read may still wait in the receiver. */
  #hasRest = false
  #isDue = false

  override pause(): void {
    super.pause()
    this.#isDue = false
    const receiver = this.#receiver
    if (receiver?._loop !== true) return
    receiver._loop = false
    this.#hasRest = true
  }

  /** Leaves the rest of what was read to the next turn of the event loop. */
  endTurn(): void {
    this.pause()
    this.resume()
  }

  /** First processes, in a turn of its own, the rest of what was read. */
  override resume(): void {
    if (!this.#hasRest) super.resume()
    else if (!this.#isDue) {
      this.#isDue = true
      setImmediate(() => this.#goOn())
    }
  }

  /** From the next frame on. @param maxPayload most bytes of one message */
  limit(maxPayload: number): void {
    const receiver = this.#receiver
    if (receiver !== undefined) receiver._maxPayload = maxPayload
  }

  override terminate(): void {
    super.terminate()
    const receiver = this.#receiver
    if (receiver === undefined) return
    receiver._loop = false
    // ws still passes it what is buffered in the closed socket.
    receiver._write = (_bytes, _encoding, done) => done()
  }

  #goOn(): void {
    // `pause` was called in the meantime.
    if (!this.#isDue) return
    this.#isDue = false
    this.#hasRest = false
    const receiver = this.#receiver
    if (receiver?.writable === true) receiver.write(NOTHING)
    if (!this.#hasRest) super.resume()
  }

  /** Undefined before the handshake, and if this version of ws has no such receiver. */
  get #receiver(): Receiver | undefined {
    const receiver: unknown = Reflect.get(this, '_receiver')
    return isReceiver(receiver) ? receiver : undefined
  }
}

/** The options of a WebSocketServer. @param maxPayload most bytes of one message */
export const serverOptions = (maxPayload: number) => ({
  noServer: true,
  WebSocket: PausableWebSocket,
  clientTracking: false,
  perMessageDeflate: false,
  // pong.ts answers pings.
  autoPong: false,
  maxPayload,
  maxFragments: MAX_FRAGMENTS,
})

const isReceiver = (value: unknown): value is Receiver =>
  typeof value === 'object' &&
  value !== null &&
  '_loop' in value &&
  '_maxPayload' in value &&
  '_write' in value
