/** An account with devices that have wills and devices that receive them. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../random.js'
import { within } from '../within.js'
import { register } from './register.js'
import type { EndWatcher } from './restarts.js'
import { WillDevice } from './will-device.js'
import { type WillFindings, WillLedger } from './will-ledger.js'
import { WillReader } from './will-reader.js'

export interface WillsOptions {
  readonly ports: { readonly http: number; readonly mqtt: number }
  readonly random: Random
  readonly trace: (text: string) => void
}

/** The required `mqtt.acl`: one topic tree per account. */
export const WILL_ACL = JSON.stringify([{ pattern: 'wills/%u/#', access: 'readwrite' }])

const EMAIL = 'wills@torture.example'
const PASSWORD = 'torture password'
const DEVICES = 8
/** Two readers that come back at different times. */
const RECONNECT_MS = [200, 700] as const
const ENTER_TIMEOUT_MS = 30_000
const POLL_MS = 100
/** If nothing arrives for this time, nothing more will arrive. */
const PATIENCE_MS = 10_000
/** Wait for wills that should not arrive. */
const AFTERMATH_MS = 500

export class Wills implements EndWatcher {
  readonly #ledger = new WillLedger()
  readonly #devices: WillDevice[] = []
  readonly #readers: WillReader[] = []
  readonly #running: Promise<void>[] = []

  constructor(private readonly options: WillsOptions) {}

  /** Resolves when the readers have subscribed and all devices are connected. */
  async populate(): Promise<void> {
    const { ports } = this.options
    const userId = await register(ports.http, EMAIL, PASSWORD)
    const topics = [`wills/${userId}/all`, `users/${userId}/inbox`]
    for (const reconnectMs of RECONNECT_MS) this.#readers.push(this.#reader(reconnectMs))
    await within(ENTER_TIMEOUT_MS, Promise.all(this.#readers.map(reader => reader.subscribe(topics))))
    for (let i = 0; i < DEVICES; i++) {
      const device = this.#device(`will-${i}`, topics[i % topics.length] ?? '')
      this.#devices.push(device)
      this.#running.push(device.run())
    }
    const areIn = this.#until(() => this.#devices.every(({ isIn }) => isIn))
    await within(ENTER_TIMEOUT_MS, areIn)
  }

  #reader(reconnectMs: number): WillReader {
    const { ports, trace } = this.options
    return new WillReader({
      name: `will-reader-${this.#readers.length}`,
      port: ports.mqtt,
      username: EMAIL,
      password: PASSWORD,
      reconnectMs,
      protocolVersion: this.#readers.length % 2 === 0 ? 4 : 5,
      ledger: this.#ledger,
      trace,
    })
  }

  #device(name: string, topic: string): WillDevice {
    const { ports, random, trace } = this.options
    return new WillDevice({
      name,
      port: ports.mqtt,
      credentials: { username: EMAIL, password: Buffer.from(PASSWORD) },
      topic,
      random: random.fork(name),
      ledger: this.#ledger,
      trace,
    })
  }

  beforeEnd(isKill: boolean): void {
    for (const device of this.#devices) device.pause()
    if (isKill) this.#ledger.killed()
  }

  afterEnd(isKill: boolean): void {
    if (!isKill) this.#ledger.stopped()
  }

  resume(): void {
    for (const device of this.#devices) device.resume()
  }

  /** Call before the last restart: the devices do not reconnect after it. */
  retire(): void {
    for (const device of this.#devices) device.end()
  }

  /** Resolves when all required wills have arrived, or nothing more arrives. */
  async settle(): Promise<void> {
    await Promise.all(this.#running)
    const begin = performance.now()
    await this.#until(() => !this.#ledger.isBehind || performance.now() - begin > PATIENCE_MS)
    await delay(AFTERMATH_MS)
  }

  findings(): WillFindings {
    return this.#ledger.findings()
  }

  end(): void {
    for (const reader of this.#readers) reader.end()
  }

  async #until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await delay(POLL_MS)
  }
}
