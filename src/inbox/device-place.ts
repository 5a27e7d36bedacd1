/** Where one connected device stands in its owner's inbox: what it was sent, and what of it it has confirmed. */
import type { FrontEnd, Metrics } from '../core/metrics.js'
import type { Cursor, SeqRange, UserId } from '../core/model.js'
import type { CursorMove } from '../store/store.js'
import type { Cursors, Mover } from './cursors.js'
import { Window, type WindowLimits } from './window.js'

const NONE: readonly never[] = []

export abstract class DevicePlace implements Mover {
  protected readonly window: Window
  #released: Set<number> | undefined
  #confirmed = 0
  #sent = 0
  #sentBefore = 0
  #settledBefore: readonly SeqRange[] = NONE
  #isFound = false

  /** @param device whose cursor this is; DEFAULT_DEVICE has the name '' */
  constructor(
    readonly userId: UserId,
    readonly device: string,
    private readonly cursors: Cursors,
    protected readonly metrics: Metrics,
    { windowMessages, windowChars }: WindowLimits,
  ) {
    this.window = new Window(windowMessages, windowChars)
  }

  /** Highest seq written to the client, or passed over. */
  get sent(): number {
    return this.#sent
  }

  get confirmed(): number {
    return this.#confirmed
  }

  /** What became of a message on this connection; undefined: it was not written to it yet. */
  stateOf(seq: number): 'confirmed' | 'sent' | undefined {
    if (this.window.has(seq)) return 'sent'
    return seq <= this.#sent ? 'confirmed' : undefined
  }

  /** Whether the device should confirm soon: half of what may be in flight is. */
  get isHalfFull(): boolean {
    return this.window.isHalfFull
  }

  /** The cursor is known. */
  protected get isFound(): boolean {
    return this.#isFound
  }

  abstract get front(): FrontEnd

  /** There may be room in the window again. */
  abstract resume(): void

  /** It is kept even when nothing moves: a device that was seen keeps its place from now on. */
  protected begin({ confirmed, sent, released, settled = NONE }: Cursor): void {
    this.#confirmed = this.#sent = confirmed
    this.#sentBefore = sent
    this.#settledBefore = settled
    if (released.length > 0) this.#released = new Set(released)
    this.#isFound = true
    this.touch()
  }

  /** Whether the device was sent it on an earlier connection. */
  protected wasSent(seq: number): boolean {
    return seq <= this.#sentBefore
  }

  /** Whether an earlier connection has settled it: it is not sent again. */
  protected isSettled(seq: number): boolean {
    return this.#settledBefore.some(([from, to]) => from <= seq && seq <= to)
  }

  /** Whether its PUBREC came, and no PUBCOMP. */
  protected isReleased(seq: number): boolean {
    return this.#released?.has(seq) === true
  }

  /** From the cursor to the newest seq that was sent. */
  protected get span(): number {
    return this.#sent - this.#confirmed
  }

  /** @param chars of the message, UTF-16 code units */
  protected send(seq: number, chars: number): void {
    this.#sent = seq
    this.window.add(seq, chars)
  }

  /** The device does not get it. */
  protected passOver(seq: number): void {
    this.#sent = seq
    this.#move()
  }

  /** Everything up to `seq` arrived (ack action, or a pong, or a QoS 0 write that left the process). */
  confirmUpTo(seq: number): void {
    const count = this.window.removeUpTo(seq)
    if (count > 0) this.#advance(count)
  }

  /** One message arrived (PUBACK, PUBCOMP): they may come out of order; the cursor waits for the oldest. */
  confirmOne(seq: number): void {
    if (!this.window.remove(seq)) return
    this.#released?.delete(seq)
    this.#advance(1)
  }

  /** PUBREC came for `seq`. Resolves when that is durable, so that PUBREL may go [MQTT-4.3.3-1]. @throws GatewayError */
  async release(seq: number): Promise<void> {
    if (!this.window.has(seq)) return
    this.#released ??= new Set()
    this.#released.add(seq)
    await this.cursors.moveNow(this.place)
  }

  /** The device is still here: its place is not forgotten for want of messages. */
  touch(): void {
    if (this.#isFound) this.cursors.moved(this)
  }

  /** What its device has confirmed, and what it was sent. */
  get place(): CursorMove {
    const settled = this.#settled()
    return {
      userId: this.userId,
      device: this.device,
      confirmed: this.#confirmed,
      sent: Math.max(this.#sent, this.#sentBefore),
      released: [...(this.#released ?? [])],
      seenAt: Date.now(),
      ...(settled.length > 0 && { settled }),
    }
  }

  /** Behind the cursor. */
  #settled(): SeqRange[] {
    const settled = this.window.gaps(this.#confirmed + 1, this.#sent)
    for (const [from, to] of this.#settledBefore)
      if (to > this.#sent) settled.push([Math.max(from, this.#sent + 1), to])
    return settled
  }

  #advance(count: number): void {
    this.metrics.confirmed.inc(count)
    this.#move()
    this.resume()
  }

  #move(): void {
    const { oldest } = this.window
    const confirmed = oldest === undefined ? this.#sent : oldest - 1
    if (confirmed <= this.#confirmed) return
    this.#confirmed = confirmed
    this.metrics.samples.settled(this, this.front, confirmed)
    this.touch()
  }
}
