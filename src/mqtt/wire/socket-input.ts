/** What comes from one client: through the gate, a turn's work at a time, and no faster than it is wanted. */
import type { Duplex } from 'node:stream'
import { ByteQueue } from './byte-queue.js'
import type { Pacer } from './pacer.js'
import { PacketGate, type PacketLane } from './packet-gate.js'
import type { PacketLimits } from './packet-rules.js'
import { SilenceWatch } from './silence.js'
import type { WriteGroup } from './write-group.js'

export interface InputOptions extends PacketLimits {
  readonly group: WriteGroup
  /** What packets cost. */
  readonly meter?: Pick<Pacer, 'admit' | 'expect' | 'settle'>
}

/** Who gets the packets. */
export interface InputSink {
  /** What was delivered before has not been read yet. */
  readonly isFull: boolean
  /** Whole packets, in order. */
  deliver(packets: Buffer): void
  /** No more will come. */
  end(): void
  /** What came last is refused, or could not be dealt with; `end` follows. */
  fail(error: unknown): void
}

/** Looked at together of what comes in small pieces. */
const READ_BYTES = 65_536
const NOTHING = Buffer.alloc(0)

/** [MQTT-3.1.2-24]: one and a half times the keep alive. */
const SILENCE_MS_PER_SECOND = 1500

export class SocketInput {
  readonly #socket: Duplex
  readonly #options: InputOptions
  readonly #sink: InputSink
  readonly #gate: PacketGate
  #lane: PacketLane | undefined
  #silence: SilenceWatch | undefined
  /** What was not looked at: the rest of a chunk, and what came behind it. */
  #rest: Buffer = NOTHING
  #queue = new ByteQueue()
  #isPaused = false
  #isOnTurn = false
  /** Whether `#lookOn` is under way. */
  #isDue = false
  /** Somebody wants no more for now. */
  #isHeld = false
  /** While a client that is too fast is not read. */
  #pacing: NodeJS.Timeout | undefined
  /** Whether CONNECT has its answer. Until then nothing behind it is looked at: whose it is, nobody knows. */
  #isAnswered = false
  #isCatchingUp = false
  #isSourceOver = false
  #isStopped = false

  constructor(socket: Duplex, options: InputOptions, sink: InputSink) {
    this.#socket = socket
    this.#options = options
    this.#sink = sink
    this.#gate = new PacketGate(options, options.meter)
    socket.on('data', this.#onData).on('end', this.sourceEnded)
  }

  /** Whether the client said DISCONNECT, which may not have been read yet, or will never. */
  get hasDisconnected(): boolean {
    return this.#gate.hasDisconnected
  }

  openLane(lane: PacketLane): void {
    this.#lane = lane
  }

  /** Our packets ask for so many acknowledgements. */
  expect(count: number): void {
    this.#options.meter?.expect(count)
  }

  /** Something was written to the client, and CONNACK is the first. */
  answered(): void {
    if (this.#isAnswered) return
    this.#isAnswered = true
    this.goOn()
  }

  hold(): void {
    this.#isHeld = true
    this.#pause()
  }

  release(): void {
    this.#isHeld = false
    this.goOn()
  }

  /** Looks at what is there already, however far the client is ahead: before the server sends it away. */
  catchUp(): void {
    this.#isCatchingUp = true
    clearTimeout(this.#pacing)
    this.#pacing = undefined
    while (this.#isPending) this.#look(this.#takePending())
    this.goOn()
  }

  /** Calls back when the client was silent for longer than its keep alive allows. */
  watchSilence(onSilent: () => void): void {
    const maxMs = this.#gate.keepAliveSeconds * SILENCE_MS_PER_SECOND
    if (maxMs > 0 && !this.#isStopped)
      this.#silence = new SilenceWatch(maxMs, () => this.#isListening, onSilent)
  }

  /** There may be room again. */
  goOn(): void {
    if (this.#isStopped) return
    if (this.#isPending) {
      this.#pause()
      if (this.#mayLook) this.#askForTurn()
    } else if (this.#isSourceOver) this.#finish()
    else if (this.#mayLook) this.#resume()
  }

  /** The source closed, or ended: what it sent before is still to be looked at. */
  readonly sourceEnded = (): void => {
    this.#isSourceOver = true
    clearTimeout(this.#pacing)
    this.#pacing = undefined
    this.goOn()
  }

  /**
   * What else comes is read and dropped until the client closes too: to close with unread input resets a connection,
   * which can cost the client our last packet. And a WebSocket closes only when it reads the client's close frame.
   */
  stop(): void {
    this.#detach()
    this.#isPaused = true
    this.#resume()
  }

  get #mayLook(): boolean {
    if (this.#isCatchingUp) return true
    const isHeld = this.#isHeld || this.#pacing !== undefined || this.#sink.isFull
    return !isHeld && (this.#isAnswered || this.#gate.isNew)
  }

  get #isPending(): boolean {
    return this.#rest.length > 0 || this.#queue.bytes > 0
  }

  get #isListening(): boolean {
    return this.#mayLook && !this.#isPending
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

  readonly #onData = (chunk: Buffer): void => {
    if (this.#isListening && !this.#gate.isTired) this.#look(chunk)
    else {
      this.#queue.push(chunk)
      this.goOn()
    }
  }

  /** Not at once: whoever reads a packet now must have dealt with it before the lane gets the next. */
  #askForTurn(): void {
    if (this.#isDue) return
    this.#isDue = true
    if (this.#gate.isTired) this.#options.group.inTurn(this.#lookOn)
    else process.nextTick(this.#lookOn)
  }

  readonly #lookOn = (): void => {
    this.#isDue = false
    if (!this.#isStopped && this.#mayLook && this.#isPending) this.#look(this.#takePending())
  }

  #takePending(): Buffer {
    const rest = this.#rest.length > 0 ? this.#rest : asBuffer(this.#queue.take(READ_BYTES))
    this.#rest = NOTHING
    return rest
  }

  readonly #endTurn = (): void => {
    this.#isOnTurn = false
    this.#gate.beginTurn()
  }

  #look(chunk: Buffer): void {
    if (!this.#isOnTurn) {
      this.#isOnTurn = true
      this.#options.group.atTurnEnd(this.#endTurn)
    }
    try {
      let rest = this.#gate.push(chunk, this.#deliver, this.#lane)
      while (this.#isCatchingUp && rest.length > 0) rest = this.#gate.push(rest, this.#deliver, this.#lane)
      this.#rest = rest
      if (this.#gate.takePackets() > 0) this.#silence?.heard()
      this.#lane?.settle()
      this.#pace()
    } catch (error) {
      this.#fail(error)
    }
    this.goOn()
  }

  readonly #deliver = (packets: Buffer): void => {
    if (!this.#isStopped) this.#sink.deliver(packets)
  }

  #pace(): void {
    const waitMs = this.#options.meter?.settle() ?? 0
    if (waitMs === 0 || this.#isStopped || this.#isSourceOver || this.#isCatchingUp) return
    this.#pause()
    clearTimeout(this.#pacing)
    this.#pacing = setTimeout(() => {
      this.#pacing = undefined
      this.goOn()
    }, waitMs)
  }

  #fail(error: unknown): void {
    this.#sink.fail(error)
    this.#finish()
  }

  #finish(): void {
    if (this.#isStopped) return
    this.#detach()
    this.#sink.end()
  }

  #detach(): void {
    this.#isStopped = true
    this.#socket.off('data', this.#onData).off('end', this.sourceEnded)
    clearTimeout(this.#pacing)
    this.#silence?.stop()
    this.#rest = NOTHING
    this.#queue = new ByteQueue()
  }
}

const asBuffer = ({ buffer, byteOffset, byteLength }: Uint8Array): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength)
