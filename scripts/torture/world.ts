/** Accounts, devices, messages, and the faults that happen to their connections. */
import { setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../random.js'
import { within } from '../within.js'
import { isBehind } from './check.js'
import type { Client } from './client.js'
import { JsonClient, type JsonRole } from './json-client.js'
import { type Account, DeviceLog, type Ledger, type Pair } from './ledger.js'
import { MqttClient } from './mqtt-client.js'
import type { MqttRole } from './mqtt-session.js'
import { Outbox } from './outbox.js'
import { register } from './register.js'

type Role = JsonRole | MqttRole

const DEFAULT_ROLES: readonly Role[] = [{ front: 'json', plain: true }, { front: 'json' }]

const ROLES: readonly Role[] = [
  { front: 'json', device: 'phone', ack: 'explicit' },
  { front: 'mqtt', transport: 'tcp', clean: false, qos: 1 },
  { front: 'mqtt', transport: 'tcp', clean: true, qos: 2, version: 5 },
  { front: 'mqtt', transport: 'websocket', clean: true, qos: 1, version: 4 },
  { front: 'mqtt', transport: 'websocket', clean: false, qos: 2 },
  { front: 'json', device: 'tablet', ack: 'ping' },
  { front: 'mqtt', transport: 'tcp', clean: true, qos: 1, version: 5, ackDelayMs: 30 },
  { front: 'mqtt', transport: 'tcp', clean: false, qos: 2, ackDelayMs: 15 },
]

const MISHAPS = ['cut', 'cut', 'leave', 'abandon', 'freeze', 'freeze', 'away'] as const

const OTHER_DEVICES = 3
const RECIPIENTS = 3
const WINDOW = 16
const PASSWORD = 'torture password'
const TICK_MS = 20
/** Mean time between two faults of one client. */
const CALM_MS = 6000
/** Long enough for some to outlast `delivery.stallTimeout`. */
const FREEZE_MS = [100, 8000] as const
const AWAY_MS = [500, 8000] as const
const NEW_DEVICE_MS = 3000
const MAX_NEW_DEVICES = 40
const POPULATE_TIMEOUT_MS = 60_000
const POLL_MS = 100
const PROGRESS_MS = 10_000
/** If nothing new arrives for this time, missing messages will not arrive. */
const QUIET_MS = 10_000

export interface WorldOptions {
  readonly users: number
  /** Messages a second, all senders together. */
  readonly rate: number
  readonly ports: { readonly http: number; readonly mqtt: number }
  readonly trace: (text: string) => void
}

export class World {
  /** Counts by code of answers that were neither success nor a repeat. */
  readonly refused = new Map<number, number>()
  /** Persistent MQTT sessions that the server had acknowledged and then lost. */
  sessionsLost = 0
  newDevices = 0
  readonly clients: Client[] = []
  readonly #running: Promise<void>[] = []
  readonly #calm = new AbortController()
  #isSending = true

  constructor(
    private readonly ledger: Ledger,
    private readonly random: Random,
    private readonly options: WorldOptions,
  ) {
    // Every client waits for it.
    setMaxListeners(0, this.#calm.signal)
  }

  /** Registers all accounts and connects all devices, so that each starts at the first message. */
  async populate(): Promise<void> {
    const { users, ports } = this.options
    for (let i = 0; i < users; i++) {
      const account = this.ledger.account(`u${i}`)
      account.userId = await register(ports.http, account.email, PASSWORD)
    }
    for (const [i, account] of this.ledger.accounts.entries()) {
      const others = Array.from(
        { length: OTHER_DEVICES },
        (_, j) => ROLES[(i * OTHER_DEVICES + j) % ROLES.length],
      )
      for (const role of [DEFAULT_ROLES[i % DEFAULT_ROLES.length], ...others])
        if (role) this.#add(account, role)
    }
    const areIn = this.#until(() => this.clients.every(client => client.link !== undefined))
    await within(POPULATE_TIMEOUT_MS, areIn)
  }

  /** Sends messages and causes faults for `ms`. */
  async live(ms: number): Promise<void> {
    void this.#send()
    void this.#changeDevices()
    for (const client of this.clients) void this.#disturb(client)
    await delay(ms)
    this.#isSending = false
    this.#calm.abort()
    for (const client of this.clients) client.hurry()
  }

  /**
   * Reconnects all devices, and one more device per account reads everything from the start. Resolves when nothing more
   * arrives.
   * @param say called now and then with the number of devices that are behind
   */
  async drain(say: (text: string) => void): Promise<void> {
    for (const account of this.ledger.accounts)
      this.#add(account, { front: 'json', device: 'auditor', ack: 'explicit' }, true).hurry()
    for (const client of this.clients) client.comeBack()
    this.ledger.newsAt = performance.now()
    const isQuiet = () => performance.now() - this.ledger.newsAt > QUIET_MS
    const behind = () =>
      this.clients.filter(({ device, outbox }) => outbox.inFlight.size > 0 || isBehind(device)).length
    const progress = setInterval(() => say(`${behind()} devices are behind`), PROGRESS_MS)
    await this.#until(() => isQuiet() || behind() === 0)
    clearInterval(progress)
  }

  async end(): Promise<void> {
    for (const client of this.clients) client.end()
    await Promise.all(this.#running)
  }

  #add(account: Account, role: Role, fromStart = false): Client {
    const { ledger } = this
    const isDefault = role.front === 'json' && role.device === undefined
    const name = `${account.name}.${nameOf(role)}-${account.devices.length}`
    const random = this.random.fork(name)
    const device = new DeviceLog(name, account, role.front === 'mqtt' || !role.plain, isDefault || fromStart)
    const outbox = new Outbox(ledger, this.#pairs(name, role, random), WINDOW, random)
    const trace = (text: string) => this.options.trace(`${name} ${text}`)
    const options = { device, outbox, ledger, random, ports: this.options.ports, password: PASSWORD, trace }
    const client =
      role.front === 'json'
        ? new JsonClient(options, isDefault ? role : { ...role, device: name }, code => this.#count(code))
        : new MqttClient(options, role, name, () => this.sessionsLost++)
    this.clients.push(client)
    this.#running.push(client.run())
    return client
  }

  #pairs(sender: string, role: Role, random: Random): Pair[] {
    const kind = role.front === 'json' ? 'json' : role.clean ? 'mqttClean' : 'mqttSession'
    const recipients = new Set<Account>()
    const count = Math.min(RECIPIENTS, this.ledger.accounts.length)
    while (recipients.size < count) recipients.add(random.pick(this.ledger.accounts))
    return Array.from(recipients, recipient => this.ledger.pair(sender, kind, recipient))
  }

  #count(code: number): void {
    this.refused.set(code, (this.refused.get(code) ?? 0) + 1)
  }

  async #send(): Promise<void> {
    let last = performance.now()
    while (this.#isSending) {
      await delay(TICK_MS)
      const now = performance.now()
      const active = this.clients.filter(client => !client.isRetired)
      const allowance = (this.options.rate * (now - last)) / 1000 / active.length
      last = now
      for (const client of active) client.pump(allowance)
    }
  }

  /** A sleep that ends early when the time of faults is over. */
  async #pause(ms: number): Promise<boolean> {
    await delay(ms, undefined, { signal: this.#calm.signal }).catch(() => undefined)
    return !this.#calm.signal.aborted
  }

  async #disturb(client: Client): Promise<void> {
    const { random } = client
    while ((await this.#pause(random.wait(CALM_MS))) && !client.isRetired) {
      const mishap = random.pick(MISHAPS)
      if (mishap === 'freeze') {
        const thaw = client.freeze()
        await this.#pause(random.between(...FREEZE_MS))
        thaw()
      } else if (mishap === 'away') {
        client.goAway()
        await this.#pause(random.between(...AWAY_MS))
        if (!client.isRetired) client.comeBack()
      } else client.interrupt(mishap)
    }
  }

  /** An account gets a new device, and one of its others goes offline until the end. */
  async #changeDevices(): Promise<void> {
    while (this.newDevices < MAX_NEW_DEVICES && (await this.#pause(this.random.wait(NEW_DEVICE_MS)))) {
      this.newDevices++
      const account = this.random.pick(this.ledger.accounts)
      const old = this.clients.find(
        ({ device, isRetired }) => device.account === account && !device.fromStart && !isRetired,
      )
      old?.retire()
      void this.#disturb(this.#add(account, this.random.pick(ROLES)))
    }
  }

  async #until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await delay(POLL_MS)
  }
}

function nameOf(role: Role): string {
  if (role.front === 'mqtt') return `mqtt${role.qos}-${role.transport}-${role.clean ? 'clean' : 'persistent'}`
  return role.plain ? 'json-plain' : `json-${role.ack ?? 'default'}`
}
