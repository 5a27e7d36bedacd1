/**
 * The packets of one client: each is given to its command, in the order in which they come and in the turn in which they are
 * read. What a command leaves to the store is done while the next packets are handled; a client with too much of that is
 * not read.
 */
import { Steps } from '../flow/steps.js'
import { Receipt, type Sender } from './acknowledgements.js'
import { commandOf, isOrdered, nameOf } from './commands.js'
import { connect } from './connect.js'
import type { ConnectParts } from './connect-parts.js'
import type { MqttConnection } from './connection.js'
import { failed, malformed, silent, tooLarge } from './failure.js'
import { acknowledged } from './handshake.js'
import { leave } from './leave.js'
import type { ConnectPacket } from './wire/connect-packet.js'
import { PUBACK, PUBLISH, PUBREC, SUBSCRIBE, TYPE, UNSUBSCRIBE } from './wire/packet-types.js'
import type { TransportHandler } from './wire/transport-handler.js'

/** With so many bytes of packets that are not acknowledged a client is not read; one read may bring more than that. */
const MAX_UNFINISHED_BYTES = 65_536
/** The least that a PUBLISH counts. */
const MIN_PUBLISH_BYTES = 64
/** So many bytes count for an acknowledgement, and for SUBSCRIBE and UNSUBSCRIBE: what their commands keep in memory. */
const ACKNOWLEDGEMENT_BYTES = 64
const COMMAND_BYTES = 1024

const costOf = (first: number): number =>
  first === SUBSCRIBE || first === UNSUBSCRIBE ? COMMAND_BYTES : ACKNOWLEDGEMENT_BYTES

export class PacketHandler implements TransportHandler, Sender {
  /** Until CONNECT comes. */
  #connectTimer: NodeJS.Timeout | undefined
  #unfinishedBytes = 0
  #isHolding = false
  #isDraining = false
  /** SUBSCRIBE and UNSUBSCRIBE; made for the first one. */
  #filters: Steps | undefined

  constructor(
    private readonly parts: ConnectParts,
    private readonly connection: MqttConnection,
  ) {
    this.#connectTimer = setTimeout(() => this.#connectIsLate(), parts.options.connectTimeoutMs)
  }

  connect(packet: ConnectPacket): void {
    clearTimeout(this.#connectTimer)
    this.#connectTimer = undefined
    this.parts.services.limits.entrance.enter(() => {
      if (this.connection.hasLeft) return
      connect(this.parts, this.connection, packet).catch(thrown => this.#failed('mqtt.connect', thrown))
    })
  }

  take(first: number, bytes: Buffer, at: number, end: number): void {
    try {
      if ((first & TYPE) === PUBLISH) this.#publish(first, bytes, at, end)
      else if (first === PUBACK) this.#acknowledged(bytes.readUInt16BE(at))
      else this.#run(first, bytes, at, end)
    } catch (thrown) {
      this.#failed(nameOf(first), thrown)
    }
  }

  #run(first: number, bytes: Buffer, at: number, end: number): void {
    const command = commandOf(this.parts, this.connection, first, bytes, at, end)
    this.#unfinishedBytes += costOf(first)
    if (!isOrdered(first)) void this.#step(first, command)
    else {
      this.#filters ??= new Steps()
      this.#filters.run(() => this.#step(first, command))
    }
  }

  #publish(first: number, bytes: Buffer, at: number, end: number): void {
    const packet = this.connection.terms.decodePublish(first, bytes, at, end)
    const size = Math.max(end - at, MIN_PUBLISH_BYTES)
    this.#unfinishedBytes += size
    const receipt = new Receipt(this, packet.qos, packet.messageId, size)
    if (this.#filters?.isBusy) this.#publishBehind(this.#filters, packet, receipt)
    else this.connection.publish(packet, receipt)
  }

  /** A PUBLISH behind a SUBSCRIBE that is being stored must find what that subscribes to. */
  #publishBehind(filters: Steps, ...args: Parameters<MqttConnection['publish']>): void {
    filters.run(() => void this.connection.publish(...args))
  }

  get metrics(): ConnectParts['metrics'] {
    return this.parts.metrics
  }

  published({ qos, messageId = 0, bytes, error, reason, why }: Receipt): void {
    const { connection } = this
    this.#unfinishedBytes -= bytes
    if (error) connection.fail(error)
    else if (qos > 0)
      this.#answer(connection.terms.encoder.acknowledge(qos === 1 ? PUBACK : PUBREC, messageId, reason, why))
    if (this.#isHolding) this.#holdOrRelease()
  }

  /** Of all packets but PUBLISH the only one that is frequent. */
  #acknowledged(packetId: number): void {
    const pending = acknowledged(this.parts, this.connection, packetId)
    if (pending === undefined) return
    this.#unfinishedBytes += ACKNOWLEDGEMENT_BYTES
    void this.#finish(PUBACK, pending)
  }

  #step(first: number, command: () => Promise<unknown> | undefined): Promise<void> | undefined {
    try {
      const pending = command()
      if (pending !== undefined) return this.#finish(first, pending)
    } catch (thrown) {
      this.#failed(nameOf(first), thrown)
    }
    this.#finished(first)
    return undefined
  }

  /** Never rejects. */
  async #finish(first: number, pending: Promise<unknown>): Promise<void> {
    try {
      await pending
    } catch (thrown) {
      this.#failed(nameOf(first), thrown)
    }
    this.#finished(first)
  }

  #finished(first: number): void {
    this.#unfinishedBytes -= costOf(first)
    if (this.#isHolding) this.#holdOrRelease()
  }

  /** A client that does not take its answers is not read. */
  #answer(packet: Buffer): void {
    const { transport } = this.connection
    if (transport.send(packet) || this.#isDraining || !transport.isCongested) return
    this.#isDraining = true
    this.#holdOrRelease()
  }

  settle(): void {
    this.#holdOrRelease()
  }

  drained(): void {
    this.#isDraining = false
    this.connection.inbox?.resume()
    this.#holdOrRelease()
  }

  #holdOrRelease(): void {
    const { transport, hasTooMuchWaiting } = this.connection
    const max = hasTooMuchWaiting ? 1 : MAX_UNFINISHED_BYTES
    const mustHold = this.#isDraining || this.#unfinishedBytes >= max
    if (mustHold === this.#isHolding) return
    this.#isHolding = mustHold
    if (mustHold) transport.holdInput()
    else transport.releaseInput()
  }

  #failed(where: string, thrown: unknown): void {
    failed(this.parts, this.connection, where, thrown)
  }

  // ── the end ───────────────────────────────────────────────────────────────────────────────────────────────

  #connectIsLate(): void {
    this.parts.services.limits.count('mqtt.connectTimeout')
    this.connection.fail(new Error('connect did not arrive in time'))
  }

  silent(): void {
    silent(this.connection)
  }

  malformed(...[error]: Parameters<TransportHandler['malformed']>): void {
    malformed(this.parts, this.connection, error)
  }

  stalled(): void {
    const { metrics, services } = this.parts
    this.connection.endsFor('stalled')
    metrics.closed.inc({ front: 'mqtt', reason: 'stalled' })
    services.log.warn({ event: 'socket.stalled', front: 'mqtt' }, 'client takes nothing')
  }

  tooLarge(): void {
    tooLarge(this.connection)
  }

  failed(error: Error): void {
    this.connection.fail(error)
  }

  ended(): void {
    clearTimeout(this.#connectTimer)
    leave(this.parts, this.connection)
  }
}
