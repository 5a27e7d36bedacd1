/** Stops reading from a client that sends faster than it is answered, than it takes the answers, or than it may. */
import type { Fuse } from '../core/faults.js'
import type { ControlFrames } from '../limits/control-frames.js'
import type { FrameWriter } from './frame-writer.js'
import { Hold } from './hold.js'
import type { Requests } from './requests.js'
import type { ClientSocket } from './socket.js'

export interface BackPressureRules {
  /** Bytes of requests that have not started; beyond them nothing is read. */
  readonly maxBufferedBytes: number
}

export class BackPressure {
  #isOn = false
  #isOver = false
  /** While the client is ahead of the pings and pongs that it may send; made when it first is. */
  #hold: Hold | undefined

  constructor(
    private readonly ws: Pick<ClientSocket, 'pause' | 'resume'>,
    private readonly requests: Pick<Requests, 'open' | 'maxOpen' | 'waitingBytes'>,
    private readonly out: Pick<FrameWriter, 'isFull'>,
    private readonly control: Pick<ControlFrames, 'take'>,
    private readonly rules: BackPressureRules,
    private readonly fuse: Fuse,
  ) {}

  /** Whether the socket is not read. */
  get isOn(): boolean {
    return this.#isOn
  }

  /** Call it for each ping or pong. Too many of them pause the connection. */
  took(kind: 'ping' | 'pong'): void {
    const waitMs = this.control.take(kind)
    if (waitMs > 0) {
      this.#hold ??= new Hold(() => this.update(), this.fuse)
      this.#hold.extend(waitMs)
    }
    if (this.#isHeld) this.update()
  }

  get #isHeld(): boolean {
    return this.#hold?.isOn === true
  }

  /** To be called after what it depends on has changed. Reading goes on when half of the requests are answered. */
  update(): void {
    if (this.#isOver) return
    const { open, maxOpen, waitingBytes } = this.requests
    const isHeld = this.out.isFull || waitingBytes > this.rules.maxBufferedBytes || this.#isHeld
    if (!this.#isOn && (open >= maxOpen || isHeld)) {
      this.#isOn = true
      this.ws.pause()
    } else if (this.#isOn && open <= maxOpen / 2 && !isHeld) {
      this.#isOn = false
      this.ws.resume()
    }
  }

  /** The connection has ended: the socket is read for the client's part of the closing handshake. */
  stop(): void {
    this.#isOver = true
    this.#hold?.clear()
    if (this.#isOn) this.ws.resume()
  }
}
