/** The stream that Aedes sees as a client's connection. */
import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { OnFault } from '../../core/faults.js'
import type { PacketLane } from './packet-gate.js'
import { MalformedPacket } from './packet-rules.js'
import { type InputOptions, SocketInput } from './socket-input.js'
import { type Done, type OutputOptions, SocketOutput } from './socket-output.js'
import { SWEEPS_TO_STALL } from './write-group.js'

export interface TransportOptions extends InputOptions, OutputOptions {
  /** Called once; the connection ends when Aedes has read what came before. */
  readonly onMalformed: (error: MalformedPacket) => void
  /** Called once, when the client took nothing of what waits for it for the stall timeout; the connection is cut then. */
  readonly onStalled: () => void
  /** A handler failed; the connection is closed. */
  readonly onFault?: OnFault
  /** Where the stream itself does not know it. */
  readonly remoteAddress?: string
}

/**
 * Between a client's socket and Aedes. Inbound, only well-formed packets pass. Outbound, all that one event-loop turn
 * writes leaves in one write of the socket, in order, whether it came through the stream or through `send`.
 *
 * `destroy` closes this stream at once, but the socket only when what was written before has left it and the client
 * has closed too, or does neither in time. A socket that closes closes this stream when Aedes has read all that came.
 * Emits 'drain' when the client is congested no longer or gone; so does Aedes, once, when it closes the connection.
 */
export class MqttTransport extends Duplex {
  /** Stays readable when the socket is gone. */
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
    // Aedes listens too, but neither at first nor to the last.
    this.on('error', () => {})
    this.#input = new SocketInput(socket, options, this.#sink())
    socket.on('error', this.#onError).on('close', this.#onClose)
    options.group.watch(this.#sweep)
    if (socket.destroyed) process.nextTick(this.#onClose)
  }

  /** Bytes written and not yet taken by the operating system. */
  get bufferedBytes(): number {
    return this.#output.bufferedBytes
  }

  get isCongested(): boolean {
    return this.#output.isCongested
  }

  /** Whether the client said DISCONNECT, which Aedes may not have read yet, or will never. */
  get hasDisconnected(): boolean {
    return this.#input.hasDisconnected
  }

  /** Reads what the client has sent already, however far it is ahead: to be called before the server sends it away. */
  catchUp(): void {
    if (!this.destroyed) this.#input.catchUp()
  }

  /** From now on packets are offered to it first. */
  openLane(lane: PacketLane): void {
    this.#input.openLane(lane)
  }

  /** Packets go out that ask for so many acknowledgements. */
  expect(count: number): void {
    this.#input.expect(count)
  }

  /** Calls back when the client was silent for longer than its keep alive allows. */
  watchSilence(onSilent: () => void): void {
    this.#input.watchSilence(onSilent)
  }

  /** Reads no more from the client until `releaseInput`, but for what is on its way through this process. */
  holdInput(): void {
    this.#input.hold()
  }

  releaseInput(): void {
    this.#input.release()
  }

  /**
   * Writes ready-made packets behind all that was written before.
   * @returns false when the client is congested, or this stream closed: wait for 'drain'
   */
  send(packets: Uint8Array | readonly Uint8Array[]): boolean {
    if (this.destroyed || this.writableEnded) return false
    if (packets instanceof Uint8Array) this.#output.push(packets)
    else for (const packet of packets) this.#output.push(packet)
    this.#input.answered()
    return !this.#output.isCongested
  }

  /** Calls back when all that was written up to now has left the process, or with an error when it may not have. */
  flushed(done: Done): void {
    this.#output.flushed(done)
  }

  /** Past Writable's own queue, so that stream and `send` share one; `done` as for `flushed`. */
  override write(chunk: Uint8Array | string, encoding?: BufferEncoding | Done, done?: Done): boolean {
    const callback = typeof encoding === 'function' ? encoding : done
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encoding as BufferEncoding) : chunk
    const isEnded = this.writableEnded
    const isWritable = this.send(bytes)
    if (callback && isEnded) process.nextTick(callback, new Error('write after end'))
    else if (callback) this.flushed(callback)
    return isWritable
  }

  /** Aedes works in listeners of this stream: what it throws there is caught here. */
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

  /** The write group does what these are for. */
  override cork(): void {}
  override uncork(): void {}

  /** Only what is handed to `end` arrives here. */
  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: Done): void {
    this.#output.push(chunk)
    done()
  }

  override _final(done: Done): void {
    if (this.#isSocketClosed) done()
    else this.flushed(error => (error ? done(error) : this.#socket.end(done)))
  }

  /** Input comes by itself, and no more of it while some is unread. */
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
    if (error.refuse !== undefined) this.send(Buffer.from([0x20, 2, 0, error.refuse])) // CONNACK
    this.#options.onMalformed(error)
  }

  /** The socket is closed; Aedes may still be reading what came before. */
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

  /** What the client sent before is still Aedes' to read: its DISCONNECT, for one, which drops the will. */
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

  /** Also ends what hangs while it closes: Aedes not reading its last packets, the socket not emptying, the client. */
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
