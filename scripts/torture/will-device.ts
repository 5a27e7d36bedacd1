/** An MQTT device with a will that connects and ends its connection in different ways, again and again. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import mqttPacket from 'mqtt-packet'
import type { Random } from '../random.js'
import type { Will, WillEnd, WillLedger } from './will-ledger.js'

export interface WillDeviceOptions {
  readonly name: string
  readonly port: number
  readonly credentials: { readonly username: string; readonly password: Buffer }
  readonly topic: string
  readonly random: Random
  readonly ledger: WillLedger
  readonly trace: (text: string) => void
}

const BACKOFF_MS = [30, 300] as const
const STAY_MS = [100, 3000] as const
const CONNACK_TIMEOUT_MS = 10_000
/** `stay`: stays connected until the server ends. */
const FATES = ['leave', 'cut', 'take over', 'stay', 'stay'] as const

interface Connection {
  readonly socket: Socket
  readonly will: Will
}

export class WillDevice {
  #current: Connection | undefined
  /** True while the server is ending or down: the outcome of a device's action is then uncertain. */
  #isPaused = false
  #isEnded = false
  #count = 0

  constructor(private readonly options: WillDeviceOptions) {}

  /** Runs until `end`. */
  async run(): Promise<void> {
    const { random } = this.options
    while (!this.#isEnded) {
      const connection = await this.#connect().catch(() => undefined)
      if (connection !== undefined) await this.#live(connection)
      if (!this.#isEnded) await delay(random.between(...BACKOFF_MS))
    }
  }

  get isIn(): boolean {
    return this.#current !== undefined
  }

  /** Called in the turn in which the server is ended. Some devices disconnect just before. */
  pause(): void {
    this.#isPaused = true
    const { random } = this.options
    if (this.#current === undefined || random.chance(0.5)) return
    if (random.chance(0.7)) this.#leave(this.#current)
    else this.#cut(this.#current)
  }

  resume(): void {
    this.#isPaused = false
  }

  /** The device does not reconnect from now on. */
  end(): void {
    this.#isEnded = true
  }

  async #live(connection: Connection): Promise<void> {
    const { random } = this.options
    const closed = once(connection.socket, 'close').catch(() => undefined)
    const patience = delay(random.between(...STAY_MS))
    await Promise.race([closed, patience])
    const fate = random.pick(FATES)
    if (fate === 'take over' && this.#canAct(connection)) {
      connection.will.takenOver()
      const next = await this.#connect().catch(() => undefined)
      if (next !== undefined) await this.#live(next)
    } else if (fate === 'leave' && this.#canAct(connection)) this.#leave(connection)
    else if (fate === 'cut' && this.#canAct(connection)) this.#cut(connection)
    await closed
  }

  #canAct({ will }: Connection): boolean {
    return !this.#isPaused && !this.#isEnded && will.end === undefined
  }

  /** @throws Error without a successful CONNACK */
  async #connect(): Promise<Connection> {
    const { name, port, ledger } = this.options
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const will = ledger.add(`${name}:${this.#count++}`)
    const connection = { socket, will }
    socket.on('error', () => undefined)
    socket.setTimeout(CONNACK_TIMEOUT_MS, () => socket.destroy())
    socket.once('close', () => this.#ended(connection, 'lost'))
    const version = this.options.random.pick([4, 5] as const)
    const parser = mqttPacket.parser({ protocolVersion: version })
    const answered = once(parser, 'packet')
    socket.on('data', chunk => parser.parse(chunk))
    socket.write(this.#connectPacket(will.text, version))
    const closed = once(socket, 'close')
    const [packet] = await Promise.race([answered, closed.then(() => [undefined])])
    if (packet?.cmd !== 'connack' || (packet.returnCode ?? packet.reasonCode) !== 0) {
      socket.destroy()
      throw new Error('CONNECT refused')
    }
    socket.setTimeout(0)
    will.isStored = true
    if (will.end === undefined) this.#current = connection
    return connection
  }

  #connectPacket(payload: string, protocolVersion: 4 | 5): Buffer {
    const { name, topic, credentials, random } = this.options
    const qos = random.pick([1, 2] as const)
    return mqttPacket.generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion,
      clientId: name,
      clean: true,
      keepalive: 0,
      will: { topic, payload: Buffer.from(payload), qos, retain: false },
      ...credentials,
    })
  }

  #leave(connection: Connection): void {
    connection.socket.write(mqttPacket.generate({ cmd: 'disconnect' }))
    this.#ended(connection, 'left')
    connection.socket.end()
  }

  #cut(connection: Connection): void {
    this.#ended(connection, 'cut')
    if (this.options.random.chance(0.5)) connection.socket.resetAndDestroy()
    else connection.socket.destroy()
  }

  #ended(connection: Connection, how: WillEnd): void {
    if (connection.will.end === undefined && connection.will.isStored)
      this.options.trace(`${connection.will.text} ${how}`)
    connection.will.ended(how)
    if (this.#current === connection) this.#current = undefined
  }
}
