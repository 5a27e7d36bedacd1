/** A device that reconnects again and again, whatever happens to its connections. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../random.js'
import type { DeviceLog, Ledger } from './ledger.js'
import type { Outbox, Outgoing } from './outbox.js'

/** A logged-in connection; for MQTT it is also subscribed. */
export interface Link {
  /** Resolves when the connection has ended for the client. */
  readonly closed: Promise<void>
  /** Resends unanswered messages of earlier connections in order, then continues. */
  resend(messages: Iterable<Outgoing>): void
  send(message: Outgoing): void
  /** Stops reading, so the server's bytes accumulate. */
  freeze(): void
  thaw(): void
  /** Closes the connection cleanly. */
  leave(): void
  /** Ends the socket without a close frame or DISCONNECT. */
  cut(): void
  /** Abandons the connection: the socket stays open and unread, as when a phone changes networks. */
  abandon(): void
}

export interface Ports {
  readonly http: number
  readonly mqtt: number
}

export interface ClientOptions {
  readonly device: DeviceLog
  readonly outbox: Outbox
  readonly ledger: Ledger
  readonly random: Random
  readonly ports: Ports
  readonly password: string
  /** Writes a trace line, to find the cause of a finding. */
  readonly trace: (text: string) => void
}

const BACKOFF_MS = [30, 300] as const

export abstract class Client {
  readonly device: DeviceLog
  readonly outbox: Outbox
  protected readonly ledger: Ledger
  readonly random: Random
  protected readonly ports: Ports
  protected readonly password: string
  readonly #trace: (text: string) => void
  #link: Link | undefined
  #comeBack: (() => void) | undefined
  #away: Promise<void> | undefined
  #retired = false
  #ended = false
  #isHurried = false

  constructor(options: ClientOptions) {
    this.device = options.device
    this.outbox = options.outbox
    this.ledger = options.ledger
    this.random = options.random
    this.ports = options.ports
    this.password = options.password
    this.#trace = options.trace
  }

  /** Rejects if there is no server, or if it is killed meanwhile. */
  protected abstract connect(): Promise<Link>

  get link(): Link | undefined {
    return this.#link
  }

  /** Reconnects until `end`. */
  async run(): Promise<void> {
    while (!this.#ended) {
      await this.#away
      try {
        const link = await this.connect()
        this.device.entered()
        this.#trace(`is in, resends ${this.outbox.inFlight.size}`)
        link.resend(this.outbox.inFlight)
        this.#link = link
        await link.closed
        this.#trace(`is out, got ${this.device.seqs.last} last`)
      } catch {
        await delay(this.random.between(...BACKOFF_MS))
      }
      this.#link = undefined
    }
  }

  pump(allowance: number): void {
    const link = this.#link
    if (link === undefined) return
    for (const message of this.outbox.take(allowance)) link.send(message)
  }

  get isRetired(): boolean {
    return this.#retired
  }

  /** Ends the connection in a random way. */
  interrupt(how: 'cut' | 'leave' | 'abandon'): void {
    if (this.#link === undefined) return
    this.#trace(how)
    this.#link[how]()
  }

  /** Stops reading. @returns a function that reads on */
  freeze(): () => void {
    const link = this.#link
    this.#trace('freeze')
    link?.freeze()
    return () => {
      this.#trace('thaw')
      link?.thaw()
    }
  }

  /** Goes offline until the end of the run. */
  retire(): void {
    this.#retired = true
    this.goAway()
  }

  /** Disconnects and stays away until `comeBack`. */
  goAway(): void {
    this.#trace('away')
    this.#away ??= new Promise(resolve => {
      this.#comeBack = resolve
    })
    this.#link?.leave()
  }

  comeBack(): void {
    this.#trace('back')
    this.#comeBack?.()
    this.#away = undefined
    this.#comeBack = undefined
  }

  /** Confirms immediately on its next connections, so that waiting messages arrive soon. */
  hurry(): void {
    this.#isHurried = true
  }

  protected get isHurried(): boolean {
    return this.#isHurried
  }

  end(): void {
    this.#ended = true
    this.comeBack()
    this.#link?.cut()
  }
}
