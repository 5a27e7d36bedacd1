/** Finds clients that are dead, or that take nothing of what they are sent. */
import type { Socket } from 'node:net'
import type { ControlFrames } from '../limits/control-frames.js'
import type { ClientSocket } from './socket.js'

export interface LivenessRules {
  /** A client that was silent for this long is pinged, ms. */
  readonly pingIntervalMs: number
  /** A client that is silent for this long after a ping is dead, ms. */
  readonly pingTimeoutMs: number
  /** A client that takes nothing for this long, while bytes wait for it, is stalled, ms. */
  readonly stallTimeoutMs: number
  /** How often `check` is called, ms. */
  readonly checkEveryMs: number
}

export type Verdict = 'fine' | 'dead' | 'stalled'

export class Liveness {
  /** performance.now() of the last sign of life: anything received, or bytes that the client took. */
  #lastSeen = performance.now()
  /** `#lastSeen` at the last ping: one ping for each silence. */
  #pingedFor = Number.NaN
  /** Bytes that the client has taken, and performance.now() when that last changed or none waited. */
  #taken = 0
  #lastTaken = performance.now()
  /** Those that wait for an answer to `probe`. */
  #probes: ((isAlive: boolean) => void)[] | undefined

  constructor(
    private readonly ws: Pick<ClientSocket, 'isOpen' | 'ping'>,
    private readonly socket: Socket,
    private readonly rules: LivenessRules,
    private readonly control: Pick<ControlFrames, 'pinged'>,
  ) {}

  /** Something came from the client. */
  seen(): void {
    this.#lastSeen = performance.now()
    if (this.#probes !== undefined) this.#settleProbes(true)
  }

  /**
   * To be called every `checkEveryMs`; pings a silent client.
   * @param now performance.now()
   * @param isHeld the socket is not read, and not because of the client: its silence means nothing
   * @param owedFor how long the client has owed a confirmation of what left for it, ms
   */
  check(now: number, isHeld: boolean, owedFor: number): Verdict {
    this.#noteTaken(now)
    if (isHeld) this.#lastSeen = now
    const { pingIntervalMs, pingTimeoutMs, stallTimeoutMs, checkEveryMs } = this.rules
    if (now - this.#lastTaken >= stallTimeoutMs) return 'stalled'
    // What the socket took may lie in the buffers of the two systems, unread by the client.
    if (owedFor >= stallTimeoutMs && this.socket.writableLength === 0) return 'stalled'
    // Found now, since the next check would be late.
    const silence = now - this.#lastSeen + checkEveryMs
    if (silence >= pingIntervalMs + pingTimeoutMs) return 'dead'
    if (silence >= pingIntervalMs && this.#pingedFor !== this.#lastSeen) {
      this.#pingedFor = this.#lastSeen
      this.#ping()
    }
    return 'fine'
  }

  /** The socket was not read until `now`: the client's silence means nothing. */
  excuse(now: number): void {
    this.#lastSeen = now
    this.#lastTaken = now
  }

  /** Pings now. @returns true as soon as anything comes, false after the ping time-out or `ended` */
  async probe(): Promise<boolean> {
    if (!this.#ping()) return false
    return new Promise(resolve => {
      const timer = setTimeout(resolve, this.rules.pingTimeoutMs, false)
      this.#probes ??= []
      this.#probes.push(isAlive => {
        clearTimeout(timer)
        resolve(isAlive)
      })
    })
  }

  /** The connection is over. */
  ended(): void {
    this.#settleProbes(false)
  }

  #ping(): boolean {
    if (!this.ws.isOpen) return false
    this.ws.ping()
    this.control.pinged()
    return true
  }

  #settleProbes(isAlive: boolean): void {
    const probes = this.#probes ?? []
    this.#probes = undefined
    for (const settle of probes) settle(isAlive)
  }

  /** Bytes that the client took are a sign of life: its pong may wait behind a megabyte that it still has to read. */
  #noteTaken(now: number): void {
    const waits = this.socket.writableLength > 0
    const taken = this.socket.bytesWritten - this.socket.writableLength
    if (waits && taken === this.#taken) return
    if (waits) this.#lastSeen = now
    this.#taken = taken
    this.#lastTaken = now
  }
}
