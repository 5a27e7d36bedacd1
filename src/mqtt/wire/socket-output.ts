/** The output of one client: in order, at most one socket write an event-loop turn. */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { ByteQueue } from './byte-queue.js'
import type { WriteGroup } from './write-group.js'

export type Done = (error?: Error | null) => void

export interface OutputOptions {
  readonly group: WriteGroup
  /** With so many bytes waiting the client is congested, until half of them have left. */
  readonly maxBufferedBytes: number
}

/** Whose output it is. */
export interface OutputOwner {
  /** The WebSocket under the stream. During its closing handshake the stream still says that it is writable. */
  readonly webSocket?: WebSocket | undefined
  /** The client is no longer congested, or is gone. */
  relieved(): void
}

interface Waiting {
  /** Called when so many bytes have left. */
  readonly upTo: number
  readonly done: Done
}

/** Most bytes given to the socket at a time. A slow client must take so many within the stall timeout. */
const SLICE_BYTES = 65_536

export class SocketOutput {
  readonly #socket: Duplex
  readonly #options: OutputOptions
  readonly #owner: OutputOwner
  #queue = new ByteQueue()
  /** Given to the socket and not taken by the operating system. */
  #inFlightBytes = 0
  #takenBytes = 0
  #isDue = false
  #isCongested = false
  #isClosed = false
  #progress = 0
  /** Made for the first who waits. */
  #waiting: Waiting[] | undefined

  constructor(socket: Duplex, options: OutputOptions, owner: OutputOwner) {
    this.#socket = socket
    this.#options = options
    this.#owner = owner
  }

  get bufferedBytes(): number {
    return this.#queue.bytes + this.#inFlightBytes
  }

  get isCongested(): boolean {
    return this.#isCongested
  }

  get isInFlight(): boolean {
    return this.#inFlightBytes > 0
  }

  /** A number that changes when the socket has taken a slice and is given the next one. */
  get progress(): number {
    return this.#progress
  }

  /** Does nothing after `close`. */
  push(bytes: Uint8Array): void {
    if (this.#isClosed) return
    this.#queue.push(bytes)
    if (this.bufferedBytes >= this.#options.maxBufferedBytes) this.#isCongested = true
    this.#handOverAtTurnEnd()
  }

  /** Calls back when all bytes pushed so far have left the process; with an error where they may not have. */
  flushed(done: Done): void {
    if (this.#isClosed) process.nextTick(done, new Error('connection closed'))
    else if (this.bufferedBytes === 0) process.nextTick(done)
    else {
      this.#waiting ??= []
      this.#waiting.push({ upTo: this.#takenBytes + this.bufferedBytes, done })
    }
  }

  /** Gives the socket all that is left and ends it. `flushed` callbacks get an error at once. */
  end(error: Error | null): void {
    if (this.#queue.bytes > 0 && this.#isSocketWritable()) this.#socket.write(this.#queue.takeAll())
    if (!this.#socket.destroyed) this.#socket.end()
    this.#progress++
    this.close(error)
  }

  /** Drops what is left. `flushed` callbacks get an error. */
  close(error: Error | null): void {
    this.#isClosed = true
    this.#queue = new ByteQueue()
    for (const { done } of this.#waiting ?? [])
      process.nextTick(done, error ?? new Error('connection closed'))
    this.#waiting = undefined
    this.#relieve()
  }

  #isSocketWritable(): boolean {
    const { webSocket } = this.#owner
    return this.#socket.writable && (webSocket === undefined || webSocket.readyState === webSocket.OPEN)
  }

  #handOverAtTurnEnd(): void {
    if (this.#isDue) return
    this.#isDue = true
    this.#options.group.atTurnEnd(this)
  }

  /** For the end of the turn. */
  run(): void {
    this.#isDue = false
    this.#handOver()
  }

  #handOver(): void {
    // Where the socket takes no more it is about to close; packets of its client may still be handled until then.
    if (this.#inFlightBytes > 0 || this.#queue.bytes === 0 || !this.#isSocketWritable()) return
    const slice = this.#queue.take(SLICE_BYTES)
    this.#inFlightBytes = slice.length
    this.#progress++
    // One function a write, and none while nothing is written.
    this.#socket.write(slice, error => this.#taken(error))
  }

  /** An error needs nothing here: the socket emits 'error' or 'close', too. */
  #taken(error: Error | null | undefined): void {
    if (error) return
    this.#takenBytes += this.#inFlightBytes
    this.#inFlightBytes = 0
    if (this.#queue.bytes >= SLICE_BYTES) this.#handOver()
    else if (this.#queue.bytes > 0) this.#handOverAtTurnEnd()
    if (this.#waiting !== undefined) this.#settleFlushed(this.#waiting)
    if (this.bufferedBytes <= this.#options.maxBufferedBytes / 2) this.#relieve()
  }

  #settleFlushed(waiting: Waiting[]): void {
    const count = waiting.findIndex(({ upTo }) => upTo > this.#takenBytes)
    if (count < 0) this.#waiting = undefined
    for (const { done } of waiting.splice(0, count < 0 ? waiting.length : count)) done()
  }

  #relieve(): void {
    if (!this.#isCongested) return
    this.#isCongested = false
    this.#owner.relieved()
  }
}
