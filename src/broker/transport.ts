/** The stream that Aedes sees as a client's connection. */
import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import { ByteQueue } from './byte-queue.js'
import { PacketGate } from './packet-gate.js'
import { MalformedPacket, type PacketLimits } from './packet-rules.js'
import { SWEEPS_TO_STALL, type WriteGroup } from './write-group.js'

type Done = (error?: Error | null) => void

export interface TransportOptions extends PacketLimits {
  readonly group: WriteGroup
  /** From here on the client counts as congested, until half of it has gone. */
  readonly maxBufferedBytes: number
  /** Called once; the connection ends when Aedes has read what came before. */
  readonly onMalformed: (error: MalformedPacket) => void
  /** Called once, when the client took nothing of what waits for it for the stall timeout; the connection is cut then. */
  readonly onStalled: () => void
  /**
   * The open socket, where the stream is websocket-stream's: that cannot hold its source back, says "written" of what
   * it drops while closing, and closes by handshake only.
   */
  readonly webSocket?: WebSocket
  /** Where the stream itself does not know it. */
  readonly remoteAddress?: string
}

/** Most bytes given to the socket at a time: what a slow client must take within the stall timeout. */
const SLICE_BYTES = 65_536

const closedError = () => new Error('connection closed')

/**
 * Between a client's socket and Aedes. Inbound, only well-formed packets pass. Outbound, all that one event-loop turn
 * writes leaves in one write of the socket, in order, whether it came through the stream or through `send`.
 *
 * `destroy` closes this stream at once, but the socket only when what was written before has left it and the client
 * has closed too, or does neither in time.
 * Emits 'drain' when the client is no longer congested; Aedes emits it too, once, when it closes the connection.
 */
export class MqttTransport extends Duplex {
  /** Stays readable when the socket is gone. */
  readonly remoteAddress: string | undefined
  readonly #socket: Duplex
  readonly #options: TransportOptions
  readonly #gate: PacketGate
  #isInputPaused = false
  #isInputOver = false
  #isSocketClosed = false
  #socketError: Error | undefined

  readonly #queue = new ByteQueue()
  /** Given to the socket, which has not called back yet. */
  #inFlightBytes = 0
  #takenBytes = 0
  #isDue = false
  #isCongested = false
  #waiting: { readonly mark: number; readonly done: Done }[] = []

  /** Counts whatever shows that the socket lives, for the sweep to compare. */
  #progress = 0
  #sweptProgress = 0
  #idleSweeps = 0

  constructor(socket: Duplex, options: TransportOptions) {
    super({ allowHalfOpen: false })
    this.#socket = socket
    this.#options = options
    this.#gate = new PacketGate(options)
    this.remoteAddress =
      options.remoteAddress ?? (socket instanceof Socket ? socket.remoteAddress : undefined)
    // Aedes listens too, but neither at first nor to the last.
    this.on('error', () => {})
    socket
      .on('data', this.#onData)
      .on('end', this.#endInput)
      .on('error', this.#onError)
      .on('close', this.#onClose)
    options.group.watch(this.#sweep)
    if (socket.destroyed) process.nextTick(this.#onClose)
  }

  /** Bytes written and not yet taken by the operating system. */
  get bufferedBytes(): number {
    return this.#queue.bytes + this.#inFlightBytes
  }

  get isCongested(): boolean {
    return this.#isCongested
  }

  /**
   * Writes ready-made packets behind all that was written before.
   * @returns false when the client is congested, or this stream closed: wait for 'drain'
   */
  send(packets: Uint8Array | readonly Uint8Array[]): boolean {
    if (this.destroyed || this.writableEnded) return false
    if (packets instanceof Uint8Array) this.#append(packets)
    else for (const packet of packets) this.#append(packet)
    return !this.#isCongested
  }

  /** Calls back when all that was written up to now has left the process, or with an error when it may not have. */
  flushed(done: Done): void {
    if (this.#isSocketClosed || this.destroyed) process.nextTick(done, closedError())
    else if (this.bufferedBytes === 0) process.nextTick(done)
    else this.#waiting.push({ mark: this.#takenBytes + this.bufferedBytes, done })
  }

  /** Past Writable's own queue, so that stream and `send` share one; `done` as for `flushed`. */
  override write(chunk: Uint8Array | string, encoding?: BufferEncoding | Done, done?: Done): boolean {
    const callback = typeof encoding === 'function' ? encoding : done
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding as BufferEncoding) : chunk
    const isWritable = this.send(bytes)
    if (callback && this.writableEnded) process.nextTick(callback, closedError())
    else if (callback) this.flushed(callback)
    return isWritable
  }

  /** The write group does what these are for. */
  override cork(): void {}
  override uncork(): void {}

  /** Only what is handed to `end` arrives here. */
  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    this.#append(chunk)
    done()
  }

  override _final(done: Done): void {
    if (this.#isSocketClosed) done()
    else this.flushed(error => (error ? done(error) : this.#socket.end(done)))
  }

  override _read(): void {
    if (this.#isInputPaused) this.#resumeInput()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const socket = this.#socket
    socket.off('data', this.#onData).off('end', this.#endInput)
    // What else comes is read and dropped until the client closes too: to close with unread input resets a connection,
    // which can cost the client our last packet. And a WebSocket closes only when it reads the client's close frame.
    this.#resumeInput()
    if (this.#queue.bytes > 0 && this.#isSocketWritable()) socket.write(this.#queue.takeAll())
    if (!socket.destroyed) socket.end()
    if (this.#isSocketClosed) this.#options.group.unwatch(this.#sweep)
    this.#progress++
    this.#failFlushed(error ?? closedError())
    done(error)
  }

  #isSocketWritable(): boolean {
    const webSocket = this.#options.webSocket
    return this.#socket.writable && (webSocket === undefined || webSocket.readyState === webSocket.OPEN)
  }

  #resumeInput(): void {
    this.#isInputPaused = false
    this.#options.webSocket?.resume()
    this.#socket.resume()
  }

  readonly #onData = (chunk: Buffer): void => {
    try {
      this.#gate.push(chunk, this.#deliver)
    } catch (error) {
      if (error instanceof MalformedPacket) this.#refuse(error)
      else this.destroy(error as Error)
    }
  }

  readonly #deliver = (packets: Buffer): void => {
    if (this.push(packets)) return
    this.#isInputPaused = true
    this.#socket.pause()
    this.#options.webSocket?.pause()
  }

  #refuse(error: MalformedPacket): void {
    if (error.refuse !== undefined) this.send(Buffer.from([0x20, 2, 0, error.refuse])) // CONNACK
    this.#endInput()
    this.#options.onMalformed(error)
  }

  readonly #endInput = (): void => {
    if (this.#isInputOver) return
    this.#isInputOver = true
    this.#socket.off('data', this.#onData).off('end', this.#endInput)
    this.push(null)
  }

  readonly #onError = (error: Error): void => {
    this.#socketError = error
    this.#socket.destroy()
  }

  /** What the client sent before is still Aedes' to read: its DISCONNECT, for one, which drops the will. */
  readonly #onClose = (): void => {
    this.#isSocketClosed = true
    if (this.destroyed) this.#options.group.unwatch(this.#sweep)
    else if (this.readableLength === 0) this.destroy(this.#socketError)
    else {
      this.#queue.takeAll()
      this.#failFlushed(closedError())
      this.#relieve()
      this.#endInput()
    }
  }

  #append(bytes: Uint8Array): void {
    if (this.#isSocketClosed) return
    this.#queue.push(bytes)
    if (this.bufferedBytes >= this.#options.maxBufferedBytes) this.#isCongested = true
    this.#handOverAtTurnEnd()
  }

  #handOverAtTurnEnd(): void {
    if (this.#isDue) return
    this.#isDue = true
    this.#options.group.atTurnEnd(this.#handOver)
  }

  readonly #handOver = (): void => {
    this.#isDue = false
    // A socket that takes no more ends or closes presently, and Aedes may have packets to read before that.
    if (this.#inFlightBytes > 0 || this.#queue.bytes === 0 || !this.#isSocketWritable()) return
    const slice = this.#queue.take(SLICE_BYTES)
    this.#inFlightBytes = slice.length
    this.#progress++
    this.#socket.write(slice, this.#onTaken)
  }

  /** An error is not for here: the socket emits it, or 'close', as well. */
  readonly #onTaken: Done = error => {
    if (error || this.destroyed) return
    this.#takenBytes += this.#inFlightBytes
    this.#inFlightBytes = 0
    this.#progress++
    if (this.#queue.bytes >= SLICE_BYTES) this.#handOver()
    else if (this.#queue.bytes > 0) this.#handOverAtTurnEnd()
    this.#settleFlushed()
    if (this.bufferedBytes <= this.#options.maxBufferedBytes / 2) this.#relieve()
  }

  #relieve(): void {
    if (!this.#isCongested) return
    this.#isCongested = false
    this.emit('drain')
  }

  #failFlushed(error: Error): void {
    for (const { done } of this.#waiting.splice(0)) process.nextTick(done, error)
  }

  #settleFlushed(): void {
    const count = this.#waiting.findIndex(waiter => waiter.mark > this.#takenBytes)
    for (const waiter of this.#waiting.splice(0, count < 0 ? this.#waiting.length : count)) waiter.done()
  }

  /** Also ends what hangs while it closes: Aedes not reading its last packets, the socket not emptying, the client. */
  readonly #sweep = (): void => {
    const isWaiting = this.#inFlightBytes > 0 || this.#isInputOver || this.destroyed
    if (!isWaiting || this.#progress !== this.#sweptProgress) {
      this.#sweptProgress = this.#progress
      this.#idleSweeps = 0
      return
    }
    const isOnlyClientsTurn = this.#socket.writableFinished
    if (++this.#idleSweeps < (isOnlyClientsTurn ? 1 : SWEEPS_TO_STALL)) return
    if (!this.destroyed && this.#inFlightBytes > 0) this.#options.onStalled()
    this.#options.webSocket?.terminate()
    this.#socket.destroy()
    this.destroy()
  }
}
