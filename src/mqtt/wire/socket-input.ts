/**
 * The input of one client. Every chunk goes through the packet gate, a bounded amount of work per event-loop turn. The
 * socket is paused while the packets are not wanted: CONNECT is not answered, the store is behind, or the client is faster
 * than its rate.
 */
import type { Duplex } from 'node:stream'
import type { ConnectPacket } from './connect-packet.js'
import type { Pacer } from './pacer.js'
import { PacketGate, type PacketSink } from './packet-gate.js'
import type { PacketLimits } from './packet-rules.js'
import { PendingInput } from './pending-input.js'
import { SilenceWatch, type Watched } from './silence.js'
import { hearInput, hearInputNoMore, type InputEvents } from './socket-events.js'
import type { Looker, WriteGroup } from './write-group.js'

export interface InputOptions {
  readonly limits: PacketLimits
  readonly group: WriteGroup
}

/** Counts what packets cost. */
export type Meter = Pick<Pacer, 'admit' | 'expect' | 'settle'>

export interface InputSink extends PacketSink {
  /** The packets of one read were given. */
  settle(): void
  /** No more packets will come. */
  end(): void
  /** The last packet is malformed, or a handler failed; `end` follows. */
  fail(error: unknown): void
  /** Called once, when the client was silent for longer than its keep alive allows. */
  silent(): void
}

/** One and a half times the keep alive [MQTT-3.1.2-24]. */
const SILENCE_MS_PER_SECOND = 1500

export class SocketInput implements PacketSink, InputEvents, Watched, Looker {
  readonly #socket: Duplex
  readonly #options: InputOptions
  readonly #sink: InputSink
  readonly #meter: Meter | undefined
  readonly #gate: PacketGate
  readonly #pending = new PendingInput()
  #silence: SilenceWatch | undefined
  #isPaused = false
  /** `run` will be called at the end of this event-loop turn. */
  #isOnTurn = false
  /** `lookOn` will be called in this turn or a later one. */
  #isDue = false
  /** `hold` was called. */
  #isHeld = false
  /** Set while a client that is too fast is not read. */
  #pacing: NodeJS.Timeout | undefined
  /** CONNECT is answered. Packets behind it wait until then, since it is not known whose they are. */
  #isAnswered = false
  #isCatchingUp = false
  #isSourceOver = false
  #isStopped = false

  /** @param meter without it a client may be as fast as it likes */
  constructor(socket: Duplex, options: InputOptions, sink: InputSink, meter?: Meter) {
    this.#socket = socket
    this.#options = options
    this.#sink = sink
    this.#meter = meter
    this.#gate = new PacketGate(options.limits, meter)
  }

  start(): void {
    hearInput(this.#socket, this)
  }

  /** The client sent DISCONNECT. */
  get hasDisconnected(): boolean {
    return this.#gate.hasDisconnected
  }

  /** Packets go out that ask for `count` acknowledgements. */
  expect(count: number): void {
    this.#meter?.expect(count)
  }

  /** A packet was written to the client; the first one is CONNACK. */
  answered(): void {
    if (this.#isAnswered) return
    this.#isAnswered = true
    this.goOn()
  }

  /** Reads no more until `release`. */
  hold(): void {
    this.#isHeld = true
    this.#pause()
  }

  release(): void {
    this.#isHeld = false
    this.goOn()
  }

  /** Looks at all that was received, whatever the limits. Called before the server closes the connection. */
  catchUp(): void {
    this.#isCatchingUp = true
    this.#endPacing()
    while (!this.#pending.isEmpty) this.#look(this.#pending.take())
    this.goOn()
  }

  /** From now on `silent` is called when the client is silent for longer than a keep alive of so many seconds allows. */
  watchSilence(seconds: number): void {
    const maxMs = seconds * SILENCE_MS_PER_SECOND
    if (maxMs > 0 && !this.#isStopped) this.#silence = new SilenceWatch(maxMs, this)
  }

  silent(): void {
    this.#sink.silent()
  }

  /** Reads on where nothing is in the way any more. */
  goOn(): void {
    if (this.#isStopped) return
    if (!this.#pending.isEmpty) {
      this.#pause()
      if (this.#mayLook) this.#askForTurn()
    } else if (this.#isSourceOver) this.#finish()
    else if (this.#mayLook) this.#resume()
  }

  /** The source has closed or ended. What it sent before is still looked at. */
  sourceEnded(): void {
    this.#isSourceOver = true
    this.#endPacing()
    this.goOn()
  }

  /**
   * From now on input is read and dropped until the client closes. To close a socket with unread input resets the
   * connection, which may cost the client our last packet; and a WebSocket closes only when it reads the client's close
   * frame.
   */
  stop(): void {
    this.#detach()
    this.#isPaused = true
    this.#resume()
  }

  get #mayLook(): boolean {
    if (this.#isCatchingUp) return true
    return !this.#isHeld && this.#pacing === undefined && (this.#isAnswered || this.#gate.isNew)
  }

  /** The client is being read. */
  get isListening(): boolean {
    return this.#mayLook && this.#pending.isEmpty
  }

  #pause(): void {
    if (this.#isStopped || this.#isPaused || this.#isCatchingUp) return
    this.#isPaused = true
    this.#socket.pause()
  }

  #resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#silence?.heard()
    this.#socket.resume()
  }

  data(chunk: Buffer): void {
    if (this.isListening && !this.#gate.isTired) this.#look(chunk)
    else {
      this.#pending.push(chunk)
      this.goOn()
    }
  }

  /** Later, not at once: a packet before is being handled, which called `goOn`. */
  #askForTurn(): void {
    if (this.#isDue) return
    this.#isDue = true
    if (this.#gate.isTired) this.#options.group.inTurn(this)
    else process.nextTick(lookOn, this)
  }

  lookOn(): void {
    this.#isDue = false
    if (!this.#isStopped && this.#mayLook && !this.#pending.isEmpty) this.#look(this.#pending.take())
  }

  /** For the end of the turn. */
  run(): void {
    this.#isOnTurn = false
    this.#gate.beginTurn()
  }

  #look(chunk: Buffer): void {
    if (!this.#isOnTurn) {
      this.#isOnTurn = true
      this.#options.group.atTurnEnd(this)
    }
    try {
      let rest = this.#gate.push(chunk, this)
      while (this.#isCatchingUp && rest.length > 0) rest = this.#gate.push(rest, this)
      if (!this.#isStopped) this.#tookChunk(rest)
    } catch (error) {
      this.#sink.fail(error)
      this.#finish()
    }
    this.goOn()
  }

  /** @param rest its bytes that were not looked at */
  #tookChunk(rest: Buffer): void {
    this.#pending.putBack(rest)
    if (this.#gate.takePackets() > 0) this.#silence?.heard()
    this.#sink.settle()
    this.#pace()
  }

  connect(packet: ConnectPacket): void {
    if (!this.#isStopped) this.#sink.connect(packet)
  }

  take(first: number, bytes: Buffer, at: number, end: number): void {
    if (!this.#isStopped) this.#sink.take(first, bytes, at, end)
  }

  #pace(): void {
    const waitMs = this.#meter?.settle() ?? 0
    if (waitMs === 0 || this.#isStopped || this.#isSourceOver || this.#isCatchingUp) return
    this.#pause()
    clearTimeout(this.#pacing)
    this.#pacing = setTimeout(() => {
      this.#pacing = undefined
      this.goOn()
    }, waitMs)
  }

  #endPacing(): void {
    clearTimeout(this.#pacing)
    this.#pacing = undefined
  }

  #finish(): void {
    if (this.#isStopped) return
    this.#detach()
    this.#sink.end()
  }

  #detach(): void {
    this.#isStopped = true
    hearInputNoMore(this.#socket)
    clearTimeout(this.#pacing)
    this.#silence?.stop()
    this.#pending.clear()
  }
}

const lookOn = (input: SocketInput): void => input.lookOn()
