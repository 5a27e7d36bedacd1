/**
 * A WebSocket whose pause is one. ws stops its socket only, and goes on through all that was read: 64 KiB hold 10,000 frames,
 * which were worked off also where the client is to wait, and where the connection was cut off already.
 */
import { WebSocket } from 'ws'

const NOTHING = Buffer.alloc(0)

/** What is used of ws' Receiver, which it does not document. */
interface Receiver {
  /** False ends its way through what was read, behind the frame that it is at; a write goes on with the rest. */
  _loop: boolean
  readonly writable: boolean
  write(bytes: Buffer): boolean
  _write(bytes: Buffer, encoding: string, done: () => void): void
}

export class PausableWebSocket extends WebSocket {
  /** True for a client that is logged in: pause() then stops the socket only, and what was read is processed. */
  isTrusted = false
  /** Frames that were read may not all have been processed. */
  #hasRest = false
  #isDue = false

  override pause(): void {
    super.pause()
    this.#isDue = false
    const receiver = this.#receiver
    if (this.isTrusted || receiver?._loop !== true) return
    receiver._loop = false
    this.#hasRest = true
  }

  /** The rest of what was read is for the next turn. */
  endTurn(): void {
    this.pause()
    this.resume()
  }

  /** The rest of what was read comes first, in a turn of its own. */
  override resume(): void {
    if (!this.#hasRest) super.resume()
    else if (!this.#isDue) {
      this.#isDue = true
      setImmediate(this.#goOn)
    }
  }

  override terminate(): void {
    super.terminate()
    const receiver = this.#receiver
    if (receiver === undefined) return
    receiver._loop = false
    // ws still gives it what the closed socket has.
    receiver._write = (_bytes, _encoding, done) => done()
  }

  readonly #goOn = (): void => {
    // Paused again meanwhile.
    if (!this.#isDue) return
    this.#isDue = false
    this.#hasRest = false
    const receiver = this.#receiver
    if (receiver?.writable === true) receiver.write(NOTHING)
    if (!this.#hasRest) super.resume()
  }

  /** Undefined before the handshake, and of a ws that has none like it. */
  get #receiver(): Receiver | undefined {
    const receiver: unknown = Reflect.get(this, '_receiver')
    return isReceiver(receiver) ? receiver : undefined
  }
}

/** Of one message: browsers send some, of 128 KiB, and MQTT packets come whole or in pieces; a flood of empty ones is no message. */
const MAX_FRAGMENTS = 1024

/** What both front ends' WebSocketServers have alike. @param maxPayload bytes of one message */
export const serverOptions = (maxPayload: number) => ({
  noServer: true,
  WebSocket: PausableWebSocket,
  clientTracking: false,
  perMessageDeflate: false,
  // Ours answer: see pong.ts.
  autoPong: false,
  maxPayload,
  maxFragments: MAX_FRAGMENTS,
})

const isReceiver = (value: unknown): value is Receiver =>
  typeof value === 'object' && value !== null && '_loop' in value && '_write' in value
