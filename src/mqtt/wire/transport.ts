/** The transport of one connection: its socket, what comes from it and what goes to it. */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { OnFault } from '../../core/faults.js'
import type { ConnectPacket } from './connect-packet.js'
import { MalformedPacket } from './packet-rules.js'
import { type EndEvents, hearEnd } from './socket-events.js'
import { type InputOptions, type InputSink, type Meter, SocketInput } from './socket-input.js'
import { type Done, type OutputOptions, type OutputOwner, SocketOutput } from './socket-output.js'
import type { Traffic } from './traffic.js'
import type { TransportHandler } from './transport-handler.js'
import { SWEEPS_TO_STALL, type Sweeper } from './write-group.js'

export type { PacerRules } from './pacer.js'

/** What all connections may share. */
export interface TransportOptions extends InputOptions, OutputOptions {
  /** A handler threw. The connection is destroyed then. */
  readonly onFault?: OnFault
  readonly traffic?: Traffic
}

/** Of one connection. */
export interface TransportOrigin {
  readonly webSocket?: OutputOwner['webSocket']
  /** The client's address, where the stream itself does not know it (WebSocket, proxy). */
  readonly remoteAddress?: string | undefined
  /** Counts what packets cost; without it a client may be as fast as it likes. */
  readonly meter?: Meter
}

/**
 * Input: only well-formed packets pass, each handled in the turn in which it is read. Output: all packets of one
 * event-loop turn go out in one socket write, in order.
 *
 * `destroy` ends the connection at once. The socket closes later: when it has sent what was written before and the client
 * has closed its side, or after the stall timeout. When the socket closes first, the connection ends as soon as all input
 * is handled: DISCONNECT, for example, discards the will [MQTT-3.1.2-10].
 */
export class MqttTransport implements InputSink, OutputOwner, EndEvents, Sweeper {
  /** Kept, since a closed socket does not tell it any more. */
  readonly remoteAddress: string | undefined
  readonly webSocket: OutputOwner['webSocket']
  readonly #socket: Duplex
  readonly #options: TransportOptions
  readonly #input: SocketInput
  readonly #output: SocketOutput
  #handler: TransportHandler | undefined
  /** Who wait until the client is not congested. */
  #waiting: (() => void)[] | undefined
  #isDestroyed = false
  #isSocketClosed = false
  #socketError: Error | undefined
  #sweptProgress = 0
  #idleSweeps = 0
  #maxPacketBytes = Number.POSITIVE_INFINITY
  #isTooLarge = false

  constructor(socket: Duplex, options: TransportOptions, origin: TransportOrigin = {}) {
    this.#socket = socket
    this.#options = options
    this.webSocket = origin.webSocket
    this.#output = new SocketOutput(socket, options, this)
    this.#input = new SocketInput(socket, options, this, origin.meter)
    this.remoteAddress = origin.remoteAddress ?? (socket instanceof Socket ? socket.remoteAddress : undefined)
  }

  /** Begins to read. */
  start(handler: TransportHandler): void {
    this.#handler = handler
    this.#input.start()
    hearEnd(this.#socket, this)
    this.#options.group.watch(this)
    if (this.#socket.destroyed) process.nextTick(() => this.socketClosed())
  }

  /** Bytes that were written and that the operating system has not taken. */
  get bufferedBytes(): number {
    return this.#output.bufferedBytes
  }

  get isCongested(): boolean {
    return this.#output.isCongested
  }

  /** The client sent DISCONNECT. */
  get hasDisconnected(): boolean {
    return this.#input.hasDisconnected
  }

  /** The connection has ended. */
  get isDestroyed(): boolean {
    return this.#isDestroyed
  }

  /** The socket is closed. Input that came before may still be waiting. */
  get isGone(): boolean {
    return this.#isSocketClosed || this.#isDestroyed
  }

  /** Reads all that the client has sent, whatever its rate. Called before the server closes the connection. */
  catchUp(): void {
    if (!this.#isDestroyed) this.#input.catchUp()
  }

  /** Packets go out that ask for `count` acknowledgements. */
  expect(count: number): void {
    this.#input.expect(count)
  }

  /** From now on the client is to keep its keep alive. @param seconds 0: none */
  watchSilence(seconds: number): void {
    this.#input.watchSilence(seconds)
  }

  /** Reads no more of the socket until `releaseInput`. */
  holdInput(): void {
    this.#input.hold()
  }

  releaseInput(): void {
    this.#input.release()
  }

  /** From now on no longer packet is sent. Whoever makes packets leaves out what it can; for the others this is the end. */
  limitPackets(maxBytes: number): void {
    this.#maxPacketBytes = maxBytes
  }

  /**
   * Writes an encoded packet behind all that was written before.
   * @returns false if the client is congested (wait for `drained`), or the connection has ended
   */
  send(packet: Uint8Array): boolean {
    if (this.#isDestroyed) return false
    if (packet.length > this.#maxPacketBytes) {
      this.#refuse()
      return false
    }
    this.#output.push(packet)
    this.#options.traffic?.send(packet)
    this.#input.answered()
    return !this.#output.isCongested
  }

  #refuse(): void {
    if (this.#isTooLarge) return
    this.#isTooLarge = true
    this.#guard('mqtt.too-large', () => this.#handler?.tooLarge())
  }

  /** Calls back when all that was written so far has left the process; with an error where it may not have. */
  flushed(done: Done): void {
    this.#output.flushed(done)
  }

  /** Resolves when the client is not congested, or the connection has ended. */
  async drained(): Promise<void> {
    while (this.isCongested && !this.#isDestroyed)
      await new Promise<void>(resolve => {
        this.#waiting ??= []
        this.#waiting.push(resolve)
      })
  }

  /** Ends the connection. What was written goes out. */
  destroy(): void {
    if (this.#isDestroyed) return
    this.#isDestroyed = true
    this.#input.stop()
    this.#output.end(this.#socketError ?? null)
    if (this.#isSocketClosed) this.#options.group.unwatch(this)
    this.#guard('mqtt.end', () => this.#handler?.ended())
  }

  // ── what SocketInput finds ────────────────────────────────────────────────────────────────────────────────

  connect(packet: ConnectPacket): void {
    this.#handler?.connect(packet)
  }

  take(first: number, bytes: Buffer, at: number, end: number): void {
    this.#handler?.take(first, bytes, at, end)
  }

  settle(): void {
    this.#handler?.settle()
  }

  fail(error: unknown): void {
    if (!(error instanceof MalformedPacket)) this.#fail('mqtt.packet', error)
    else this.#guard('mqtt.packet', () => this.#handler?.malformed(error))
  }

  end(): void {
    const error = this.#socketError
    if (error !== undefined && !this.#isDestroyed) this.#guard('mqtt.end', () => this.#handler?.failed(error))
    this.destroy()
  }

  silent(): void {
    this.#guard('mqtt.keep-alive', () => this.#handler?.silent())
  }

  // ── the socket ────────────────────────────────────────────────────────────────────────────────────────────

  /** What a handler throws outside of a packet is caught here. */
  #guard(where: string, handle: () => void): void {
    try {
      handle()
    } catch (thrown) {
      this.#fail(where, thrown)
    }
  }

  #fail(where: string, thrown: unknown): void {
    this.#options.onFault?.(where, thrown)
    this.destroy()
  }

  /** For the output. */
  relieved(): void {
    this.#guard('mqtt.drain', () => {
      for (const resolve of this.#waiting?.splice(0) ?? []) resolve()
      this.#handler?.drained()
    })
  }

  socketFailed(error: Error): void {
    this.#socketError = error
    this.#socket.destroy()
  }

  socketClosed(): void {
    this.#isSocketClosed = true
    if (this.#isDestroyed) this.#options.group.unwatch(this)
    else {
      this.#output.close(this.#socketError ?? null)
      this.#input.sourceEnded()
    }
  }

  /** For the write group. */
  sweep(): void {
    try {
      this.#lookForStall()
    } catch (thrown) {
      this.#fail('mqtt.sweep', thrown)
    }
  }

  /** Also ends a connection that does not finish closing: by the socket, or the client. */
  #lookForStall(): void {
    const { isInFlight, progress } = this.#output
    const isWaiting = isInFlight || this.#isSocketClosed || this.#isDestroyed
    if (!isWaiting || progress !== this.#sweptProgress) {
      this.#sweptProgress = progress
      this.#idleSweeps = 0
      return
    }
    const isOnlyClientsTurn = this.#socket.writableFinished
    if (++this.#idleSweeps < (isOnlyClientsTurn ? 1 : SWEEPS_TO_STALL)) return
    if (!this.#isDestroyed && isInFlight) this.#handler?.stalled()
    this.webSocket?.terminate()
    this.#socket.destroy()
    this.destroy()
  }
}
