/** One device that keeps coming back, whatever happens to its connections. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../random.js'
import type { DeviceLog, Ledger } from './ledger.js'
import type { Outbox, Outgoing } from './outbox.js'

/** A connection that is logged in and, for MQTT, subscribed. */
export interface Link {
  /** Resolves when it is over for the client. */
  readonly closed: Promise<void>
  /** Sends again what was sent on an earlier connection and not answered, in order, then goes on. */
  resend(messages: Iterable<Outgoing>): void
  send(message: Outgoing): void
  /** Stops reading: the server's bytes pile up. */
  freeze(): void
  thaw(): void
  /** Says goodbye. */
  leave(): void
  /** Ends the socket without a word. */
  cut(): void
  /** Forgets the connection and leaves the socket open and unread, as a phone that changes networks. */
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
  /** Notes what happened, for whoever looks for the cause of a finding. */
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

  /** Rejects when there is no server, or it is killed meanwhile. */
  protected abstract connect(): Promise<Link>

  get link(): Link | undefined {
    return this.#link
  }

  /** Comes back until it is ended. */
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

  /** One of the ways in which a connection ends. */
  interrupt(how: 'cut' | 'leave' | 'abandon'): void {
    if (this.#link === undefined) return
    this.#trace(how)
    this.#link[how]()
  }

  /** Stops reading. @returns what ends that */
  freeze(): () => void {
    const link = this.#link
    this.#trace('freeze')
    link?.freeze()
    return () => {
      this.#trace('thaw')
      link?.thaw()
    }
  }

  /** Put into a drawer, and found again at the end. */
  retire(): void {
    this.#retired = true
    this.goAway()
  }

  /** Goes, and stays away until `comeBack`. */
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

  /** On its next connections confirms at once: what waits is to come soon. */
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
