/** MQTT clients that implement QoS 2 correctly [MQTT-4.3.3-1, 4.3.3-2] over lost connections and restarts of the server. */
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import mqttPacket, { type Packet } from 'mqtt-packet'
import type { TestAccount } from './gateway.js'

interface Server {
  readonly mqttPort: number
}

type Numbered = Packet & { messageId: number }

const ATTEMPT_EVERY_MS = 20

/** A client with a persistent session. It reconnects whenever its connection ends, until `end`. */
abstract class Qos2Client {
  protected socket: Socket | undefined
  #isEnded = false
  #loop: Promise<void> | undefined

  constructor(
    private readonly server: Server,
    private readonly account: TestAccount,
    private readonly clientId: string,
  ) {}

  start(): this {
    this.#loop = this.#run()
    return this
  }

  async end(): Promise<void> {
    this.#isEnded = true
    this.socket?.destroy()
    await this.#loop
  }

  /** Breaks the connection; packets in flight are lost. */
  drop(): void {
    this.socket?.destroy()
  }

  protected send(...packets: Packet[]): void {
    for (const packet of packets) this.socket?.write(mqttPacket.generate(packet))
  }

  /** Called at CONNACK. */
  protected abstract connected(): void
  protected abstract take(packet: Numbered): void

  async #run(): Promise<void> {
    while (!this.#isEnded) {
      await this.#connection()
      if (!this.#isEnded) await delay(Math.random() * ATTEMPT_EVERY_MS)
    }
  }

  #connection(): Promise<void> {
    return new Promise(resolve => {
      const socket = connect({ port: this.server.mqttPort, host: '127.0.0.1', noDelay: true })
      this.socket = socket
      const parser = mqttPacket.parser()
      parser.on('packet', packet => {
        if (socket.destroyed) return
        if (packet.cmd === 'connack') this.connected()
        else this.take(packet as Numbered)
      })
      socket.on('data', bytes => parser.parse(bytes))
      socket.on('error', () => undefined)
      socket.on('close', () => resolve())
      const { email, password } = this.account
      this.send({
        cmd: 'connect',
        protocolId: 'MQTT',
        protocolVersion: 4,
        clientId: this.clientId,
        clean: false,
        keepalive: 0,
        username: email,
        password: Buffer.from(password),
      })
    })
  }
}

/** Subscribes to one filter at QoS 2. Delivers a message at its PUBLISH, unless its packet id waits for PUBREL. */
export class Qos2Reader extends Qos2Client {
  /** Delivered messages in order: payload and packet id. */
  readonly got: { readonly payload: string; readonly messageId: number }[] = []
  readonly subscribed: Promise<void>
  #confirm: () => void = () => undefined
  readonly #unreleased = new Set<number>()

  constructor(
    server: Server,
    account: TestAccount,
    clientId: string,
    private readonly filter: string,
  ) {
    super(server, account, clientId)
    this.subscribed = new Promise(resolve => {
      this.#confirm = resolve
    })
  }

  /** Payloads that were delivered more than once. */
  get repeated(): string[] {
    const seen = new Map<string, string[]>()
    for (const { payload, messageId } of this.got)
      seen.set(payload, [...(seen.get(payload) ?? []), `${messageId}`])
    return [...seen].filter(([, ids]) => ids.length > 1).map(([payload, ids]) => `${payload} as ${ids}`)
  }

  protected connected(): void {
    const subscriptions = [{ topic: this.filter, qos: 2 as const }]
    this.send({ cmd: 'subscribe', messageId: 1, subscriptions })
  }

  protected take(packet: Numbered): void {
    const { messageId } = packet
    if (packet.cmd === 'suback') this.#confirm()
    else if (packet.cmd === 'pubrel') {
      this.#unreleased.delete(messageId)
      this.send({ cmd: 'pubcomp', messageId })
    } else if (packet.cmd === 'publish') {
      if (!this.#unreleased.has(messageId)) this.got.push({ payload: packet.payload.toString(), messageId })
      this.#unreleased.add(messageId)
      this.send({ cmd: 'pubrec', messageId })
    }
  }
}

/** Publishes at QoS 2, a few messages at a time, and completes them on its next connection. */
export class Qos2Sender extends Qos2Client {
  readonly finished: Promise<void>
  #finish: () => void = () => undefined
  /** By packet id: the message if PUBREC is missing, undefined if only PUBCOMP is missing. */
  readonly #open = new Map<number, string | undefined>()
  #sent = 0

  constructor(
    server: Server,
    account: TestAccount,
    clientId: string,
    private readonly work: {
      readonly topic: string
      readonly payloads: readonly string[]
      readonly window: number
    },
  ) {
    super(server, account, clientId)
    this.finished = new Promise(resolve => {
      this.#finish = resolve
    })
  }

  get isFinished(): boolean {
    return this.#sent === this.work.payloads.length && this.#open.size === 0
  }

  protected connected(): void {
    for (const [messageId, payload] of this.#open) {
      if (payload === undefined) this.send({ cmd: 'pubrel', messageId })
      else this.#publish(messageId, payload, true)
    }
    this.#goOn()
  }

  protected take({ cmd, messageId }: Numbered): void {
    if (cmd === 'pubrec' && this.#open.has(messageId)) {
      this.#open.set(messageId, undefined)
      this.send({ cmd: 'pubrel', messageId })
    } else if (cmd === 'pubcomp') {
      this.#open.delete(messageId)
      this.#goOn()
    }
  }

  #goOn(): void {
    const { payloads, window } = this.work
    while (this.#open.size < window && this.#sent < payloads.length) {
      const payload = payloads[this.#sent++] as string
      const messageId = this.#sent
      this.#open.set(messageId, payload)
      this.#publish(messageId, payload, false)
    }
    if (this.isFinished) this.#finish()
  }

  #publish(messageId: number, payload: string, dup: boolean): void {
    this.send({ cmd: 'publish', topic: this.work.topic, payload, qos: 2, dup, retain: false, messageId })
  }
}

/** Drops the reader's connection again and again. @returns a function that stops it */
export function shake(reader: Qos2Reader, maxMs: number): () => Promise<void> {
  let isOver = false
  const shaking = (async () => {
    while (!isOver) {
      await delay(Math.random() * maxMs)
      reader.drop()
    }
  })()
  return async () => {
    isOver = true
    await shaking
  }
}
