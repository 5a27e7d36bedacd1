/** The stream that Aedes gets as a client's connection. */
import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { OnFault } from '../../core/faults.js'
import { encodeRefusal } from './encode.js'
import type { PacketLane } from './packet-gate.js'
import { MalformedPacket } from './packet-rules.js'
import { type InputOptions, SocketInput } from './socket-input.js'
import { type Done, type OutputOptions, SocketOutput } from './socket-output.js'
import { SWEEPS_TO_STALL } from './write-group.js'

export interface TransportOptions extends InputOptions, OutputOptions {
  /** Called once. The connection then ends when Aedes has read the packets before. */
  readonly onMalformed: (error: MalformedPacket) => void
  /**
   * Called once, when the client took nothing for the stall timeout while packets waited. The socket is destroyed then.
   */
  readonly onStalled: () => void
  /** A handler threw. The connection is destroyed then. */
  readonly onFault?: OnFault
  /** The client's address, where the stream itself does not know it (WebSocket, proxy). */
  readonly remoteAddress?: string
}

/**
 * Stands between a client's socket and Aedes. Input: only well-formed packets pass. Output: all packets of one
 * event-loop turn go out in one socket write, in order, whether they were written to the stream or by `send`.
 *
 * `destroy` closes this stream at once. The socket closes later: when it has sent what was written before and the
 * client has closed its side, or after the stall timeout. When the socket closes first, this stream closes as soon as
 * Aedes has read all input. Emits 'drain' when the client is no longer congested, or is gone; Aedes emits it too, once,
 * when it closes the connection.
 */
export class MqttTransport extends Duplex {
  /** Kept, since a closed socket does not tell it any more. */
  readonly remoteAddress: string | undefined
  readonly #socket: Duplex
  readonly #options: TransportOptions
  readonly #input: SocketInput
  readonly #output: SocketOutput
  #isInputOver = false
  #isSocketClosed = false
  #socketError: Error | undefined
  #sweptProgress = 0
  #idleSweeps = 0

  constructor(socket: Duplex, options: TransportOptions) {
    super({ allowHalfOpen: false })
    this.#socket = socket
    this.#options = options
    this.#output = new SocketOutput(socket, options, () => this.emit('drain'))
    this.remoteAddress =
      options.remoteAddress ?? (socket instanceof Socket ? socket.remoteAddress : undefined)
    // Aedes' own listener is added later than this and removed earlier; an 'error' without a listener would throw.
    this.on('error', () => {})
    this.#input = new SocketInput(socket, options, this.#sink())
    socket.on('error', this.#onError).on('close', this.#onClose)
    options.group.watch(this.#sweep)
    if (socket.destroyed) process.nextTick(this.#onClose)
  }

  /** Bytes that were written and that the operating system has not taken. */
  get bufferedBytes(): number {
    return this.#output.bufferedBytes
  }

  get isCongested(): boolean {
    return this.#output.isCongested
  }

  /** The client sent DISCONNECT, which Aedes may not have read yet, or never will. */
  get hasDisconnected(): boolean {
    return this.#input.hasDisconnected
  }

  /** Reads all that the client has sent, whatever its rate. Called before the server closes the connection. */
  catchUp(): void {
    if (!this.destroyed) this.#input.catchUp()
  }

  /** From now on packets are offered to `lane` first. */
  openLane(lane: PacketLane): void {
    this.#input.openLane(lane)
  }

  /** Packets go out that ask for `count` acknowledgements. */
  expect(count: number): void {
    this.#input.expect(count)
  }

  /** @param onSilent called once, when the client was silent for longer than its keep alive allows */
  watchSilence(onSilent: () => void): void {
    this.#input.watchSilence(onSilent)
  }

  /** Reads no more of the socket until `releaseInput`. */
  holdInput(): void {
    this.#input.hold()
  }

  releaseInput(): void {
    this.#input.release()
  }

  /**
   * Writes encoded packets behind all that was written before.
   * @returns false if the client is congested (wait for 'drain'), or this stream is closed
   */
  send(packets: Uint8Array | readonly Uint8Array[]): boolean {
    if (this.destroyed || this.writableEnded) return false
    if (packets instanceof Uint8Array) this.#output.push(packets)
    else for (const packet of packets) this.#output.push(packet)
    this.#input.answered()
    return !this.#output.isCongested
  }

  /** Calls back when all that was written so far has left the process; with an error where it may not have. */
  flushed(done: Done): void {
    this.#output.flushed(done)
  }

  /** Bypasses Writable's queue, so that the stream and `send` share one. `done` is called as by `flushed`. */
  override write(chunk: Uint8Array | string, encoding?: BufferEncoding | Done, done?: Done): boolean {
    const callback = typeof encoding === 'function' ? encoding : done
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding as BufferEncoding) : chunk
    const isEnded = this.writableEnded
    const isWritable = this.send(bytes)
    if (callback && isEnded) process.nextTick(callback, new Error('write after end'))
    else if (callback) this.flushed(callback)
    return isWritable
  }

  /** Aedes does its work in listeners of this stream; what it throws is caught here. */
  override emit(...event: Parameters<Duplex['emit']>): boolean {
    try {
      return super.emit(...event)
    } catch (thrown) {
      this.#fail('mqtt.stream', thrown)
      return true
    }
  }

  #fail(where: string, thrown: unknown): void {
    this.#options.onFault?.(where, thrown)
    this.destroy()
  }

  /** Writes are grouped by the write group instead. */
  override cork(): void {}
  override uncork(): void {}

  /** Called only with the chunk that is passed to `end`. */
  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    this.#output.push(chunk)
    done()
  }

  override _final(done: Done): void {
    if (this.#isSocketClosed) done()
    else this.flushed(error => (error ? done(error) : this.#socket.end(done)))
  }

  /** Nothing to do: SocketInput pushes input, and waits while some of it is unread. */
  override _read(): void {}

  override read(size?: number): Buffer | null {
    const bytes = super.read(size) as Buffer | null
    if (bytes !== null) this.#input.goOn()
    return bytes
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#input.stop()
    this.#output.end(error)
    if (this.#isSocketClosed) this.#options.group.unwatch(this.#sweep)
    done(error)
  }

  #sink() {
    const transport = this
    return {
      get isFull() {
        return transport.readableLength > 0
      },
      deliver: (packets: Buffer) => void this.push(packets),
      end: () => this.#endInput(),
      fail: (error: unknown) =>
        error instanceof MalformedPacket ? this.#refuse(error) : this.#fail('mqtt.packet', error),
    }
  }

  #refuse(error: MalformedPacket): void {
    if (error.refuse !== undefined) this.send(encodeRefusal(error.refuse))
    this.#options.onMalformed(error)
  }

  /** The socket is closed. Aedes may still be reading the input before. */
  get isGone(): boolean {
    return this.#isSocketClosed || this.destroyed
  }

  #endInput(): void {
    if (this.#isInputOver || this.destroyed) return
    this.#isInputOver = true
    if (this.#isSocketClosed && this.readableLength === 0) this.destroy(this.#socketError)
    else this.push(null)
  }

  readonly #onError = (error: Error): void => {
    this.#socketError = error
    this.#socket.destroy()
  }

  /**
   * Aedes still reads what the client sent before: DISCONNECT, for example, which discards the will [MQTT-3.1.2-10].
   */
  readonly #onClose = (): void => {
    this.#isSocketClosed = true
    if (this.destroyed) this.#options.group.unwatch(this.#sweep)
    else if (this.#isInputOver && this.readableLength === 0) this.destroy(this.#socketError)
    else {
      this.#output.close(this.#socketError ?? null)
      this.#input.sourceEnded()
    }
  }

  readonly #sweep = (): void => {
    try {
      this.#lookForStall()
    } catch (thrown) {
      this.#fail('mqtt.sweep', thrown)
    }
  }

  /** Also ends a connection that does not finish closing: by Aedes, the socket, or the client. */
  #lookForStall(): void {
    const { isInFlight, progress } = this.#output
    const isWaiting = isInFlight || this.#isInputOver || this.#isSocketClosed || this.destroyed
    if (!isWaiting || progress !== this.#sweptProgress) {
      this.#sweptProgress = progress
      this.#idleSweeps = 0
      return
    }
    const isOnlyClientsTurn = this.#socket.writableFinished
    if (++this.#idleSweeps < (isOnlyClientsTurn ? 1 : SWEEPS_TO_STALL)) return
    if (!this.destroyed && isInFlight) this.#options.onStalled()
    this.#options.webSocket?.terminate()
    this.#socket.destroy()
    this.destroy()
  }
}
