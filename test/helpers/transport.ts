/** For tests of the MQTT transport. */
import type { EventEmitter } from 'node:events'
import mqttPacket, { type Packet } from 'mqtt-packet'
import type { ConnectPacket } from '../../src/mqtt/wire/connect-packet.js'
import { encodeConnack, encodeRefusal } from '../../src/mqtt/wire/encode.js'
import type { MalformedPacket, PacketLimits } from '../../src/mqtt/wire/packet-rules.js'
import type { MqttTransport, TransportOptions } from '../../src/mqtt/wire/transport.js'
import type { TransportHandler } from '../../src/mqtt/wire/transport-handler.js'
import { WriteGroup } from '../../src/mqtt/wire/write-group.js'

export const MB = 1_048_576

const LIMITS: PacketLimits = {
  maxPacketBytes: 8 * MB,
  maxTopicBytes: 1_000,
  maxTopicLevels: 10,
  maxClientIdBytes: 100,
  maxWillBytes: 1_000,
  keepaliveLimitSeconds: 0,
  maxSubscriptions: 100,
}

export const options = (changes: Partial<TransportOptions> = {}): TransportOptions => ({
  group: new WriteGroup(600_000),
  limits: LIMITS,
  maxBufferedBytes: MB,
  ...changes,
})

/** Logs what a transport tells it: a packet by its type, CONNECT as `connect`. Answers CONNECT. */
export class Recorder implements TransportHandler {
  readonly log: string[] = []
  readonly clauses: string[] = []
  readonly errors: Error[] = []
  /** Bodies of the packets. */
  readonly bodies: Buffer[] = []
  /** CONNECT is answered at once. */
  answers = true
  /** Called when something is logged. */
  onLog: () => void = () => undefined

  constructor(private readonly transport: MqttTransport) {}

  #note(what: string): void {
    this.log.push(what)
    this.onLog()
  }

  connect(_packet: ConnectPacket): void {
    if (this.answers) this.transport.send(encodeConnack(false))
    this.#note('connect')
  }

  take(first: number, bytes: Buffer, at: number, end: number): void {
    this.bodies.push(Buffer.from(bytes.subarray(at, end)))
    this.#note(`${first >> 4}`)
  }

  settle(): void {}

  drained(): void {
    this.#note('drained')
  }

  silent(): void {
    this.#note('silent')
  }

  malformed({ clause, refuse }: MalformedPacket): void {
    if (refuse !== undefined) this.transport.send(encodeRefusal(refuse))
    this.clauses.push(clause)
    this.#note('malformed')
  }

  stalled(): void {
    this.#note('stalled')
  }

  tooLarge(): void {
    this.#note('too large')
  }

  failed(error: Error): void {
    this.errors.push(error)
    this.#note('failed')
  }

  ended(): void {
    this.#note('ended')
  }

  /** Resolves when this was logged. */
  async until(what: string): Promise<void> {
    while (!this.log.includes(what))
      await new Promise<void>(resolve => {
        this.onLog = resolve
      })
  }
}

/** Like events.once, but ignores an error before the event. */
export const closeOf = (stream: EventEmitter) => new Promise(resolve => stream.once('close', resolve))

export const bytesOf = (...packets: Packet[]): Buffer =>
  Buffer.concat(packets.map(packet => mqttPacket.generate(packet)))
export const CONNECT = bytesOf({ cmd: 'connect', clientId: 'raw', clean: true, keepalive: 0 })
export const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
