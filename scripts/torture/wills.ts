/** Devices with wills, and one that is told of each: also of those that were published while it was away. */
import { setTimeout as delay } from 'node:timers/promises'
import mqtt, { type MqttClient, type Packet } from 'mqtt'
import type { Random } from '../random.js'
import { within } from '../within.js'
import { register } from './register.js'
import type { EndWatcher } from './restarts.js'
import { WillDevice } from './will-device.js'
import { type WillFindings, WillLedger } from './will-ledger.js'

export interface WillsOptions {
  readonly ports: { readonly http: number; readonly mqtt: number }
  readonly random: Random
  readonly trace: (text: string) => void
}

/** What `mqtt.acl` must open: a tree of its own for each account. */
export const WILL_ACL = JSON.stringify([{ pattern: 'wills/%u/#', access: 'readwrite' }])

const EMAIL = 'wills@torture.example'
const PASSWORD = 'torture password'
const DEVICES = 8
const BACKOFF_MS = 200
const ENTER_TIMEOUT_MS = 30_000
const POLL_MS = 100
/** What did not come for so long will not come. */
const PATIENCE_MS = 10_000
/** For what should not come. */
const AFTERMATH_MS = 500

export class Wills implements EndWatcher {
  readonly #ledger = new WillLedger()
  readonly #devices: WillDevice[] = []
  readonly #running: Promise<void>[] = []
  #reader: MqttClient | undefined
  #received = 0

  constructor(private readonly options: WillsOptions) {}

  /** Resolves when the reader has subscribed and all devices are in. */
  async populate(): Promise<void> {
    const { ports, random, trace } = this.options
    const userId = await register(ports.http, EMAIL, PASSWORD)
    const topics = [`wills/${userId}/all`, `users/${userId}/inbox`]
    await within(ENTER_TIMEOUT_MS, this.#read(topics))
    for (let i = 0; i < DEVICES; i++) {
      const name = `will-${i}`
      const device = new WillDevice({
        name,
        port: ports.mqtt,
        credentials: { username: EMAIL, password: Buffer.from(PASSWORD) },
        topic: topics[i % topics.length] ?? '',
        random: random.fork(name),
        ledger: this.#ledger,
        trace,
      })
      this.#devices.push(device)
      this.#running.push(device.run())
    }
    const areIn = this.#until(() => this.#devices.every(({ isIn }) => isIn))
    await within(ENTER_TIMEOUT_MS, areIn)
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

  /** To be called before the last restart: the devices do not come back from it. */
  retire(): void {
    for (const device of this.#devices) device.end()
  }

  /** Resolves when all wills have come that must come, or nothing more comes. */
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
    this.#reader?.end(true)
  }

  /** QoS 2 in a session that stays: what is sent again has the packet id that it had, and is handed on once. */
  async #read(topics: readonly string[]): Promise<void> {
    const reader = mqtt.connect({
      host: '127.0.0.1',
      port: this.options.ports.mqtt,
      clientId: 'will-reader',
      username: EMAIL,
      password: PASSWORD,
      clean: false,
      resubscribe: false,
      reconnectPeriod: BACKOFF_MS,
    })
    this.#reader = reader
    reader.on('error', () => undefined)
    reader.on('message', (topic, payload) => this.#take(topic, payload.toString()))
    reader.on('packetreceive', packet => this.#trace('<', packet))
    reader.on('packetsend', packet => this.#trace('>', packet))
    const filters = topics.map(topic => `${topic}/#`)
    await reader.subscribeAsync(filters, { qos: 2 })
  }

  #trace(way: string, packet: Packet): void {
    const what = packet.cmd === 'publish' ? ` ${packet.dup ? 'DUP ' : ''}${packet.payload}` : ''
    this.options.trace(`will-reader ${way} ${packet.cmd} ${packet.messageId ?? ''}${what}`)
  }

  /** Inbox messages have a place there, which is the same when one is sent again. */
  #take(topic: string, payload: string): void {
    if (topic.startsWith('wills/')) {
      this.#ledger.published(payload, `${this.#received++}`)
      return
    }
    const { content, seq } = JSON.parse(payload)
    this.#ledger.published(content, `seq ${seq}`)
  }

  async #until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await delay(POLL_MS)
  }
}
